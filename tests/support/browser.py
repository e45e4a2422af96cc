"""Debian's Chromium, driven by Playwright, at the page of a running server."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Locator, Page, async_playwright

FLAGS = (
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 60_000
"""For what a small model on two cores says sooner or later."""
AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
SHOTS = Path(os.environ["PAGE_SHOTS"]) if os.environ.get("PAGE_SHOTS") else None
"""Where pictures of the screens go; ``make page-shots`` sets it."""
EXPECTED = ("net::ERR_", "Failed to load resource")
"""What Chromium itself says in the console when a server is away or refuses something."""


def chromium_path() -> str:
    """Raises AssertionError with the way out."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "there is no Chromium; on Debian: apt-get install chromium"
    return found


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def opened(browser: Browser, url: str, **options: Any) -> AsyncIterator[Page]:
    """A visit of its own (no cookies, nothing remembered). Whatever the page says in the console fails the test."""
    context = await browser.new_context(
        **{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", "reduced_motion": "reduce", **options}
    )
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda said: trouble.append(said.text) if said.type == "error" else None)
    page.on("dialog", lambda dialog: trouble.append(f"a dialog: {dialog.message}"))
    try:
        await page.goto(url)
        yield page
    finally:
        await context.close()
    assert [line for line in trouble if not any(known in line for known in EXPECTED)] == []


async def shot(page: Page, name: str) -> None:
    """A picture for docs/img, where pictures are asked for."""
    if SHOTS is not None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=SHOTS / f"{name}.png")


async def serious(page: Page) -> list[str]:
    """What axe finds serious or critical on the screen as it is now. Needs a context with ``bypass_csp``."""
    await page.add_script_tag(path=AXE)
    found = await page.evaluate("() => axe.run()")
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def messages(page: Page, label: str = "Answer") -> Locator:
    """All messages of the open chat with that name: Answer, You."""
    return page.get_by_role("article", name=label, exact=True)


async def ask(page: Page, text: str) -> None:
    await page.get_by_role("textbox", name="Message").fill(text)
    await page.get_by_role("textbox", name="Message").press("Enter")


async def answered(page: Page) -> None:
    """Nothing is being written in the open chat."""
    await page.get_by_role("button", name="Stop").wait_for(state="detached")
    await page.get_by_role("button", name="Send").wait_for()
