"""``hubbub demo``: the main job, shown: hundreds of chats at once through the public API, then all read back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    chats: Annotated[int, typer.Option(min=1, max=10_000, help="Chats, all open at once.")] = 200,
    turns: Annotated[int, typer.Option(min=1, help="Questions each chat asks, one after the other.")] = 2,
    max_tokens: Annotated[int, typer.Option(min=1, help="Output tokens an answer may have.")] = 64,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server up afterwards, with its chats.")] = False,
    model: Annotated[str | None, typer.Option(help="As for hubbub serve.")] = None,
    engine: Annotated[str | None, typer.Option(help="As for hubbub serve.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the server; 0 takes a free one.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Folder of the database; without it, a temporary one.")] = None,
    seed: Annotated[int, typer.Option(help="Chooses what the chats say.")] = 0,
    picture: Annotated[Path | None, typer.Option(help="Save the view, as it was halfway, as an SVG.")] = None,
) -> None:
    """Start a server, hold many chats on it at once, check that nothing was lost. Exit code 1 if anything was."""
    from hubbub.cli.demo_run import Options, run

    raise typer.Exit(run(Options(chats, turns, max_tokens, json_file, keep, model, engine, port, data, seed, picture)))
