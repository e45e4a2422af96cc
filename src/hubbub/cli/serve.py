"""``hubbub serve``: the engine and the gateway, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hubbub.settings import Settings

COLLECT_AFTER = (50_000, 20, 10)
"""Objects until a collection of the youngest, and such collections until one of the next older."""
SWITCH_S = 0.0005
OTHER_FILES = 1024
"""The store's, the page's, and what is asked of engines beside the streams."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one [8000].")] = None,
    engine: Annotated[
        str | None, typer.Option(help="openvino, simulated, or the http:// address of an OpenAI-compatible one.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Hugging Face name, local folder, GGUF file, or smollm2 (bundled).")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Folder of the database and the logs [hubbub-data].")] = None,
    keys: Annotated[
        str | None, typer.Option(help="Who needs a key: auto (all but on loopback), required or off [auto].")
    ] = None,
    open_to_everyone: Annotated[
        bool | None,
        typer.Option("--open-to-everyone", help="Listen beyond loopback without keys: whoever can connect is let in."),
    ] = None,
    first_admin: Annotated[
        bool | None,
        typer.Option(
            "--first-admin", help="Listen beyond loopback before anybody can come in: a code is printed for the first."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file [hubbub.toml, if it is there].")] = None,
    plan: Annotated[
        Path | None, typer.Option(help="What `hubbub plan recommend --plan` wrote: its engine instead of the file's.")
    ] = None,
) -> None:
    """Start the engine and the gateway, and serve until Ctrl-C."""
    from hubbub.settings import load

    flags = {
        "server.host": host,
        "server.port": port,
        "server.data": data,
        "server.keys": keys,
        "server.open_to_everyone": open_to_everyone,
        "server.first_admin": first_admin,
        "engine.kind": engine,
        "engine.model": model,
    }
    settings = load(flags, file=config, plan=plan).settings
    logging.basicConfig(level=settings.server.log_level.upper(), format="%(levelname)-7s %(name)s: %(message)s")
    run(settings)


def run(settings: Settings) -> None:
    """Serve with these settings until SIGINT or SIGTERM."""
    from hubbub.runtime.open_files import raise_file_limit

    limits = settings.limits  # with some engines a stream has a connection of its own to the engine
    raise_file_limit(max(2 * limits.max_connections, limits.max_connections + limits.max_streams + OTHER_FILES))
    try:
        import uvloop  # not on Windows
    except ImportError:
        asyncio.run(_serve(settings))
    else:
        uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    """A signal cancels whatever is going on, a start as well as service; everything then closes in order."""
    serving = asyncio.create_task(_until_crash(settings))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def settle() -> None:
    """Set Python up for one busy loop beside a few threads that mostly wait.

    What there is now stays for good, and what answers allocate is freed by counting references: collections would only
    stop the loop (a full one for 60 to 140 ms, at 66,000 objects). A thread of the store that is called, or comes back
    from the disk, may wait for the interpreter until the loop rests or its interval is over: a shorter one than
    Python's 5 ms bounds that wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    sys.setswitchinterval(SWITCH_S)


async def _until_crash(settings: Settings) -> None:
    from hubbub.app import running

    async with running(settings) as (app, address):
        settle()
        typer.echo(f"Hubbub is ready on {address}")
        if app.setup_code:
            typer.echo(f"To sign in, make the first admin at {address}/sign-in with the setup code {app.setup_code}")
        await app.hub.crashed()
