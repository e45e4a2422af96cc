"""Whatever is sent, the answer is no 5xx and has OpenAI's error shape; and what is published is true."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from yarl import URL

from hubbub.core.keys import Scope
from hubbub.engines.sim_prompt import Voice
from hubbub.gateway.routes.table import ROUTES, Route
from support.keys import Locked, a_key, bearer, locked, text_of
from support.serving import MODEL

T = TypeVar("T")

CONFIG = Path(__file__).parent.parent / "schemathesis.toml"
PATIENCE_S = 1500.0
"""Some 70 operations, on two cores that may be shared."""
BRIEF = Voice(output_median=3, output_sigma=0.1)


async def test_the_published_interface_is_true(tmp_path: Path) -> None:
    """schemathesis with all checks, over every operation. Other seeds, longer: docs/security.md."""
    async with locked(
        a_key("root", frozenset({Scope.ADMIN})), voice=BRIEF, patience_s=PATIENCE_S, files=tmp_path / "files"
    ) as door:
        published = tmp_path / "openapi.json"  # from its URL, schemathesis would leave that URL's own operation out
        published.write_text(json.dumps((await door.call("", "GET", "/openapi.json"))[1]))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG),
            "run", str(published), "--url", door.house.url, "--header", f"Authorization: Bearer {text_of('root')}",
            "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "5", "--seed", "7",
            "--generation-deterministic", "--no-color", "--exclude-path", ENDLESS,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said = (await process.communicate())[0].decode()
        assert process.returncode == 0, said
        number = len(ROUTES) - 1
        assert f"Selected: {number}/{number + 1}" in said
        assert f"Tested: {number}" in said


# Bad inputs ------------------------------------------------------------------------------------------------------

EXAMPLES, BATCH = 250, 20
"""250 batches of 20: 5,000 requests."""

ENDLESS = "/v1/live"
"""Its answer ends when its reader leaves (test_live.py)."""

texts = st.text(max_size=12) | st.sampled_from([MODEL, "\0", "\ud800", "x" * 300, "resp_x", "function", "user", "text"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=6
)


@dataclass(frozen=True, slots=True)
class Sent:
    method: str
    path: str
    body: bytes | None
    headers: dict[str, str]


BASES: dict[str, Any] = {
    "CompletionCreate": {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 3},
    "ResponseCreate": {"input": [{"role": "user", "content": "x"}], "max_output_tokens": 3},
    "InputTokensCreate": {"input": "x"},
    "ItemsCreate": {"items": [{"role": "user", "content": "x"}]},
    "CompletionUpdate": {"metadata": {}},
    "ConversationUpdate": {"metadata": {}},
}
"""Bodies that are good, to put one or two bad fields into."""


def names(route: Route) -> list[str]:
    """Fields that the route knows, so that values go wrong and not names alone."""
    return list(route.body.__struct_fields__) if route.body else ["x"]


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    route = draw(st.sampled_from([route for route in ROUTES if route.path != ENDLESS]))
    part = st.text(min_size=1, max_size=8).filter(lambda text: text not in (".", "..")) | st.sampled_from(
        ["resp_x", "conv_x"]
    )
    path = re.sub(r"\{\w+(:[^}]*)?\}", lambda _: quoted(draw(part)), route.path)
    query = draw(st.dictionaries(st.sampled_from([*route.query.__struct_fields__, "x"]), texts, max_size=2))
    if query:
        path += "?" + "&".join(f"{name}={quoted(value)}" for name, value in query.items())
    base = BASES.get(route.body.__name__, {}) if route.body else {}
    body = draw(
        st.none()
        | st.binary(max_size=60)
        | st.dictionaries(st.sampled_from(names(route)), trees, max_size=2).map(lambda bad: encoded({**base, **bad}))
        | st.dictionaries(st.sampled_from(names(route)), trees, max_size=5).map(encoded)
        | trees.map(encoded)
    )
    kind = draw(st.sampled_from(["application/json", "application/json; charset=latin-1", "text/plain", "", "x/y/z"]))
    method = draw(st.sampled_from([route.method, "PUT", "OPTIONS", "HEAD"]) | st.just(route.method))
    return Sent(method, path, body, {"Content-Type": kind} if kind else {})


def quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def encoded(value: Any) -> bytes:
    """As Python writes it: with NaN, Infinity and lone surrogates, which are no JSON."""
    return json.dumps(value).encode()


class Elsewhere:
    """A server on a loop of its own, in a thread: hypothesis is not asynchronous."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@contextmanager
def fuzzed() -> Iterator[tuple[Elsewhere, Locked]]:
    elsewhere = Elsewhere()
    door, stop = elsewhere.run(_started()), asyncio.Event()
    try:
        yield elsewhere, door[0]
    finally:
        stop.set()
        elsewhere.run(door[1].__aexit__(None, None, None))
        elsewhere.close()


async def _started() -> tuple[Locked, Any]:
    context = locked(a_key("ann", frozenset(Scope)), voice=BRIEF, patience_s=PATIENCE_S)
    return await context.__aenter__(), context


@pytest.fixture(scope="module")
def house() -> Iterator[tuple[Elsewhere, Locked]]:
    with fuzzed() as started:
        yield started


@settings(max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(batch=st.lists(requests(), min_size=BATCH, max_size=BATCH))
def test_5000_bad_inputs(house: tuple[Elsewhere, Locked], batch: list[Sent]) -> None:
    elsewhere, door = house
    for wrong in elsewhere.run(_all(door, batch)):
        assert wrong == ""


async def _all(door: Locked, batch: list[Sent]) -> list[str]:
    return list(await asyncio.gather(*(_one(door, sent) for sent in batch)))


async def _one(door: Locked, sent: Sent) -> str:
    """What was wrong with the answer; empty for a good one."""
    url = URL(door.house.url + sent.path, encoded=True)
    headers = {**bearer("ann"), **sent.headers}
    try:
        async with door.house.http.request(sent.method, url, data=sent.body, headers=headers) as response:
            raw = await response.read()
            if response.status >= 500:
                return f"{sent}: {response.status} {raw[:300]!r}"
            if response.status < 400 or sent.method == "HEAD":
                return ""
            error = (await response.json())["error"]
    except (aiohttp.ContentTypeError, ValueError, KeyError, TypeError) as fault:
        return f"{sent}: {fault!r}"
    if set(error) != {"message", "type", "param", "code"} or not error["message"] or not error["code"]:
        return f"{sent}: {error}"
    return ""
