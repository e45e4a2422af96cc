"""What can be asked of a run's folder, whether the run is going on or not."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import typer

from hubbub.cli.corpus_view import amount_of, bytes_of, eta, shares
from hubbub.core.errors import ConfigError, Conflict
from hubbub.corpus import run_tables as sql
from hubbub.corpus.board import Live
from hubbub.corpus.problems import RecipeError
from hubbub.corpus.reading import Reading
from hubbub.corpus.recipe import Recipe
from hubbub.corpus.recipe_check import load
from hubbub.corpus.run_database import is_running
from hubbub.corpus.session import RECIPE_FILE, manifest_of, read_corpus
from hubbub.corpus.verify import verify


def show_status(folder: Path, *, as_json: bool) -> None:
    with Reading.open(folder) as reading:
        manifest = manifest_of(reading)
        said = reading.meta("live")
    live = msgspec.json.decode(said, type=Live) if said else None
    running = is_running(folder)
    if as_json:
        facts = {**manifest, "running": running, "live": msgspec.to_builtins(live)}
        typer.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())
        return
    state = manifest["state"] or "new"
    if not running and state in ("running", "paused"):
        state = "cut off: the same command, or hubbub corpus resume, goes on"
    rows = [("state", f"{state}{', ' + manifest['reason'] if manifest['reason'] else ''}")]
    rows.append(("model", str(manifest["provenance"].get("model", "?"))))
    rows.append(("records", f"{manifest['records']:,} of {manifest['items']:,} items, {bytes_of(manifest['bytes'])}"))
    counters = manifest["counters"]
    for name in ("rejected", "failed", "retry", "fault"):
        some = {key.partition(":")[2]: count for key, count in counters.items() if key.startswith(f"{name}:")}
        if some:
            rows.append((name, shares(some)))
    if tries := counters.get("salvage_tries"):
        rows.append(("salvage", f"{counters.get('salvaged', 0):,} items came back answered, of {tries:,} tries"))
    if live is not None:
        rows.append(("target", f"{amount_of(live.amount, live.unit)} of {amount_of(live.target, live.unit)}"))
        if running:
            rows.append(("speed", f"{live.tokens_s:,.0f} tokens/s, {live.in_flight} requests in flight"))
            rows.append(("left", eta(live)))
    closed = sum(shard["closed"] for shard in manifest["shards"])
    rows.append(("shards", f"{len(manifest['shards'])}, {closed} closed"))
    for key, value in rows:
        typer.echo(f"{key:<10} {value}")


def want(folder: Path, what: str) -> None:
    """Tell the run. Raises Conflict where none is going on."""
    with Reading.open(folder):
        pass
    if not is_running(folder):
        raise Conflict(f"no run is going on in {folder}; `hubbub corpus resume {folder}` would go on with it")
    _tell(folder, what)
    typer.echo(f"the run in {folder} was told to {what}")


def _tell(folder: Path, what: str) -> None:
    with Reading.open(folder) as reading:
        reading.database.execute("PRAGMA query_only = OFF")
        reading.database.execute(sql.SET_META, ("want", what))


def resume(folder: Path, *, json_lines: bool) -> int:
    """Let a paused run go on; start one that does not run, as it was started before."""
    from hubbub.cli.corpus_run import Order, execute

    with Reading.open(folder) as reading:
        said = reading.meta("order")
    if is_running(folder):
        _tell(folder, "run")
        typer.echo(f"the run in {folder} goes on")
        return 0
    if said is None:
        raise ConfigError(
            f"{folder} does not say how its run was started; use `hubbub corpus run RECIPE --out {folder}`"
        )
    order = msgspec.json.decode(said, type=Order)
    if not Path(order.recipe).is_file():
        raise ConfigError(
            f"the recipe {order.recipe} is gone; a copy is {folder / RECIPE_FILE}: put it beside its seed files and "
            f"use `hubbub corpus run RECIPE --out {folder}`"
        )
    return execute(order, folder, json_lines=json_lines)


def show_verdict(folder: Path) -> int:
    report = verify(folder)
    for note in report.notes:
        typer.echo(f"note: {note}")
    for fault in report.faults:
        typer.echo(f"fault: {fault}")
    size = f"{report.records:,} records, {bytes_of(report.bytes)} of text, {report.shards} shards"
    typer.echo(f"{'unsound' if report.faults else 'sound'}: {size}")
    return 1 if report.faults else 0


def export(folder: Path, format: str, to: str) -> None:
    """Raises ConfigError for a format that is not there, StorageError for damage."""
    from hubbub.corpus.exports import FORMATS
    from hubbub.corpus.exports import export as export_corpus

    if format not in FORMATS:
        raise ConfigError(f"--format {format}: it can be {', '.join(FORMATS)}")
    if to == "-" and format != "jsonl":
        raise ConfigError(f"--to -: only jsonl can go to stdout; name a folder for {format}")
    with Reading.open(folder) as reading:
        recipe = _recipe_of(reading)
    with read_corpus(folder, recipe) as corpus:
        written = export_corpus(corpus, format, None if to == "-" else Path(to))
    if written is not None:
        typer.echo(f"{corpus.manifest['records']:,} records as {format}: {written}", err=True)


def _recipe_of(reading: Reading) -> Recipe:
    """The recipe as it was: where it stood, as its seed files are named from there, else the copy here. How far the run
    was to go does not matter any more."""
    known = msgspec.json.decode(reading.meta("identity"), type=dict[str, str])

    def read(path: Path) -> Recipe:
        return load(path, target="1", seed=int(known["seed"]), model=known["model"])

    with contextlib.suppress(RecipeError):
        recipe = read(Path(str(reading.meta("recipe_path"))))
        if recipe.digest == known["digest"]:
            return recipe
    return read(reading.folder / RECIPE_FILE)
