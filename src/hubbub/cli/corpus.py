"""``hubbub corpus ...``: from a recipe to a gigabyte, and what to do with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hubbub.corpus.recipe import Recipe

app = typer.Typer(help="Text by the gigabyte from a recipe, each record exactly once.", no_args_is_help=True)

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe.toml.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The run's folder.")]
Target = Annotated[
    str | None, typer.Option("--bytes", help="How much accepted text: 20MB, 1GiB, '5M tokens' or '1000 records'.")
]
Seed = Annotated[int | None, typer.Option(help="Of the run [the recipe's].")]
Engine = Annotated[
    str | None,
    typer.Option(
        help="openvino or simulated: an engine of its own; or the http:// address of an OpenAI-compatible one "
        "[the server on port 8000, if it runs, else the engine of the settings]."
    ),
]
Model = Annotated[str | None, typer.Option(help="As for hubbub serve, or as the address calls it [the recipe's].")]
KeyFile = Annotated[Path | None, typer.Option("--api-key-file", help="File with the key for the address.")]
JsonLines = Annotated[bool, typer.Option("--json-lines", help="JSON lines on stdout instead of the live view.")]


def _recipe(path: Path, target: str | None, seed: int | None, model: str | None) -> Recipe:
    from hubbub.corpus.recipe_check import load

    return load(path, target=target, seed=seed, model=model)


@app.command()
def check(recipe: RecipeFile) -> None:
    """Say all that is wrong with a recipe, by line, key and fix. Exit code 2 if anything is."""
    from hubbub.cli.corpus_view import amount_of

    read = _recipe(recipe, None, None, None)
    steps = ", ".join(step.name for step in read.steps)
    typer.echo(f"{recipe} is sound: {read.name}, {amount_of(read.target.amount, read.target.unit)} by {steps}")


@app.command()
def preview(
    recipe: RecipeFile,
    n: Annotated[int, typer.Option("--n", "-n", min=1, max=1000, help="Work items to show.")] = 5,
    engine: Engine = None,
    model: Model = None,
    key_file: KeyFile = None,
    seed: Seed = None,
    prompts: Annotated[bool, typer.Option("--prompts", help="Only the prompts; no engine is asked.")] = False,
) -> None:
    """Show the first prompts, the answers, whether they would be accepted, and what the whole run will take."""
    from hubbub.cli.corpus_preview import preview as show

    show(_recipe(recipe, None, seed, None), n, engine, model, key_file, prompts_only=prompts)


@app.command()
def run(
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; the same command again goes on in it.")],
    target: Target = None,
    engine: Engine = None,
    model: Model = None,
    seed: Seed = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Most requests in flight [what keeps the engine busy].")
    ] = None,
    key_file: KeyFile = None,
    same_model: Annotated[
        list[str] | None, typer.Option(help="Another name that the model may answer by. May be repeated.")
    ] = None,
    engine_flags: Annotated[str | None, typer.Option(help="More flags for the simulated engine's command.")] = None,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds without any answer after which the run stops, to be gone on with.")
    ] = 600,
    processes: Annotated[
        int,
        typer.Option(min=0, max=64, help="Processes for the filters, where one core cannot keep up with the engine."),
    ] = 0,
    on: Annotated[
        str | None, typer.Option("--on", help="ray: make the texts on a Ray cluster, each worker asking --engine.")
    ] = None,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Convert each shard to Parquet, too, when it is closed.")
    ] = False,
    json_lines: JsonLines = False,
) -> None:
    """Write the corpus, from the beginning or from where it stopped. Ctrl-C keeps what is done."""
    from hubbub.cli.corpus_run import Order, execute
    from hubbub.core.errors import ConfigError

    if on not in (None, "ray"):
        raise ConfigError(f"--on {on}: it can be ray, or left out")
    order = Order(
        str(recipe.absolute()),
        target,
        engine,
        model,
        seed,
        concurrency,
        str(key_file.absolute()) if key_file else None,
        tuple(same_model or ()),
        engine_flags,
        patience,
        processes,
        on,
        parquet,
    )
    raise typer.Exit(execute(order, out, json_lines=json_lines))


@app.command()
def status(
    folder: Folder, as_json: Annotated[bool, typer.Option("--json", help="Print the manifest's JSON.")] = False
) -> None:
    """Say how a run stands, whether it runs or not."""
    from hubbub.cli.corpus_folder import show_status

    show_status(folder, as_json=as_json)


@app.command()
def pause(folder: Folder) -> None:
    """Let a run send no more requests until it is resumed. What is in flight is kept."""
    from hubbub.cli.corpus_folder import want

    want(folder, "pause")


@app.command()
def resume(folder: Folder, json_lines: JsonLines = False) -> None:
    """Go on with a run that is paused, or that was stopped or killed."""
    from hubbub.cli.corpus_folder import resume as go_on

    raise typer.Exit(go_on(folder, json_lines=json_lines))


@app.command()
def stop(folder: Folder) -> None:
    """End a run that is going on, and keep what is done."""
    from hubbub.cli.corpus_folder import want

    want(folder, "stop")


@app.command()
def verify(folder: Folder) -> None:
    """Read every shard and compare it with the log. Exit code 1, with what is wrong where, if anything is."""
    from hubbub.cli.corpus_folder import show_verdict

    raise typer.Exit(show_verdict(folder))


@app.command()
def export(
    folder: Folder,
    to: Annotated[str, typer.Option("--to", help="File or folder to write; - is stdout (jsonl only).")],
    format: Annotated[
        str, typer.Option("--format", help="jsonl, parquet, obsidian, html or dataset (with a card).")
    ] = "jsonl",
) -> None:
    """Write the corpus in another form; links lead only to records that are there."""
    from hubbub.cli.corpus_folder import export as write

    write(folder, format, to)
