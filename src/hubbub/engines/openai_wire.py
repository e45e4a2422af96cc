"""Any OpenAI-compatible server as an engine: vLLM, SGLang, llama.cpp, LMDeploy, TGI, a hosted one, or one of ours.

State: ``_streams`` holds what was submitted and has not ended; each has one task that reads its response. A stream
leaves it exactly when its last chunk is delivered or scheduled. One watch task looks for silence, so that a chunk costs
no timer.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import aiohttp
import msgspec
from yarl import URL

from hubbub.core.errors import ConfigError, EngineLost, EngineUnavailable, HubbubError
from hubbub.core.types import Chunk, EngineId, EngineState, FinishReason, Message, Request, RequestId
from hubbub.engines.chat_stream import ChatStream
from hubbub.engines.dialect import Dialect, Limits, Site
from hubbub.engines.remote_errors import error_of_response, error_of_transport
from hubbub.engines.wire_body import cache_salt
from hubbub.http_stream import CONNECT_TIMEOUT_S, KEEPALIVE_S, HttpPool
from hubbub.ports import Sink

ERROR_BYTES = 65_536
"""No more of an error's body is read."""
_STREAM_HEADERS = {"Content-Type": "application/json", "Accept": "text/event-stream"}


@dataclass(frozen=True, slots=True)
class WireConfig:
    """Where the engine is. ``url`` ends before ``/v1``. ``silence_s``: a stream without a word for so long is given
    up. ``cache_salt``: send one a user, for engines that take it (vLLM), so that users share no prefix cache."""

    url: str
    api_key: str = field(default="", repr=False)
    limits: Limits = field(default_factory=Limits)
    silence_s: float = 120.0
    cache_salt: bool = False

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"engine url {self.url!r} must begin with http:// or https://", param="url")
        if not self.api_key.isascii() or any(c.isspace() for c in self.api_key):
            raise ConfigError("the engine's api_key has characters that no HTTP header can carry", param="api_key")

    @property
    def base(self) -> str:
        """Without a user and a password: it is shown to people."""
        return str(URL(self.url).with_user(None)).rstrip("/").removesuffix("/v1")

    @property
    def authorization(self) -> str:
        """The header's value, empty for none."""
        if self.api_key:
            return f"Bearer {self.api_key}"
        url = URL(self.url)
        if url.user is None:
            return ""
        words = f"{url.user}:{url.password or ''}"
        return f"Basic {b64encode(words.encode()).decode()}"


@dataclass(slots=True, eq=False)
class _Stream:
    request: RequestId
    sink: Sink
    heard_at: float
    begun: bool = False
    ended: bool = False
    task: asyncio.Task[None] | None = None


