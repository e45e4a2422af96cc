"""What an engine, a disk or a person can do to a run: a clear word, nothing lost, and the same bytes in the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from hubbub.core.errors import Conflict, StorageError
from hubbub.corpus.asking import Patience
from hubbub.corpus.client import RequestFault, Served
from hubbub.corpus.producing import RunnerConfig
from hubbub.corpus.reading import Reading
from hubbub.corpus.recipe_check import load
from hubbub.corpus.runner import Runner, State
from hubbub.corpus.session import opened, read_corpus
from hubbub.corpus.verify import verify
from support.corpus_kit import (
    Odd,
    begin,
    completion,
    corpus,
    done_items,
    engine,
    in_process,
    run,
    shards,
    story,
    write_recipe,
)

HANG = {"rules": [{"kind": "hang", "after_tokens": 3, "rate": 0.05, "times": 1}]}
QUICK = RunnerConfig(8, patience=Patience(stall_s=0.5, give_up_s=30, straggler_s=0.5))


def counters(folder: Path) -> dict[str, int]:
    with Reading.open(folder) as reading:
        return reading.counters()


# The engine -----------------------------------------------------------------------------------------------------------


async def test_empty_answers_are_asked_again_with_another_seed(tmp_path: Path) -> None:
    async def answer(_number: int, body: dict[str, Any]) -> web.Response:
        return completion("" if body["seed"] % 3 == 0 else story(body))

    odd = Odd(answer)
    async with odd.serving() as url:
        outcome = await in_process(write_recipe(tmp_path, target="10KB"), tmp_path / "out", url, QUICK)
    assert outcome.state is State.FINISHED
    assert counters(tmp_path / "out")["retry:empty"] > 0
    seeds = [body["seed"] for body in odd.seen]
    assert len(set(seeds)) == len(seeds)


async def test_nothing_but_empty_answers_stops_with_the_reason(tmp_path: Path) -> None:
    async def answer(_number: int, _body: dict[str, Any]) -> web.Response:
        return completion("  \n")

    async with Odd(answer).serving() as url:
        code, _, err = await run(write_recipe(tmp_path), tmp_path / "out", url)
    assert code == 1
    assert "were all given up" in err
    assert "empty" in err
    assert not verify(tmp_path / "out").faults


async def test_another_models_answers_stop_the_run(tmp_path: Path) -> None:
    async def answer(number: int, body: dict[str, Any]) -> web.Response:
        return completion(story(body), model="odd" if number < 40 else "stranger")

    async with Odd(answer).serving() as url:
        with pytest.raises(RequestFault, match=r"'odd' was asked for, and 'stranger' answered.*--same-model stranger"):
            await in_process(write_recipe(tmp_path), tmp_path / "out", url, QUICK)
    assert verify(tmp_path / "out").records > 0
    assert not verify(tmp_path / "out").faults


async def test_rate_limits_are_waited_out(tmp_path: Path) -> None:
    async def answer(number: int, body: dict[str, Any]) -> web.Response:
        if number % 5 == 1:
            return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "0.05"})
        return completion(story(body))

    async with Odd(answer).serving() as url:
        outcome = await in_process(write_recipe(tmp_path, target="10KB"), tmp_path / "out", url, QUICK)
    assert outcome.state is State.FINISHED
    assert counters(tmp_path / "out")["fault:busy"] > 0
    assert outcome.live.limit < 8


@pytest.mark.parametrize(
    ("status", "said"), [(401, "refuses the API key"), (404, "no such model or address"), (400, "were all given up")]
)
async def test_what_no_request_can_get_past_stops_with_its_words(tmp_path: Path, status: int, said: str) -> None:
    async def answer(_number: int, _body: dict[str, Any]) -> web.Response:
        return web.json_response({"error": {"message": "because of this"}}, status=status)

    async with Odd(answer).serving() as url:
        code, _, err = await run(write_recipe(tmp_path), tmp_path / "out", url)
    assert code in (1, 2)
    assert said in err
    assert "because of this" in err
    assert "Traceback" not in err


async def test_a_straggler_is_sent_again(tmp_path: Path) -> None:
    """One request in sixty never comes back the first time; the second copy of it does."""
    lost: set[int] = set()

    async def answer(number: int, body: dict[str, Any]) -> web.Response:
        if number > 30 and number % 60 == 0 and body["seed"] not in lost:
            lost.add(body["seed"])
            await asyncio.Event().wait()
        return completion(story(body))

    async with Odd(answer).serving() as url:
        outcome = await in_process(write_recipe(tmp_path, target="40KB"), tmp_path / "out", url, QUICK)
    assert outcome.state is State.FINISHED
    assert lost
    assert counters(tmp_path / "out")["hedged"] > 0


async def test_an_engine_that_hangs_and_counts_nothing_ends_the_patience(tmp_path: Path) -> None:
    async def answer(number: int, body: dict[str, Any]) -> web.Response:
        if number > 20:
            await asyncio.Event().wait()
        return completion(story(body))

    impatient = RunnerConfig(8, patience=Patience(stall_s=0.4, give_up_s=0.6, straggler_s=60))
    async with Odd(answer).serving() as url:
        with pytest.raises(RequestFault, match="8 requests are in flight and nothing comes"):
            await in_process(write_recipe(tmp_path), tmp_path / "out", url, impatient)
    assert verify(tmp_path / "out").records > 0
    assert not verify(tmp_path / "out").faults


async def test_a_hanging_engine_is_seen_and_asked_again(tmp_path: Path) -> None:
    """/health stays good, no token comes: whoever runs the engine is told, and every request is sent again."""
    recipe = write_recipe(tmp_path, target="20KB")
    async with engine() as url, aiohttp.ClientSession(url) as http:
        await in_process(recipe, tmp_path / "whole", url)
        told: list[asyncio.Task[Any]] = []

        async def restarted() -> None:
            async with http.post("/faults", json={"rules": []}) as response:
                assert response.status == 200

        async with http.post("/faults", json=HANG) as put:
            assert put.status == 200, await put.text()
        outcome = await in_process(
            recipe, tmp_path / "hung", url, QUICK, hangs=lambda: told.append(asyncio.create_task(restarted()))
        )
        await asyncio.gather(*told)
    assert outcome.state is State.FINISHED
    assert len(told) == 1
    assert counters(tmp_path / "hung")["standstills"] == 1
    assert shards(tmp_path / "hung") == shards(tmp_path / "whole")


async def test_an_engine_that_never_comes_back_ends_the_run_with_all_kept(tmp_path: Path) -> None:
    async def answer(number: int, body: dict[str, Any]) -> web.Response:
        return completion(story(body)) if number < 60 else web.Response(status=503)

    config = RunnerConfig(4, patience=Patience(give_up_s=0.5))
    async with Odd(answer).serving() as url:
        with pytest.raises(RequestFault, match="run the same command again when the engine answers"):
            await in_process(write_recipe(tmp_path), tmp_path / "out", url, config)
    report = verify(tmp_path / "out")
    assert report.records > 40
    assert not report.faults


# The recipe -----------------------------------------------------------------------------------------------------------


async def test_a_filter_that_rejects_everything_stops_with_samples(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, least=100_000)
    async with engine() as url:
        code, _, err = await run(recipe, tmp_path / "out", url)
    assert code == 1
    assert "were all rejected" in err
    assert "short_chars" in err
    assert "item " in err


async def test_a_folder_of_another_recipe_is_refused_with_what_differs(tmp_path: Path) -> None:
    async with engine() as url:
        await in_process(write_recipe(tmp_path, target="5KB"), tmp_path / "out", url)
        kept = shards(tmp_path / "out")
        other = write_recipe(tmp_path, target="5KB", least=70)
        with pytest.raises(Conflict, match=r"filters.chars.min was '60', now '70'"):
            await in_process(other, tmp_path / "out", url)
    assert shards(tmp_path / "out") == kept


async def test_a_start_that_came_to_nothing_binds_nobody(tmp_path: Path) -> None:
    """Nothing was made: the recipe and the model may be changed, and the folder is that of the second start."""
    out = tmp_path / "out"
    with opened(load(write_recipe(tmp_path, target="5KB")), out) as session:
        session.serve(Served("another model", ()))
    async with engine() as url:
        ended = await in_process(write_recipe(tmp_path, target="5KB", least=70), out, url)
    assert ended.state is State.FINISHED
    assert verify(out).faults == []
    with Reading.open(out) as reading:
        assert reading.meta("model") == "simulated"


# The disk -------------------------------------------------------------------------------------------------------------


async def test_a_full_disk_stops_clearly_and_the_run_goes_on_when_there_is_room(tmp_path: Path) -> None:
    recipe, place = write_recipe(tmp_path, target="300KB"), tmp_path / "disk"
    place.mkdir()
    mounted = os.geteuid() == 0
    if mounted:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], check=True)
    try:
        async with engine() as url:
            limit = [] if mounted else ["bash", "-c", 'ulimit -f 200; exec "$@"', "bash"]
            process = await begin(
                *("run", str(recipe), "--out", str(place / "out"), "--engine", url, "--json-lines"), before=limit
            )
            _, err = await process.communicate()
            assert process.returncode == 2, err
            assert b"disk" in err
            assert b"Traceback" not in err
            if mounted:
                with (place / "rest").open("wb", buffering=0) as rest, contextlib.suppress(OSError):
                    while rest.write(bytes(1024)):
                        pass
                code, said, told = await corpus("status", str(place / "out"))
                assert (code, "cut off" in said or "failed" in said) == (0, True), told
                subprocess.run(["mount", "-o", "remount,size=30m", str(place)], check=True)
            assert not verify(place / "out").faults
            assert done_items(place / "out") > 0
            (place / "rest").unlink(missing_ok=True)
            assert (await run(recipe, place / "out", url))[0] == 0
            assert (await run(recipe, tmp_path / "whole", url))[0] == 0
        assert shards(place / "out") == shards(tmp_path / "whole")
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


async def test_verify_reads_what_is_said_of_the_whole_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with engine() as url:
        await in_process(write_recipe(tmp_path), out, url)
    assert (verify(out).faults, verify(out).notes) == ([], [])
    manifest = out / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(re.sub(rb'"sha256": "[0-9a-f]', b'"sha256": "x', whole))
    assert any("is of other shards (shard-" in note for note in verify(out).notes)
    manifest.write_bytes(whole[:-20])
    assert any("manifest.json cannot be read" in note for note in verify(out).notes)
    with closing(sqlite3.connect(out / "run.sqlite3")) as database, database:
        database.execute("UPDATE meta SET value = '{cut' WHERE name = 'provenance'")
    assert any("how the run was made" in fault for fault in verify(out).faults)


async def test_verify_tells_which_shard_is_cut_short_or_edited(tmp_path: Path) -> None:
    async with engine() as url:
        await in_process(write_recipe(tmp_path, target="150KB"), tmp_path / "out", url)
    first, second = sorted((tmp_path / "out").glob("shard-*.zst"))[:2]
    sound = first.read_bytes(), second.read_bytes()
    assert not verify(tmp_path / "out").faults
    first.write_bytes(sound[0][:-20])
    assert any(fault.startswith(f"{first.name}: cut short") for fault in verify(tmp_path / "out").faults)
    first.write_bytes(sound[0])
    middle = len(sound[1]) // 2
    second.write_bytes(sound[1][:middle] + bytes([sound[1][middle] ^ 1]) + sound[1][middle + 1 :])
    faults = verify(tmp_path / "out").faults
    assert any(fault.startswith(f"{second.name}: frame") for fault in faults)
    assert any(fault.startswith(f"{second.name}: its SHA-256") for fault in faults)
    assert not any(fault.startswith(first.name) for fault in faults)
    code, out, _ = await corpus("verify", str(tmp_path / "out"))
    assert code == 1
    assert "unsound" in out


async def test_an_export_needs_no_more_than_the_copy_of_the_recipe(tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path, target="20KB"), tmp_path / "out"
    async with engine() as url:
        code, _, err = await run(recipe, out, url)
        assert code == 0, err
    with Reading.open(out) as reading:
        lines = list(reading.lines())
    for edited in (recipe.read_text() + "broken =", 'name = "another"\ntarget = 1\n[[steps]]\nprompt = "Write."\n'):
        recipe.write_text(edited)
        code, said, err = await corpus("export", str(out), "--to", "-")
        assert (code, said.encode().splitlines()) == (0, lines), err


async def test_an_export_is_of_one_moment_while_a_run_goes_on(tmp_path: Path) -> None:
    """Links are valid among the records of one pass: a later pass has no others."""
    out = tmp_path / "out"
    async with engine() as url:
        await in_process(write_recipe(tmp_path, target="20KB"), out, url)
        with read_corpus(out, load(tmp_path / "recipe.toml")) as corpus:
            before = list(corpus.records())
            await in_process(write_recipe(tmp_path, target="150KB"), out, url)
            assert list(corpus.records()) == before
    assert verify(out).records > len(before) > 0


async def part_of_a_run(folder: Path, url: str) -> tuple[Path, bytes]:
    """A run in ``whole``, two thirds of the same in ``out``: the latter's first shard and its bytes."""
    await in_process(write_recipe(folder, target="150KB"), folder / "whole", url)
    await in_process(write_recipe(folder, target="100KB"), folder / "out", url)
    first = min((folder / "out").glob("shard-*.zst"))
    return first, first.read_bytes()


