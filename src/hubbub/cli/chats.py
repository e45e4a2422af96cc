"""``hubbub chats ...``: chats in and out as files, in the data folder or by way of a running server."""

from __future__ import annotations

import asyncio
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hubbub.cli.chats_places import Place

app = typer.Typer(help="Bring chats from elsewhere, and take them out.", no_args_is_help=True)

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH...",
        exists=True,
        help="ChatGPT's export (.zip or conversations.json), Nexus notes (a vault's folder, .zip, .md), our own JSON.",
    ),
]
Server = Annotated[
    str | None, typer.Option(help="Address of a running server, as http://host:port [the data folder itself].")
]
KeyFile = Annotated[str | None, typer.Option(help="File with a key for that server; -: stdin.")]
User = Annotated[str, typer.Option(help="Whose chats, in the data folder; with a server it is the key's user.")]
Data = Annotated[str | None, typer.Option(help="Folder of the database and the logs [hubbub-data].")]
Config = Annotated[Path | None, typer.Option(help="Settings file [hubbub.toml, if it is there].")]


class Form(StrEnum):
    JSON = "json"
    MARKDOWN = "markdown"
    NEXUS = "nexus"


@app.command("import")
def import_(
    paths: Paths,
    user: User = "local",
    server: Server = None,
    key_file: KeyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Bring chats. The same again adds nothing, a longer export goes on. Exit code 1 if anything was not brought."""
    from hubbub.cli.chats_view import shown

    report = asyncio.run(_place(user, server, key_file, data, config).bring(paths))
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False))
    else:
        for line in shown(report):
            typer.echo(line)
    if report["problem_count"]:
        raise typer.Exit(1)


@app.command()
def export(
    form: Annotated[
        Form, typer.Option("--format", help="json (all branches), markdown, or nexus (notes for Obsidian).")
    ] = Form.JSON,
    to: Annotated[
        str, typer.Option(help="Folder; files there of the same chats are replaced, no others. -: stdout.")
    ] = "hubbub-chats",
    chat: Annotated[list[str] | None, typer.Option(help="Only this chat, by its id. May be repeated.")] = None,
    user: User = "local",
    server: Server = None,
    key_file: KeyFile = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Take chats out: JSON in one file, or a note for each. Works beside a running server."""
    from hubbub.cli.chats_folder import Folder, Stream

    place = _place(user, server, key_file, data, config)
    target = Stream(sys.stdout.buffer, form.value) if to == "-" else Folder(Path(to))
    with target:
        asyncio.run(place.take(form.value, tuple(chat or ()), target))
    typer.echo(f"{target.written} files written, {target.same} were so already", err=True)


def _place(user: str, server: str | None, key_file: str | None, data: str | None, config: Path | None) -> Place:
    """Raises ConfigError, BadRequest."""
    from hubbub.cli.chats_places import Here, There
    from hubbub.cli.engine_server import RunningServer
    from hubbub.core.keys import checked_user
    from hubbub.settings import load

    if server is not None:
        return There(RunningServer.find(server, key_file, config))
    return Here(load({"server.data": data}, file=config).settings, checked_user(user))
