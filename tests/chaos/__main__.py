"""``python -m tests.chaos --faults 10000 --seed 7``: rounds of chaos, one line of what came of them.

Rounds know nothing of each other, each has its own seed: ``--processes`` of them are played at once, told in order.
``--round K`` plays that one alone, ``--trace`` prints what happens in it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from .world import play

FAULTS_A_ROUND = 250
KINDS = ("lost", "doubled", "leaked", "unfinished")


@dataclass(frozen=True)
class Round:
    """What came of one. ``counts``: what does not hold, by kind; ``met``: faults, by kind; ``lines``: the trace."""

    number: int
    seconds: float
    digest: str
    chats: int
    counts: Counter[str]
    met: Counter[str]
    words: list[str]
    lines: list[str]


def played(seed: int, trace: bool, job: tuple[int, int]) -> Round:
    """``job``: number and faults of the round."""
    number, faults = job
    began = time.perf_counter()
    outcome = play(seed, number, faults, trace=trace)
    ledger, fate = outcome.ledger, outcome.fate
    seconds = time.perf_counter() - began
    return Round(
        number, seconds, fate.digest(), ledger.chats, ledger.counts, fate.counts, ledger.words, fate.lines or []
    )


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.chaos")
    options.add_argument("--faults", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--round", type=int, default=None)
    options.add_argument("--trace", action="store_true")
    options.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = options.parse_args()
    rounds = list(enumerate(shares(given.faults)))
    chosen = rounds if given.round is None else [rounds[given.round]]
    total: Counter[str] = Counter()
    met: Counter[str] = Counter()
    with ProcessPoolExecutor(min(given.processes, max(1, len(chosen)))) as pool:
        results = pool.map(partial(played, given.seed, given.trace), chosen)
        for number, faults in chosen:
            command = f"python -m tests.chaos --faults {given.faults} --seed {given.seed} --round {number} --trace"
            try:
                one = next(results)
            except BaseException:
                print(f"replay: {command}")
                raise
            tell(one, faults, command)
            met += one.met
            total += one.counts
            total["chats"] += one.chats
    print(", ".join(f"{count} {kind}" for kind, count in sorted(met.items())))
    found = " ".join(f"{kind}={total[kind]}" for kind in KINDS)
    print(f"faults={met.total()} chats={total['chats']} {found} seed={given.seed}")
    return 1 if any(total[kind] for kind in KINDS) or met.total() != sum(f for _, f in chosen) else 0


def tell(one: Round, faults: int, command: str) -> None:
    print("".join(f"{line}\n" for line in one.lines), end="")
    print(f"round {one.number}: {faults} faults, {one.seconds:.1f} s, trace {one.digest[:16]}", flush=True)
    if one.words:
        print("\n".join(one.words[:20]))
        print(f"replay: {command}")


def shares(faults: int) -> list[int]:
    """How many in each round."""
    whole, rest = divmod(faults, FAULTS_A_ROUND)
    return [FAULTS_A_ROUND] * whole + ([rest] if rest else [])


if __name__ == "__main__":
    sys.exit(main())
