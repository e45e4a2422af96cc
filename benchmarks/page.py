"""The page in headless Chromium: what it weighs, how soon it is there, how smooth the wall is, what it keeps in memory.

Each visit is one of a browser that knows nothing yet. First paint is Chromium's first contentful paint; the page is
ready when its box to write in is there. Bytes are those of the bodies as they were sent, compressed. A chat of 2,000
messages is open when its last message is on the screen. On the wall every tile is written to by the
simulated engine, at 10 tokens/s where ``--rate`` of all allows it; what came of it is told. A
frame is late that comes more than 33 ms after the one before. Memory is what the page's JavaScript
holds after a collection, and what the process that draws it has resident, with 200 answers being written all the time.

usage: python -m benchmarks.page [--visits 7] [--tiles 50 200 500] [--seconds 10] [--minutes 3] [--rate 2000]
                                [--note "what else ran"]
       python -m benchmarks.page --other NAME=URL=SELECTOR   (another page: first paint, ready, bytes)
       Needs `make dev` and Chromium. Each run replaces the parts that it has measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from playwright.async_api import Browser, Page, async_playwright
from playwright.async_api import TimeoutError as PlaywrightTimeout

from benchmarks.table import RESULTS, stamp, write
from hubbub.cli.server_process import ServerProcess

START_SECONDS = 120.0
BOX = "textarea"
LONG = 2000
STREAMS = 200
ANSWER_TOKENS = 1500
ROUND = 1.05
"""Chats are asked again after so many times the time that an answer takes."""
LATE_MS = 1000 / 30
FIRST_TILES = 250
"""Tiles that the wall shows before it is asked for more."""
RAMP_MS = 60_000
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--enable-precise-memory-info",
)
ITL_MS = 100
FLAGS_OF_ENGINE = (
    "--itl-ms {itl_ms:.0f} --output-median 100000 --output-sigma 0 --context-window 200000"
    " --max-sequences 512 --kv-tokens 20000000"
)
CONFIG = f"""
[engine]
flags = "{FLAGS_OF_ENGINE}"
"""
WATCH = """(selector) => {
  new MutationObserver(() => {
    if (window.readyAt === undefined && document.querySelector(selector)) window.readyAt = performance.now();
  }).observe(document, { childList: true, subtree: true });
}"""
SHOWN = """(text) => new Promise((done) => {
  const look = () => {
    const there = document.querySelector(".messages-list")?.textContent.includes(text);
    // The frame after the one that it was drawn in: its pixels are out.
    requestAnimationFrame(there ? () => done(performance.now()) : look);
  };
  look();
})"""
TOLD = """async () => {
  const paint = await new Promise((done) => new PerformanceObserver((list) => {
    const first = list.getEntriesByName("first-contentful-paint")[0];
    if (first) done(first.startTime);
  }).observe({ type: "paint", buffered: true }));
  const files = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  const size = (list) => list.reduce((sum, file) => sum + file.encodedBodySize, 0);
  const scripts = files.filter((file) => new URL(file.name).pathname.endsWith(".js"));
  return {
    paint_ms: paint, ready_ms: window.readyAt, requests: files.length, bytes: size(files), script_bytes: size(scripts),
  };
}"""
FRAMES = """(ms) => new Promise((done) => {
  const deltas = [];
  let drawn = 0;
  const watch = new MutationObserver((changes) => (drawn += changes.length));
  watch.observe(document.querySelector(".tiles"), { characterData: true, childList: true, subtree: true });
  let last = performance.now();
  const end = last + ms;
  const tick = (now) => {
    deltas.push(now - last);
    last = now;
    if (now < end) requestAnimationFrame(tick);
    else done({ deltas: deltas.slice(1), drawn });
  };
  requestAnimationFrame(tick);
})"""
HEADER = ("what", "figure")


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Raises RuntimeError where there is no Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        raise RuntimeError("there is no Chromium; on Debian: apt-get install chromium")
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield found
        finally:
            await found.close()


@contextlib.asynccontextmanager
async def visit(found: Browser, url: str, box: str = BOX, text: str = "") -> AsyncIterator[Page]:
    """``window.shownAt`` becomes when that text of a chat was on the screen, in milliseconds after the visit began."""
    context = await found.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    try:
        page = await context.new_page()
        await page.add_init_script(f"({WATCH})({json.dumps(box)})")
        if text:
            await page.add_init_script(f"window.shownAt = ({SHOWN})({json.dumps(text)})")
        await page.goto(url)
        yield page
    finally:
        await context.close()


@contextlib.asynccontextmanager
async def server(itl_ms: float = ITL_MS) -> AsyncIterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="hubbub-page-"))
    config = folder / "hubbub.toml"
    config.write_text(CONFIG.format(itl_ms=itl_ms))
    flags = ["--port", "0", "--data", str(folder / "data"), "--config", str(config), "--engine", "simulated"]
    running = await ServerProcess.launch(flags, folder / "server.log")
    try:
        yield await running.ready(START_SECONDS)
    finally:
        await running.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def main(options: argparse.Namespace) -> None:
    saved = RESULTS / "page.json"
    told: dict[str, Any] = json.loads(saved.read_text()) if saved.exists() else {}
    async with browser() as found:
        if options.other:
            name, url, box = options.other.split("=", 2)
            told.setdefault("others", {})[name] = await first_visits(found, url, options.visits, box)
        else:
            told |= await ours(found, options)
    note = (__doc__ or "").partition("usage:")[0]
    if options.note:
        told["beside"] = options.note
    write("page", HEADER, rows(told), told | stamp(), f"{note}\n{told.get('beside', '')}")


async def ours(found: Browser, options: argparse.Namespace) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if options.visits:
        async with server() as url:
            told["first"] = await first_visits(found, url, options.visits, BOX)
            told["long_chat"] = await long_chat(found, url, options.visits)
    if options.tiles:
        told["wall"] = []
    for tiles in options.tiles:
        async with server(pace(tiles, options.rate)) as url:
            told["wall"].append(await wall(found, url, tiles, options))
    if options.minutes:
        async with server(pace(STREAMS, options.rate)) as url:
            told["memory"] = await memory(found, url, options)
    return told


def pace(streams: int, rate: float) -> float:
    """Milliseconds between tokens of one answer."""
    return max(ITL_MS, 1000 * streams / rate)


async def first_visits(found: Browser, url: str, visits: int, box: str) -> dict[str, float]:
    """Medians."""
    seen: list[dict[str, float]] = []
    for _ in range(visits):
        async with visit(found, url, box) as page:
            await page.locator(box).first.wait_for()
            seen.append(await page.evaluate(TOLD))
    return {name: round(statistics.median(one[name] for one in seen)) for name in seen[0]}


async def long_chat(found: Browser, url: str, visits: int) -> dict[str, float]:
    """Milliseconds from the address to the last message (p50, worst), and from the click in a page that is open."""
    chat = await bring_long_chat(url)
    last = f"Message {LONG - 1} of a long chat."
    visited, clicked = [], []
    for _ in range(visits):
        async with visit(found, f"{url}/chat/{chat}", text=last) as page:
            visited.append(await page.evaluate("() => window.shownAt"))
            await page.get_by_text(last).wait_for(timeout=1000)
        async with visit(found, url) as page:
            link = page.get_by_role("link", name="A long chat", exact=True)
            await link.wait_for()
            began = await page.evaluate("() => performance.now()")
            await link.click()
            clicked.append(await page.evaluate(SHOWN, last) - began)
            await page.get_by_text(last).wait_for(timeout=1000)
    return {
        "messages": LONG,
        "open_ms": round(statistics.median(visited)),
        "open_worst_ms": round(max(visited)),
        "click_ms": round(statistics.median(clicked)),
    }


async def bring_long_chat(url: str) -> str:
    nodes: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
    for number in range(LONG):
        key, before = f"m{number}", f"m{number - 1}" if number else "root"
        text = f"Message {number} of a long chat.\n\n- one\n- *two*\n\n`code {number}` and some words."
        said = {
            "id": key,
            "author": {"role": "assistant" if number % 2 else "user"},
            "create_time": 1.7e9 + number,
            "content": {"content_type": "text", "parts": [text]},
        }
        nodes[key] = {"id": key, "message": said, "parent": before, "children": []}
    chat = {
        "id": "long",
        "title": "A long chat",
        "create_time": 1.7e9,
        "mapping": nodes,
        "current_node": f"m{LONG - 1}",
    }
    async with aiohttp.ClientSession(headers={"Content-Type": "application/octet-stream"}) as http:
        data = json.dumps([chat]).encode()
        async with http.post(f"{url}/v1/chats/import?name=conversations.json", data=data) as response:
            return str((await response.json())["chats"][0])


@contextlib.asynccontextmanager
async def streams(url: str, count: int, itl_ms: float) -> AsyncIterator[None]:
    """So many new chats that are written to, asked again where an answer has ended; stopped and deleted at the end."""
    async with aiohttp.ClientSession() as http:
        said = await asked(http, url, {"new": count})
        assert len(said["accepted"]) == count, said["refused"]
        last = {one["chat"]: one["response"] for one in said["accepted"]}

        async def go_on() -> None:
            while True:
                await asyncio.sleep(ROUND * ANSWER_TOKENS * itl_ms / 1000)
                again = await asked(http, url, {"chats": list(last)})
                last.update((one["chat"], one["response"]) for one in again["accepted"])

        going = asyncio.create_task(go_on())
        try:
            yield
        finally:
            going.cancel()
            for response in last.values():
                await http.post(f"{url}/v1/responses/{response}/cancel")
            for chat in last:
                await http.delete(f"{url}/v1/chats/{chat}")


async def asked(http: aiohttp.ClientSession, url: str, whom: dict[str, Any]) -> Any:
    body = {"template": "Go on and on.", "max_output_tokens": ANSWER_TOKENS, **whom}
    async with http.post(f"{url}/v1/chats/broadcast", json=body) as response:
        said = await response.json()
        assert response.status == 200, said
        return said


async def wall(found: Browser, url: str, tiles: int, options: argparse.Namespace) -> dict[str, Any]:
    async with streams(url, tiles, pace(tiles, options.rate)), visit(found, f"{url}/wall") as page:
        await all_written(page, tiles)
        seen = await page.evaluate(FRAMES, options.seconds * 1000)
        written = await page.locator(".tile.told").count()
        tokens_s = await output_rate(url)
    deltas = sorted(seen["deltas"])
    return {
        "tiles": tiles,
        "written": written,
        "tokens_s": tokens_s,
        "frames_s": round(1000 * len(deltas) / sum(deltas), 1),
        "p50_ms": round(deltas[len(deltas) // 2], 1),
        "p95_ms": round(deltas[int(len(deltas) * 0.95)], 1),
        "worst_ms": round(deltas[-1], 1),
        "late": round(sum(delta > LATE_MS for delta in deltas) / len(deltas), 4),
        "drawn_s": round(seen["drawn"] / options.seconds),
    }


async def all_written(page: Page, tiles: int) -> None:
    """Returns when every tile shows words of its answer, or after a while in which not all have come to it."""
    if tiles > FIRST_TILES:
        await page.get_by_role("button", name="Show more").click()
    with contextlib.suppress(PlaywrightTimeout):
        await page.wait_for_function(
            f"() => document.querySelectorAll('.tile.told').length >= {tiles}", timeout=RAMP_MS
        )
    await page.evaluate(FRAMES, 2000)


async def output_rate(url: str) -> float | None:
    """Tokens a second of all answers, as the engine room tells it; None where it cannot say."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/room") as response:
        rate = (await response.json())["now"]["output_tokens_s"]
    return None if rate is None else round(rate)


