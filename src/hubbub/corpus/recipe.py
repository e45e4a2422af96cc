"""A recipe: what a corpus is made of and when it is done. Frozen; ``recipe_check.load`` makes one from ``recipe.toml``.

Every table of the file is one class here, with the same keys; ``docs/corpus-recipes.md`` shows each with an example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hubbub.corpus.record import Value


class Unit(StrEnum):
    BYTES = "bytes"
    TOKENS = "tokens"
    RECORDS = "records"


@dataclass(frozen=True, slots=True)
class Target:
    """When a run is done: this much accepted text. Bytes are those of the texts in UTF-8, nothing around them."""

    amount: int
    unit: Unit = Unit.BYTES

    def of(self, *, bytes: int, tokens: int, records: int) -> int:
        """How much of this target's unit that is."""
        return {Unit.BYTES: bytes, Unit.TOKENS: tokens, Unit.RECORDS: records}[self.unit]


@dataclass(frozen=True, slots=True)
class Spread:
    """A number, or a distribution to draw one from for each request. Exactly one of the first four is given."""

    fixed: float | None = None
    uniform: tuple[float, float] | None = None
    normal: tuple[float, float] | None = None
    """Mean and standard deviation."""
    choice: tuple[float, ...] = ()
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class SamplingSpec:
    """How the model draws its tokens; what is None is left to the engine's defaults for the model."""

    temperature: Spread | None = None
    top_p: float | None = None
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class Per(StrEnum):
    """What shares one draw of a column: a request, each text of a packed request, or a whole cluster of pages."""

    RECORD = "record"
    TEXT = "text"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Values:
    """Categories. ``weights`` is empty where all are equal."""

    values: tuple[Value, ...]
    weights: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two ends, both included where whole."""

    low: float
    high: float
    whole: bool


@dataclass(frozen=True, slots=True)
class SeedFile:
    """Lines of a .txt, rows of a .csv or .jsonl. ``field`` names one column of a row; without, the row is the value."""

    path: Path
    field: str = ""
    rows: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Personas:
    """A person made of independent traits: ``{{ persona.age }}``, and ``{{ persona }}`` says them all."""

    traits: Mapping[str, Values | Range]


@dataclass(frozen=True, slots=True)
class Tree:
    """Topics within topics. A draw has ``.leaf``, ``.path`` (list) and ``.l1``, ``.l2`` ...; it reads as the leaf."""

    leaves: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Expression:
    """A Jinja2 template over the columns before it."""

    template: str


Source = Values | Range | SeedFile | Personas | Tree | Expression


@dataclass(frozen=True, slots=True)
class Case:
    """A source used where ``test``, a Jinja2 expression over the columns before it, is true."""

    test: str
    source: Source


@dataclass(frozen=True, slots=True)
class Column:
    """One named value of a work item. ``cases`` are tried in order before ``source``. ``each``: values are taken in
    turn, in an order shuffled by the seed, so that none comes again before all came."""

    name: str
    source: Source
    cases: tuple[Case, ...] = ()
    per: Per = Per.RECORD
    each: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a work item. Its prompt sees the columns and the outputs of the steps before it, by name.

    ``schema``: JSON schema that the answer must follow, sent as ``response_format`` too. ``judge``: its answer is a
    score, not a text. ``when``: a Jinja2 expression; where it is false the step is not asked and its output is "".
    """

    name: str
    prompt: str
    system: str = ""
    sampling: SamplingSpec = field(default_factory=SamplingSpec)
    schema: Mapping[str, Any] | None = None
    judge: Judging | None = None
    when: str = ""
    keep: bool = False
    """Its output goes into the record's ``fields``."""


@dataclass(frozen=True, slots=True)
class Judging:
    """The number that ``pattern``'s first group finds (or the ``field`` of a structured answer), at least ``min``."""

    min: float
    pattern: str = r"(-?\d+(?:\.\d+)?)"
    field: str = ""


class PackFormat(StrEnum):
    NUMBERED = "numbered"
    JSON = "json"
    LINES = "lines"


@dataclass(frozen=True, slots=True)
class Pack:
    """Several texts in one answer: ``count`` are asked for, and what comes is split as ``format`` says."""

    count: int
    format: PackFormat = PackFormat.NUMBERED


