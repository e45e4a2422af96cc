"""``hubbub demo``, whole: a server of its own, chats at once, the verdict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

KEYS = {
    "chats",
    "turns",
    "ok",
    "failed",
    "lost",
    "output_tokens",
    "tokens_per_s",
    "ttft_s",
    "itl_s",
    "server_rss_bytes",
    "engine_rss_bytes",
    "wall_s",
}


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "hubbub", "demo", "--json", str(folder / "out.json"), *more]


def demo(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        command(folder, *more), cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize(
    "flags",
    [
        ("--engine", "simulated", "--chats", "60", "--turns", "2", "--max-tokens", "24"),
        ("--engine", "openvino", "--model", "smollm2", "--chats", "12", "--turns", "2", "--max-tokens", "16"),
    ],
    ids=["simulated", "smollm2"],
)
def test_every_turn_is_answered_and_kept(tmp_path: Path, flags: tuple[str, ...]) -> None:
    done = demo(tmp_path, *flags, "--data", str(tmp_path / "data"))
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "out.json").read_text())
    assert told.keys() >= KEYS
    chats, turns = int(flags[flags.index("--chats") + 1]), int(flags[flags.index("--turns") + 1])
    assert (told["chats"], told["turns"]) == (chats, turns)
    assert (told["ok"], told["failed"], told["lost"]) == (chats * turns, 0, 0)
    assert 0 < told["ttft_s"]["p50"] <= told["ttft_s"]["p95"] <= told["ttft_s"]["p99"]
    assert told["output_tokens"] > chats * turns
    assert told["server_rss_bytes"] > 0
    assert told["engine_rss_bytes"] > 0
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
    verify = [sys.executable, "-m", "hubbub", "store", "verify", "--data", str(tmp_path / "data")]
    sound = subprocess.run(verify, capture_output=True, text=True, env=environ, cwd=tmp_path, check=False)
    assert sound.stdout.startswith("sound: "), sound.stdout + sound.stderr
    assert f"{chats} chats" in sound.stdout


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder; whatever still serves it after the test is ended."""
    folder = tmp_path / "data"
    yield folder
    for process in psutil.process_iter(["cmdline"]):
        if str(folder) in (process.info["cmdline"] or ()):
            process.terminate()
            process.wait(30)


def test_keep_leaves_the_server_up(tmp_path: Path, data: Path) -> None:
    flags = ("--engine", "simulated", "--chats", "3", "--turns", "1", "--max-tokens", "4")
    done = demo(tmp_path, *flags, "--keep", "--data", str(data))
    assert done.returncode == 0, done.stdout + done.stderr
    said = next(line for line in done.stdout.splitlines() if "stays up" in line)
    pid, url = int(said.split()[-1]), next(word for word in said.split() if word.startswith("http")).rstrip(",")
    with urllib.request.urlopen(f"{url}/health", timeout=10) as response:
        assert json.loads(response.read())["pid"] == pid


def test_an_interrupted_demo_ends_its_server(tmp_path: Path) -> None:
    flags = ("--engine", "simulated", "--chats", "20", "--turns", "50", "--max-tokens", "200")
    process = subprocess.Popen(command(tmp_path, *flags), stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Ready on"):
            break
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    process.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert family
    assert alive == []


def test_a_dead_server_is_told_with_its_last_words(tmp_path: Path) -> None:
    flags = ("--engine", "simulated", "--chats", "20", "--turns", "50", "--max-tokens", "200")
    process = subprocess.Popen(
        command(tmp_path, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Ready on"):
            break
    server = next(child for child in psutil.Process(process.pid).children() if "serve" in child.cmdline())
    server.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the server ended" in said
