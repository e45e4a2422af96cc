"""Hosted APIs, by a twin over real HTTP: limits met and kept, nothing lost, tokens paid for, the key told nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from hubbub.core.errors import ConfigError, EngineError, EngineUnavailable, HubbubError, Overloaded
from hubbub.core.types import (
    ChatId,
    Chunk,
    EngineId,
    FinishReason,
    Message,
    Priority,
    Request,
    RequestId,
    Role,
    Sampling,
    UserId,
)
from hubbub.engines import remote
from hubbub.engines.kinds import EngineSpec
from hubbub.engines.remote import RemoteOptions
from hubbub.engines.remote_dialect import Continues, RemoteDialect, ways_of
from hubbub.engines.simulated_server import ServerOptions, serving
from hubbub.engines.throttled import ThrottledEngine
from support.throttled_api import KEY, MODEL, PROMPT_TOKENS, WORDS, Api, Limiter, Says, hosted

PRICED = RemoteOptions(price_in=1.0, price_out=10.0)
TEXT = "".join(WORDS)
COST = (PROMPT_TOKENS * 1.0 + len(WORDS) * 10.0) / 1e6


def request(number: int, *, priority: Priority = Priority.CHAT, partial: str = "", model: str = MODEL) -> Request:
    return Request(
        RequestId(f"r{number}"),
        UserId("u"),
        ChatId("c"),
        model,
        PROMPT_TOKENS,
        priority,
        messages=(Message(Role.USER, "Hello."),),
        sampling=Sampling(max_tokens=20),
        partial=partial,
    )


class Answers:
    """What came of the requests."""

    def __init__(self, engine: ThrottledEngine) -> None:
        self.engine = engine
        self.texts: dict[RequestId, str] = {}
        self.ends: dict[RequestId, Chunk] = {}
        self._more = asyncio.Event()

    def ask(self, *requests: Request) -> None:
        for one in requests:
            self.texts[one.id] = ""
            self.engine.submit(one, self._hear)

    def _hear(self, key: RequestId, chunk: Chunk) -> None:
        assert key not in self.ends, "nothing comes after the last chunk"
        self.texts[key] += chunk.text
        if chunk.last:
            self.ends[key] = chunk
            self._more.set()

    async def all(self, number: int = 0) -> None:
        async with asyncio.timeout(30):
            while len(self.ends) < (number or len(self.texts)):
                self._more.clear()
                await self._more.wait()

    def error(self, number: int) -> HubbubError:
        error = self.ends[RequestId(f"r{number}")].error
        assert error is not None
        return error


def spec(url: str, options: RemoteOptions = PRICED, **more: str) -> EngineSpec:
    return EngineSpec(EngineId("far"), "openai", Path(), url=url, api_key=KEY, options=options, **more)  # type: ignore[arg-type]


@asynccontextmanager
async def connected(api: Api, options: RemoteOptions = PRICED, prefix: str = "/v1") -> AsyncIterator[Answers]:
    async with hosted(api, prefix) as url:
        engine = remote.build(spec(url, options))
        try:
            await engine.start()
            yield Answers(engine)
        finally:
            await engine.close()


@pytest.mark.parametrize(("says", "refused"), [(Says.OPENAI, 4), (Says.WINDOW, 4), (Says.RETRY_AFTER, 25)])
async def test_fifty_requests_at_a_limit_lose_nothing_and_are_refused_a_few_times(says: Says, refused: int) -> None:
    """60 a minute, thirty times as fast."""
    api = Api(Limiter(60, 2.0, says))
    api.limiter.level, api.limiter.at = 5.0, asyncio.get_running_loop().time()
    async with connected(api) as answers:
        answers.ask(*(request(number) for number in range(50)))
        await answers.all()
        assert {chunk.finish for chunk in answers.ends.values()} == {FinishReason.STOP}
        assert set(answers.texts.values()) == {TEXT}
        assert answers.engine.cost_usd == pytest.approx(50 * COST)
        assert api.limiter.taken == 50
        assert api.limiter.refused <= refused
        state = await answers.engine.state()
        assert (state.running, state.details["held_back"]) == (0, "0")


async def test_overload_is_waited_out() -> None:
    api = Api(Limiter(10_000, 1.0, Says.RETRY_AFTER), fits=3)
    async with connected(api) as answers:
        answers.ask(*(request(number) for number in range(12)))
        await answers.all()
        assert set(answers.texts.values()) == {TEXT}
        assert api.overloads


async def test_the_scheduler_is_told_what_can_begin_soon_and_that_a_held_line_is_no_hang() -> None:
    api = Api(Limiter(1, 3600.0, Says.OPENAI))
    async with connected(api) as answers:
        state = await answers.engine.state()
        assert state.max_sequences == 64
        answers.ask(request(1))
        await answers.all()
        answers.ask(request(2), request(3))
        before = await answers.engine.state()
        assert before.max_sequences == 1
        assert before.details["held_back"] == "2"
        assert (await answers.engine.state()).steps > before.steps
        answers.engine.cancel(RequestId("r3"))
        await answers.all(2)
        assert answers.ends[RequestId("r3")].finish is FinishReason.CANCELLED
        await answers.engine.close()
        await answers.all()
        assert answers.error(2).retryable


async def test_chats_go_before_bulk_that_waits() -> None:
    api = Api(Limiter(20, 1.0, Says.OPENAI))
    async with connected(api) as answers:
        answers.ask(*(request(number, priority=Priority.BULK) for number in range(40)))
        answers.ask(request(99))
        await answers.all()
        assert list(answers.ends).index(RequestId("r99")) < 30


async def test_a_cancelled_answer_is_paid_for_as_far_as_it_was_seen() -> None:
    api = Api(Limiter(60, 1.0, Says.NOTHING))
    async with connected(api) as answers:
        spoke = asyncio.Event()
        engine = answers.engine

        def hear(key: RequestId, chunk: Chunk) -> None:
            if chunk.text and not spoke.is_set():
                spoke.set()
                engine.cancel(key)
            if chunk.last:
                ended.set()

        ended = asyncio.Event()
        engine.submit(request(1), hear)
        async with asyncio.timeout(10):
            await ended.wait()
        assert engine.cost_usd == pytest.approx((PROMPT_TOKENS + 10) / 1e6)


async def test_money_that_is_gone_is_no_limit_that_would_lift() -> None:
    api = Api(Limiter(60, 1.0, Says.NOTHING))
    api.before = lambda: web.json_response({"error": {"message": "Insufficient Balance"}}, status=402)
    async with connected(api) as answers:
        answers.ask(request(1))
        await answers.all()
        assert type(answers.error(1)) is EngineError
        assert answers.error(1).message.startswith("the engine's account is out of credit: ")
        assert len(api.bodies) == 1


def test_openai_says_by_a_429_that_money_is_gone_and_others_say_the_same_of_a_limit() -> None:
    error = Overloaded("You exceeded your current quota, please check your plan and billing details.")
    for host, kind in (("api.openai.com", EngineError), ("dashscope.aliyuncs.com", Overloaded)):
        dialect = RemoteDialect(ways=ways_of(f"https://{host}/v1", Continues.AUTO))
        assert type(dialect.meant(error)) is kind
        assert type(dialect.meant(Overloaded("Rate limit reached"))) is Overloaded


async def test_what_is_always_refused_comes_to_the_scheduler() -> None:
    api = Api(Limiter(60, 1.0, Says.NOTHING))
    api.before = lambda: web.json_response({"error": "no"}, status=429, headers={"retry-after-ms": "1"})
    async with connected(api) as answers:
        answers.ask(request(1))
        await answers.all()
        assert answers.error(1).code == "queue_full"
        assert answers.engine.cost_usd == 0


@pytest.mark.parametrize("prefix", ["/v1", "/compatible-mode/v1", "/api/v1", "/api/paas/v4", "/v1beta/openai"])
async def test_urls_as_the_providers_give_them(prefix: str) -> None:
    api = Api(Limiter(60, 1.0, Says.NOTHING))
    async with connected(api, prefix=prefix) as answers:
        answers.ask(request(1))
        await answers.all()
        assert answers.texts[RequestId("r1")] == TEXT
        assert (await answers.engine.state()).context_window == 4096


async def test_health_is_not_asked_for_all_the_time() -> None:
    api = Api(Limiter(60, 1.0, Says.NOTHING))
    async with connected(api) as answers:
        for _ in range(50):
            await answers.engine.state()
        assert await answers.engine.count_tokens([Message(Role.USER, "Hello.")]) is None
        assert len(api.asked) <= 4, api.asked


async def test_a_server_that_tells_what_it_holds_is_believed_at_once() -> None:
    async with serving(ServerOptions(api_key=KEY)) as url:
        engine = remote.build(spec(url))
        assert (await engine.start()).max_sequences == 256
        answers = Answers(engine)
        answers.ask(*(request(number, model="simulated") for number in range(100)))
        assert (await engine.state()).details["held_back"] == "0"
        await answers.all()
        assert {chunk.finish for chunk in answers.ends.values()} <= {FinishReason.STOP, FinishReason.LENGTH}
        await engine.close()


async def test_a_refused_key_is_tried_less_and_less() -> None:
    api = Api(Limiter(60, 1.0, Says.NOTHING))
    async with hosted(api) as url:
        engine = remote.build(replace(spec(url), api_key="sk-wrong"))
        for _ in range(20):
            with pytest.raises(EngineUnavailable, match="refuses the API key"):
                await engine.start()
        assert len(api.asked) <= 4
        await engine.close()


async def test_a_redirect_is_named_and_the_key_does_not_follow_it() -> None:
    api = Api(Limiter(60, 1.0, Says.NOTHING))

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPPermanentRedirect(f"{there}{request.path}")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", away)
    runner = web.AppRunner(app, access_log=None)
    async with hosted(api) as there:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        engine = remote.build(spec(f"http://127.0.0.1:{runner.addresses[0][1]}/v1"))
        with pytest.raises(
            EngineUnavailable, match=rf"the engine's url leads elsewhere, set it to where it leads: {there}/"
        ):
            await engine.start()
        answers = Answers(engine)
        answers.ask(request(1))
        await answers.all()
        assert "leads elsewhere" in answers.error(1).message
        assert api.asked == []
        await engine.close()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("way", "marks"),
    [
        (Continues.FLAG, {"continue_final_message": True}),
        (Continues.PREFILL, {}),
        (Continues.PARTIAL, {"partial": True}),
    ],
)
async def test_ways_to_go_on(way: Continues, marks: dict[str, bool]) -> None:
    api = Api(Limiter(60, 1.0, Says.NOTHING))
    async with connected(api, RemoteOptions(continues=way)) as answers:
        answers.ask(request(1, partial="Once "))
        await answers.all()
        last = api.bodies[0]["messages"][-1]  # type: ignore[index]
        assert (last["role"], last["content"]) == ("assistant", "Once ")
        found = {**last, **api.bodies[0]}
        assert {name: found[name] for name in ("continue_final_message", "partial") if name in found} == marks


async def test_who_cannot_go_on_says_so_once_it_is_known() -> None:
    api = Api(Limiter(60, 1.0, Says.NOTHING))
    words = {"error": {"message": "Unrecognized request argument supplied: continue_final_message"}}
    api.before = lambda: web.json_response(words, status=400)
    async with connected(api) as answers:
        answers.ask(request(1, partial="Once "))
        await answers.all()
        answers.ask(request(2, partial="Once "))
        await answers.all()
        for number in (1, 2):
            assert answers.error(number).retryable, "another engine of the pool may"
            assert "cannot go on" in answers.error(number).message
        assert len(api.bodies) == 1


async def test_a_name_of_our_own() -> None:
    api = Api(Limiter(60, 1.0, Says.NOTHING))
    async with hosted(api) as url:
        engine = remote.build(spec(url, model=MODEL, served_name="near"))
        state = await engine.start()
        assert (state.models, state.context_window) == (("near",), 4096)
        answers = Answers(engine)
        answers.ask(request(1, model="near"))
        await answers.all()
        assert api.bodies[0]["model"] == MODEL
        await engine.close()


async def test_the_key_is_told_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    api = Api(Limiter(60, 1.0, Says.NOTHING))
    said = []
    async with hosted(api) as url:
        engine = remote.build(spec(url))
        said += [repr(engine), repr(spec(url)), str(await engine.start())]
        leak = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
        api.before = lambda: web.json_response(leak, status=401)
        answers = Answers(engine)
        answers.ask(request(1))
        await answers.all()
        said += [repr(answers.error(1)), answers.error(1).message, str(answers.ends)]
        await engine.close()
        named = url.replace("http://", f"http://user:{KEY}@")
        engine = remote.build(replace(spec(named), api_key=""))
        with pytest.raises(EngineUnavailable) as refused:
            await engine.start()
        said += [repr(engine), str(refused.value)]
        await engine.close()
    assert "***" in answers.error(1).message
    assert KEY not in "\n".join([*said, caplog.text])


@pytest.mark.parametrize(
    ("url", "says"),
    [("https://", "names no host"), ("http://[x/v1", "cannot be read"), ("https://a.b/v1?key=1", "query")],
)
def test_a_bad_url_is_told(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        remote.build(spec(url))


def test_a_url_as_people_copy_it() -> None:
    assert "'https://api.x.y/api'" in repr(remote.build(spec("https://api.x.y/api/v1/chat/completions/")))


@pytest.mark.parametrize("key", ["price_in", "price_out", "requests_per_minute", "tokens_per_minute"])
def test_options_are_numbers_that_can_be(key: str) -> None:
    for value in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"^{key} is "):
            RemoteOptions(**{key: value})  # type: ignore[arg-type]
