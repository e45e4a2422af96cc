"""Kills, torn logs and full disks: real processes, real files, nothing pretended."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubbub.core.errors import StorageFull
from hubbub.core.types import AnswerId, ChatId
from hubbub.ports import AnswerSaved, ChatDeleted
from hubbub.store.config import StoreConfig
from hubbub.store.sqlite import SqliteStore
from support.store_kit import ANN, an_answer, entry, keep

WRITER = Path(__file__).parent.parent / "support" / "store_writer.py"


def start(path: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(path), *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(WRITER.parent.parent)},
    )


async def check_kept(path: Path, said: dict[str, list[str]], deltas: dict[str, int], ended: set[str]) -> None:
    """Everything acknowledged is there, in order, and the store is sound."""
    store = await SqliteStore.open(path)
    try:
        assert await store.verify() == ()
        for name, texts in said.items():
            chat = await store.chat(ANN, ChatId(name))
            assert chat is not None
            kept = [node.item.text for node in await store.path(ANN, chat.head)]
            assert kept[: len(texts)] == texts
            # At most the one that was on its way may be there as well.
            assert len(kept) <= len(texts) + 1
        for name, count in deltas.items():
            answer = await store.answer(ANN, AnswerId(name))
            assert answer is not None
            kept_deltas = [delta.text for delta in await store.entries(answer.id)]
            if name in ended:
                assert answer.status.final
            if answer.status.final:
                assert kept_deltas == []
            else:
                assert len(kept_deltas) >= count
                assert kept_deltas == [f"{index} " for index in range(len(kept_deltas))]
    finally:
        await store.close()


def read_acknowledged(lines: list[str]) -> tuple[dict[str, list[str]], dict[str, int], set[str]]:
    said: dict[str, list[str]] = {}
    deltas: dict[str, int] = {}
    ended: set[str] = set()
    for line in lines:
        match json.loads(line):
            case ["said", name, text]:
                said.setdefault(name, []).append(text)
            case ["journal", name, count]:
                deltas[name] = count
            case ["ended", name]:
                ended.add(name)
    return said, deltas, ended


@pytest.mark.parametrize("seed", range(4))
async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "hubbub.db"
    lines: list[str] = []
    chance = random.Random(seed)
    for life in range(3):
        process = start(path, f"life{life}")
        assert process.stdout
        with process.stdout as output:
            lines += [output.readline() for _ in range(chance.randint(1, 400))]
            process.send_signal(signal.SIGKILL)
            lines += output.read().splitlines(keepends=True)
        assert process.wait() == -signal.SIGKILL
        # The kill may have cut the last line short: then nobody was told.
        if not lines[-1].endswith("\n"):
            lines.pop()
        await check_kept(path, *read_acknowledged(lines))


@pytest.mark.parametrize("cut", [1, 37, 4096, 5000, 20_000])
async def test_a_torn_log_costs_only_its_tail(tmp_path: Path, cut: int) -> None:
    """A write that got half-way: the log's end is missing or garbage. Whole transactions before it stand."""
    path, torn = tmp_path / "hubbub.db", tmp_path / "torn.db"
    process = start(path, "life")
    assert process.stdout
    with process.stdout as output:
        lines = [output.readline() for _ in range(200)]
        process.send_signal(signal.SIGKILL)
    process.wait()
    said, _, _ = read_acknowledged(lines)
    for garbage in (b"", b"\xa5" * cut):
        shutil.copy(path, torn)
        log = Path(f"{path}-wal").read_bytes()
        Path(f"{torn}-wal").write_bytes(log[:-cut] + garbage)
        store = await SqliteStore.open(torn)
        assert await store.verify() == ()
        for name, texts in said.items():
            chat = await store.chat(ANN, ChatId(name))
            kept = [node.item.text for node in await store.path(ANN, chat.head)] if chat else []
            shared = min(len(kept), len(texts))
            assert kept[:shared] == texts[:shared]
        for answer in await store.unfinished():
            deltas = [delta.text for delta in await store.entries(answer.id)]
            assert deltas == [f"{index} " for index in range(len(deltas))]
        await keep(store, "conv_after", "goes on")
        assert await store.verify() == ()
        await store.close()
        for file in tmp_path.glob("torn.db*"):
            file.unlink()


async def test_files_that_may_not_grow_are_a_clear_error_and_no_damage(tmp_path: Path) -> None:
    """What a quota does: the system refuses to let files grow. In a process of its own, where it is lifted again."""
    path = tmp_path / "hubbub.db"
    process = start(path, "limited", str(400_000))
    assert process.stdout
    with process.stdout as output:
        lines = output.read().splitlines(keepends=True)
    assert process.wait() == 0
    assert json.loads(lines[-1]) == ["again"]
    reason = json.loads(lines[-2])
    assert reason[0] == "refused"
    assert "quota" in reason[1]
    await check_kept(path, *read_acknowledged(lines))


def can_mount() -> bool:
    """Whether this process may mount a file system: root, where containers allow it."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    attempt = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(attempt, check=False, capture_output=True).returncode == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def fill_and_free(folder: Path, ballast: Path) -> None:
    """``ballast`` takes most of the disk: removing it is making room."""
    store = await SqliteStore.open(folder / "hubbub.db", StoreConfig(path=str(folder / "hubbub.db"), readers=1))
    await store.commit(AnswerSaved(an_answer("resp_1")))
    kept: list[str] = []
    appended = 0
    with pytest.raises(StorageFull, match="full"):  # noqa: PT012 - which of the two meets the full disk is chance
        for n in range(1000):
            await keep(store, f"conv_{n}", f"{n} " + "x" * 5000)
            kept.append(f"conv_{n}")
            await store.append([entry("resp_1", n, f"{n} ")])
            appended = n + 1
    with pytest.raises(StorageFull):
        await keep(store, "conv_big", "x" * 100_000)
    assert len(kept) > 3
    assert await store.verify() == ()
    assert len(await store.entries(AnswerId("resp_1"))) == appended
    ballast.unlink()
    await keep(store, "conv_big", "x" * 100_000)
    await store.append([entry("resp_1", appended, f"{appended} ")])
    await store.commit(ChatDeleted(ChatId("conv_0")))
    await store.close()
    store = await SqliteStore.open(folder / "hubbub.db")
    assert await store.verify() == ()
    found = [await store.chat(ANN, ChatId(name)) for name in [*kept[1:], "conv_big"]]
    assert None not in found
    assert (await store.counts())["chats"] == len(kept)
    await store.close()


if can_mount():  # elsewhere tests/unit/test_store_sqlite.py fills a file that may not grow

    async def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
        with small_disk(tmp_path) as folder:
            ballast = folder / "ballast"
            ballast.write_bytes(b"x" * 1_000_000)
            await fill_and_free(folder, ballast)
