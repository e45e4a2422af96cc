"""What a running OpenAI-compatible server can do, found out by asking it: one probe a thing, each by itself.

Nothing is taken from its version or name. A probe ends in one of three ways: the server does it; it does not, and says
so or plainly does something else; or it does it wrong, which no caller can work around.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import aiohttp

from hubbub.core.errors import BadRequest, EngineUnavailable
from hubbub.engines.check_server import Server, json_of

LONG_WORDS = 400
"""Words of the prompt that is sent twice; several blocks of any prefix cache."""
NO_MODEL = "no-such-model-anywhere"
COUNT = "Count from one to thirty in words, separated by commas. Write nothing else."


class Verdict(StrEnum):
    GOOD = "pass"
    ABSENT = "not supported"
    WRONG = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """``text`` says what was seen. ``needed``: Hubbub cannot use a server without it."""

    name: str
    verdict: Verdict
    text: str
    needed: bool = False

    @property
    def fatal(self) -> bool:
        return self.verdict is Verdict.WRONG or (self.needed and self.verdict is not Verdict.GOOD)


def _good(text: str) -> tuple[Verdict, str]:
    return Verdict.GOOD, text


def _absent(text: str) -> tuple[Verdict, str]:
    return Verdict.ABSENT, text


def _wrong(text: str) -> tuple[Verdict, str]:
    return Verdict.WRONG, text


Probe = Callable[[Server], Awaitable[tuple[Verdict, str]]]


async def health(server: Server) -> tuple[Verdict, str]:
    status, _ = await server.get("/health")
    if status == 200:
        return _good("/health answers 200")
    return _absent(f"/health answers {status}") if status < 500 else _wrong(f"/health answers {status}")


async def models(server: Server) -> tuple[Verdict, str]:
    status, body = await server.get("/v1/models")
    rows = body.get("data") if isinstance(body, dict) else None
    if status != 200 or not rows:
        return _wrong(f"/v1/models answers {status} and lists none; is an API key needed?")
    names = [row["id"] for row in rows]
    server.model = server.model or names[0]
    row: Mapping[str, Any] = next((row for row in rows if row["id"] == server.model), {})
    server.window = row.get("max_model_len") or await _told_window(server)
    if server.model not in names:
        return _wrong(f"{server.model} is not among {', '.join(names)}")
    window = f", {server.window} tokens of context" if server.window else ""
    return _good(f"{', '.join(names)}{window}")


async def _told_window(server: Server) -> int:
    """Of our own servers."""
    status, body = await server.get("/capacity")
    return int(body.get("context_window", 0)) if status == 200 and isinstance(body, dict) else 0


async def streaming(server: Server) -> tuple[Verdict, str]:
    said = await server.say(COUNT)
    if said.trouble:
        return _wrong(said.trouble)
    if said.order[:1] != ["text"] or "finish" not in said.order or said.order[-1] != "done":
        return _wrong(f"its events came as {', '.join(said.order)}")
    return _good(f"{', '.join(said.order)}")


async def usage(server: Server) -> tuple[Verdict, str]:
    said = await server.say(COUNT)
    if not said.usage:
        return _absent("include_usage brings no usage: tokens are counted here, roughly")
    prompt, output = said.usage.get("prompt_tokens", 0), said.usage.get("completion_tokens", 0)
    if not prompt or not 0 < output <= 24:
        return _wrong(f"{prompt} prompt and {output} output tokens for 24 asked for")
    return _good(f"{prompt} prompt and {output} output tokens")


async def max_tokens(server: Server) -> tuple[Verdict, str]:
    said = await server.say(COUNT, max_tokens=5)
    output = said.usage.get("completion_tokens", 5)
    if said.trouble or said.finish != "length" or output != 5:
        return _wrong(said.trouble or f"finish {said.finish!r} after {output} of 5 tokens")
    return _good("finish 'length' after 5 tokens")


async def stop(server: Server) -> tuple[Verdict, str]:
    whole = (await server.say(COUNT)).text
    word = whole[len(whole) // 2 :][:3]
    if not word:
        return _wrong("it said nothing to stop")
    said = await server.say(COUNT, stop=[word])
    if said.trouble:
        return _wrong(said.trouble)
    if word in said.text:
        return _wrong(f"{word!r} was said though it should have stopped there")
    same = said.text == whole[: whole.index(word)]
    return _good("stops before the word" if same else "stops before the word; the text before it differed")


async def seed(server: Server) -> tuple[Verdict, str]:
    texts = [(await server.say(COUNT, temperature=1.0, seed=number)).text for number in (7, 7, 8)]
    if texts[0] != texts[1]:
        return _absent("the same seed said something else")
    return _good("the same seed, the same text" + ("" if texts[2] != texts[0] else "; another seed, too, said it"))


async def json_schema(server: Server) -> tuple[Verdict, str]:
    schema = {
        "type": "object",
        "properties": {"sunny": {"type": "boolean"}},
        "required": ["sunny"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": schema, "strict": True}}
    said = await server.say("Is it sunny? Answer in JSON.", max_tokens=64, response_format=form)
    if said.trouble:
        return _absent(said.trouble)
    value = json_of(said.text.encode())
    if isinstance(value, dict) and set(value) == {"sunny"} and isinstance(value["sunny"], bool):
        return _good(said.text.strip())
    return _absent(f"the schema was not kept: {said.text[:60]!r}")


async def tools(server: Server) -> tuple[Verdict, str]:
    parameters = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
    function = {"name": "switch_light", "description": "Switch the light.", "parameters": parameters}
    said = await server.say(
        "Switch the light on.",
        max_tokens=128,
        tools=[{"type": "function", "function": function}],
        tool_choice="required",
    )
    if said.trouble:
        return _absent(said.trouble)
    if "tool" not in said.order:
        return _absent("no call came, though one was required")
    if not isinstance(json_of(said.tools.encode()), dict):
        return _wrong(f"the call's arguments are no JSON object: {said.tools[:80]!r}")
    return _good(f"called with {said.tools}, finish {said.finish!r}")


async def cancel(server: Server) -> tuple[Verdict, str]:
    await server.say(COUNT + " Then tell a very long story.", stop_after=3, max_tokens=2000)
    for _ in range(100):
        running = await _running(server)
        if running is None:
            said = await server.say(COUNT, max_tokens=4)
            return (
                _wrong(said.trouble) if said.trouble else _good("answers on; it has no gauge that shows the slot free")
            )
        if running == 0:
            return _good("its own gauge shows the slot free")
        await asyncio.sleep(0.1)
    return _wrong(f"its gauge says {running:g} still run, 10 s after the client hung up")


async def _running(server: Server) -> float | None:
    """Requests in flight by the server's own word, None where it has none that is known."""
    status, body = await server.get("/capacity")
    if status == 200 and isinstance(body, dict) and "running" in body:
        return float(body["running"]) + float(body.get("waiting", 0))
    status, body = await server.get("/metrics")
    if status != 200 or not isinstance(body, str):
        return None
    gauges = ("vllm:num_requests_running", "llamacpp:requests_processing", "sglang:num_running_reqs")
    found = [line.rpartition(" ")[2] for line in body.splitlines() if line.startswith(gauges)]
    return sum(map(float, found)) if found else None


