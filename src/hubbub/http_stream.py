"""HTTP/1.1 for answers that stream: a POST, then its body handed over as it arrives, without a task's turn a chunk.

Theory of operation. A general client wakes a task for every piece of a body: a future, a turn of the loop, a queue. At
thousands of chunks a second that costs more than reading them. Here the transport calls the connection, the parser
(llhttp, by httptools) takes the framing off, and what one read brought is handed to the listener in one call, at once.

A connection carries one exchange at a time. It goes back to the pool when the whole answer has been read and both sides
keep it alive; in every other case, a cancelled reader included, it is closed, which is how the server learns that
nobody listens. Idle connections are closed after ``KEEPALIVE_S``; one that the server has closed sooner is found out by
the next request, which then goes out once more on a new one. Whatever breaks a connection is raised as an OSError
(TLS errors and time-outs are ones) to whoever waits for its exchange. Redirects are answers like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from typing import cast

import httptools
from yarl import URL

from hubbub.core.errors import HubbubError

CONNECT_TIMEOUT_S = 5.0
KEEPALIVE_S = 4.0
"""Below the 5 s after which uvicorn, under most engines, closes an idle connection: none is reused while it closes."""
DRAIN_TIMEOUT_S = 1.0
"""How long the end of a body may take after its last word, for the connection to serve the next request."""

Listener = Callable[[bytes], bool]
"""Takes a piece of the body, not empty; says whether it has heard enough. HubbubErrors that it raises come out."""


class _Connection(asyncio.Protocol):
    """One connection and the exchange on it, if there is one."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self._parser = httptools.HttpResponseParser(self)
        self._lasting = False
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.complete = False
        self.heard = False
        """Whether anything of the answer has come."""
        self._in_body = False
        self._pieces: list[bytes] = []
        self._fault: BaseException | None = None
        self._enough = False
        self._listener: Listener | None = None
        self._waiter: asyncio.Future[None] | None = None

    # The exchange ----------------------------------------------------------------------------------------------------

    def send(self, request: bytes) -> None:
        self._begin()
        if self.transport is None or self.closed:
            self._fault = ConnectionResetError("the connection was closed")
        else:
            self.transport.write(request)

    async def head(self) -> None:
        """Returns when ``status`` and ``headers`` are there. Raises OSError."""
        await self._until(lambda: self._in_body or self.complete)

    async def listen(self, listener: Listener) -> None:
        """Hand the body over until the listener has enough or the body ends. Raises OSError, and what it raises."""
        self._listener = listener
        self._hand_over()
        await self._until(lambda: (self._enough or self.complete) and self._fault is None)

    async def drain(self) -> None:
        """Read to the end of the body, for a little while. Raises OSError."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self._until(lambda: self.complete)

    @property
    def reusable(self) -> bool:
        return self.complete and self._lasting and not self.closed

    def close(self) -> None:
        self.closed = True
        if self.transport is not None:
            self.transport.abort()

    async def _until(self, so: Callable[[], bool]) -> None:
        while not so():
            if self._fault is not None:
                raise self._fault
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _hand_over(self) -> None:
        """Give the listener what there is; without one, keep it until there is one."""
        listener = self._listener
        if listener is None or not self._pieces:
            return
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        if self._enough:
            return
        try:
            self._enough = listener(data)
        except HubbubError as fault:
            self._fault = fault

    # What the transport says -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.complete:  # nothing was asked
            self.close()
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
            if not self.complete:
                self._fault = ConnectionError(f"it said something that is not HTTP ({fault})")
            self.close()
        self._hand_over()
        if self._enough or self.complete or self._fault is not None or (self._in_body and self._listener is None):
            self._wake()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.closed = True
        framed = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        if exc is None and self._in_body and not framed:
            self.complete = True  # a body without a length ends with its connection
        elif not self.complete and self._fault is None:
            self._fault = exc or ConnectionResetError("the connection was closed")
        self._wake()

    # What the parser says --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            raise httptools.HttpParserError("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:  # 100 Continue, 103 Early Hints: the answer is still to come
            self.headers.clear()
        else:
            self._in_body = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = self.status >= 200
        self._lasting = self._parser.should_keep_alive()


class Exchange:
    """A request that was sent, and its answer: status, then body."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    @property
    def status(self) -> int:
        return self._connection.status

    def header(self, name: str) -> str | None:
        value = self._connection.headers.get(name.lower().encode())
        return None if value is None else value.decode("latin-1")

    async def listen(self, listener: Listener) -> None:
        """Hand the body over as it comes, until the listener has enough or the body ends.

        Raises OSError when the connection breaks before that, and what the listener raises.
        """
        await self._connection.listen(listener)

    async def text(self, most: int) -> bytes:
        """The body, or its first ``most`` bytes. Raises OSError."""
        found = bytearray()

        def keep(data: bytes) -> bool:
            found.extend(data)
            return len(found) >= most

        await self._connection.listen(keep)
        return bytes(found[:most])

    async def drain(self) -> None:
        """Read what little is left of the body, so that the connection can serve the next request. Raises OSError."""
        await self._connection.drain()


