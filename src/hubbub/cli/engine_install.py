"""``hubbub engine install`` and ``uninstall``: an engine's own environment."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Folder = Annotated[str | None, typer.Option(help="Where environments are [[server] environments].")]
Config = Annotated[Path | None, typer.Option(help="Settings file [hubbub.toml, if it is there].")]


def install(
    engine: Annotated[
        str, typer.Argument(help="vllm, sglang, lmdeploy, llamacpp, transformers or fastchat", metavar="NAME")
    ],
    variant: Annotated[str, typer.Option(help="cpu, cuda or rocm [what this machine has].")] = "",
    tool: Annotated[str, typer.Option("--with", help="uv or pip [uv, if it is on the PATH].")] = "auto",
    index: Annotated[list[str] | None, typer.Option(help="URL of one more package index; may be repeated.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Make it anew, though it is there.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    folder: Folder = None,
    config: Config = None,
) -> None:
    """Make the environment of an engine: pinned versions that work together, apart from everything else."""
    from hubbub.engines.environments import Installer, plan
    from hubbub.engines.environments import install as make
    from hubbub.engines.recipes import recipe_of

    made = plan(recipe_of(engine, variant), _home(folder, config), force=force)
    if made.done:
        typer.echo(f"{engine} {made.recipe.version} for {made.recipe.variant} is there already: {made.folder}")
        return
    typer.echo(made.words)
    for line in made.recipe.notes:
        typer.echo(f"  {line}")
    if made.resumed:
        typer.echo("  part of it is there: going on from that")
    if not yes and sys.stdin.isatty() and not typer.confirm("go on?", default=True):
        raise typer.Exit(1)
    with _Progress(len(made.recipe.pins)) as progress:
        make(made, Installer.choose(tool, tuple(index or ())), progress.tell)


def uninstall(
    engine: Annotated[str, typer.Argument(help="the engine", metavar="NAME")],
    folder: Folder = None,
    config: Config = None,
) -> None:
    """Remove the environment of an engine."""
    from hubbub.engines.environments import remove

    home = _home(folder, config)
    typer.echo(f"{engine} is removed" if remove(engine, home) else f"{engine} has no environment in {home}")


def _home(folder: str | None, config: Path | None) -> Path:
    from hubbub.settings import load
    from hubbub.user_path import user_path

    return user_path(load({"server.environments": folder}, file=config).settings.server.environments, "folder")


class _Progress:
    """On a terminal one line that is written over, else a line for each step and every tenth package."""

    def __init__(self, packages: int) -> None:
        self._packages = packages
        self._seen = 0
        self._live = sys.stdout.isatty()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._live:
            typer.echo("")

    def tell(self, line: str) -> None:
        package = line.startswith(("Collecting ", "Processing ", "Requirement already", "Downloading ", "+ "))
        if line.startswith(("Collecting ", "Processing ", "Requirement already")):
            self._seen = min(self._seen + 1, self._packages)
            line = f"[{self._seen}/{self._packages}] {line}"
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            typer.echo("\r\033[K" + line[:width], nl=False)
        elif not package or (line.startswith("[") and self._seen % 10 == 1):
            typer.echo(line)
