"""Results as JSON and as a table in Markdown, in benchmarks/results/."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hubbub import __version__
from hubbub.bench.machine import describe

RESULTS = Path(__file__).parent / "results"


def stamp() -> dict[str, Any]:
    """When, with which version, on what."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": describe(),
    }


def write(name: str, header: Sequence[str], rows: Sequence[Sequence[str]], told: Mapping[str, Any], note: str) -> None:
    """``name.json`` and ``name.md``; the latest run replaces the one before (git keeps that)."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")
    machine = told["machine"]
    lines = [
        f"# {name.replace('_', ' ')}",
        "",
        note.partition("usage:")[0].strip(),
        "",
        f"{told['at']}, Hubbub {told['version']}, {machine['cpu']}, {machine['cores']} cores, {machine['system']}.",
        "",
        _line(header),
        _line(["---"] * len(header)),
        *map(_line, rows),
    ]
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines[6:]))
    print(f"written to {RESULTS / name}.json and .md")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"
