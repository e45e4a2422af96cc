"""The streaming client against servers that say exactly these bytes, in these pieces."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from hubbub.core.errors import EngineError
from hubbub.http_stream import HttpPool

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b"4\r\ndata\r\n6\r\n: it\n\n\r\n0\r\n\r\n"
SIZED = b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy"


@dataclass
class Server:
    """Answers each request with the next of ``answers``, piece by piece; closes after one whose last piece is None."""

    answers: list[Sequence[bytes | None]]
    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)
    serving: set[asyncio.Task[None] | None] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.serving.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                if not await self._answer(writer):
                    break
        self.left.set()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _answer(self, writer: asyncio.StreamWriter) -> bool:
        for piece in self.answers.pop(0):
            if piece is None:
                return False
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return True


@contextlib.asynccontextmanager
async def talking(*answers: Sequence[bytes | None], path: str = "") -> AsyncIterator[tuple[Server, HttpPool]]:
    told = Server(list(answers))
    server = await asyncio.start_server(told.serve, "127.0.0.1", 0)
    told.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    pool = HttpPool(told.url + path, {"X-Mine": "yes"})
    try:
        async with asyncio.timeout(10):
            yield told, pool
    finally:
        pool.close()
        server.close()
        await asyncio.gather(*(task for task in told.serving if task is not None))


async def post(pool: HttpPool, most: int = 1000) -> tuple[int, bytes]:
    async with pool.post("/v1/x", b"{}", {"Content-Type": "application/json"}) as answer:
        body = await answer.text(most)
        await answer.drain()
        return answer.status, body


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_a_chunked_body_cut_anywhere(size: int) -> None:
    whole = CHUNKED + BODY
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    async with talking(pieces) as (_, pool):
        assert await post(pool) == (200, b"data: it\n\n")


async def test_what_is_sent() -> None:
    async with talking([CHUNKED + BODY], path="/prefix/") as (server, pool):
        await post(pool)
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /prefix/v1/x HTTP/1.1"
        assert {b"X-Mine: yes", b"Content-Type: application/json", b"Content-Length: 2"} <= set(lines)
        assert b"Host: " + server.url.removeprefix("http://").encode() in lines
        assert body == b"{}"


async def test_a_connection_serves_one_answer_after_the_other() -> None:
    async with talking([CHUNKED + BODY], [SIZED], [CHUNKED, BODY]) as (server, pool):
        assert [(await post(pool))[0] for _ in range(3)] == [200, 503, 200]
        assert server.connections == 1


async def test_a_connection_that_was_closed_in_the_meantime_is_replaced() -> None:
    async with talking([CHUNKED, BODY], [None], [CHUNKED, BODY]) as (server, pool):
        assert await post(pool) == await post(pool)
        assert (len(server.requests), server.connections) == (3, 2)


async def test_answers_at_the_same_time_have_connections_of_their_own() -> None:
    async with talking([CHUNKED + BODY], [CHUNKED + BODY]) as (server, pool):
        assert list(await asyncio.gather(post(pool), post(pool))) == [(200, b"data: it\n\n")] * 2
        assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        [CHUNKED[:-2] + b"Connection: close\r\n\r\n" + BODY],
        [CHUNKED + BODY + SIZED],  # more than was asked for
        [b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\ndata: it\n\n"],
        [CHUNKED + BODY, None],
    ],
)
async def test_a_connection_that_cannot_serve_again_is_not_used_again(answer: Sequence[bytes | None]) -> None:
    async with talking(answer, [CHUNKED + BODY]) as (server, pool):
        assert await post(pool) == (200, b"data: it\n\n")
        await asyncio.wait_for(server.left.wait(), 5)
        assert await post(pool) == (200, b"data: it\n\n")
        assert server.connections == 2


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async with talking([b"HTTP/1.1 200 OK\r\n\r\ndata", b": it\n\n", None]) as (_, pool):
        assert await post(pool) == (200, b"data: it\n\n")


async def test_early_hints_are_not_the_answer() -> None:
    async with talking([b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", SIZED]) as (_, pool):
        assert await post(pool) == (503, b"busy")


async def test_a_redirect_is_not_followed() -> None:
    moved = b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    async with talking([moved]) as (_, pool):
        assert await post(pool) == (307, b"")


async def test_headers_are_found_whatever_their_case() -> None:
    async with talking([SIZED]) as (_, pool), pool.post("/", b"", {}) as answer:
        assert answer.header("retry-AFTER") == "3"
        assert answer.header("x-other") is None


async def test_of_a_long_body_only_the_beginning_is_read() -> None:
    async with talking([b"HTTP/1.1 500 No\r\n\r\n", b"x" * 70_000]) as (_, pool), pool.post("/", b"", {}) as answer:
        assert await answer.text(10) == b"x" * 10


@pytest.mark.parametrize(
    "pieces",
    [
        [None],
        [CHUNKED[:20], None],
        [CHUNKED + BODY[:12], None],
        [SIZED[:-1], None],
        [b"SSH-2.0-OpenSSH\r\n"],
        [CHUNKED + b"zz\r\n"],
    ],
)
async def test_what_breaks_is_an_os_error(pieces: Sequence[bytes | None]) -> None:
    async with talking(pieces) as (_, pool):
        with pytest.raises(OSError):  # noqa: PT011 - the words are the parser's or the system's
            await post(pool)


async def test_nobody_listens() -> None:
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9"):
        await post(HttpPool("http://127.0.0.1:9", {}))


async def test_leaving_closes_the_connection() -> None:
    async with talking([CHUNKED, BODY[:9]]) as (server, pool):
        async with pool.post("/", b"", {}) as answer:
            assert answer.status == 200
        await server.left.wait()


async def test_what_the_listener_raises_comes_out() -> None:
    def refuse(_data: bytes) -> bool:
        raise EngineError("no")

    async with talking([CHUNKED, BODY]) as (_, pool):
        with pytest.raises(EngineError):
            async with pool.post("/", b"", {}) as answer:
                await answer.listen(refuse)


async def test_a_closed_pool_parts_who_waits() -> None:
    async with talking([CHUNKED]) as (_, pool), pool.post("/", b"", {}) as answer:
        asyncio.get_running_loop().call_soon(pool.close)
        with pytest.raises(OSError):  # noqa: PT011
            await answer.text(10)


async def test_a_header_cannot_smuggle_another() -> None:
    async with talking() as (_, pool):
        with pytest.raises(ValueError, match="line end"):
            async with pool.post("/", b"", {"X-Id": "1\r\nX-Admin: yes"}):
                pass
