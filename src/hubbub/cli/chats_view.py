"""What ``hubbub chats import`` shows: how far it is, and what it came to."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

IN_TEXT = ("images", "files", "attachments")


@contextlib.contextmanager
def progress(words: str, total: int | None) -> Iterator[Callable[[int, str], None]]:
    """A bar on stderr, where that is a terminal: give it how much is done and what to say of it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done, said: bar.update(task, completed=done, description=f"{words}: {said}" if said else words)


def shown(report: Mapping[str, Any]) -> Iterator[str]:
    """The report in lines."""
    yield (
        f"{report['created']} new chats, {report['updated']} that went on, {report['unchanged']} as they were; "
        f"{report['items']} messages added"
    )
    if report["left_out"]:
        named = any(kind in report["left_out"] for kind in IN_TEXT)
        where = " (images and files are named in the text where they stood)" if named else ""
        yield f"left out: {_counts(report['left_out'])}{where}"
    if report["passed_over"]:
        yield f"passed over, without chats: {_counts(report['passed_over'])}"
    for problem in report["problems"]:
        where = f"{problem['file']}: {problem['chat']}" if problem["chat"] else problem["file"]
        yield f"problem: {where}: {problem['message']}"
    more = report["problem_count"] - len(report["problems"])
    if more > 0:
        yield f"and {more} more problems"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in sorted(counts.items()))
