"""An engine that costs next to nothing: a deterministic answer for every body, by a bare HTTP server on one core.

For measuring clients. The simulated engine makes each token of each answer and so is the limit itself at some 1,000
answers a second; this one cuts sentences out of a prepared text by the hash of the body, and is bad on purpose in one
answer of twelve.

``python benchmarks/instant_engine.py --port 0``: the first line on stdout is ``{"port": N}``. ``GET /asked``: how many
requests there were.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import zlib
from typing import cast

NOUNS = (
    "корпус модель ответ слово ветер город река память поезд письмо окно утро книга дорога музыка сад вечер море "
    "школа время снег голос дом лес мост улица хлеб рынок лампа картина зеркало остров корабль звезда трава камень"
)
VERBS = "видит помнит пишет ищет открывает хранит слышит строит теряет находит любит знает меняет рисует несёт"
SIGNS = (".", ".", ".", "!", "?")
MODEL = "instant"


def sentences(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    syllables = [a + b for a in "бвгдклмнпрст" for b in "аеиоу"]
    names = ["".join(rng.choices(syllables, k=rng.randint(2, 4))).capitalize() for _ in range(5000)]
    nouns, verbs = NOUNS.split(), VERBS.split()
    made = []
    for _ in range(count):
        words = [rng.choice(names), rng.choice(verbs), rng.choice(names), "и", *rng.sample(nouns, rng.randint(4, 9))]
        made.append(" ".join(words) + rng.choice(SIGNS))
    return made


class Engine(asyncio.Protocol):
    """Keep-alive HTTP/1.1 for what a corpus run asks; one write an answer."""

    asked = 0

    def __init__(self, texts: list[bytes], length: int, delay: float, good: bool) -> None:
        self.texts, self.length, self.delay, self.good = texts, length, delay, good
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.data) < end + 4 + size:
                return
            body = self.data[end + 4 : end + 4 + size]
            self.data = self.data[end + 4 + size :]
            answer = self.answer(body) if head.startswith(b"post") else self.page(head)
            last = b"connection: close" in head
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.say, answer, last)
            else:
                self.say(answer, last)

    def say(self, answer: bytes, last: bool) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(answer)
        if last:
            self.transport.close()

    def page(self, head: bytes) -> bytes:
        if head.startswith(b"get /v1/models"):
            return http(b"200 OK", b'{"object":"list","data":[{"id":"%s"}]}' % MODEL.encode())
        if head.startswith(b"get /asked"):
            return http(b"200 OK", b"%d" % Engine.asked)
        return http(b"404 Not Found", b"{}")

    def answer(self, body: bytes) -> bytes:
        Engine.asked += 1
        text = self.text(zlib.crc32(body[: len(body) // 2]) << 32 | zlib.crc32(body))
        return http(
            b"200 OK",
            b'{"id":"x","object":"chat.completion","model":"%s","choices":[{"index":0,"message":{"role":"assistant",'
            b'"content":"%s"},"finish_reason":"stop"}],"usage":{"prompt_tokens":50,"completion_tokens":%d,"total_tokens":%d}}'
            % (MODEL.encode(), text, len(text) // 5, len(text) // 5 + 50),
        )

    def text(self, mark: int) -> bytes:
        """One in twelve is bad: in another language, cut short, one sentence over and over, or said before."""
        kind = 47 if self.good else mark % 48
        if kind == 0:
            return b"The city is quiet tonight, and nobody in the long street knows why the lamps are out. " * 4
        if kind == 1:
            return "Коротко.".encode()
        if kind in (2, 3):
            mark = mark >> 8 & 0x3FF  # one of a thousand
        texts, count = self.texts, len(self.texts)
        said = []
        for _ in range(self.length):
            mark = (mark * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
            said.append(texts[(mark >> 33) % count])
        return b" ".join(said)


def http(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


async def serve(port: int, length: int, delay: float, good: bool) -> None:
    texts = [json.dumps(text, ensure_ascii=False)[1:-1].encode() for text in sentences(50_000, 7)]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Engine(texts, length, delay, good), "127.0.0.1", port, backlog=4096)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--sentences", type=int, default=8, help="an answer")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--good", action="store_true", help="no bad answers")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.sentences, options.delay_ms / 1e3, options.good))


if __name__ == "__main__":
    main()
