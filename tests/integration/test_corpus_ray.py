"""``--on ray``: whatever dies and joins in the cluster, the same bytes as one process writes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hubbub.corpus.reading import Reading
from hubbub.corpus.verify import verify
from support.corpus_kit import begin, done_items, engine, in_process, run, shards, write_recipe
from support.ray_cluster import ray_cluster


async def test_workers_die_and_join_and_the_result_is_the_same(tmp_path: Path) -> None:
    recipe, whole, spread = write_recipe(tmp_path, target="100KB"), tmp_path / "whole", tmp_path / "spread"
    async with ray_cluster(cpus=1) as cluster, engine() as url:
        second = await cluster.join(cpus=1)
        await in_process(recipe, whole, url)
        process = await begin(
            *("run", str(recipe), "--out", str(spread), "--engine", url, "--on", "ray", "--concurrency", "4"),
            environ=cluster.environ,
        )
        while done_items(spread) < 50:
            assert process.returncode is None, (await process.communicate())[1]
            await asyncio.sleep(0.05)
        for worker in cluster.workers():
            worker.kill()
        await cluster.join(cpus=1)
        await cluster.kill(second)
        _, err = await process.communicate()
        assert process.returncode == 0, err.decode()[-2000:]
    assert shards(spread) == shards(whole)
    assert not verify(spread).faults
    with Reading.open(spread) as reading:
        assert reading.counters()["requests"] >= reading.counters()["items"]


async def test_without_an_address_for_the_workers_it_says_so(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    code, _, err = await run(recipe, tmp_path / "out", "simulated", "--on", "ray")
    assert code == 2
    assert "--on ray needs --engine http" in err
