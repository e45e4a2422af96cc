"""From a program just installed to the first answer in the browser, and what its page weighs: Hubbub, llama.cpp's own
page, Open WebUI.

Each begins with no data of its own. Seconds are those of the machine alone, without a person's reading and typing: from
the command that starts the program to a page that answers, and from the page's address to the first words of an answer.
Clicks are counted, and fields that have to be filled besides the question; sending is the Enter key. The model is
SmolLM2 135M each time: Hubbub's on its own engine, llama.cpp's the same weights as GGUF (Q4_1) on as many threads, and
Open WebUI asks that llama.cpp, as a server of the OpenAI API: it offers tools with every question, which Hubbub refuses
for a model whose chat template has no place for them. Bytes, paint and ready are those of ``benchmarks.page``,
medians of visits by browsers that know nothing yet; of Open WebUI's page before its first sign-up.

usage: python -m benchmarks.page_peers [--visits 5] [--open-webui /path/to/open-webui] [--note "what else ran"]
       Needs `make dev` and Chromium. Open WebUI is measured where its program is named; it comes from PyPI into an
       environment of its own (uv pip install open-webui: some 600 MB without torch, which its page does not need).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Browser, Locator, Page, expect
from playwright.async_api import TimeoutError as PlaywrightTimeout

from benchmarks.page import BOX, browser, first_visits, visit
from benchmarks.table import stamp, write
from hubbub.cli.server_process import ServerProcess
from hubbub.engines import xllamacpp_server
from hubbub.engines.models import resolve_model

START_S = 300.0
ANSWER_MS = 90_000
NEWS_MS = 5_000
WORDS = re.compile(r"([A-Za-z]+,? ){4}")
TOPIC = re.compile(r"bread|yeast|dough|ris(e|ing)", re.IGNORECASE)
QUESTION = "Why does bread rise?"
HEADER = (
    "",
    "sent, kB",
    "files",
    "first paint, ms",
    "ready, ms",
    "start, s",
    "clicks",
    "fields",
    "to the first words, s",
)
WEBUI_SETTINGS = {
    "OPENAI_API_KEY": "none",
    "ENABLE_OLLAMA_API": "false",
    # No models and no telemetry from elsewhere: this machine may have no network.
    "RAG_EMBEDDING_ENGINE": "openai",
    "OFFLINE_MODE": "true",
    "HF_HUB_OFFLINE": "1",
    "SCARF_NO_ANALYTICS": "true",
    "DO_NOT_TRACK": "true",
    "ANONYMIZED_TELEMETRY": "false",
}


class Hand:
    """Does what a person does at a page, and counts it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0
        self.fields = 0

    async def click(self, place: Locator) -> None:
        await place.click()
        self.clicks += 1

    async def fill(self, place: Locator, text: str) -> None:
        await place.fill(text)
        self.fields += 1

    async def ask(self, place: Locator) -> None:
        """The box to write in has the focus, or is clicked into."""
        await place.wait_for()
        if not await place.evaluate("box => box === document.activeElement || box.contains(document.activeElement)"):
            await self.click(place)
        await self.page.keyboard.type(QUESTION)
        await self.page.keyboard.press("Enter")


Steps = Callable[[Hand], Awaitable[None]]


@dataclass(frozen=True)
class Peer:
    """``box``: what is there when the first page is ready. ``steps``: from that to the question that is sent.
    ``answer``: holds the answer's words."""

    name: str
    box: str
    steps: Steps
    answer: str


async def hubbub_steps(hand: Hand) -> None:
    await hand.ask(hand.page.locator(BOX))


async def llamacpp_steps(hand: Hand) -> None:
    await hand.ask(hand.page.locator("textarea"))


async def webui_steps(hand: Hand) -> None:
    page = hand.page
    await hand.click(page.get_by_role("button", name="Get started"))
    for field, text in (("name", "Ann"), ("email", "ann@example.org"), ("password", "correct horse battery")):
        await hand.fill(page.locator(f"#{field}"), text)
    await hand.click(page.get_by_role("button", name="Create Admin Account"))
    news, box = page.get_by_role("button", name="Okay, Let's Go!"), page.locator("#chat-input")
    await expect(news.or_(box).first).to_be_visible(timeout=ANSWER_MS)
    # What is new in this version stands before the box, a moment after it.
    with contextlib.suppress(PlaywrightTimeout):
        await news.wait_for(timeout=NEWS_MS)
        await hand.click(news)
    await hand.ask(box)


