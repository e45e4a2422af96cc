"""How hosted APIs depart from the common wire, and how seldom they are asked how they are.

State: whether the site has a cheap route to ask (``/capacity`` of our own servers, ``/health``). One that has none is
asked for its models instead, at most once in ``PROBE_S``; in between it is as it was last. One that refuses to say is
left alone for longer each time. ``doubt`` makes the next question a real one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from yarl import URL

from hubbub.core.errors import EngineError, EngineUnavailable, HubbubError, Overloaded
from hubbub.core.types import EngineState, Json, Message, Request, RequestId
from hubbub.engines.dialect import DEFAULT_WINDOW, Dialect, Limits, Site
from hubbub.engines.probe import decode_capacity
from hubbub.engines.rate_limits import Header
from hubbub.engines.remote_errors import error_of_response
from hubbub.engines.wire_body import chat_body

PROBE_S = 60.0
DOUBT_S = 5.0
"""Also in doubt not sooner than so long after the last question."""
_VERSIONED = re.compile(r"/(v\d+\w*(/openai)?|openai)$")
"""The end of a path below which ``/chat/completions`` stands as it is, with no ``/v1`` between."""


class Continues(StrEnum):
    """How an answer that was begun is gone on with."""

    AUTO = "auto"
    FLAG = "flag"
    PREFILL = "prefill"
    PARTIAL = "partial"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Ways:
    """``limit_field``: what ``max_tokens`` is called. ``billing``: a 429 that speaks of it means that money is gone;
    DashScope says the same words of a limit of tokens a minute."""

    continues: Continues = Continues.FLAG
    limit_field: str = "max_tokens"
    billing: bool = False


WAYS = {
    "openai.com": Ways(Continues.NO, "max_completion_tokens", billing=True),
    "openrouter.ai": Ways(Continues.PREFILL),
    "huggingface.co": Ways(Continues.NO),
    "aliyuncs.com": Ways(Continues.PARTIAL),
}
"""By the end of the host's name. Any other is taken for a vLLM or SGLang, with ``continue_final_message``."""


def ways_of(url: str, continues: Continues) -> Ways:
    host = URL(url).host or ""
    ways = next((ways for end, ways in WAYS.items() if host == end or host.endswith(f".{end}")), Ways())
    return ways if continues is Continues.AUTO else replace(ways, continues=continues)


def api_of(url: str) -> str:
    """What to put between the url and ``/chat/completions``."""
    path = URL(url).path.rstrip("/")
    return "" if _VERSIONED.search(path) and not path.endswith("/v1") else "/v1"


class RemoteDialect(Dialect):
    """``aliases``: what the site calls a model, by the name it has here. ``heard``: takes the head of every answer."""

    def __init__(self, api: str = "/v1", ways: Ways | None = None, aliases: dict[str, str] | None = None) -> None:
        self.api = api
        self.ways = ways or Ways()
        self.heard: Callable[[RequestId, int, Header], None] = lambda request, status, header: None
        self._aliases = aliases or {}
        self.hosted = False
        """It has no route to ask how it is."""
        self._asked_at = self._ask_at = 0.0
        self._trouble: EngineUnavailable | None = None
        self._pause = 0.0

    def body(self, request: Request) -> dict[str, Json]:
        """Raises EngineUnavailable for an answer that this site cannot go on with: another engine may."""
        body = chat_body(request)
        body["model"] = self.called(body["model"])
        if "max_tokens" in body:
            body[self.ways.limit_field] = body.pop("max_tokens")
        if not request.partial or self.ways.continues is Continues.FLAG:
            return body
        if self.ways.continues is Continues.NO:
            raise cannot_go_on()
        del body["continue_final_message"], body["add_generation_prompt"]
        if self.ways.continues is Continues.PARTIAL:
            body["messages"][-1]["partial"] = True
        return body

    def called(self, model: str) -> str:
        return self._aliases.get(model, model)

    def answered(self, request: Request, status: int, header: Header) -> None:
        self.heard(request.id, status, header)

    def meant(self, error: HubbubError) -> HubbubError:
        """What this site means by that."""
        if self.ways.billing and isinstance(error, Overloaded) and "billing" in error.message:
            return EngineError(f"the engine's account is out of credit: {error.message}")
        return error

    def doubt(self) -> None:
        """Something went wrong there: ask soon."""
        self._ask_at = min(self._ask_at, self._asked_at + DOUBT_S)

    async def state(self, site: Site, known: EngineState | None) -> EngineState:
        now = asyncio.get_running_loop().time()
        if self.hosted and now < self._ask_at:
            if self._trouble is not None:
                raise self._trouble
            if known is not None:
                return known
        if not self.hosted:
            state = await self._own_word(site, known)
            if state is not None:
                return state
            self.hosted = True
        self._asked_at = now
        state = await self._listed(site, known)
        self._pause, self._trouble, self._ask_at = 0.0, None, now + PROBE_S
        return state

    async def count_tokens(self, site: Site, model: str, messages: Sequence[Message]) -> int | None:
        return None if self.hosted else await super().count_tokens(site, model, messages)

    async def _own_word(self, site: Site, known: EngineState | None) -> EngineState | None:
        """None from a site that has no route for such questions; some answer all with a page for people."""
        if known is None or "url" not in known.details:
            status, body = await site.get("/capacity")
            if status == 200 and body.lstrip().startswith(b"{"):
                return decode_capacity(site.base, body)
            if status >= 500:
                raise EngineUnavailable(error_of_response(status, None, body).message)
        status, body = await site.get("/health")
        if status >= 500:
            raise EngineUnavailable(f"{site.base}/health answered {status}", retry_after=1.0)
        if status != 200 or body.lstrip().startswith(b"<"):
            return None
        return known or await self.listed(site)

    async def _listed(self, site: Site, known: EngineState | None) -> EngineState:
        status, body = await site.get(f"{self.api}/models")
        if status in (404, 405) and site.limits.models:
            return known or unlisted(site.base, site.limits)
        if status == 429 and known is not None:
            return known
        if status != 200:
            return self._refused(EngineUnavailable(error_of_response(status, None, body).message))
        return known or await self.listed(site)

    def _refused(self, trouble: EngineUnavailable) -> EngineState:
        self._pause = min(PROBE_S, max(1.0, 2 * self._pause))
        self._trouble, self._ask_at = trouble, self._asked_at + self._pause
        raise trouble


def unlisted(base: str, limits: Limits) -> EngineState:
    """The state of a site that lists no models, by what is configured alone."""
    window = limits.context_window or DEFAULT_WINDOW
    return EngineState(
        models=limits.models,
        context_window=window,
        max_sequences=limits.max_sequences,
        kv_tokens=limits.kv_tokens or limits.max_sequences * window,
        adapters=limits.adapters,
        details={"url": base},
    )


def cannot_go_on() -> EngineUnavailable:
    return EngineUnavailable("the answer was cut off, and this API cannot go on with one; what was said is kept")