@pytest.mark.parametrize("gone", [True, False])
async def test_a_run_goes_on_when_its_shards_are_as_long_as_they_were(tmp_path: Path, gone: bool) -> None:
    """What is missing is told before anything is asked for; with it back the run ends as one that nobody touched."""
    out = tmp_path / "out"
    async with engine() as url:
        first, sound = await part_of_a_run(tmp_path, url)
        first.unlink() if gone else first.write_bytes(sound[:-20])
        with pytest.raises(StorageError, match=rf"{first.name} has \d+ bytes of {len(sound)} .* restore it"):
            await in_process(write_recipe(tmp_path, target="150KB"), out, url)
        first.write_bytes(sound)
        await in_process(write_recipe(tmp_path, target="150KB"), out, url)
    assert shards(out) == shards(tmp_path / "whole")


async def test_an_edit_harms_no_other_shard_and_is_still_told_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with engine() as url:
        first, sound = await part_of_a_run(tmp_path, url)
        first.write_bytes(sound[:99] + bytes([sound[99] ^ 1]) + sound[100:])
        await in_process(write_recipe(tmp_path, target="150KB"), out, url)
    whole, found = shards(tmp_path / "whole"), shards(out)
    assert {name for name, data in whole.items() if found.get(name) != data} == {first.name}
    named = {fault.partition(":")[0] for fault in verify(out).faults if fault.startswith("shard-")}
    assert named == {first.name}


