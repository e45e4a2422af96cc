"""Chats at the page, on the simulated engine that says again what was said."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, FilePayload, Locator, Page, expect

from support.browser import answered, ask, messages, opened
from support.keeper import Keeper, kept
from support.pages import ATTACK, ECHO, FIRED, SIMULATED, brought, called, idle_chat, named

pytestmark = pytest.mark.asyncio(loop_scope="module")
MANY = 5000
DEEP = 600
LONG = 2000
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
ALIEN = "script:not([src]), iframe, object, embed, base, style, form[action], img:not([src='/icon.svg'])"
SCREENS = ("/", "/wall", "/plan", "/corpus", "/engine", "/keys", "/import")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def keeper(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Keeper]:
    async with kept(tmp_path_factory.mktemp("chats"), SIMULATED, ECHO) as server:
        yield server


def sidebar(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Main")


def row(page: Page, title: str) -> Locator:
    """A chat in the sidebar."""
    return sidebar(page).get_by_role("navigation", name="Chats").get_by_role("link", name=title, exact=True)


async def from_menu(page: Page, title: str, act: str) -> None:
    await row(page, title).hover()
    await page.get_by_role("button", name=f"Menu of “{title}”").click()
    await page.get_by_role("menuitem", name=act, exact=True).click()


# Screen by screen, as pages of the list come; the row has to be met on the way.
SCROLLED_TO = """async (list, title) => {
  const place = list.querySelector(".virtual");
  for (let frames = 0; frames < 3000; frames += 1) {
    for (const link of list.querySelectorAll("a")) if (link.textContent.trim() === title) return;
    place.scrollBy(0, 0.8 * place.clientHeight);
    await new Promise(requestAnimationFrame);
  }
  throw new Error(`${title} is not in the list`);
}"""


class Watch:
    """Every address that a page asks for, and every window it opens."""

    def __init__(self, page: Page, home: str) -> None:
        self._page, self._home = page, home
        self._asked: list[str] = []
        self._windows: list[str] = []
        page.on("request", lambda request: self._asked.append(request.url))
        page.on("popup", lambda window: self._windows.append(window.url))

    async def expect_nothing(self) -> None:
        """No script has run, nobody else was asked, nothing is there that could do either."""
        page = self._page
        assert await page.evaluate(f"() => window.{FIRED}") is None
        assert [url for url in self._asked if not url.startswith(self._home)] == []
        assert self._windows == []
        assert page.url.startswith(self._home)
        alien = page.locator(
            "script:not([src]), iframe, object, embed, base, style, form[action], img:not([src='/icon.svg'])"
        )
        await expect(alien).to_have_count(0)
        addresses = await page.locator("a").evaluate_all("links => links.map(link => link.href)")
        assert [link for link in addresses if not re.match(r"https?:|mailto:|$", link)] == []


async def test_what_a_model_says_does_nothing(browser: Browser, keeper: Keeper) -> None:
    async with opened(browser, keeper.url) as page:
        watch = Watch(page, keeper.url)
        await ask(page, ATTACK)
        await expect(messages(page)).to_contain_text("The end of it.")
        await answered(page)
        await expect(messages(page)).to_contain_text("onerror=")
        for link in await messages(page).get_by_text("a link", exact=True).all():
            await link.click(modifiers=["Alt"])
        await watch.expect_nothing()
        await page.get_by_role("link", name="Wall").click()
        await expect(page.get_by_role("list", name="Chats", exact=True)).to_contain_text("onerror=")
        await watch.expect_nothing()


async def test_what_a_file_brings_does_nothing(browser: Browser, keeper: Keeper) -> None:
    title = f"<img src=x onerror='window.{FIRED}=1'>"
    [chat] = await brought(keeper.url, named(title, ATTACK, ATTACK, "and needles in it"))
    async with opened(browser, f"{keeper.url}/import") as page:
        watch = Watch(page, keeper.url)
        bad: FilePayload = {"name": f"{title}.json", "mimeType": "application/json", "buffer": ATTACK.encode()}
        await page.get_by_label("Choose files").first.set_input_files([bad])
        await expect(page.get_by_text(title).first).to_be_visible()
        await expect(page.get_by_text("reading…")).to_have_count(0)
        await watch.expect_nothing()
        await page.goto(f"{keeper.url}/chat/{chat}")
        await expect(messages(page)).to_contain_text("The end of it.")
        await expect(page.get_by_role("heading", name=title)).to_be_visible()
        await watch.expect_nothing()
        await page.get_by_role("searchbox").fill("onerror")
        await expect(page.get_by_role("navigation", name="Search results").get_by_role("link").first).to_be_visible()
        await watch.expect_nothing()


async def test_five_thousand_chats(browser: Browser, keeper: Keeper) -> None:
    day = 86_400.0
    await brought(keeper.url, *(named(f"Of many {n}", "Hello", at=1_000_000_000.0 + n * day) for n in range(MANY)))
    async with opened(browser, keeper.url) as page:
        await expect(row(page, f"Of many {MANY - 1}")).to_be_attached()
        chats = sidebar(page).get_by_role("navigation", name="Chats")
        await chats.evaluate(SCROLLED_TO, f"Of many {MANY - DEEP}")
        assert await chats.get_by_role("link").count() < 200
        await row(page, f"Of many {MANY - DEEP}").click()
        await expect(messages(page, "You")).to_have_text(re.compile("Hello"))
        await page.get_by_role("searchbox").fill("Of many 2345")
        found = page.get_by_role("navigation", name="Search results").get_by_role("link")
        await expect(found).to_have_count(1)
        await found.click()
        await expect(page.get_by_role("heading", name="Of many 2345")).to_be_visible()


async def test_two_thousand_messages(browser: Browser, keeper: Keeper) -> None:
    texts = [f"Message {number} of many.\n\n- one\n- *two*" for number in range(LONG)]
    [chat] = await brought(keeper.url, named("A long chat", *texts))
    await called(keeper.url, "PATCH", f"/v1/chats/{chat}", {"style": {"max_tokens": 40}})
    async with opened(browser, f"{keeper.url}/chat/{chat}") as page:
        first, last = (page.get_by_text(f"Message {number} of many.") for number in (0, LONG - 1))
        to_end = page.get_by_role("button", name="To the newest message")
        await expect(last).to_be_in_viewport(ratio=1)
        await page.get_by_role("link", name="New chat").first.click()
        await row(page, "A long chat").click()
        await expect(last).to_be_in_viewport(ratio=1)
        await to_the_top(page, first)
        await to_end.click()
        await expect(last).to_be_in_viewport(ratio=1)
        await expect(to_end).to_be_hidden()
        await to_the_top(page, first)
        await ask(page, "Are you still there?")
        await expect(messages(page, "You").last).to_contain_text("Are you still there?")
        await expect(messages(page, "You").last).to_be_in_viewport(ratio=1)
        await expect(page.get_by_text("The answer was cut off here.")).to_be_in_viewport(ratio=1)
        await answered(page)
        await expect(messages(page, "You").last).to_contain_text("Are you still there?")
        await expect(to_end).to_be_hidden()


async def to_the_top(page: Page, first: Locator) -> None:
    """As one who reads a chat from its beginning, whose messages come in pages."""
    region = page.get_by_role("region", name="Messages")
    while not await first.is_visible():
        await region.evaluate("place => { place.scrollTop = 0; return new Promise(requestAnimationFrame); }")
    await region.evaluate("place => { place.scrollTop = 0; }")
    await expect(first).to_be_in_viewport(ratio=1)


async def test_who_reads_above_is_left_there(browser: Browser, keeper: Keeper) -> None:
    async with opened(browser, keeper.url) as page:
        region, to_end = (
            page.get_by_role("region", name="Messages"),
            page.get_by_role("button", name="To the newest message"),
        )
        await ask(page, "Many words.\n" * 150)
        await expect(messages(page)).to_contain_text("Many words.")
        await region.evaluate("place => { place.scrollTop = 300; }")
        await expect(to_end).to_be_visible()
        await answered(page)
        assert await region.evaluate("place => place.scrollTop") == 300
        await to_end.click()
        await expect(messages(page).last.get_by_role("button", name="Copy")).to_be_in_viewport(ratio=1)
        await expect(to_end).to_be_hidden()


async def test_a_whole_conversation_by_keyboard(browser: Browser, keeper: Keeper) -> None:
    async with opened(browser, keeper.url) as page:
        keys = page.keyboard
        await expect(page.get_by_role("textbox", name="Message")).to_be_focused()
        await keys.type("Say keyboard.")
        await keys.press("Enter")
        await expect(messages(page)).to_contain_text("Say keyboard.")
        await answered(page)
        await expect(page.get_by_role("textbox", name="Message")).to_be_focused()
        await keys.press("ArrowUp")
        await expect(page.get_by_role("textbox", name="Edit your message")).to_be_focused()
        await keys.press("Control+A")
        await keys.type("Say other keys.")
        await keys.press("Enter")
        await expect(messages(page)).to_contain_text("Say other keys.")
        await answered(page)
        await expect(page.get_by_role("group", name="Branches")).to_contain_text("2/2")
        await keys.press("Control+/")
        await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
        await keys.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await keys.press("Control+Shift+O")
        await expect(page.get_by_role("heading", name="What shall we talk about?")).to_be_visible()
        await keys.press("Control+K")
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await keys.type("other keys")
        await expect(page.get_by_role("navigation", name="Search results").get_by_role("link")).to_have_count(1)
        await keys.press("ArrowDown")
        await keys.press("Enter")
        await expect(messages(page)).to_contain_text("Say other keys.")
        await keys.press("Alt+w")
        await expect(page.get_by_role("heading", name="Wall")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("heading", name="Wall")).to_be_visible()
        await keys.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await keys.press("Enter")
        await expect(page.locator("#content")).to_be_focused()


async def test_a_telephone(browser: Browser, keeper: Keeper) -> None:
    async with opened(browser, keeper.url, **PHONE) as page:
        for path in SCREENS:
            await page.goto(keeper.url + path)
            await expect(page.get_by_role("heading").first).to_be_visible()
            assert await page.evaluate("() => document.documentElement.scrollWidth") <= 390, path
        await page.goto(keeper.url)
        await page.get_by_role("textbox", name="Message").fill("Say telephone.\n\n```\n" + "wide " * 60 + "\n```")
        await page.get_by_role("button", name="Send").tap()
        await expect(messages(page)).to_contain_text("Say telephone.")
        await answered(page)
        assert await page.evaluate("() => document.documentElement.scrollWidth") <= 390
        await page.get_by_role("button", name="Open the sidebar").tap()
        await sidebar(page).get_by_role("link", name="New chat").tap()
        await expect(sidebar(page)).to_be_hidden()
        await expect(page.get_by_role("heading", name="What shall we talk about?")).to_be_visible()


async def test_without_a_network_nothing_typed_is_lost(browser: Browser, keeper: Keeper) -> None:
    async with opened(browser, f"{keeper.url}/chat/{await idle_chat(keeper.url, 'Away')}") as page:
        await page.get_by_role("textbox", name="Message").fill("a draft")
        await page.reload()
        await expect(page.get_by_role("textbox", name="Message")).to_have_value("a draft")
        await page.context.set_offline(True)
        await expect(page.get_by_text("Connection lost. Trying again…")).to_be_visible()
        await page.get_by_role("textbox", name="Message").press("Enter")
        await expect(page.get_by_text("The server cannot be reached. Is it running?")).to_be_visible()
        await expect(page.get_by_role("textbox", name="Message")).to_have_value("a draft")
        await page.context.set_offline(False)
        await expect(page.get_by_text("Connection lost. Trying again…")).to_be_hidden()
        await page.get_by_role("textbox", name="Message").press("Enter")
        await expect(messages(page)).to_contain_text("a draft")
        await answered(page)
        await page.reload()
        await expect(messages(page)).to_contain_text("a draft")
        await expect(page.get_by_role("textbox", name="Message")).to_have_value("")


async def test_delete_with_undo_and_rename(browser: Browser, keeper: Keeper) -> None:
    kept_chat, gone = [await idle_chat(keeper.url, title) for title in ("To be kept", "To be gone")]
    async with opened(browser, keeper.url) as page:
        await from_menu(page, "To be kept", "Delete")
        await expect(row(page, "To be kept")).to_have_count(0)
        await page.get_by_role("button", name="Undo").click()
        await from_menu(page, "To be kept", "Rename")
        await page.get_by_role("textbox", name="Title").fill("Kept for good")
        await page.get_by_role("textbox", name="Title").press("Enter")
        await expect(row(page, "Kept for good")).to_be_visible()
        await from_menu(page, "To be gone", "Delete")
        async with page.expect_response(lambda said: said.request.method == "DELETE"):
            await page.get_by_role("status").get_by_role("button", name="Close").click()
        await page.reload()
        await expect(row(page, "Kept for good")).to_be_visible()
        await expect(row(page, "To be gone")).to_have_count(0)
    listed = await called(keeper.url, "GET", "/v1/chats")
    ids = {chat["id"]: chat["title"] for chat in listed["data"]}
    assert ids[kept_chat] == "Kept for good"
    assert gone not in ids


async def test_search_pin_and_style(browser: Browser, keeper: Keeper) -> None:
    [chat] = await brought(keeper.url, named("Of the sea", "What lives there?", "Whales, squid and the odd nautilus."))
    async with opened(browser, keeper.url) as page:
        await page.get_by_role("searchbox").fill("nautilus")
        found = page.get_by_role("navigation", name="Search results").get_by_role("link")
        await expect(found).to_have_count(1)
        await expect(found.locator("mark")).to_have_text("nautilus")
        await found.click()
        await page.get_by_role("searchbox").fill("")
        await from_menu(page, "Of the sea", "Pin")
        await expect(sidebar(page).get_by_text("Pinned", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Style of this chat").click()
        drawer = page.get_by_role("dialog", name="Style of this chat")
        await drawer.get_by_label("System prompt").fill("You are a whale.")
        await drawer.get_by_label("Longest answer, tokens").fill("3")
        await drawer.get_by_role("textbox", name="Name of this style").fill("Whale")
        await drawer.get_by_role("button", name="Keep").click()
        await expect(drawer.get_by_role("button", name="Whale", exact=True)).to_be_visible()
        await drawer.get_by_role("button", name="Save").click()
        await expect(drawer).to_be_hidden()
        await ask(page, "Go on.")
        await expect(page.get_by_text("The answer was cut off here.")).to_be_visible()
        await answered(page)
        await page.get_by_role("link", name="New chat").first.click()
        await page.get_by_role("button", name="Style of this chat").click()
        await drawer.get_by_role("button", name="Whale", exact=True).click()
        await expect(drawer.get_by_label("System prompt")).to_have_value("You are a whale.")
        await page.keyboard.press("Escape")
        await page.reload()
        await expect(sidebar(page).get_by_text("Pinned", exact=True)).to_be_visible()
    said = await called(keeper.url, "GET", f"/v1/chats/{chat}")
    assert (said["pinned"], said["style"]["system_prompt"], said["style"]["max_tokens"]) == (
        True,
        "You are a whale.",
        3,
    )