class OpenAIWireEngine:
    """Engine port over HTTP and SSE."""

    def __init__(self, engine_id: EngineId, config: WireConfig, dialect: Dialect | None = None) -> None:
        self.id = engine_id
        self.config = config
        self.dialect = dialect or Dialect()
        self._streams: dict[RequestId, _Stream] = {}
        self._http: aiohttp.ClientSession | None = None
        self._posts: HttpPool | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._known: EngineState | None = None

    def __repr__(self) -> str:
        return f"OpenAIWireEngine({self.id!r}, {self.config.base!r}, in_flight={len(self._streams)})"

    # The Engine port -----------------------------------------------------------------------------------------------

    async def start(self) -> EngineState:
        self._known = None
        return await self.state()

    async def state(self) -> EngineState:
        """Raises EngineUnavailable."""
        try:
            self._known = await self.dialect.state(self._site(), self._known)
        except EngineUnavailable as error:
            raise self._error(error) from None
        known = self._known
        return replace(known, running=max(known.running, len(self._streams) - known.waiting))

    def submit(self, request: Request, sink: Sink) -> None:
        self.cancel(request.id)  # a second attempt ends the first
        loop = asyncio.get_running_loop()
        stream = _Stream(request.id, sink, loop.time())
        self._streams[request.id] = stream
        stream.task = loop.create_task(self._run(stream, request))
        self._tasks.add(stream.task)
        stream.task.add_done_callback(self._tasks.discard)
        if self._watch is None:
            self._watch = loop.create_task(self._watch_silence())

    def cancel(self, request: RequestId) -> None:
        stream = self._streams.get(request)
        if stream is not None:
            self._end(stream)
            _stop(stream)
            asyncio.get_running_loop().call_soon(stream.sink, request, Chunk(finish=FinishReason.CANCELLED))

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        names = self.config.limits.models or (self._known.models if self._known is not None else ())
        return await self.dialect.count_tokens(self._site(), names[0] if names else "", messages)

    async def close(self) -> None:
        tasks = set(self._tasks)
        if self._watch is not None:
            tasks.add(self._watch)
            self._watch = None
        for stream in list(self._streams.values()):
            self._fail(stream, EngineLost(f"engine {self.id} was closed"))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
            self._http = None
        if self._posts is not None:
            self._posts.close()
            self._posts = None

    # Inside --------------------------------------------------------------------------------------------------------

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                headers=self._headers(),
                auto_decompress=False,
            )
        return self._http

    def _pool(self) -> HttpPool:
        """For answers alone, which stream; small questions go through the session."""
        if self._posts is None:
            self._posts = HttpPool(self.config.base, self._headers())
        return self._posts

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        if self.config.authorization:
            headers["Authorization"] = self.config.authorization
        return headers

    def _site(self) -> Site:
        return Site(self.id, self.config.base, self._session(), self.config.limits)

    async def _run(self, stream: _Stream, request: Request) -> None:
        try:
            await self._read(stream, request)
        except HubbubError as error:
            self._fail(stream, self._error(error))
        except OSError as fault:
            self._fail(stream, self._error(error_of_transport(fault, self.id, begun=stream.begun)))

    async def _read(self, stream: _Stream, request: Request) -> None:
        asked = self.dialect.body(request)
        await self.dialect.prepare(self._site(), request, asked)
        if self.config.cache_salt:
            asked["cache_salt"] = cache_salt(request.user)
        body = msgspec.json.encode(asked)
        headers = {**_STREAM_HEADERS, **self.dialect.headers(request)}
        async with self._pool().post(f"{self.dialect.api}/chat/completions", body, headers) as answer:
            self.dialect.answered(request, answer.status, answer.header)
            if answer.status != 200:
                words = await answer.text(ERROR_BYTES)
                raise error_of_response(answer.status, answer.header("Retry-After"), words)
            stream.begun = True
            chat, now = ChatStream(), asyncio.get_running_loop().time

            def hear(data: bytes) -> bool:
                stream.heard_at = now()
                self._say(stream, chat.feed(data))
                return chat.done or stream.ended

            await answer.listen(hear)
            if not stream.ended:
                self._say(stream, chat.end())
            if chat.done:
                await answer.drain()

    def _say(self, stream: _Stream, chunks: Iterable[Chunk]) -> None:
        sink, key = stream.sink, stream.request
        for chunk in chunks:
            if stream.ended:
                return  # the sink cancelled it: leaving closes the connection
            if chunk.last:
                self._end(stream)
            sink(key, chunk)

    def _fail(self, stream: _Stream, error: HubbubError) -> None:
        if not stream.ended:
            self._end(stream)
            _stop(stream)
            stream.sink(stream.request, Chunk(error=error))

    def _end(self, stream: _Stream) -> None:
        stream.ended = True
        del self._streams[stream.request]

    def _error(self, error: HubbubError) -> HubbubError:
        """The error without our API key, which some servers repeat."""
        key = self.config.api_key
        if not key or key not in error.message:
            return error
        return type(error)(error.message.replace(key, "***"), param=error.param, retry_after=error.retry_after)

    async def _watch_silence(self) -> None:
        limit = self.config.silence_s
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(limit / 4)
            newest = max((stream.heard_at for stream in self._streams.values()), default=0.0)
            for stream in list(self._streams.values()):
                if loop.time() - stream.heard_at < limit:
                    continue
                words = f"engine {self.id} said nothing for {limit:g} s"
                alone = loop.time() - newest < limit
                self._fail(stream, EngineUnavailable(words) if alone else EngineLost(words))


def _stop(stream: _Stream) -> None:
    if stream.task is not None and stream.task is not asyncio.current_task():
        stream.task.cancel()