async def overflow(server: Server) -> tuple[Verdict, str]:
    words = (server.window or 262_144) + 100
    said = await server.say("word " * words, max_tokens=4)
    if said.status in (400, 413, 422):
        return _good(f"{said.status}: {_message(said.error)}")
    if said.trouble:
        return _wrong(said.trouble)
    return _wrong(f"{words} words were taken, and answered: the prompt was cut silently")


async def unknown_model(server: Server) -> tuple[Verdict, str]:
    said = await server.say("Hello.", model=NO_MODEL, max_tokens=4)
    if said.status in (400, 404):
        return _good(f"{said.status}: {_message(said.error)}")
    return _absent("it answers whatever the model's name") if said.status == 200 else _wrong(said.trouble)


async def cached_tokens(server: Server) -> tuple[Verdict, str]:
    words = " ".join(f"Fact {number}: the number {number} follows {number - 1}." for number in range(LONG_WORDS // 8))
    first = await server.say(words + " Which number comes first?", max_tokens=4)
    again = await server.say(words + " Which number comes last?", max_tokens=4)
    if again.trouble:
        return _wrong(again.trouble)
    if again.cached is None:
        return _absent("usage has no prompt_tokens_details.cached_tokens")
    prompt = again.usage.get("prompt_tokens", 0)
    text = f"{again.cached} of {prompt} prompt tokens the second time, {first.cached} the first"
    return _good(text) if again.cached else _absent(f"{text}: is prefix caching off?")


async def partial(server: Server) -> tuple[Verdict, str]:
    first = await server.say(COUNT)
    # Between two pieces: within a token no model goes on as it would have.
    whole, said = first.text, "".join(first.pieces[: len(first.pieces) // 2])
    if not said:
        return _wrong("it said nothing to go on with")
    messages = [{"role": "user", "content": COUNT}, {"role": "assistant", "content": said}]
    rest = await server.say("", messages=messages, continue_final_message=True, add_generation_prompt=False)
    if rest.trouble:
        return _absent(rest.trouble)
    if (said + rest.text).startswith(whole):
        return _good("goes on with what was said, word for word")
    if rest.text.lstrip().startswith(whole[:8].lstrip()):
        return _absent("it begins anew: an answer that was cut off is said again from the start")
    return _absent(f"it goes on otherwise: {said[-20:]!r} + {rest.text[:30]!r}")


async def tokenize(server: Server) -> tuple[Verdict, str]:
    messages = [{"role": "user", "content": COUNT}]
    status, body = await server.post(
        "/tokenize", {"model": server.model, "messages": messages, "add_generation_prompt": True}
    )
    count = body.get("count") or len(body.get("tokens") or ()) if status == 200 and isinstance(body, dict) else 0
    if not count:
        return _absent("no /tokenize for messages: tokens are estimated")
    told = (await server.say(COUNT, max_tokens=2)).usage.get("prompt_tokens", count)
    return _good(f"{count} tokens, as usage says") if count == told else _wrong(f"{count} tokens, usage says {told}")


def _message(error: str) -> str:
    body = json_of(error.encode())
    inner = body.get("error", body) if isinstance(body, dict) else body
    text = inner.get("message", error) if isinstance(inner, dict) else str(inner)
    return " ".join(str(text).split())[:120]


NEEDED = frozenset({"models", "streaming", "max tokens"})
PROBES: Mapping[str, Probe] = {
    "health": health,
    "models": models,
    "streaming": streaming,
    "usage": usage,
    "max tokens": max_tokens,
    "stop": stop,
    "seed": seed,
    "json schema": json_schema,
    "tools": tools,
    "cancel": cancel,
    "context overflow": overflow,
    "unknown model": unknown_model,
    "cached tokens": cached_tokens,
    "partial answer": partial,
    "count tokens": tokenize,
}


async def examine(url: str, *, api_key: str = "", model: str = "") -> AsyncIterator[Finding]:
    """All probes, one after the other; without a model there is nothing to ask, so a failure there is the last.

    ``model``: empty takes the first it lists. Raises BadRequest for what is no address.
    """
    if not url.startswith(("http://", "https://")):
        raise BadRequest(f"{url!r} is no address; it must begin with http:// or https://", param="url")
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        server = Server(url.rstrip("/").removesuffix("/v1"), session)
        server.model = model
        for name, probe in PROBES.items():
            try:
                verdict, text = await probe(server)
            except EngineUnavailable as error:
                verdict, text = Verdict.WRONG, error.message
            if api_key:
                text = text.replace(api_key, "***")
            finding = Finding(name, verdict, text, name in NEEDED)
            yield finding
            if name == "models" and finding.fatal:
                return