async def test_what_is_decided_during_the_last_commit_is_written_too(tmp_path: Path) -> None:
    """The disk takes its time over the first group until the target is reached: the rest still gets there."""

    def slowly(runner: Runner) -> None:
        while runner.state is State.RUNNING:
            time.sleep(0.01)

    async with engine() as url:
        recipe = write_recipe(tmp_path, target="40KB")
        await in_process(recipe, tmp_path / "whole", url)
        outcome = await in_process(recipe, tmp_path / "slow", url, kept=slowly)
    assert outcome.state is State.FINISHED
    assert counters(tmp_path / "slow")["bytes"] >= 40_000
    assert shards(tmp_path / "slow") == shards(tmp_path / "whole")


@pytest.mark.parametrize("flags", [(), ("--prompts",)])
async def test_a_preview_shows_what_is_decided_yet(tmp_path: Path, flags: tuple[str, ...]) -> None:
    async with engine() as url:
        recipe = write_recipe(tmp_path, every=10)
        code, out, err = await corpus("preview", str(recipe), "--n", "25", "--engine", url, *flags)
    assert code == 0, err
    assert "20 of 25 work items" in err
    assert out.count("--- item") == 20


async def test_a_preview_that_fails_tells_one_fault_once(tmp_path: Path) -> None:
    async def answer(_number: int, body: dict[str, Any]) -> web.Response:
        return completion(story(body), model="stranger")

    async with Odd(answer).serving() as url:
        code, _, err = await corpus("preview", str(write_recipe(tmp_path)), "--n", "4", "--engine", url)
    assert code == 2
    assert [line.partition(":")[0] for line in err.splitlines()] == ["cities", "hubbub"]


