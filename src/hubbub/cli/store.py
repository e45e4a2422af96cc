"""``hubbub store ...``: look at what is kept. Changes nothing; works beside a running server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from hubbub.ports import Store

Told = TypeVar("Told")

app = typer.Typer(help="Look at what is kept.", no_args_is_help=True)

Data = Annotated[str | None, typer.Option(help="Folder of the database and the logs [hubbub-data].")]
Config = Annotated[Path | None, typer.Option(help="Settings file [hubbub.toml, if it is there].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def verify(data: Data = None, config: Config = None) -> None:
    """Hash every item again and check every pointer; one line a fault, exit code 1 if there is any."""
    faults, counts = _asked(data, config, _soundness)
    for fault in faults:
        typer.echo(fault)
    if faults:
        raise typer.Exit(1)
    typer.echo("sound: " + ", ".join(f"{number} {name}" for name, number in counts.items()))


@app.command()
def stats(data: Data = None, config: Config = None, as_json: AsJson = False) -> None:
    """Count what is kept."""
    counts = _asked(data, config, lambda store: store.counts())
    if as_json:
        typer.echo(json.dumps(counts))
    else:
        for name, number in counts.items():
            typer.echo(f"{name:10} {number:>12,}")


async def _soundness(store: Store) -> tuple[tuple[str, ...], dict[str, int]]:
    return await store.verify(), await store.counts()


def _asked(data: str | None, config: Path | None, question: Callable[[Store], Awaitable[Told]]) -> Told:
    """What the configured store answers. Raises ConfigError where there is none."""
    return asyncio.run(_ask(data, config, question))


async def _ask(data: str | None, config: Path | None, question: Callable[[Store], Awaitable[Told]]) -> Told:
    from dataclasses import replace

    from hubbub.core.errors import ConfigError
    from hubbub.settings import load
    from hubbub.store.open import open_store

    settings = load({"server.data": data}, file=config).settings
    folder = Path(settings.server.data)
    if settings.store.in_memory:
        raise ConfigError(
            "store.kind is memory: such a store is gone when its server ends, there is nothing to look at"
        )
    if not folder.is_dir():
        raise ConfigError(f"server.data: there is no folder {folder}; name it with --data")
    store = await open_store(replace(settings.store.within(folder), read_only=True))
    try:
        return await question(store)
    finally:
        await store.close()
