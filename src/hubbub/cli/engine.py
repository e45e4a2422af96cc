"""``hubbub engine ...``: engines on their own, without the gateway."""

from __future__ import annotations

import typer

from hubbub.cli import engine_install

app = typer.Typer(help="Engines on their own.", no_args_is_help=True)


app.command("install")(engine_install.install)
app.command("uninstall")(engine_install.uninstall)


@app.callback()
def engine() -> None:
    """Engines on their own."""


@app.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def simulate(context: typer.Context) -> None:
    """Run the simulated engine: OpenAI-compatible, seeded, with faults on demand (--help lists its flags)."""
    from hubbub.engines.simulated_server import main

    main(context.args)
