"""A corpus from the browser: begun from a worked recipe, watched, halted, gone on with, and its pages read; and the
rooms beside it while 200 chats are written."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from itertools import cycle

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from support.browser import PATIENCE_MS, opened, shot
from support.corpus_kit import RECIPE
from support.keeper import Keeper, kept
from support.pages import SIMULATED, TITLES, called

pytestmark = pytest.mark.asyncio(loop_scope="module")
SLOW = """
[engine]
flags = "--itl-ms 25 --output-median 1000 --output-sigma 0 --max-sequences 256 --kv-tokens 2000000"
"""
LINKED = """
[output]
title = "{{ topic }} in {{ city }}, {{ index }}"
[links]
cluster = 5
[[links.kind]]
name = "related"
to = "cluster"
count = [1, 2]
"""
TOLD = RECIPE.format(target="600KB", least=60, every=200, more=LINKED)
MANY = 200


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def keeper(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Keeper]:
    async with kept(tmp_path_factory.mktemp("corpus"), SIMULATED, SLOW) as server:
        yield server


async def begin(page: Page, url: str, recipe: str, name: str) -> None:
    """By the form: a recipe's text, with no problem in it, under a name."""
    await page.goto(f"{url}/corpus?start")
    await page.get_by_text("Recipe as text").click()
    await page.get_by_role("textbox", name="Recipe as text").fill(recipe)
    await page.get_by_role("textbox", name="Name").fill(name)
    await expect(page.get_by_text("The recipe is sound.")).to_be_visible()
    await page.get_by_role("button", name="Start").click()
    await expect(page.get_by_role("heading", name=name)).to_be_visible()


async def state(page: Page, word: str) -> None:
    await expect(page.get_by_role("region", name="Progress").get_by_text(word, exact=True)).to_be_visible(
        timeout=PATIENCE_MS
    )


async def test_a_worked_recipe_is_chosen_and_changed_in_the_form(browser: Browser, keeper: Keeper) -> None:
    async with opened(browser, f"{keeper.url}/corpus") as page:
        await page.get_by_role("link", name="New corpus").click()
        await page.get_by_role("radio", name=re.compile("phrases-ru-en")).check(force=True)
        await expect(page.get_by_role("textbox", name="Name")).to_have_value("phrases-ru-en")
        size = page.get_by_role("slider", name="Accepted text")
        await size.press("Home")
        await expect(page.get_by_text("10 kB", exact=True)).to_be_visible()
        await expect(page.get_by_text(re.compile("Make a numbered list of 10 short sentences")).first).to_be_visible()
        await expect(page.get_by_text("The recipe is sound.")).to_be_visible()
        await shot(page, "corpus-start")
        await page.get_by_text("Recipe as text").click()
        text = page.get_by_role("textbox", name="Recipe as text")
        await text.fill((await text.input_value()).replace("[filters]", "[filter]"))
        await expect(page.get_by_text("1 problem in the recipe")).to_be_visible()
        await expect(page.get_by_role("button", name=re.compile("Line .*did you mean .filters"))).to_be_visible()
        await expect(page.get_by_role("button", name="Start")).to_be_disabled()
        await text.fill(re.sub(r'target = ".*"', 'target = "30 records"', await text.input_value()))
        await expect(page.get_by_text("30 records", exact=True)).to_be_visible()


async def test_a_corpus_is_watched_paused_and_read(browser: Browser, keeper: Keeper) -> None:
    async with opened(browser, keeper.url) as page:
        await begin(page, keeper.url, TOLD, "cities")
        await state(page, "running")
        texts = page.get_by_role("listitem").filter(has_text=re.compile(r"#\d+"))
        await expect(texts.first).to_be_visible(timeout=PATIENCE_MS)
        await expect(page.get_by_text(re.compile("to go"))).to_be_visible(timeout=PATIENCE_MS)
        await expect(page.get_by_text("Different words")).to_be_visible(timeout=PATIENCE_MS)
        await shot(page, "corpus")
        await page.get_by_role("button", name="Pause").click()
        await state(page, "paused")
        kept_bytes = (await called(keeper.url, "GET", "/v1/corpora/cities"))["progress"]["bytes"]
        await page.get_by_role("button", name="Go on").click()
        await state(page, "finished")
        end = (await called(keeper.url, "GET", "/v1/corpora/cities"))["progress"]
        assert 0 < kept_bytes < 600_000 <= end["bytes"] < 700_000
        async with page.context.expect_page() as coming:
            await page.get_by_role("link", name="Browse the pages").click()
        site = await coming.value
        await site.get_by_role("link").first.click()
        await expect(site.get_by_role("heading").first).to_be_visible()
        await page.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("link", name="New corpus")).to_be_visible()


async def test_the_rooms_while_two_hundred_chats_are_written(browser: Browser, keeper: Keeper) -> None:
    topics = [{"topic": topic, "n": str(n)} for n, topic in zip(range(MANY), cycle(TITLES), strict=False)]
    body = {"template": "{{topic}}: part {{n}}, please.", "values": topics, "max_output_tokens": 2000}
    accepted = (await called(keeper.url, "POST", "/v1/chats/broadcast", body))["accepted"]
    assert len(accepted) == MANY
    async with opened(browser, f"{keeper.url}/wall") as page:
        written = page.locator(".tile.told")
        await expect(written).to_have_count(MANY, timeout=PATIENCE_MS)
        await shot(page, "wall")
        await page.goto(f"{keeper.url}/engine")
        running = page.locator(".tile", has=page.get_by_text("Running", exact=True))
        await expect(running).to_contain_text(re.compile(r"[1-9]\d* chats"), timeout=PATIENCE_MS)
        await shot(page, "engine")