async def memory(found: Browser, url: str, options: argparse.Namespace) -> dict[str, Any]:
    """A sample every 20 seconds."""
    minutes = options.minutes
    samples: list[dict[str, float | None]] = []
    async with streams(url, STREAMS, pace(STREAMS, options.rate)), visit(found, f"{url}/wall") as page:
        session = await page.context.new_cdp_session(page)
        await all_written(page, STREAMS)
        began = time.monotonic()
        while (at := time.monotonic() - began) < minutes * 60:
            await session.send("HeapProfiler.collectGarbage")
            heap = await page.evaluate("() => performance.memory.usedJSHeapSize")
            nodes = await page.evaluate("() => document.querySelectorAll('*').length")
            samples.append(
                {
                    "s": round(at),
                    "heap_mb": round(heap / 1e6, 1),
                    "rss_mb": round(renderer() / 1e6),
                    "elements": nodes,
                    "tokens_s": await output_rate(url),
                }
            )
            print(f"{at / 60:.1f} of {minutes:g} min: {samples[-1]}", flush=True)
            await asyncio.sleep(20)
    return {"streams": STREAMS, "minutes": minutes, "samples": samples}


def renderer() -> int:
    """Resident bytes of the largest process that draws pages, among those this program has started."""
    sizes = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "--type=renderer" in process.cmdline():
                sizes.append(process.memory_info().rss)
    return max(sizes, default=0)


