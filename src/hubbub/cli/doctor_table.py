"""How the doctor's findings look."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hubbub.cli.checks import Finding, Grade

_MARKS = {Grade.GOOD: ("ok", "green"), Grade.NOTE: ("note", "yellow"), Grade.BAD: ("bad", "bold red")}


def show(findings: Sequence[Finding], good: bool) -> None:
    table = Table("", "", "", box=None, show_header=False)
    for finding in findings:
        mark, style = _MARKS[finding.grade]
        table.add_row(Text(mark, style=style), Text(finding.name, style="bold"), Text(finding.text))
    console = Console()
    console.print(table)
    console.print(
        Text("hubbub serve can start here.", style="green")
        if good
        else Text("hubbub serve cannot start here as it is.", style="bold red")
    )
