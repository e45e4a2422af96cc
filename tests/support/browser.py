"""Debian's Chromium, driven by Playwright, at the page of a running server."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, Locator, Page, async_playwright, expect

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
expect.set_options(timeout=PATIENCE_MS / 3)
AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
SHOTS = Path(os.environ["PAGE_SHOTS"]) if os.environ.get("PAGE_SHOTS") else None
"""Where pictures of the screens go; ``make page-shots`` sets it."""
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
STILL = "() => document.getAnimations().forEach((one) => one instanceof CSSTransition && one.finish())"
"""Colours are on their way for a moment after a change."""
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
    """Two pictures for docs/img, light and dark, where pictures are asked for."""
    if SHOTS is None:
        return
    SHOTS.mkdir(parents=True, exist_ok=True)
    await expect(page.locator(".spinner")).to_have_count(0, timeout=PATIENCE_MS)
    session = await page.context.new_cdp_session(page)
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        await page.evaluate(STILL)
        said = await session.send("Page.captureScreenshot", {"format": "webp", "quality": 82})
        (SHOTS / f"{name}-{scheme}.webp").write_bytes(base64.b64decode(said["data"]))
    await page.emulate_media(color_scheme="light")
    await session.detach()


async def serious(page: Page) -> list[str]:
    """What axe finds serious or critical on the screen as it is now, light and dark. Needs ``bypass_csp``."""
    await page.add_script_tag(path=AXE)
    found = await page.evaluate("() => axe.run({ resultTypes: ['violations'] })")
    await page.emulate_media(color_scheme="dark")
    await page.evaluate(STILL)
    dark = await page.evaluate("() => axe.run({ runOnly: ['color-contrast'], resultTypes: ['violations'] })")
    await page.emulate_media(color_scheme="light")
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"] + dark["violations"]
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
