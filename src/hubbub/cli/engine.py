"""``hubbub engine ...``: the kinds of engines there are, and the engines of a running server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hubbub.cli import engine_install, engine_server, engine_tune
from hubbub.cli.engine_server import Address, Config, KeyFile, RunningServer

if TYPE_CHECKING:
    from hubbub.engines.check import Finding

app = typer.Typer(help="Engines: kinds, checks, and those of a running server.", no_args_is_help=True)
app.command("drain")(engine_server.drain)
app.command("restart")(engine_server.restart)
app.command("install")(engine_install.install)
app.command("uninstall")(engine_install.uninstall)
app.command("tune")(engine_tune.tune)


@app.callback()
def engine() -> None:
    """Engines: kinds, checks, and those of a running server."""


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    server: Address = None,
    key_file: KeyFile = None,
    config: Config = None,
) -> None:
    """The kinds of engines there are; and, where a server runs, its engines with their health and load."""
    from hubbub.core.errors import HubbubError
    from hubbub.engines.catalog import KINDS
    from hubbub.settings import load

    home = Path(load({}, file=config).settings.server.environments)
    kinds = [
        {"kind": kind.name, "what": kind.summary, "from": _origin(kind.environment, home)} for kind in KINDS.values()
    ]
    engines, silence = [], ""
    try:
        running = RunningServer.find(server, key_file, config)
        engines = running.ask("/v1/engines")["data"]
    except HubbubError as error:
        if server is not None:
            raise
        silence = error.message
    if as_json:
        typer.echo(json.dumps({"kinds": kinds, "engines": engines}, indent=1))
        return
    _table(kinds)
    if engines:
        _table([_row(engine) for engine in engines])
    else:
        typer.echo(f"\n{silence}")


@app.command()
def check(
    url: Annotated[str, typer.Argument(help="An OpenAI-compatible server, as http://host:port.")],
    model: Annotated[str, typer.Option(help="Which of its models [the first it lists].")] = "",
    key_file: Annotated[str | None, typer.Option(help="File with its API key; -: stdin.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find out by asking what a server can do. Exit code 1 if Hubbub cannot use it, or it does something wrong."""
    import asyncio

    findings = asyncio.run(_examined(url, model, engine_server.read_key(key_file), quiet=as_json))
    good = not any(finding.fatal for finding in findings)
    if as_json:
        rows = [{"name": f.name, "verdict": f.verdict, "text": f.text, "needed": f.needed} for f in findings]
        typer.echo(json.dumps({"ok": good, "findings": rows}, indent=1))
    else:
        typer.echo("Hubbub can use it." if good else "Hubbub cannot use it as it is.")
    if not good:
        raise typer.Exit(1)


@app.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def simulate(context: typer.Context) -> None:
    """Run the simulated engine: OpenAI-compatible, seeded, with faults on demand (--help lists its flags)."""
    from hubbub.engines.simulated_server import main

    main(context.args)


async def _examined(url: str, model: str, key: str, *, quiet: bool) -> list[Finding]:
    """All findings, each shown as it comes: a slow server is asked for minutes."""
    from rich.console import Console
    from rich.text import Text

    from hubbub.engines.check import Verdict, examine

    styles = {Verdict.GOOD: "green", Verdict.ABSENT: "yellow", Verdict.WRONG: "bold red"}
    console, findings = Console(), []
    async for finding in examine(url, api_key=key, model=model):
        findings.append(finding)
        if not quiet:
            mark = Text(f"{finding.verdict:<14}", style=styles[finding.verdict])
            console.print(mark + Text(f"{finding.name:<17}", style="bold") + Text(finding.text))
    return findings


def _origin(environment: str, home: Path) -> str:
    from hubbub.engines.environments import installed

    if not environment:
        return "built in"
    found = installed(environment, home)
    return f"installed: {found.version} for {found.variant}" if found else f"hubbub engine install {environment}"


def _row(engine: dict[str, Any]) -> dict[str, str]:
    state = "ready" if engine["ready"] else "not ready"
    more = "restarting" if engine["restarting"] else "draining" if engine["draining"] else ""
    state = ", ".join(word for word in (state, more) if word)
    adapters = f" + {', '.join(engine['adapters'])}" if engine["adapters"] else ""
    return {
        "engine": engine["id"],
        "kind": engine["kind"],
        "state": state,
        "models": ", ".join(engine["models"]) + adapters,
        "running": f"{engine['running']} of {engine['max_sequences']}",
        "waiting": str(engine["waiting"]),
        "KV": f"{engine['kv_used']:.0%} of {engine['kv_tokens']} tokens",
        "restarts": "-" if engine["restarts"] is None else str(engine["restarts"]),
        "trouble": engine["trouble"].splitlines()[0] if engine["trouble"] else "",
    }


def _table(rows: list[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)
