"""What the store costs: CPU a journal delta, commits a second alone and together, reads at size.

    python benchmarks/store.py [--folder DIR] [--json FILE]

CPU is that of the whole process (loop and writer thread). ``--folder`` is where the database goes: the
disk matters for commits, as each group ends with an fsync.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from hubbub.core.tree import link
from hubbub.core.types import (
    Answer,
    AnswerId,
    AnswerKind,
    AnswerStatus,
    Chat,
    ChatId,
    Delta,
    Item,
    ItemId,
    ItemType,
    NodeHash,
    Role,
    UserId,
)
from hubbub.ports import AnswerSaved, ChatQuery, ChatSaved, HeadMoved, JournalEntry, NodesAdded
from hubbub.store.sqlite import SqliteStore

USER = UserId("ann")
ANSWERS = 200
RATE = 50
SECONDS = 5
CALLERS = 200
WORDS = "Сегодня утром the quick brown fox прыгает через ленивую собаку, and then some more text follows it. "


def chat(name: str, at: float, head: NodeHash | None = None, title: str = "") -> Chat:
    return Chat(ChatId(name), USER, at, at, head=head, title=title)


def answer(name: str) -> Answer:
    return Answer(AnswerId(name), USER, AnswerKind.RESPONSE, "m", 1.0, AnswerStatus.IN_PROGRESS)


async def journal(store: SqliteStore) -> dict[str, float]:
    """200 answers of 50 deltas/s, one append every 20 ms and answer coalesced by it; paced as a server would be."""
    answers = [answer(f"resp_{n:030}") for n in range(ANSWERS)]
    await store.commit(*map(AnswerSaved, answers))
    groups = RATE * SECONDS
    # Made before the clock starts: the deltas exist anyway, the entries are counted.
    delta = (Delta(" слово"),)
    cpu, began = time.process_time(), time.perf_counter()
    waits = []
    for group in range(groups):
        await asyncio.sleep(max(0.0, began + group / RATE - time.perf_counter()))
        start = time.perf_counter()
        await store.append([JournalEntry(one.id, group, delta) for one in answers])
        waits.append(time.perf_counter() - start)
    used = time.process_time() - cpu
    idle_cpu = time.process_time()
    for group in range(groups):
        await asyncio.sleep(1 / RATE if group < RATE else 0)
    idle = (time.process_time() - idle_cpu) * SECONDS
    for one in answers:
        await store.commit(AnswerSaved(replace(one, status=AnswerStatus.COMPLETED)))
    deltas = groups * ANSWERS
    return {
        "deltas_per_s": deltas / (groups / RATE),
        "cpu_us_per_delta": used / deltas * 1e6,
        "cpu_us_per_delta_of_sleeping_alone": idle / deltas * 1e6,
        "append_ms_p50": statistics.median(waits) * 1e3,
        "append_ms_p99": statistics.quantiles(waits, n=100)[98] * 1e3,
    }


async def turns(store: SqliteStore, name: str, count: int) -> None:
    """One commit a turn: an item, the head, an answer's start."""
    head: NodeHash | None = None
    above = None
    await store.commit(ChatSaved(chat(name, 1.0)))
    for turn in range(count):
        (node,) = link(USER, above, [Item(ItemId(""), ItemType.MESSAGE, (f"{name} {turn} {WORDS}",), Role.USER)], 1.0)
        asked = replace(answer(f"resp_{name}_{turn}"), input=node.hash, status=AnswerStatus.COMPLETED)
        await store.commit(
            NodesAdded((node,)), HeadMoved(ChatId(name), head, node.hash, float(turn)), AnswerSaved(asked)
        )
        head, above = node.hash, node


async def commits(store: SqliteStore, callers: int, count: int) -> dict[str, float]:
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(turns(store, f"conv_{callers}_{n}", count) for n in range(callers)))
    total = callers * (count + 1)
    return {
        "per_s": total / (time.perf_counter() - began),
        "cpu_us": (time.process_time() - cpu) / total * 1e6,
    }


async def timed(call: Callable[[], Awaitable[object]], times: int = 7) -> float:
    """Milliseconds, median."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await call()
        took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took)


async def reads(store: SqliteStore) -> dict[str, float]:
    """5,000 chats of 10 items, and one of 2,000."""
    long = link(
        USER, None, [Item(ItemId(""), ItemType.MESSAGE, (f"{n} {WORDS}",), Role.USER) for n in range(2000)], 1.0
    )
    await store.commit(NodesAdded(long), ChatSaved(chat("conv_long", 0.0, long[-1].hash)))
    for first in range(0, 5000, 100):
        changes: list[NodesAdded | ChatSaved] = []
        for n in range(first, first + 100):
            said = [
                Item(ItemId(""), ItemType.MESSAGE, (f"чат {n} реплика {k} {WORDS * 4}",), Role.USER) for k in range(10)
            ]
            path = link(USER, None, said, 1.0)
            changes += [NodesAdded(path), ChatSaved(chat(f"conv_{n:05}", 10.0 + n, path[-1].hash, f"Тема {n}"))]
        await store.commit(*changes)
    middle = ChatId("conv_02500")
    return {
        "path_of_2000_ms": await timed(lambda: store.path(USER, long[-1].hash)),
        "path_of_10_ms": await timed(lambda: store.path(USER, path[-1].hash)),
        "match_of_2000_ms": await timed(lambda: store.match(USER, [node.item for node in long])),
        "page_ms": await timed(lambda: store.chats(USER, ChatQuery(after=middle))),
        "search_rare_ms": await timed(lambda: store.chats(USER, ChatQuery(search="ЧАТ 4321 РЕПЛИКА 7"))),
        "search_common_ms": await timed(lambda: store.chats(USER, ChatQuery(search="реплика"))),
        "search_nothing_ms": await timed(lambda: store.chats(USER, ChatQuery(search="nowhere to be found"))),
    }


async def main(folder: Path | None) -> dict[str, object]:
    with tempfile.TemporaryDirectory(dir=folder) as home:
        store = await SqliteStore.open(Path(home) / "hubbub.db")
        try:
            return {
                "python": platform.python_version(),
                "sqlite": sqlite3.sqlite_version,
                "journal": await journal(store),
                "commits_alone": await commits(store, 1, 500),
                "commits_of_200": await commits(store, CALLERS, 25),
                "reads": await reads(store),
                "rows": await store.counts(),
                "file_mb": (Path(home) / "hubbub.db").stat().st_size / 1e6,
            }
        finally:
            await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    found = asyncio.run(main(options.folder))
    text = json.dumps(found, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
