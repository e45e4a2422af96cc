"""What people do at the page, in a real browser, with the bundled model behind it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from support.browser import PATIENCE_MS, answered, ask, messages, opened, shot
from support.keeper import Keeper, kept

pytestmark = pytest.mark.asyncio(loop_scope="module")
MANY = 200
SHORT = {"max_tokens": 40}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def keeper(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Keeper]:
    async with kept(tmp_path_factory.mktemp("page")) as server:
        yield server


async def posted(keeper: Keeper, path: str, body: dict[str, Any], method: str = "POST") -> dict[str, Any]:
    async with aiohttp.ClientSession() as http, http.request(method, keeper.url + path, json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json()  # type: ignore[no-any-return]


async def short_chat(keeper: Keeper, **style: Any) -> str:
    """A new chat whose answers end soon."""
    body = {"style": {**SHORT, "temperature": 0, **style}}
    return str((await posted(keeper, "/v1/chats", body))["id"])


async def test_first_visit_to_first_answer(browser: Browser, keeper: Keeper) -> None:
    async with opened(browser, keeper.url) as page:
        await expect(page.get_by_role("heading", name="What shall we talk about?")).to_be_visible()
        await ask(page, "Why does bread rise?")
        await expect(messages(page, "You")).to_have_text(re.compile("Why does bread rise"))
        await expect(messages(page)).to_have_text(re.compile(r"\w+ \w+ \w+"), timeout=PATIENCE_MS)
        await page.get_by_role("button", name="Stop").click()
        await answered(page)
        title = page.get_by_role("complementary").get_by_role("link", name=re.compile("Why does bread rise"))
        await expect(title).to_be_visible()


async def test_a_reload_in_mid_stream_loses_nothing(browser: Browser, keeper: Keeper) -> None:
    chat = await short_chat(keeper, max_tokens=120)
    async with opened(browser, f"{keeper.url}/chat/{chat}") as page:
        await ask(page, "Tell me a story about a lighthouse.")
        await expect(messages(page)).to_have_text(re.compile(r"\w+ \w+ \w+"))
        await page.reload()
        await expect(page.get_by_role("button", name="Stop")).to_be_visible()
        await answered(page)
        await expect(messages(page)).to_have_count(1)
        await expect(messages(page, "You")).to_have_count(1)
        said = await messages(page).locator(".prose").inner_text()
    assert in_order(said, await last_text(keeper, chat))


async def test_a_killed_server_goes_on_where_it_was(browser: Browser, keeper: Keeper) -> None:
    chat = await short_chat(keeper, max_tokens=120)
    async with opened(browser, f"{keeper.url}/chat/{chat}") as page:
        await ask(page, "Tell me a story about a night train.")
        await expect(messages(page)).to_have_text(re.compile(r"\w+ \w+ \w+"))
        await keeper.kill_in_place()
        await answered(page)
        await expect(messages(page)).to_have_count(1)
        said = await messages(page).locator(".prose").inner_text()
    assert in_order(said, await last_text(keeper, chat))


async def test_edit_regenerate_and_fork(browser: Browser, keeper: Keeper) -> None:
    chat = await short_chat(keeper)
    async with opened(browser, f"{keeper.url}/chat/{chat}") as page:
        await ask(page, "Name a colour.")
        await answered(page)
        first = await messages(page).inner_text()
        await messages(page, "You").hover()
        await page.get_by_role("button", name="Edit").click()
        await page.get_by_role("textbox", name="Edit your message").fill("Name an animal.")
        await page.get_by_role("textbox", name="Edit your message").press("Enter")
        await expect(messages(page, "You")).to_have_text(re.compile("Name an animal"))
        await answered(page)
        branches = page.get_by_role("group", name="Branches")
        await expect(branches).to_contain_text("2/2")
        await shot(page, "branches")
        await page.get_by_role("button", name="Previous branch").click()
        await expect(messages(page, "You")).to_have_text(re.compile("Name a colour"))
        await expect(messages(page)).to_contain_text(first.splitlines()[0])
        await messages(page).hover()
        await page.get_by_role("button", name="Answer again").click()
        await answered(page)
        await expect(messages(page).get_by_role("group", name="Branches")).to_contain_text("2/2")
        await messages(page).hover()
        await page.get_by_role("button", name="Go on from here in a new chat").click()
        await expect(page).not_to_have_url(re.compile(chat))
        await expect(messages(page, "You")).to_have_text(re.compile("Name a colour"))


async def test_one_prompt_to_two_hundred_chats(browser: Browser, keeper: Keeper) -> None:
    async with opened(browser, f"{keeper.url}/wall") as page:
        await page.get_by_role("button", name="Ask many").first.click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("textbox", name="Prompt", exact=True).fill("Write one line about the number {{n}}.")
        rows = "\n".join(["n", *(str(number) for number in range(MANY))])
        await dialog.get_by_role("textbox", name="Table").fill(rows)
        await dialog.get_by_label("Longest answer, tokens").fill("8")
        await dialog.get_by_role("button", name=f"Ask {MANY} chats").click()
        await expect(page.get_by_role("dialog")).to_be_hidden()
        tiles = page.get_by_role("list", name="Chats", exact=True).get_by_role("listitem")
        await expect(tiles.filter(has_text="Write one line about the number")).to_have_count(MANY)
        await shot(page, "wall")
        waiting = page.get_by_role("radio", name=re.compile(r"^Waiting"))
        running = page.get_by_role("radio", name=re.compile(r"^Answering"))
        for state in (waiting, running):
            await expect(state).to_have_accessible_name(re.compile(r"\D0$"), timeout=5 * PATIENCE_MS)
    chats = await listed(keeper, "Write one line about the number")
    assert len(chats) == MANY
    assert {chat["state"] for chat in chats} == {"idle"}
    assert {chat["last_response"]["status"] for chat in chats} <= {"completed", "incomplete"}


async def listed(keeper: Keeper, search: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with aiohttp.ClientSession() as http:
        after = ""
        while True:
            params = {"search": search, "limit": "100", **({"after": after} if after else {})}
            async with http.get(f"{keeper.url}/v1/chats", params=params) as response:
                page = await response.json()
            found += page["data"]
            if not page["has_more"]:
                return found
            after = page["last_id"]


async def last_text(keeper: Keeper, chat: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"{keeper.url}/v1/chats/{chat}/items?order=desc") as response:
        items = (await response.json())["data"]
    return "".join(part["text"] for part in items[0]["content"])


def in_order(shown: str, said: str) -> bool:
    """Whether every word that was said is shown, in order and once: Markdown changes only what stands between."""
    return re.findall(r"\w+", shown) == re.findall(r"\w+", said)
