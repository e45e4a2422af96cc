"""``hubbub engine tune``: the settings with which an engine is fastest on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from hubbub.bench.descent import Pair, Tuned
    from hubbub.cli.engine_tune_file import Target
    from hubbub.ports import Engine

ROOM = 1.5
"""Memory that must be free for a second engine, over what the first has taken."""
TICK_S = 0.5


def tune(
    name: Annotated[str, typer.Argument(help="An engine of the settings, by its name [the only one].")] = "",
    engine: Annotated[str, typer.Option(help="Its kind, where it is not in the settings.")] = "",
    model: Annotated[str, typer.Option(help="Its model, where it is not in the settings.")] = "",
    minutes: Annotated[float, typer.Option(min=0.05, help="How long to measure.")] = 5.0,
    streams: Annotated[str, typer.Option(help="Numbers of chats at once, that weigh the same.")] = "1,8,50,200",
    config: Annotated[Path | None, typer.Option(help="Settings file to read and write [hubbub.toml].")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, and write nothing.")] = False,
) -> None:
    """Measure which settings are fastest here, and write them into hubbub.toml. Never slower than the defaults: what
    does not beat them beyond the noise is not written."""
    from hubbub.cli.engine_tune_file import check_room, write
    from hubbub.settings import FILE

    path = config or Path(FILE)
    counts = _counts(streams)
    target = _target(path if config or path.is_file() else None, name, engine, model)
    if not dry_run:
        check_room(path, target)
    logging.getLogger("hubbub.engines").setLevel(logging.ERROR)  # each start would say which model it takes
    try:
        tuned = asyncio.run(_tuned(target, counts, minutes * 60))
    except KeyboardInterrupt:
        typer.echo("stopped: nothing is written", err=True)
        raise
    _report(tuned)
    if not tuned.setting:
        typer.echo("No setting beats the defaults beyond the noise: they are kept, and nothing is written.")
    elif dry_run:
        typer.echo(f"To write it into {target.where} of {path}, run this without --dry-run.")
    else:
        write(path, target, tuned.setting)
        typer.echo(f"Written into {target.where} of {path}; it holds from the next start.")


def _counts(text: str) -> list[int]:
    from hubbub.core.errors import ConfigError

    try:
        counts = sorted({int(word) for word in text.split(",")})
    except ValueError:
        counts = []
    if not counts or counts[0] < 1 or counts[-1] > 10_000:
        raise ConfigError(f"--streams is {text!r}: write numbers from 1 to 10000, as 1,8,50,200")
    return counts


def _target(file: Path | None, name: str, engine: str, model: str) -> Target:
    """Raises ConfigError."""
    from hubbub.app import engine_specs
    from hubbub.cli.engine_tune_file import target_of
    from hubbub.engines.catalog import kind_of
    from hubbub.engines.tuning import check_tunable
    from hubbub.settings import load

    if engine and not engine.startswith(("http://", "https://")):
        kind_of(engine)
    logs = Path(tempfile.gettempdir())
    settings = load({}, file=file).settings
    if not settings.engines and (engine or model):
        settings = load({"engine.kind": engine or None, "engine.model": model or None}, file=file).settings
    target = target_of(settings, engine_specs(settings, logs), name, engine, model)
    check_tunable(target.spec)
    return target


async def _tuned(target: Target, counts: list[int], seconds: float) -> Tuned:
    """Raises HubbubError where the engine does not run with its defaults."""
    from hubbub.app import engine_of
    from hubbub.bench.descent import MOST_SHARE, Choice, Descent
    from hubbub.bench.stand import Stand
    from hubbub.engines.tuning import choices, present, with_values

    with (
        tempfile.TemporaryDirectory(prefix="hubbub-tune-", ignore_cleanup_errors=True) as logs,
        _progress(seconds) as tell,
    ):
        spec = replace(target.spec, logs=Path(logs))

        async def make(setting: Mapping[str, Any], name: str) -> Engine:
            return await asyncio.to_thread(engine_of, with_values(spec, setting, name))

        def fits(running: Engine) -> bool:
            room = _room_beside(running)
            if not room:
                tell("two engines do not fit side by side: each turn starts one anew, which takes its time")
            return room

        stand = Stand(make, MOST_SHARE * seconds, fits)
        offered = [Choice(name, values) for name, values in choices(spec)]
        descent = Descent(offered, counts, seconds, stand.measure, time.monotonic, tell)
        try:
            return await descent.run(present(spec))
        finally:
            await stand.close()


def _room_beside(running: Engine) -> bool:
    """Whether one more of it fits into memory."""
    import psutil

    from hubbub.bench.memory import PeakMemory
    from hubbub.engines.machine import inspect_machine
    from hubbub.engines.supervisor import Supervised

    if inspect_machine().gpus:
        return False  # an engine takes most of a GPU's memory
    memory = PeakMemory()
    if isinstance(running, Supervised) and running.supervisor.pid:
        memory.sample([running.supervisor.pid])
    return psutil.virtual_memory().available > ROOM * memory.now


@contextlib.contextmanager
def _progress(seconds: float) -> Iterator[Callable[[str], None]]:
    """On a terminal a bar with what is being done and the time left, else a line for each step."""
    if not sys.stdout.isatty():
        began = time.monotonic()

        def say(line: str) -> None:
            left = max(0.0, seconds - (time.monotonic() - began))
            typer.echo(f"[{left / 60:.1f} min left] {line}")

        yield say
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("tuning"), BarColumn(), TextColumn("at most"), TimeRemainingColumn()
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("", total=seconds)
        ticking = asyncio.get_running_loop().create_task(_tick(progress, task, seconds))
        try:
            yield progress.console.print
        finally:
            ticking.cancel()


async def _tick(progress: Progress, task: TaskID, seconds: float) -> None:
    began = time.monotonic()
    while True:
        progress.update(task, completed=min(seconds, time.monotonic() - began))
        await asyncio.sleep(TICK_S)


def _report(tuned: Tuned) -> None:
    """What was found, measured, and not tried."""
    from hubbub.bench.descent import shown

    if tuned.present is not None and not tuned.noise.faster(tuned.present):
        what = tuned.present.trouble or f"{tuned.present.gain:.2f} x the defaults"
        typer.echo(f"What is set now ({shown(tuned.present.setting)}) does not beat the defaults: {what}.")
    proof = tuned.proof
    if proof is not None and tuned.setting:
        typer.echo(
            f"\nBest: {shown(tuned.setting)}: {proof.gain:.2f} x the defaults (noise {tuned.noise.overall:.0%})."
        )
        for streams, pairs in proof.pairs.items():
            base, ours = (statistics.median(speeds) for speeds in zip(*(_speeds(pair) for pair in pairs), strict=True))
            first = f"time to the first token {proof.ttft_at(streams):.2f} x"
            typer.echo(
                f"  {streams:>4} streams: {ours:,.0f} tokens/s, by default {base:,.0f} "
                f"({proof.gain_at(streams):.2f} x), {first}"
            )
    elif proof is not None:
        typer.echo(f"{shown(proof.setting)} looked faster, and did not when it was measured again.")
    if tuned.untried:
        typer.echo(
            f"There was no time for {len(tuned.untried)} settings ({'; '.join(map(shown, tuned.untried))}): "
            "give more --minutes or fewer --streams."
        )


def _speeds(pair: Pair) -> tuple[float, float]:
    return pair.base.tokens_per_s, pair.other.tokens_per_s