@dataclass(frozen=True, slots=True)
class Output:
    """Which step (and field of its structured answer) is the text, and how a record is called."""

    step: str
    field: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Ends of a length; None is open."""

    min: int | None = None
    max: int | None = None


class Cut(StrEnum):
    """What becomes of a text that the engine cut short at ``max_tokens``: ended after its last whole sentence, kept as
    it is, or rejected."""

    TRIM = "trim"
    KEEP = "keep"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Filters:
    """What a text must be. Shares go from 0 to 1; 1 turns a check off.

    ``language_column`` names the column that says an item's language, where the recipe has several. ``repetition``:
    the most of a text that may be word 4-grams said before in it. ``custom``: see ``quality.custom``. ``stop_after``:
    a run in which this many texts in a row are rejected stops.
    """

    chars: Bounds = Bounds()
    words: Bounds = Bounds()
    tokens: Bounds = Bounds()
    language: bool = True
    language_column: str = ""
    language_min_chars: int = 40
    """Shorter texts are judged by their script alone: language id guesses there."""
    script: bool = True
    latin_share: float = 0.3
    """Of Latin letters, in a language with another script."""
    repetition: float = 0.3
    line_repeats: float = 0.3
    refusals: bool = True
    leaks: bool = True
    echo: bool = True
    cut: Cut = Cut.TRIM
    forbid: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    custom: tuple[str, ...] = ()
    stop_after: int = 500


@dataclass(frozen=True, slots=True)
class DedupSpec:
    """``near``: Jaccard similarity from which two texts are one; None turns it off. ``window``: how many of the last
    accepted texts are kept to compare with, about 400 bytes of memory each."""

    exact: bool = True
    near: float | None = 0.8
    window: int = 1_000_000


@dataclass(frozen=True, slots=True)
class SteeringSpec:
    """Diversity steers the sampling of ``columns`` every ``every`` work items. Empty ``columns``: only watches.

    A cell (one combination of the columns) is exhausted from ``retire`` near-duplicates among its texts; the run has
    collapsed from ``collapse`` over all, or when every cell is exhausted."""

    columns: tuple[str, ...] = ()
    every: int = 2000
    retire: float = 0.5
    collapse: float = 0.8


@dataclass(frozen=True, slots=True)
class LinkKind:
    """``count`` links (a least and a most) of one kind from each page. ``to``: ``cluster`` (a page of its own
    cluster), ``far`` (a page of an earlier cluster), ``next`` (the one after it), ``hub`` (its cluster's first)."""

    name: str
    to: str
    count: tuple[int, int]


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """``cluster``: pages that stand together. Titles come from the output's title, made unique."""

    cluster: int
    kinds: tuple[LinkKind, ...]


class ShardFormat(StrEnum):
    JSONL_ZST = "jsonl.zst"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Shards:
    """``size``: bytes of JSON lines before compression, after which a shard is closed. With ``parquet`` a closed shard
    is converted as well."""

    size: int = 64 * 1000 * 1000
    format: ShardFormat = ShardFormat.JSONL_ZST


@dataclass(frozen=True, slots=True)
class Card:
    """What the dataset card says beside what is measured."""

    title: str = ""
    license: str = "other"
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe file. ``digest`` (64 hex digits of SHA-256) covers everything that decides what item i is and whether
    it is accepted: the parsed file without target and shards, and the rows of its seed files. ``source``: the file.
    ``salvage``: rounds in which an item that was given up is asked for again."""

    name: str
    target: Target
    seed: int
    steps: tuple[Step, ...]
    output: Output
    digest: str
    path: Path
    source: str = ""
    description: str = ""
    model: str = ""
    languages: tuple[str, ...] = ()
    sampling: SamplingSpec = field(default_factory=SamplingSpec)
    columns: tuple[Column, ...] = ()
    pack: Pack | None = None
    salvage: int = 2
    filters: Filters = field(default_factory=Filters)
    dedup: DedupSpec = field(default_factory=DedupSpec)
    steering: SteeringSpec = field(default_factory=SteeringSpec)
    links: LinkSpec | None = None
    shards: Shards = field(default_factory=Shards)
    card: Card = field(default_factory=Card)

    @property
    def texts_per_item(self) -> int:
        return self.pack.count if self.pack else 1

    @property
    def epoch(self) -> int:
        """Work items of one steering epoch: a whole number of clusters, so that a link never needs weights that are
        not decided yet."""
        if self.links is None:
            return self.steering.every
        return -(-self.steering.every // self.links.cluster) * self.links.cluster