async def test_a_preview_of_an_endpoint_that_does_not_count_says_what_it_can(tmp_path: Path) -> None:
    async def answer(_number: int, body: dict[str, Any]) -> web.Response:
        choice = {"index": 0, "message": {"role": "assistant", "content": story(body)}, "finish_reason": "stop"}
        return web.json_response({"id": "x", "model": "odd", "choices": [choice]})

    async with Odd(answer).serving() as url:
        code, out, err = await corpus("preview", str(write_recipe(tmp_path)), "--n", "4", "--engine", url)
    assert code == 0, err
    assert "target 150.0 kB: about" in out


async def test_an_item_that_asks_nothing_is_given_up(tmp_path: Path) -> None:
    """Its steps are all left out by their conditions; the others make the corpus."""
    recipe = write_recipe(tmp_path, target="10KB")
    recipe.write_text(recipe.read_text().replace('name = "story"', 'name = "story"\nwhen = "city != \'Псков\'"'))
    async with engine() as url:
        outcome = await in_process(recipe, tmp_path / "out", url)
    assert outcome.state is State.FINISHED
    assert counters(tmp_path / "out")["failed:empty"] > 0
    assert not verify(tmp_path / "out").faults


# People ---------------------------------------------------------------------------------------------------------------


async def test_pause_resume_stop_and_status(tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path, target="1GB"), tmp_path / "out"
    async with engine() as url:
        process = await begin("run", str(recipe), "--out", str(out), "--engine", url, "--json-lines")
        await until(lambda: done_items(out) > 10, process)
        assert (await corpus("pause", str(out)))[0] == 0
        await until(lambda: state(out) == "paused", process)
        assert (await corpus("resume", str(out)))[0] == 0
        await until(lambda: state(out) == "running", process)
        code, said, _ = await corpus("status", str(out))
        assert code == 0
        assert "running" in said
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert process.returncode == 0, err
    code, said, _ = await corpus("status", str(out), "--json")
    facts = msgspec.json.decode(said)
    assert (facts["state"], facts["reason"], facts["running"]) == ("stopped", "it was interrupted", False)
    assert facts["records"] == verify(out).records > 0
    assert not verify(out).faults
    assert sum(shard["records"] for shard in facts["shards"]) == facts["records"], "a stop leaves whole files"
    code, _, told = await corpus("pause", str(out))
    assert code == 2
    assert "no run is going on" in told


async def until(there: Any, process: asyncio.subprocess.Process) -> None:
    while not there():
        assert process.returncode is None
        await asyncio.sleep(0.05)


def state(folder: Path) -> str:
    with Reading.open(folder) as reading:
        said = reading.meta("live")
    return str(msgspec.json.decode(said)["state"]) if said else ""
