"""Exactly once: kill -9 of run or engine, at any moment, any concurrency: the bytes of an undisturbed run."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web

from hubbub.corpus.reading import Reading
from hubbub.corpus.record import decode
from hubbub.corpus.verify import verify
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_faults import FaultKind, FaultRule
from support.corpus_kit import (
    Odd,
    begin,
    completion,
    corpus,
    done_items,
    engine,
    killed_at,
    run,
    shards,
    story,
    write_recipe,
)

KILLS = 12
SERVER = "hubbub.engines.simulated_server"


async def test_kills_at_random_moments_change_no_byte(tmp_path: Path) -> None:
    recipe, rng = write_recipe(tmp_path), random.Random(6)
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    async with engine() as url:
        code, _, err = await run(recipe, whole, url, "--concurrency", "16")
        assert code == 0, err
        total, kills = done_items(whole), 0
        for at in sorted(rng.sample(range(1, total), KILLS)):
            flight = str(rng.choice((1, 3, 8, 40, 64)))
            process = await begin(
                "run", str(recipe), "--out", str(torn), "--engine", url, "--json-lines", "--concurrency", flight
            )
            kills += await killed_at(process, torn, at)
            code, out, _ = await corpus("verify", str(torn))
            assert code == 0, out
        assert kills >= KILLS - 1, "the run was killed again and again, not done in between"
        code, _, err = await run(recipe, torn, url, "--concurrency", "5")
        assert code == 0, err
    assert shards(torn) == shards(whole)
    assert len(shards(whole)) > 4
    with Reading.open(torn) as left, Reading.open(whole) as right:
        assert left.epochs() == right.epochs()
        same = ("records", "bytes", "tokens", "items")
        assert [left.counters()[name] for name in same] == [right.counters()[name] for name in same]
        assert any(name.startswith("rejected:") for name in right.counters()), "some texts are to be rejected"
    code, out, _ = await corpus("verify", str(torn))
    assert (code, out.startswith("sound")) == (0, True)


async def test_faults_of_the_engine_change_no_byte(tmp_path: Path) -> None:
    """Refusals, broken connections, answers that cannot be read: the same texts, the same order."""
    recipe = write_recipe(tmp_path, target="60KB")
    faults = (
        FaultRule(FaultKind.UNAVAILABLE, rate=0.1, retry_after=0.02),
        FaultRule(FaultKind.CUT, rate=0.05, after_tokens=5),
    )
    async with engine() as url:
        assert (await run(recipe, tmp_path / "whole", url))[0] == 0
    async with engine(*faults) as url:
        code, _, err = await run(recipe, tmp_path / "troubled", url, "--concurrency", "32")
        assert code == 0, err
    assert shards(tmp_path / "troubled") == shards(tmp_path / "whole")
    with Reading.open(tmp_path / "troubled") as reading:
        assert reading.counters()["fault:busy"] > 0
        assert reading.counters()["fault:away"] > 0
        assert not reading.ranges("failed")


async def test_items_given_up_come_back_in_a_later_round_through_kills(tmp_path: Path) -> None:
    """Every second seed has an empty answer, so one item in eight is given up: a later epoch asks for it again."""

    async def answer(_number: int, body: dict[str, Any]) -> web.Response:
        return completion("" if body["seed"] % 2 else story(body))

    recipe, whole, torn = write_recipe(tmp_path, target="60KB", every=40), tmp_path / "whole", tmp_path / "torn"
    async with Odd(answer).serving() as url:
        assert (await run(recipe, whole, url, "--concurrency", "16"))[0] == 0
        for at in (60, 150):
            process = await begin("run", str(recipe), "--out", str(torn), "--engine", url, "--concurrency", "8")
            assert await killed_at(process, torn, at)
        code, _, err = await run(recipe, torn, url, "--concurrency", "3")
        assert code == 0, err
    assert shards(torn) == shards(whole)
    assert not verify(torn).faults
    with Reading.open(torn) as reading:
        counters, failed = reading.counters(), reading.ranges("failed")
        indices = [decode(line).index for line in reading.lines()]
    assert counters["salvaged"] > 10
    assert counters["failed:empty"] == counters["salvage_tries"] + len(failed), "each failure was answered, or stands"
    assert len(set(indices)) == len(indices)
    assert indices != sorted(indices), "what came back stands later"
    assert set(range(40)) - set(indices) <= set(failed.indices())


async def test_a_killed_engine_of_its_own_comes_back(tmp_path: Path) -> None:
    """``--engine simulated``: killed twice in the middle, it is started again on the same address."""
    recipe, out = write_recipe(tmp_path, target="60KB"), tmp_path / "killed"
    flags = "--step-ms 2 --sequence-ms 0 --context-token-ms 0 --output-median 40 --output-sigma 0.5"
    async with engine(pace=Pace(0.002, 0, 0, 0, 0)) as url:
        assert (await run(recipe, tmp_path / "whole", url))[0] == 0
    process = await begin(
        "run", str(recipe), "--out", str(out), "--engine", "simulated", "--engine-flags", flags, "--concurrency", "4"
    )
    for at in (20, 60):
        while done_items(out) < at:
            assert process.returncode is None
            await asyncio.sleep(0.02)
        engines = [c for c in psutil.Process(process.pid).children(recursive=True) if SERVER in c.cmdline()]
        assert engines
        for child in engines:
            child.kill()
    _, err = await process.communicate()
    assert process.returncode == 0, err
    assert shards(out) == shards(tmp_path / "whole")
    with Reading.open(out) as reading:
        assert reading.counters()["fault:away"] > 0


async def test_a_target_raised_later_goes_on_from_the_same_bytes(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, target="150KB")
    async with engine() as url:
        assert (await run(recipe, tmp_path / "whole", url))[0] == 0
        assert (await run(recipe, tmp_path / "parts", url, "--bytes", "30KB"))[0] == 0
        with Reading.open(tmp_path / "parts") as reading:
            first = reading.counters()["bytes"]
        assert 30_000 <= first < 32_000
        assert (await run(recipe, tmp_path / "parts", url))[0] == 0
    assert shards(tmp_path / "parts") == shards(tmp_path / "whole")


async def test_two_runners_do_not_meet_in_one_folder(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, target="1GB")
    async with engine() as url:
        first = await begin("run", str(recipe), "--out", str(tmp_path / "out"), "--engine", url, "--json-lines")
        while done_items(tmp_path / "out") < 1:
            assert first.returncode is None
            await asyncio.sleep(0.02)
        code, _, err = await run(recipe, tmp_path / "out", url)
        assert code == 2
        assert "another runner is at work" in err
        code, out, _ = await corpus("stop", str(tmp_path / "out"))
        assert code == 0, out
        await first.communicate()
        assert first.returncode == 0
    assert (await corpus("verify", str(tmp_path / "out")))[0] == 0