HUBBUB = Peer("Hubbub", BOX, hubbub_steps, "article.assistant p")
LLAMACPP = Peer("llama.cpp's page", "textarea", llamacpp_steps, "p")
WEBUI = Peer("Open WebUI", "button", webui_steps, "#response-content-container p")


@contextlib.asynccontextmanager
async def hubbub(folder: Path) -> AsyncIterator[str]:
    flags = ["--port", "0", "--data", str(folder / "data"), "--engine", "openvino", "--model", "smollm2"]
    running = await ServerProcess.launch(flags, folder / "server.log")
    try:
        yield await running.ready(START_S)
    finally:
        await running.stop()


@contextlib.asynccontextmanager
async def llamacpp(folder: Path) -> AsyncIterator[str]:
    port = free_port()
    command = [
        sys.executable,
        str(Path(xllamacpp_server.__file__)),
        "--model",
        str(resolve_model("smollm2").path),
        "--alias",
        "smollm2",
    ]
    command += ["--port", str(port), "--threads", str(os.cpu_count()), "--ctx-size", "8192", "--jinja"]
    async with started(command, folder / "llamacpp.log", {}):
        yield f"http://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def webui(program: str, folder: Path, api: str) -> AsyncIterator[str]:
    port = free_port()
    command = [program, "serve", "--host", "127.0.0.1", "--port", str(port)]
    data = folder / "webui"
    data.mkdir()
    settings = WEBUI_SETTINGS | {"DATA_DIR": str(data), "OPENAI_API_BASE_URL": f"{api}/v1", "WEBUI_SECRET_KEY": "bench"}
    async with started(command, folder / "webui.log", settings):
        yield f"http://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def started(command: Sequence[str], log: Path, settings: Mapping[str, str]) -> AsyncIterator[None]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env={**os.environ, **settings},
            start_new_session=True,
        )
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def answers(url: str) -> None:
    """Returns when there is a page. Raises TimeoutError."""
    async with asyncio.timeout(START_S), aiohttp.ClientSession() as http:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(url) as response:
                    if response.status == 200 and "html" in response.content_type:
                        return
            await asyncio.sleep(0.05)


async def measured(found: Browser, peer: Peer, url: str, began: float, visits: int) -> dict[str, Any]:
    await answers(url)
    start_s = round(time.monotonic() - began, 1)
    print(f"{peer.name} is up after {start_s} s", flush=True)
    told: dict[str, Any] = await first_visits(found, url, visits, peer.box)
    told |= {"start_s": start_s} | await first_answer(found, peer, url)
    return told


async def first_answer(found: Browser, peer: Peer, url: str) -> dict[str, float]:
    began = time.monotonic()
    async with visit(found, url, peer.box) as page:
        hand = Hand(page)
        await peer.steps(hand)
        await page.locator(peer.answer).filter(has_text=WORDS).filter(has_text=TOPIC).first.wait_for(timeout=ANSWER_MS)
        seconds = time.monotonic() - began
    return {"clicks": hand.clicks, "fields": hand.fields, "first_words_s": round(seconds, 1)}


async def main(options: argparse.Namespace) -> None:
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="hubbub-peers-") as name:
        folder = Path(name)
        async with browser() as found:
            began = time.monotonic()
            async with hubbub(folder) as url:
                told[HUBBUB.name] = await measured(found, HUBBUB, url, began, options.visits)
            began = time.monotonic()
            async with llamacpp(folder) as api:
                told[LLAMACPP.name] = await measured(found, LLAMACPP, api, began, options.visits)
                if options.open_webui:
                    began = time.monotonic()
                    async with webui(options.open_webui, folder, api) as url:
                        told[WEBUI.name] = await measured(found, WEBUI, url, began, options.visits)
    note = (__doc__ or "").partition("usage:")[0]
    write(
        "page_peers", HEADER, rows(told), {"peers": told, "beside": options.note} | stamp(), f"{note}\n{options.note}"
    )


def rows(told: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    fields = ("requests", "paint_ms", "ready_ms", "start_s", "clicks", "fields", "first_words_s")
    return [[name, f"{one['bytes'] / 1000:.0f}", *(str(one[field]) for field in fields)] for name, one in told.items()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--open-webui", default="", metavar="PROGRAM")
    parser.add_argument("--note", default="", help="what else ran on the machine")
    asyncio.run(main(parser.parse_args()))
