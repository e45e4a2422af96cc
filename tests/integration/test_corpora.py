"""Corpora in the server: the runner of the command line as bulk beside the chats, owned, bounded, through a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hubbub.corpus.hosted.worked import checked, worked
from hubbub.corpus.runner import State
from hubbub.corpus.verify import verify
from hubbub.engines.sim_batch import Pace
from hubbub.gateway.keyring import LOCAL
from support import corpus_kit
from support.corpus_kit import RECIPE, in_process, shards, write_recipe
from support.corpus_kit import corpus as command
from support.keys import a_key, locked
from support.serving import FAST, MODEL, Served, served

LINKS = """
[output]
title = "{{ topic }} in {{ city }}"
[links]
cluster = 5
[[links.kind]]
name = "related"
to = "cluster"
count = [1, 2]
"""
LOOPS = "{% for i in range(9) %}{% for j in range(9) %}{{ j }}{% endfor %}{% endfor %}"
SLOW = Pace(base=0.002, per_sequence=0.0, per_context_token=0.0, per_prefill_token=0.0, jitter=0.0, max_sequences=4)


def a_recipe(target: str = "20KB", more: str = "") -> str:
    return RECIPE.format(target=target, least=60, every=100, more=more)


@asynccontextmanager
async def press(folder: Path, pace: Pace = FAST) -> AsyncIterator[Served]:
    async with served(files=folder / "files", voice=corpus_kit.BRIEF, pace=pace) as house:
        yield house


def folder_of(base: Path) -> Path:
    """Of the only run."""
    (found,) = (base / "files-corpora").iterdir()
    return found


async def order(house: Served, name: str = "cities", **more: Any) -> tuple[int, Any]:
    return await house.post("/corpora", {"name": name, "recipe": a_recipe(), **more})


async def ended(house: Served, name: str = "cities") -> Any:
    assert house.press is not None
    await house.press.ended(LOCAL, name)
    return (await house.call("GET", f"/v1/corpora/{name}"))[1]


async def until(house: Served, records: int, name: str = "cities") -> Any:
    """How it stands once it has so many."""
    while True:
        _, said = await house.call("GET", f"/v1/corpora/{name}/records?limit=1")
        if said["total"] >= records:
            return said
        await asyncio.sleep(0.01)


async def test_it_writes_what_the_command_would(tmp_path: Path) -> None:
    async with press(tmp_path) as house:
        status, made = await order(house)
        assert (status, made["state"], made["linked"], made["samples"]) == (200, made["state"], False, None)
        assert made["state"] in ("waiting", "running")
        done = await ended(house)
        assert (done["state"], done["reason"]) == ("finished", "the target is reached")
        assert done["model"] == MODEL
        progress = done["progress"]
        assert progress["amount"] >= progress["target"] == 20_000
        assert 0 < progress["accept_rate"] < 1
        assert done["samples"][0]["reason"] in progress["rejected"]
        outcome = await in_process(write_recipe(tmp_path, target="20KB"), tmp_path / "command", house.url)
        assert outcome.state is State.FINISHED
        assert shards(folder_of(tmp_path)) == shards(tmp_path / "command")
        assert not verify(folder_of(tmp_path)).faults


async def test_the_command_exports_what_the_server_wrote(tmp_path: Path) -> None:
    async with press(tmp_path) as house:
        recipe = a_recipe(more=LINKS).replace('target = "20KB"', "")
        assert (await order(house, recipe=recipe, bytes=5000, seed=99))[0] == 200
        assert (await ended(house))["state"] == "finished"
    code, out, err = await command("export", str(folder_of(tmp_path)), "--to", "-")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == verify(folder_of(tmp_path)).records > 0


async def test_records_by_pages_and_the_newest(tmp_path: Path) -> None:
    async with press(tmp_path) as house:
        await order(house)
        await ended(house)
        found: list[str] = []
        after, more = -1, True
        while more:
            _, page = await house.call("GET", f"/v1/corpora/cities/records?after={after}&limit=7")
            assert page["first"] == after + 1
            found += [record["id"] for record in page["data"]]
            after, more = after + len(page["data"]), page["has_more"]
        assert len(found) == len(set(found)) == page["total"]
        _, newest = await house.call("GET", "/v1/corpora/cities/records?limit=5")
        assert [record["id"] for record in newest["data"]] == found[-5:]
        assert newest["data"][0]["text"]
        status, said = await house.call("GET", "/v1/corpora/cities/records?after=-2")
        assert (status, said["error"]["param"]) == (400, "after")


async def test_a_restart_of_the_server_goes_on_with_it(tmp_path: Path) -> None:
    undisturbed = write_recipe(tmp_path, target="60KB")
    async with corpus_kit.engine() as url:
        await in_process(undisturbed, tmp_path / "undisturbed", url)
    async with press(tmp_path, SLOW) as house:
        await order(house, recipe=a_recipe("60KB"))
        await until(house, 20)
    kept = len(shards(folder_of(tmp_path)))
    assert kept
    async with press(tmp_path) as house:
        _, listed = await house.call("GET", "/v1/corpora")
        assert [(corpus["name"], corpus["state"]) for corpus in listed["data"]] == [
            ("cities", listed["data"][0]["state"])
        ]
        assert (await ended(house))["state"] == "finished"
    report = verify(folder_of(tmp_path))
    assert not report.faults
    assert report.bytes >= 60_000


async def test_pause_resume_stop_and_delete(tmp_path: Path) -> None:
    async with press(tmp_path, SLOW) as house:
        await order(house, recipe=a_recipe("100KB"))
        await until(house, 3)
        status, paused = await house.post("/corpora/cities/pause")
        assert (status, paused["state"]) == (200, "paused")
        seen = await ended(house)
        assert seen["state"] == "paused"
        assert seen["progress"]["records"] >= 3
        assert (await house.post("/corpora/cities/resume"))[1]["state"] in ("waiting", "running")
        await until(house, seen["progress"]["records"] + 3)
        assert (await house.post("/corpora/cities/stop"))[1]["state"] == "stopped"
        assert (await house.post("/corpora/cities/resume"))[0] == 200  # while it still stops
        assert (await house.post("/corpora/cities/pause"))[0] == 200
        assert (await ended(house))["state"] == "paused"
        status, said = await house.call("DELETE", "/v1/corpora/cities")
        assert (status, said["deleted"]) == (200, True)
        assert (await house.call("GET", "/v1/corpora/cities"))[0] == 404
        assert not any((tmp_path / "files-corpora").iterdir())
    async with press(tmp_path) as house:
        assert (await house.call("GET", "/v1/corpora"))[1]["data"] == []


async def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    async with press(tmp_path) as house:
        await order(house)
        for given, code, param in (
            ({}, 409, "name"),
            ({"name": "a/b"}, 400, "name"),
            ({"name": "x", "bytes": "much"}, 400, "recipe"),
            ({"name": "x", "bytes": "2MB"}, 400, "bytes"),
            ({"name": "x", "recipe": "x = 1"}, 400, "recipe"),
            ({"name": "x", "recipe": 'model = "other"\n' + a_recipe()}, 200, None),
        ):
            status, said = await order(house, **given)
            assert status == code, said
            assert param is None or said["error"]["param"] == param
        lost = await ended(house, "x")
        assert (lost["state"], lost["progress"]) == ("failed", None)
        assert "model: 'other' is not served here; there is simulated" in lost["reason"]
        await ended(house)
        assert (await house.post("/corpora/cities/stop"))[0] == 409
        assert (await house.post("/corpora/cities/resume"))[0] == 409
        for name in ("b", "c"):
            assert (await order(house, name))[0] == 200
        status, said = await order(house, "d")
        assert (status, said["error"]["code"]) == (429, "rate_limit_exceeded")


async def test_the_hypertext_is_there_when_it_is_done(tmp_path: Path) -> None:
    async with press(tmp_path) as house:
        await order(house, recipe=a_recipe(more=LINKS))
        await ended(house)
        async with house.http.get(f"{house.url}/v1/corpora/cities/site/") as response:
            assert response.status == 200
            text = await response.text()
            assert response.content_type == "text/html"
            assert "script" not in response.headers["Content-Security-Policy"]
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "All records" in text
        async with house.http.get(f"{house.url}/v1/corpora/cities/site/pages/00000/0.html") as response:
            assert response.status == 200
        async with house.http.get(f"{house.url}/v1/corpora/cities/site/style.css") as response:
            assert response.content_type == "text/css"
        for path in ("none.html", "%2e%2e/%2e%2e/order.json", "..%2f..%2forder.json", "%2fetc%2fhostname", "pages"):
            async with house.http.get(f"{house.url}/v1/corpora/cities/site/{path}") as response:
                assert response.status in (400, 404), path


async def test_the_site_waits_for_the_run(tmp_path: Path) -> None:
    async with press(tmp_path, SLOW) as house:
        await order(house)
        status, said = await house.call("GET", "/v1/corpora/cities/site/")
        assert (status, said["error"]["code"]) == (409, "conflict")
        await house.post("/corpora/cities/stop")
        await ended(house)


# Recipes of guests --------------------------------------------------------------------------------------------------


async def test_recipes_that_come_with_it_are_sound_for_guests() -> None:
    async with served(files=None) as house:
        assert (await house.call("GET", "/v1/recipes"))[0] == 404
    assert {recipe.name for recipe in worked()} == {"en-encyclopedia", "ru-encyclopedia", "phrases-ru-en"}


async def test_a_recipe_is_checked_and_its_prompts_shown(tmp_path: Path) -> None:
    async with press(tmp_path) as house:
        _, there = await house.call("GET", "/v1/recipes")
        for recipe in there["data"]:
            status, said = await house.post("/recipes/check", {"recipe": recipe["recipe"], "prompts": 2})
            assert status == 200
            assert said["ok"], said["problems"]
            assert [prompt["item"] for prompt in said["prompts"]] == [0, 1]
            assert said["prompts"][0]["messages"][-1]["content"]
            assert said["linked"] is recipe["linked"]
        _, wrong = await house.post("/recipes/check", {"recipe": a_recipe().replace("[columns.city]", "[colums.city]")})
        assert not wrong["ok"]
        assert {"line", "key", "message"} == set(wrong["problems"][0])
        assert any("did you mean 'columns'" in problem["message"] for problem in wrong["problems"])
        _, target = await house.post("/recipes/check", {"recipe": a_recipe(), "bytes": 5000, "prompts": 0})
        assert (target["target"], target["unit"], target["prompts"]) == (5000, "bytes", [])


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('[columns.x]\nfile = "/etc/hostname"', "columns.x.file"),
        ('[columns.x]\nvalues = ["a"]\n[[columns.x.case]]\nif = "city"\nfile = "x.txt"', "columns.x.case[1].file"),
        ("[filters]\ncustom = ['os:system']", "filters.custom"),
        ("[filters]\nforbid = ['(a+)+b']", "filters.forbid"),
        ("[filters]\nrequire = ['.*a.*b']", "filters.require"),
        ('[[steps]]\nname = "j"\nprompt = "x"\n[steps.judge]\nmin = 1\npattern = "((a+)+)"', "steps[2].judge.pattern"),
        ('[[steps]]\nname = "j"\nprompt = "x"\nschema = \'{"$ref": "file:///etc/x.json"}\'', "steps[2].schema"),
        ('[[steps]]\nname = "j"\nprompt = "x"\nschema = \'{"items": [{"$ref": "http://x/"}]}\'', "steps[2].schema"),
        ("[dedup]\nwindow = 2000000", "dedup.window"),
        (f"[columns.x]\nexpr = '{LOOPS}'", "columns.x.expr"),
    ],
)
def test_a_guests_recipe_reaches_nothing(more: str, key: str) -> None:
    base = a_recipe().replace("[filters]", more if more.startswith("[filters]") else more + "\n[filters]")
    if more.startswith("[filters]"):
        base = base.replace("chars =", "words =")
    said = checked(base, "", 0)
    assert key in [fault.key for fault in said.faults], said


def test_a_guest_is_not_told_what_files_there_are(tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("secret")
    seeds = '[columns.x]\nfile = "{}"\n[filters]'
    said = [
        str(checked(a_recipe().replace("[filters]", seeds.format(tmp_path / name)), "", 0))
        for name in ("there.txt", "gone.txt")
    ]
    assert said[0] == said[1]


def test_what_nests_too_deep_is_no_recipe() -> None:
    (fault,) = checked("x = " + "[" * 100_000, "", 0).faults
    assert "nests far too deep" in fault.message


async def test_one_users_corpora_are_not_anothers(tmp_path: Path) -> None:
    async with locked(a_key("ann"), a_key("bob"), files=tmp_path / "files", voice=corpus_kit.BRIEF) as door:
        body = {"name": "cities", "recipe": a_recipe()}
        assert (await door.call("ann", "POST", "/v1/corpora", body))[0] == 200
        assert (await door.call("bob", "GET", "/v1/corpora"))[1]["data"] == []
        assert (await door.call("bob", "POST", "/v1/corpora", body))[0] == 200
        assert door.house.press is not None
        for user in ("ann", "bob"):
            await door.house.press.ended(a_key(user).user, "cities")
            assert (await door.call(user, "GET", "/v1/corpora/cities"))[1]["state"] == "finished"
