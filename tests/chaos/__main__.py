"""``python -m tests.chaos --faults 10000 --seed 7``: rounds of chaos, one line of what came of them.

``--round K`` plays that one alone, ``--trace`` prints what happens in it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from .world import play

FAULTS_A_ROUND = 250
KINDS = ("lost", "doubled", "leaked", "unfinished")


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.chaos")
    options.add_argument("--faults", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--round", type=int, default=None)
    options.add_argument("--trace", action="store_true")
    given = options.parse_args()
    rounds = list(enumerate(shares(given.faults)))
    chosen = rounds if given.round is None else [rounds[given.round]]
    total: Counter[str] = Counter()
    met: Counter[str] = Counter()
    for number, faults in chosen:
        began = time.perf_counter()
        replay = f"replay: python -m tests.chaos --faults {given.faults} --seed {given.seed} --round {number} --trace"
        try:
            outcome = play(given.seed, number, faults, trace=given.trace)
        except BaseException:
            print(replay)
            raise
        seconds = time.perf_counter() - began
        print("\n".join(outcome.fate.lines or ()), end="\n" if given.trace else "")
        print(f"round {number}: {faults} faults, {seconds:.1f} s, trace {outcome.fate.digest()[:16]}")
        if outcome.ledger.words:
            print("\n".join(outcome.ledger.words[:20]))
            print(replay)
        met += outcome.fate.counts
        total += outcome.ledger.counts
        total["chats"] += outcome.ledger.chats
    print(", ".join(f"{count} {kind}" for kind, count in sorted(met.items())))
    found = " ".join(f"{kind}={total[kind]}" for kind in KINDS)
    print(f"faults={met.total()} chats={total['chats']} {found} seed={given.seed}")
    return 1 if any(total[kind] for kind in KINDS) or met.total() != sum(f for _, f in chosen) else 0


def shares(faults: int) -> list[int]:
    """How many in each round."""
    whole, rest = divmod(faults, FAULTS_A_ROUND)
    return [FAULTS_A_ROUND] * whole + ([rest] if rest else [])


if __name__ == "__main__":
    sys.exit(main())
