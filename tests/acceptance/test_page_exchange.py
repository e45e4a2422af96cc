"""Chats brought to the page and taken from it, and the words and colours of every screen."""

from __future__ import annotations

import json
import re
import time
import zipfile
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Download, FilePayload, Page, expect

from support.browser import PATIENCE_MS, answered, ask, messages, opened, serious, shot
from support.exchange_kit import NOTES, branching, export, packed
from support.keeper import Keeper, kept
from support.pages import ECHO, SIMULATED, brought, named, shelf

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCREENS = ("/", "/wall", "/plan", "/corpus", "/engine", "/keys", "/import")
PICTURES = ("/plan", "/import")
NAMES = re.compile(
    r"Hubbub|English|Obsidian|ChatGPT|Nexus|Markdown|JSON|CSV|LoRA|Top-p|KV|API|GPU|Ctrl|Shift|Alt|Esc|Enter|Python"
    r"|\.zip|\.json|\.md|conversations|simulated|BF16|hubbub serve --keys required|[kMGTP]B"
)
"""What is called so in Russian, too."""
# Titles of chats are not the page's.
SAID = """() => {
  const OF_OTHERS = "select, pre, code, script, noscript, .chat-row, .tile";
  const said = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const place = walk.currentNode.parentElement;
    if (!place.closest(OF_OTHERS)) said.push(walk.currentNode.data);
  }
  for (const place of document.querySelectorAll("[aria-label], [title], [placeholder], [alt]"))
    if (!place.closest(OF_OTHERS))
      for (const name of ["aria-label", "title", "placeholder", "alt"]) said.push(place.getAttribute(name) ?? "");
  return said;
}"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def keeper(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Keeper]:
    async with kept(tmp_path_factory.mktemp("exchange"), SIMULATED, ECHO) as server:
        yield server


def file(name: str, data: bytes) -> FilePayload:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


async def data_of(download: Download) -> bytes:
    return Path(await download.path()).read_bytes()


async def taken(page: Page, act: str) -> bytes:
    """What that act of the open chat's menu downloads."""
    await page.get_by_role("button", name="Chat menu").click()
    async with page.expect_download() as download:
        await page.get_by_role("menuitem", name=act).click()
    return await data_of(await download.value)


async def test_bring_go_on_and_take(browser: Browser, keeper: Keeper) -> None:
    async with opened(browser, f"{keeper.url}/import") as page:
        await page.get_by_label("Choose files").first.set_input_files([file("conversations.json", export(branching()))])
        await expect(page.get_by_text("1 new chat", exact=True)).to_be_visible()
        await page.get_by_role("link", name="Open the first").click()
        await expect(messages(page)).to_contain_text("To find each other.")
        await messages(page).hover()
        await page.get_by_role("button", name="Previous branch").click()
        await expect(messages(page)).to_contain_text("To be heard.")
        await ask(page, "Who hears them?")
        await expect(messages(page).last).to_contain_text("Who hears them?")
        await answered(page)
        chat = json.loads(await taken(page, "Export as JSON"))
        said = str(chat["mapping"])
        assert all(
            text in said for text in ("To be heard.", "To find each other.", "And *at night*?", "Who hears them?")
        )
        text = (await taken(page, "Export as Markdown")).decode()
        assert text.index("To be heard.") < text.index("Who hears them?")
        await page.goto(f"{keeper.url}/import")
        back = file("chat.json", json.dumps([chat]).encode())
        await page.get_by_label("Choose files").first.set_input_files([back])
        await expect(page.get_by_text("1 already here", exact=True)).to_be_visible()


async def test_a_vault_comes_back_byte_for_byte(browser: Browser, keeper: Keeper) -> None:
    vault = {f"Vault/note {number}.md": note.encode() for number, note in enumerate(NOTES)}
    async with opened(browser, f"{keeper.url}/import") as page:
        await page.get_by_label("Choose files").first.set_input_files([file("vault.zip", packed(vault))])
        await expect(page.get_by_text(f"{len(NOTES)} new chats", exact=True)).to_be_visible()
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Download as Obsidian notes").click()
        with zipfile.ZipFile(BytesIO(await data_of(await download.value))) as archive:
            assert {name: archive.read(name) for name in vault} == vault
        await page.get_by_role("link", name="Open the first").click()
        await ask(page, "Goes on.")
        await expect(messages(page).last).to_contain_text("Goes on.")
        await answered(page)
        note = await taken(page, "Export as Obsidian note")
    assert b"> Goes on." in note


async def test_russian(browser: Browser, keeper: Keeper) -> None:
    async with opened(browser, f"{keeper.url}/import", locale="ru-RU") as page:
        for count, said in ((1, "1 новый чат"), (3, "3 новых чата"), (5, "5 новых чатов")):
            chats = [named(f"Кит {count} {number}", "Почему киты поют?", "Их слышно.") for number in range(count)]
            await page.get_by_label("Выбрать файлы").first.set_input_files([file(f"{count}.json", export(*chats))])
            await expect(page.get_by_text(said, exact=True)).to_be_visible()
        for path in SCREENS:
            await page.goto(keeper.url + path)
            await settled(page)
            assert english(await page.evaluate(SAID)) == [], path
        await page.goto(keeper.url)
        await page.get_by_role("link", name="Кит 1 0", exact=True).click()
        await expect(page.get_by_role("article", name="Ответ")).to_contain_text("Их слышно.")
        await page.get_by_role("button", name="Стиль чата").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert english(await page.evaluate(SAID)) == []


def english(said: list[str]) -> list[str]:
    """Words in Latin letters that are no names."""
    return sorted({text.strip() for text in said if re.search(r"[A-Za-z]{2}", NAMES.sub("", text))})


async def settled(page: Page) -> None:
    """All that the screen shows first is there."""
    await expect(page.locator("main .screen, main .empty h2").first).to_be_visible()
    # The planner's own process starts with the first question to it: long on a machine with much else to do.
    await expect(page.locator("main .empty .spinner"), page.url).to_have_count(0, timeout=PATIENCE_MS)


async def test_everybody_can_read_every_screen(browser: Browser, keeper: Keeper) -> None:
    chat = (await brought(keeper.url, *shelf(time.time())))[0]
    async with opened(browser, keeper.url, bypass_csp=True) as page:
        for path in SCREENS:
            await page.goto(keeper.url + path)
            await settled(page)
            assert await serious(page) == [], path
            if path in PICTURES:
                await shot(page, path.strip("/"))
        await page.goto(f"{keeper.url}/chat/{chat}")
        await expect(messages(page)).to_be_visible()
        assert await serious(page) == []
        await shot(page, "chat")
        await page.set_viewport_size({"width": 390, "height": 844})
        await expect(page.get_by_role("button", name="Open the sidebar")).to_be_visible()
        await shot(page, "phone")
        await page.get_by_role("button", name="Style of this chat").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await serious(page) == []
