"""The page of a server that wants people to sign in, and that answers one question at a time."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from support.browser import answered, ask, messages, opened, serious, shot
from support.keeper import Keeper, kept
from support.pages import SIMULATED
from support.provider import CLIENT, SECRET, provider

pytestmark = pytest.mark.asyncio(loop_scope="module")
LOCKED = (*SIMULATED, "--keys", "required")
ONE_PLACE = """
[engine]
flags = "--echo --step-ms 100 --prefill-token-ms 0.01 --max-sequences 1"
"""
ROOT, ANN, BOB, PASSWORD = "root", "ann", "bob", "correct horse battery"
OF_A_PROVIDER = """
[oidc]
issuer = "{issuer}"
client_id = "{client}"
client_secret = "{secret}"
name = "Example"
make_users = true
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def house(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Keeper]:
    """A server whose first start has been done at its page; it has three users, and a provider that knows a fourth."""
    async with provider() as idp:
        idp.claims = {"sub": "7", "preferred_username": "olga"}
        config = ONE_PLACE + OF_A_PROVIDER.format(issuer=idp.url, client=CLIENT, secret=SECRET)
        async with kept(tmp_path_factory.mktemp("doors"), LOCKED, config) as keeper:
            async with opened(browser, keeper.url, bypass_csp=True) as page:
                await first_start(page, keeper)
                for name in (ANN, BOB):
                    await add_user(page, name)
                assert await serious(page) == []
            yield keeper


async def first_start(page: Page, keeper: Keeper) -> None:
    found = re.search(r"setup code (\S+)", keeper.log.read_text())
    assert found is not None
    await expect(page).to_have_url(re.compile("/sign-in$"))
    await expect(page.get_by_role("heading", name="Welcome to Hubbub")).to_be_visible()
    assert await serious(page) == []
    await shot(page, "sign-in")
    code, begin = page.get_by_label("Setup code"), page.get_by_role("button", name="Begin")
    await code.fill("AAAA-AAAA-AAAA-AAAA")
    await page.get_by_label("Name", exact=True).fill(ROOT)
    await page.get_by_label("New password").fill("short")
    await begin.click()
    await expect(page.get_by_text("At least 10 characters.")).to_have_class(re.compile("field-problem"))
    await page.get_by_label("New password").fill(PASSWORD)
    await begin.click()
    await expect(page.get_by_text("The setup code is wrong.")).to_be_visible()
    await code.fill(found[1])
    await begin.click()
    await expect(page.get_by_role("heading", name="What shall we talk about?")).to_be_visible()


async def add_user(page: Page, name: str) -> None:
    await page.goto(re.sub(r"(//[^/]*)/.*", r"\1/keys", page.url))
    await page.get_by_role("button", name="Add a user").click()
    dialog = page.get_by_role("dialog", name="Add a user")
    await dialog.get_by_label("Name", exact=True).fill(name)
    await dialog.get_by_label("New password").fill(PASSWORD)
    await dialog.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("button", name=f"Menu of {name}")).to_be_visible()


async def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_label("Password", exact=True).fill(password)
    await page.get_by_role("button", name="Sign in", exact=True).click()


async def test_each_sees_their_own_chats(browser: Browser, house: Keeper) -> None:
    async with opened(browser, house.url) as page:
        await sign_in(page, ROOT, "not the password")
        await expect(page.get_by_text("Name or password is wrong.")).to_be_visible()
        await sign_in(page, ROOT)
        await ask(page, "A secret of root.")
        await expect(messages(page)).to_contain_text("A secret of root.")
        await answered(page)
        chat = page.url
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_role("menuitem", name="Sign out").click()
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        await sign_in(page, ANN)
        await expect(page.get_by_text("Your chats will be here.")).to_be_visible()
        await page.goto(chat)
        await expect(page.get_by_text("This chat is not here")).to_be_visible()
        await page.goto(f"{house.url}/keys")
        await expect(page.get_by_role("heading", name="Keys of the API")).to_be_visible()
        await expect(page.get_by_role("button", name="Add a user")).to_have_count(0)
        await page.goto(f"{house.url}/engine")
        await expect(page.get_by_role("heading", name="Users")).to_be_visible()
        await expect(page.get_by_role("alert")).to_have_count(0)
        await expect(page.get_by_text(ROOT, exact=True)).to_have_count(0)


