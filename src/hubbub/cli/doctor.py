"""``hubbub doctor``: what this machine has, what would run on it, and what stands in the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def doctor(
    model: Annotated[str | None, typer.Option(help="As for hubbub serve.")] = None,
    engine: Annotated[str | None, typer.Option(help="As for hubbub serve.")] = None,
    port: Annotated[int | None, typer.Option(help="As for hubbub serve.")] = None,
    data: Annotated[str | None, typer.Option(help="As for hubbub serve.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file [hubbub.toml, if it is there].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what this machine has and what would run, change nothing. Exit code 1 if a server could not start."""
    from hubbub.cli.checks import Grade, examine
    from hubbub.settings import load

    flags = {"server.port": port, "server.data": data, "engine.kind": engine, "engine.model": model}
    findings = examine(load(flags, file=config).settings)
    good = all(finding.grade is not Grade.BAD for finding in findings)
    if as_json:
        rows = [{"name": f.name, "grade": f.grade.value, "text": f.text, **f.facts} for f in findings]
        typer.echo(json.dumps({"ok": good, "findings": rows}, indent=1))
    else:
        from hubbub.cli.doctor_table import show

        show(findings, good)
    if not good:
        raise typer.Exit(1)