def rows(told: dict[str, Any]) -> Sequence[Sequence[str]]:
    lines: list[tuple[str, str]] = []
    for name, first in {"chat page": told.get("first"), **told.get("others", {})}.items():
        if first:
            sent, scripts = first["bytes"] / 1000, first["script_bytes"] / 1000
            lines.append((f"{name}: sent", f"{sent:.0f} kB in {first['requests']} files ({scripts:.0f} kB scripts)"))
            lines.append((f"{name}: first contentful paint, ms", f"{first['paint_ms']}"))
            lines.append((f"{name}: ready to write in, ms", f"{first['ready_ms']}"))
    if chat := told.get("long_chat"):
        what = f"chat of {chat['messages']} messages"
        lines.append((f"{what}, from its address, ms", f"{chat['open_ms']} (worst {chat['open_worst_ms']})"))
        lines.append((f"{what}, by a click, ms", f"{chat['click_ms']}"))
    for one in told.get("wall", []):
        late = f"95 % within {one['p95_ms']} ms, worst {one['worst_ms']} ms, late {100 * one['late']:.1f} %"
        figures = f"{one['frames_s']} frames/s, {one['drawn_s']} texts drawn a second; {late}"
        what = f"wall, {one['tiles']} tiles, {one['written']} being written, together {one['tokens_s']} tokens/s"
        lines.append((what, figures if one["drawn_s"] else "no figure: nothing was written on it meanwhile"))
    if kept := told.get("memory"):
        first, last = kept["samples"][0], kept["samples"][-1]
        rate = statistics.median(one["tokens_s"] or 0 for one in kept["samples"])
        what = f"{kept['streams']} streams, together {rate:.0f} tokens/s, {kept['minutes']:g} min"
        for key, name in (("heap_mb", "JavaScript heap"), ("rss_mb", "resident")):
            most = max(one[key] for one in kept["samples"])
            lines.append((f"{what}: {name}, MB", f"{first[key]} at first, {last[key]} at last, {most} at most"))
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=7)
    parser.add_argument("--tiles", type=int, nargs="*", default=[50, 200, 500])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument(
        "--rate",
        type=float,
        default=2000,
        help="tokens/s of all answers at most: server, engine and browser share the machine, and what they cannot keep"
        " up with is no measurement [2000]",
    )
    parser.add_argument("--note", default="", help="what else ran on the machine")
    parser.add_argument("--other", default="", metavar="NAME=URL=SELECTOR")
    asyncio.run(main(parser.parse_args()))