async def test_a_key_is_shown_once_and_can_be_taken_back(browser: Browser, house: Keeper) -> None:
    async with opened(browser, house.url) as page:
        await sign_in(page, ANN)
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_role("menuitem", name="Keys").click()
        await page.get_by_role("button", name="New key").click()
        await page.get_by_label("Label").fill("of a script")
        await page.get_by_role("button", name="Make the key").click()
        secret = await page.get_by_role("textbox", name="The key").input_value()
        await page.get_by_role("button", name="I have copied it").click()
        assert await models(house, secret) == 200
        row = page.get_by_role("row").filter(has_text="of a script")
        await expect(row).not_to_contain_text(secret)
        await row.get_by_role("button", name="Revoke").click()
        await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await expect(row).to_contain_text("revoked")
        assert await models(house, secret) == 401


async def models(house: Keeper, key: str) -> int:
    fields = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=fields) as http, http.get(f"{house.url}/v1/models") as response:
        return response.status


async def test_a_password_is_changed(browser: Browser, house: Keeper) -> None:
    fresh = "another horse battery"
    async with opened(browser, house.url) as page:
        await sign_in(page, BOB)
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_role("menuitem", name="Keys").click()
        await page.get_by_role("button", name="Change password").click()
        dialog = page.get_by_role("dialog", name="Change password")
        await dialog.get_by_label("Password until now").fill("not the password")
        await dialog.get_by_label("New password").fill(fresh)
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog.get_by_role("alert")).to_be_visible()
        await dialog.get_by_label("Password until now").fill(PASSWORD)
        await dialog.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("The password is changed")).to_be_visible()
    async with opened(browser, house.url) as page:
        await sign_in(page, BOB)
        await expect(page.get_by_text("Name or password is wrong.")).to_be_visible()
        await sign_in(page, BOB, fresh)
        await expect(page.get_by_role("heading", name="What shall we talk about?")).to_be_visible()


async def test_an_identity_provider_signs_in(browser: Browser, house: Keeper) -> None:
    async with opened(browser, house.url) as page:
        await page.get_by_role("link", name="Example").click()
        await expect(page.get_by_role("heading", name="What shall we talk about?")).to_be_visible()
        await expect(page.get_by_role("button", name="Settings")).to_contain_text("olga")


async def test_an_admin_drains_and_restarts_an_engine(browser: Browser, house: Keeper) -> None:
    async with opened(browser, house.url) as page:
        await sign_in(page, ROOT)
        await page.get_by_role("link", name="Engine room").click()
        card = page.get_by_role("article").filter(has=page.get_by_role("button", name="Drain"))
        await expect(card).to_contain_text("ready")
        name = await card.get_attribute("aria-label")
        card = page.get_by_role("article", name=name or "", exact=True)
        await card.get_by_role("button", name="Drain").click()
        await page.get_by_role("dialog").get_by_role("button", name="Drain").click()
        await expect(card).to_contain_text("draining")
        await card.get_by_role("button", name="Give it work").click()
        await expect(card).to_contain_text("ready")
        before = await card.get_by_role("definition").all_inner_texts()
        await card.get_by_role("button", name="Restart").click()
        await page.get_by_role("dialog").get_by_label("At once, without waiting").check()
        await page.get_by_role("dialog").get_by_role("button", name="Restart").click()
        # Its process is another one.
        pid = next(text for text in reversed(before) if text.isdecimal() and int(text) > 1)
        await expect(card).not_to_contain_text(pid)
        await expect(card).to_contain_text("ready")
        await card.get_by_role("button", name="Log").click()
        await expect(page.get_by_role("dialog")).to_be_visible()


async def test_who_waits_sees_the_place_in_line(browser: Browser, house: Keeper) -> None:
    async with opened(browser, house.url) as first, opened(browser, house.url) as second:
        for page in (first, second):
            await sign_in(page, ANN)
            await expect(page.get_by_role("heading", name="What shall we talk about?")).to_be_visible()
        await ask(first, "Many words. " * 200)
        await expect(messages(first)).to_contain_text("Many words.")
        await ask(second, "Am I next?")
        await expect(messages(second)).to_contain_text("Number 1 in line")
        await second.goto(f"{house.url}/wall")
        await second.get_by_role("radio", name=re.compile("^Waiting")).click()
        await expect(second.get_by_role("list", name="Chats", exact=True).get_by_role("listitem")).to_have_count(1)
        await first.get_by_role("button", name="Stop").click()
        await expect(second.get_by_role("radio", name=re.compile("^Waiting"))).to_have_accessible_name(
            re.compile(r"\D0$")
        )
        await second.get_by_role("radio", name=re.compile("^All")).click()
        await second.get_by_role("listitem").filter(has_text="Am I next?").first.click()
        await expect(messages(second)).to_contain_text("Am I next?")
        await answered(second)
