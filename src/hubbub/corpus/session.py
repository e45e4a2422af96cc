"""A run's folder opened for writing: the log, and the judge and items as they were when it was last written."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from hubbub import __version__
from hubbub.core.errors import Conflict, StorageError
from hubbub.corpus.board import Board, Live
from hubbub.corpus.client import Served
from hubbub.corpus.converting import Converter
from hubbub.corpus.exports.corpus import Corpus
from hubbub.corpus.items import Items
from hubbub.corpus.judge import Judge
from hubbub.corpus.producing import Intake, Producer, RunnerConfig
from hubbub.corpus.reading import Reading
from hubbub.corpus.recipe import Recipe, ShardFormat
from hubbub.corpus.record import decode
from hubbub.corpus.run_database import DATABASE, damaged, our_errors
from hubbub.corpus.runlog import RunLog
from hubbub.corpus.runner import Runner
from hubbub.corpus.shards import write_whole
from hubbub.corpus.steering import EpochWeights
from hubbub.corpus.verify import MANIFEST

RECIPE_FILE = "recipe.toml"
FREE_TABLES = ("target", "shards", "card")
"""Parts of a recipe that decide neither what an item is nor whether it is accepted: a run may go on with others."""


def identity_of(recipe: Recipe) -> dict[str, str]:
    """What makes it the same run: every key of the recipe that decides what is made, so that a refusal can name it."""
    flat = {
        key: value for key, value in _flat(tomllib.loads(recipe.source)) if key.partition(".")[0] not in FREE_TABLES
    }
    return {**flat, "digest": recipe.digest, "seed": str(recipe.seed), "model": recipe.model}


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        elif isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
            for number, entry in enumerate(value):
                yield from _flat(entry, f"{before}{key}.{number}.") if isinstance(entry, Mapping) else ()
        else:
            yield before + key, str(value)


@dataclass(slots=True)
class Session:
    """``served``: what the endpoint said of itself, once it is known."""

    recipe: Recipe
    items: Items
    judge: Judge
    log: RunLog
    provenance: dict[str, Any]
    converter: Converter | None = None
    _shards: int = -1

    @property
    def model(self) -> str:
        """The model that the records so far are of; "" before the first."""
        return str(self.log.meta("model") or "") if len(self.log.done) else ""

    def serve(self, served: Served) -> None:
        """Pin the model of the run. Raises Conflict for another than it was begun with."""
        if self.model and self.model != served.model:
            raise Conflict(
                f"{self.log.folder} was written by model {self.model!r}, and the engine serves {served.model!r}: "
                "name another --out, or the engine of before"
            )
        engine = {"engine": served.engine, "hubbub": served.version} if served.hubbub else {}
        self.provenance |= {"model": served.model, "endpoint": engine}
        self.log.set_meta(model=served.model, provenance=msgspec.json.encode(self.provenance).decode())

    def runner(
        self,
        producer: Callable[[Intake, Board], Producer],
        config: RunnerConfig,
        told: Callable[[Live], None] | None = None,
        keep: Callable[[], None] | None = None,
    ) -> Runner:
        window = config.window_of(self.recipe.epoch)
        keep = keep or self.keep
        return Runner(self.recipe, self.items, self.judge, self.log, producer, window, told=told, keep=keep)

    def keep(self) -> None:
        """To be called after each commit: where a shard was closed since the last time, the manifest is written anew,
        and the shard converted where the run does so."""
        shards = self.log.shards()
        closed = sum(shard.closed for shard in shards)
        if closed != self._shards:
            write_manifest(self.log)
            self._shards = closed
            if self.converter is not None:
                self.converter.update(shards)

    def finish(self) -> None:
        """The same for all that is there, once the run has ended."""
        write_manifest(self.log)
        if self.converter is not None:
            self.converter.update(self.log.shards())
            self.converter.finish()


@contextlib.contextmanager
def opened(recipe: Recipe, folder: Path, *, parquet: bool = False) -> Iterator[Session]:
    """``parquet``: closed shards are converted, too, as where the recipe says so. Raises Conflict (another run, another
    runner), StorageError, StorageFull."""
    converter = Converter(folder) if parquet or recipe.shards.format is ShardFormat.PARQUET else None
    log = RunLog.begin(folder, identity_of(recipe), shard_bytes=recipe.shards.size)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(log))
        if converter is not None:
            stack.enter_context(contextlib.closing(converter))
        judge, items = Judge(recipe), Items(recipe)
        try:
            with our_errors(folder / DATABASE):
                _recall(log, judge, items)
        except (ValueError, LookupError, msgspec.DecodeError) as fault:
            raise damaged(folder / DATABASE, fault) from fault
        if judge.next_place != log.done.first_gap():
            raise StorageError(
                f"{folder}: {log.done.first_gap()} items are done, but judging knows of {judge.next_place}: "
                "restore it from a backup"
            )
        source = recipe.source.encode()
        copy = folder / RECIPE_FILE
        if not copy.exists() or copy.read_bytes() != source:
            write_whole(copy, source)
        log.set_meta(name=recipe.name, recipe_path=str(recipe.path.absolute()))
        session = Session(recipe, items, judge, log, {"hubbub": __version__}, converter)
        session.provenance |= {"recipe": recipe.name, "digest": recipe.digest, "seed": recipe.seed}
        yield session


def _recall(log: RunLog, judge: Judge, items: Items) -> None:
    """Bring both to where the log stands."""
    recorded = {epoch: msgspec.json.decode(said, type=EpochWeights) for epoch, said in log.epochs().items()}
    for note in log.notes():
        judge.replay(note, recorded)
    for weights in recorded.values():
        items.learn(weights)


@contextlib.contextmanager
def read_corpus(folder: Path, recipe: Recipe) -> Iterator[Corpus]:
    """What was accepted so far, to be exported; the same however often it is read, while a run goes on. Raises
    StorageError."""
    with Reading.open(folder) as reading:
        manifest = manifest_of(reading)
        items = Items(recipe)
        for weights in reading.epochs().values():
            items.learn(msgspec.json.decode(weights, type=EpochWeights))
        yield Corpus(lambda: map(decode, islice(reading.lines(), manifest["records"])), recipe, items, manifest)


def manifest_of(reading: Reading) -> dict[str, Any]:
    """Hashes, counts and provenance of what is there."""
    counters = reading.counters()
    shards = [
        {
            "name": shard.name,
            "bytes": shard.size,
            "records": shard.records,
            "sha256": shard.sha256,
            "closed": bool(shard.sha256),
        }
        for shard in reading.shards()
        if shard.size
    ]
    provenance = reading.meta("provenance")
    return {
        "format": reading.meta("format"),
        "name": reading.meta("name"),
        "state": reading.meta("state"),
        "reason": reading.meta("reason"),
        "provenance": msgspec.json.decode(provenance) if provenance else {},
        "records": counters.get("records", 0),
        "bytes": counters.get("bytes", 0),
        "tokens": counters.get("tokens", 0),
        "items": counters.get("items", 0),
        "given_up": list(reading.ranges("failed")),
        "counters": counters,
        "shards": shards,
    }


def write_manifest(reading: Reading) -> None:
    """Raises StorageError or StorageFull."""
    text = msgspec.json.format(msgspec.json.encode(manifest_of(reading)), indent=2)
    write_whole(reading.folder / MANIFEST, text + b"\n")
