"""``hubbub config ...``: what is set, and where each value came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="What is set, and where from.", no_args_is_help=True)

SECRET = "(hidden)"  # noqa: S105 - what is shown in place of one


@app.callback()
def config() -> None:
    """What is set, and where from."""


@app.command()
def show(
    file: Annotated[Path | None, typer.Option("--config", help="Settings file [hubbub.toml, if it is there].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Every setting with its value and where that came from. Secrets are hidden."""
    rows = effective(file)
    if as_json:
        typer.echo(json.dumps({key: {"value": value, "source": source} for key, value, source in rows}, default=str))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("setting", "value", "from", box=None)
    for key, value, source in rows:
        table.add_row(key, str(value), source, style="bold" if source != "default" else None)
    Console().print(table)


def effective(file: Path | None) -> list[tuple[str, Any, str]]:
    """Key, value and source of every setting. Raises ConfigError."""
    from hubbub.settings import engine_values, keys, load

    loaded = load({}, file=file)
    values = []
    for key, entry in keys():
        section, _, name = key.partition(".")
        if not (loaded.settings.engines and section in ("engine", "openvino")):  # these do not hold then
            values.append((key, entry, getattr(getattr(loaded.settings, section), name)))
    for name, table in loaded.settings.engines.items():
        values += engine_values(name, table)
    return [
        (key, SECRET if entry.metadata.get("secret") and value else value, loaded.sources.get(key, "default"))
        for key, entry, value in values
    ]
