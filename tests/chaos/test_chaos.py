"""A short run of the chaos, and that it is a function of its seed alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.world import Size, play

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_doubled_leaked_or_unfinished(seed: int) -> None:
    outcome = play(seed, 0, 150, Size(people=30))
    assert outcome.ledger.words == []
    assert outcome.fate.counts.total() == 150
    assert outcome.ledger.chats >= 30


@pytest.mark.parametrize(
    ("number", "why"), [(0, "a deletion nobody heard of comes true"), (5, "a stop text in the last token")]
)
def test_rare_fates(number: int, why: str) -> None:
    """Rounds of ``make chaos SEED=2009`` in which somebody once looked for a deleted chat for ever, or took offence."""
    assert play(2009, number, 250).ledger.words == [], why


def test_the_same_seed_is_the_same_story_and_another_is_another() -> None:
    """Also in another process, whose hashes of texts differ."""
    stories = [play(seed, 0, 60, Size(people=12)).fate.digest() for seed in (1, 1, 2)]
    assert stories[0] == stories[1] != stories[2]
    code = "from tests.chaos.world import Size, play; print(play(1, 0, 60, Size(people=12)).fate.digest())"
    for seed in ("1", "2"):
        environ = {**os.environ, "PYTHONHASHSEED": seed}
        argv = [sys.executable, "-c", code]
        said = subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=True)
        assert said.stdout.strip() == stories[0]


def test_the_last_line_is_what_the_command_promises() -> None:
    argv = [sys.executable, "-m", "tests.chaos", "--faults", "40", "--seed", "5"]
    said = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    last = said.stdout.splitlines()[-1]
    chats = last.split()[1].removeprefix("chats=")
    assert last == f"faults=40 chats={chats} lost=0 doubled=0 leaked=0 unfinished=0 seed=5"
