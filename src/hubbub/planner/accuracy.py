"""How accurate the shipped coefficients are, beside what others publish: ``python -m hubbub.planner.accuracy``.

The test of the documentation compares ``docs/planner.md`` with ``markdown()``, so that a new fit shows up there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from hubbub.planner.coefficients import bundled

_ROWS = (
    ("pure roofline (0.8 of bandwidth, half the peak rate)", "pure roofline", "all"),
    ("in sample", "in sample", "all"),
    ("rows at random left out: throughput", "rows at random left out, a tenth", "throughput"),
    ("rows at random left out: prompt reading", "rows at random left out, a tenth", "prefill"),
    ("rows at random left out: TPOT, ITL, E2E", "rows at random left out, a tenth", "latency"),
    ("rows at random left out: TTFT", "rows at random left out, a tenth", "ttft"),
    ("one model on one card left out: throughput", "one model on one card left out", "throughput"),
    ("one model on one card left out: TPOT, ITL, E2E", "one model on one card left out", "latency"),
    ("one model on one card left out: TTFT", "one model on one card left out", "ttft"),
    ("one model left out: throughput", "one model left out", "throughput"),
    ("one model left out: TPOT, ITL, E2E", "one model left out", "latency"),
    ("one model left out: TTFT", "one model left out", "ttft"),
    ("one card left out, NVIDIA, CPU and Apple", "one card left out", "NVIDIA, CPU and Apple"),
    ("one card left out, all", "one card left out", "all"),
    ("one set left out: all", "one set left out", "all"),
    ("one set left out, engine known on the card", "one set left out", "nearness card"),
    ("kept back until the end: throughput", "kept back until the end", "throughput"),
    ("kept back until the end: prompt reading", "kept back until the end", "prefill"),
    ("kept back until the end: TPOT, ITL, E2E", "kept back until the end", "latency"),
    ("kept back until the end: TTFT", "kept back until the end", "ttft"),
    ("memory figures, in sample", "memory, in sample", ""),
)
OTHERS = (
    (
        "BLIS (vLLM 0.15 on H100, the engine and card it was tuned on; self-reported)",
        "E2E 6.7 %, ITL 7.1 %, TTFT 17.6 %",
    ),
    ("AIConfigurator 0.9 (18 runs, by the authors of BLIS)", "E2E 21.5 %, ITL 13.2 %, TTFT 662 %"),
    ("llm-optimizer (36 runs, by the authors of BLIS)", "E2E 51.7 %, ITL 60.6 %, TTFT 662 %"),
    ("Vidur (4 runs, by the authors of BLIS)", "E2E 619 %, ITL 259 %, TTFT 29,783 %"),
    ("roofline inside BLIS (38 runs)", "E2E 33.4 %, ITL 44.4 %, TTFT 650 %"),
)


def markdown(report: Mapping[str, Any] | None = None) -> str:
    """Two tables: ours on rows the fit has not seen, and the published medians of others."""
    report = bundled().report if report is None else report
    lines = ["| rows | n | median error | 90th percentile | bias |", "| --- | ---: | ---: | ---: | ---: |"]
    for label, name, part in _ROWS:
        found = report.get(name, {})
        found = found.get(part, {}) if part else found
        if found:
            lines.append(
                f"| {label} | {found['rows']:,} | {found['median']:.1%} | {found['p90']:.0%} | {found['bias']:+.1%} |"
            )
    shares = [(n, r["covered"]) for n, r in report.items() if isinstance(r, dict) and "covered" in r]
    lines += ["", "| rows inside their 90 % band | share |", "| --- | ---: |"]
    lines += [f"| {name} | {share:.1%} |" for name, share in shares]
    lines += ["", "| what others publish (other runs than ours) | median error |", "| --- | --- |"]
    lines += [f"| {name} | {error} |" for name, error in OTHERS]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(markdown() + "\n")