class HttpPool:
    """POSTs to one server, over as many connections as there are answers at once."""

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        """``base``: http:// or https://, host, maybe a port, a user and a path. ``headers`` go with every request."""
        self._url = URL(base)
        self._headers = dict(headers)
        if self._url.user is not None and "Authorization" not in self._headers:
            word = f"{self._url.user}:{self._url.password or ''}".encode()
            self._headers["Authorization"] = f"Basic {b64encode(word).decode()}"
        self._tls: ssl.SSLContext | None = None
        self._idle: list[tuple[_Connection, float]] = []
        self._open: set[_Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    @contextlib.asynccontextmanager
    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> AsyncIterator[Exchange]:
        """The answer, once its head is there. Leaving before its end closes the connection. Raises OSError."""
        connection = await self._answering(self._request(path, body, headers))
        try:
            yield Exchange(connection)
        finally:
            self._open.discard(connection)
            self._keep(connection)

    def close(self) -> None:
        """Close every connection; whoever waits for an answer hears of it."""
        for connection in (*self._open, *(connection for connection, _ in self._idle)):
            connection.close()
        self._idle.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    async def _answering(self, request: bytes) -> _Connection:
        """A connection on which the answer's head has come. Raises OSError."""
        kept = self._kept()
        if kept is not None:
            try:
                return await self._sent(kept, request)
            except OSError:
                if kept.heard:
                    raise
        return await self._sent(await self._connect(), request)

    async def _sent(self, connection: _Connection, request: bytes) -> _Connection:
        self._open.add(connection)
        try:
            connection.send(request)
            await connection.head()
        except BaseException:
            self._open.discard(connection)
            connection.close()
            raise
        return connection

    def _request(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Raises ValueError for a header with a line end in it."""
        target = self._url.raw_path.rstrip("/") + path
        fields = {
            "Host": self._url.host_port_subcomponent or "",
            **self._headers,
            **headers,
            "Content-Length": str(len(body)),
        }
        lines = [f"{name}: {value}" for name, value in fields.items()]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header has a line end in it")
        return "\r\n".join((f"POST {target} HTTP/1.1", *lines, "", "")).encode("utf-8") + body

    async def _connect(self) -> _Connection:
        """Raises OSError."""
        host, port = self._url.raw_host or "", self._url.port or 80
        secure = self._url.scheme == "https"
        if secure and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, host, port, ssl=self._tls, server_hostname=host if secure else None
                )
        except TimeoutError as fault:
            raise ConnectionError(f"cannot connect to {host}:{port} within {CONNECT_TIMEOUT_S:g} s") from fault
        except OSError as fault:
            raise ConnectionError(f"cannot connect to {host}:{port} ({fault.strerror or fault})") from fault
        return connection

    # Connections that wait for the next request ----------------------------------------------------------------------

    def _kept(self) -> _Connection | None:
        """The connection that was used last, if the server will not have closed it yet."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection, since = self._idle.pop()
            if connection.reusable and now - since < KEEPALIVE_S:
                return connection
            connection.close()
        return None

    def _keep(self, connection: _Connection) -> None:
        if not connection.reusable:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        self._idle.append((connection, loop.time()))
        if self._sweeper is None:
            self._sweeper = loop.call_later(KEEPALIVE_S, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long; the oldest are first."""
        loop = asyncio.get_running_loop()
        old = loop.time() - KEEPALIVE_S
        while self._idle and (self._idle[0][1] <= old or self._idle[0][0].closed):
            self._idle.pop(0)[0].close()
        self._sweeper = loop.call_later(KEEPALIVE_S, self._sweep) if self._idle else None
