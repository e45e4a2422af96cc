"""The ``hubbub`` command. Each command's module imports what it needs when it runs, so that help is quick."""

from __future__ import annotations

import os
import sys

import typer

from hubbub import __version__
from hubbub.cli import chats, config, corpus, demo, doctor, engine, keys, plan, serve, store
from hubbub.core.errors import HubbubError

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    help="One local model, hundreds of durable chats, gigabytes of text.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.add_typer(engine.app, name="engine")
app.add_typer(store.app, name="store")
app.add_typer(chats.app, name="chats")
app.add_typer(keys.app, name="keys")
app.add_typer(config.app, name="config")
app.add_typer(plan.plan_app, name="plan")
app.add_typer(corpus.app, name="corpus")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command of ``sys.argv``. An error of ours is one line on stderr and exit code 2."""
    try:
        app()
    except HubbubError as error:
        typer.echo(f"hubbub: {error.message}", err=True)
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_ERROR)


if __name__ == "__main__":
    main()
