"""Work items: what to ask for at place i of a run. A pure function of (recipe, run seed, i, recorded epochs).

``Items`` remembers nothing but the epochs it was told and a cache of titles, so it jumps to any place at once, and
two processes with the same recipe and epochs ask for the same things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jsonschema_rs

from hubbub.core.types import Message, Role, Sampling
from hubbub.corpus.answers import RejectedAnswer, cleaned, read_json, score_of, split, text_field
from hubbub.corpus.draws import bits, request_seed, spread_value
from hubbub.corpus.links import Graph
from hubbub.corpus.places import Places
from hubbub.corpus.problems import ItemFault
from hubbub.corpus.recipe import Column, Per, Recipe, SamplingSpec, SeedFile, Step, Tree, Values
from hubbub.corpus.record import Link, Value, record_id
from hubbub.corpus.sampler import Sampler
from hubbub.corpus.steering import LAG, EpochWeights
from hubbub.corpus.templates import Template, TemplateFault, compiled, condition


class EpochUnknown(LookupError):
    """The weights of this item's epoch are not decided yet."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """``columns`` are what all texts of the item share; ``rows`` has, for each text of a packed item, its own columns,
    title and links. ``targets`` are the links of text 0. ``place``: where in the run it is decided; its ``index`` but
    for items that come back (``round`` counts how often) and those behind them."""

    place: int
    index: int
    round: int
    columns: Mapping[str, Value]
    rows: tuple[Mapping[str, Any], ...]
    cell: str
    title: str
    targets: tuple[Link, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an engine. ``model`` is empty where the recipe leaves it to the engine."""

    step: str
    messages: tuple[Message, ...]
    sampling: Sampling
    model: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What an engine answered to one call. ``tokens``: of the answer, as the engine counted. ``finish``: ``stop`` or
    ``length``."""

    text: str
    tokens: int = 0
    finish: str = "stop"
    attempt: int = 0
    model: str = ""


@dataclass(slots=True)
class Outcome:
    """What the answers of one item come to. ``texts`` are (text, fields) of each part; ``score`` of the judge step."""

    texts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    score: float | None = None
    least_score: float | None = None
    said: Said = Said("")


@dataclass(frozen=True, slots=True)
class _Step:
    spec: Step
    prompt: Template
    system: Template | None
    when: Any
    validator: Any


class Items:
    """The work items of one run."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.graph = Graph(recipe.links, recipe.seed, recipe.texts_per_item) if recipe.links else None
        self._sampler = Sampler(recipe)
        self._steps = [_compiled_step(step) for step in recipe.steps]
        self._title = compiled(recipe.output.title) if recipe.output.title else None
        self._turns = _turn_column(recipe.columns, self._title)
        self._weights = {epoch: EpochWeights(epoch) for epoch in range(LAG)}
        self._places = Places(recipe.epoch)
        self._shared = lru_cache(maxsize=4096)(self._drawn)
        self._called = lru_cache(maxsize=16384)(self._titled)

    @property
    def literals(self) -> tuple[str, ...]:
        """Long pieces of text that the prompts themselves have; an answer that repeats one echoes its prompt."""
        templates = [template for step in self._steps for template in (step.prompt, step.system) if template]
        return tuple(dict.fromkeys(literal for template in templates for literal in template.literals))

    def learn(self, weights: EpochWeights) -> None:
        """Weights of one epoch, as they were recorded; of one after the other. Raises ValueError for any other, and
        where others are known already."""
        known = self._weights.get(weights.epoch)
        if known is None:
            self._places.learn(weights.epoch, weights.salvage)
            self._weights[weights.epoch] = weights
        elif known != weights:
            raise ValueError(f"epoch {weights.epoch} has other weights already")

    def recorded(self, start: int) -> tuple[EpochWeights, ...]:
        """The weights that are known, from epoch ``start`` on."""
        return tuple(self._weights[epoch] for epoch in range(start, len(self._weights)))

    def ready(self, place: int) -> bool:
        return place // self.recipe.epoch in self._weights

    def item(self, place: int) -> WorkItem:
        """Raises EpochUnknown where the weights of its epoch are not known, ConfigError where a template fails."""
        if not self.ready(place):
            raise EpochUnknown(f"place {place} needs the weights of epoch {place // self.recipe.epoch}")
        placed = self._places.at(place)
        index = placed.index
        shared, cell = self._shared(index)
        pack = self.recipe.texts_per_item
        rows = tuple(self._row(index, part, shared) for part in range(pack)) if self.recipe.pack else ()
        return WorkItem(
            place=place,
            index=index,
            round=placed.round,
            columns=shared,
            rows=rows,
            cell=cell,
            title=self.title(index),
            targets=rows[0]["links"] if rows else self._links(index, 0),
            seed=bits(self.recipe.seed, "item", index) >> 1,
        )

    def title(self, index: int, part: int = 0) -> str:
        """Unique in the run; "" where the recipe has no titles."""
        return self._called(index, part) if self._title else ""

    def next_call(self, item: WorkItem, said: Sequence[Said], attempt: int = 0) -> Call | None:
        """What to ask next, given the answers so far (one for each step that was asked), or None when all is said.

        ``attempt`` changes the seed and nothing else. Raises RejectedAnswer where the last answer cannot be used.
        """
        outcome, following = self._read(item, said)
        return self._call(item, following, outcome.outputs, attempt) if following else None

    def first_call(self, item: WorkItem) -> Call | None:
        """What to ask before anything was said; None where every step up to the output is left out."""
        try:
            return self.next_call(item, ())
        except RejectedAnswer:
            return None

    def outcome(self, item: WorkItem, said: Sequence[Said]) -> Outcome:
        """The texts of an item whose answers are all there. Raises RejectedAnswer."""
        return self._read(item, said)[0]

    def _read(self, item: WorkItem, said: Sequence[Said]) -> tuple[Outcome, _Step | None]:
        outcome = Outcome()
        answers = iter(said)
        for step in self._steps:
            if step.when is not None and not step.when(self._values(item, outcome.outputs)):
                outcome.outputs[step.spec.name] = ""
                continue
            answer = next(answers, None)
            if answer is None:
                return outcome, step
            self._take(step, answer, outcome)
        if not outcome.texts:
            raise RejectedAnswer("empty")
        return outcome, None

    def _take(self, step: _Step, answer: Said, outcome: Outcome) -> None:
        spec = step.spec
        text = cleaned(answer.text)
        parsed: Any = text
        if step.validator is not None:
            parsed = read_json(text)
            if not step.validator.is_valid(parsed):
                raise RejectedAnswer("schema", text)
        outcome.outputs[spec.name] = parsed
        if spec.keep:
            outcome.kept[spec.name] = parsed
        if spec.judge is not None:
            outcome.score = score_of(text, spec.judge.pattern, spec.judge.field, parsed)
            outcome.least_score = spec.judge.min
        if spec.name == self.recipe.output.step:
            outcome.said = answer
            field_name = self.recipe.output.field
            pack = self.recipe.pack
            parts = split(text, pack.format, pack.count) if pack else [parsed]
            outcome.texts = [text_field(part, field_name) for part in parts]

    def _call(self, item: WorkItem, step: _Step, outputs: Mapping[str, Any], attempt: int) -> Call:
        values = self._values(item, outputs)
        try:
            messages = [Message(Role.SYSTEM, step.system.render(values))] if step.system else []
            messages.append(Message(Role.USER, step.prompt.render(values)))
        except TemplateFault as fault:
            number = self._steps.index(step)
            raise ItemFault(("steps", number), f"its prompt fails for item {item.index}: {fault}") from fault
        sampling = self._sampling(step.spec, item.index, attempt)
        return Call(step.spec.name, tuple(messages), sampling, self.recipe.model)

    def _sampling(self, step: Step, index: int, attempt: int) -> Sampling:
        spec: SamplingSpec = step.sampling
        heat = spec.temperature
        form = None
        if step.schema is not None:
            form = {"type": "json_schema", "json_schema": {"name": step.name, "schema": step.schema}}
        return Sampling(
            temperature=None if heat is None else spread_value(heat, self.recipe.seed, "heat", index, step.name),
            top_p=spec.top_p,
            max_tokens=spec.max_tokens,
            stop=spec.stop,
            seed=request_seed(self.recipe.seed, index, attempt, step.name),
            presence_penalty=spec.presence_penalty,
            frequency_penalty=spec.frequency_penalty,
            response_format=form,
        )

    def _values(self, item: WorkItem, outputs: Mapping[str, Any]) -> dict[str, Any]:
        values = {**item.columns, "title": item.title, "index": item.index, **outputs}
        if self.graph:
            values["cluster"] = self.graph.cluster(item.index)
            values["links"] = [{"title": link.title, "kind": link.kind} for link in item.targets]
        if self.recipe.pack:
            values["rows"] = item.rows
            values["count"] = len(item.rows)
        return values

    def _drawn(self, index: int) -> tuple[dict[str, Any], str]:
        weights = self._weights.get(index // self.recipe.epoch)
        if weights is None:
            raise EpochUnknown(f"item {index} needs the weights of epoch {index // self.recipe.epoch}")
        values, cell = self._sampler.shared(index, weights)
        values.pop("index")
        values.pop("cluster", None)
        return values, cell

    def _row(self, index: int, part: int, shared: Mapping[str, Any]) -> dict[str, Any]:
        values = {**shared, "index": index}
        if self.graph:
            values["cluster"] = self.graph.cluster(index)
        row = self._sampler.row(index, part, values)
        return {**row, "title": self.title(index, part), "links": self._links(index, part)}

    def _links(self, index: int, part: int) -> tuple[Link, ...]:
        if self.graph is None:
            return ()
        return tuple(
            Link(kind, record_id(other, piece), self.title(other, piece))
            for kind, other, piece in self.graph.targets(index, part)
        )

    def _titled(self, index: int, part: int) -> str:
        shared, _ = self._shared(index)
        assert self._title is not None
        values = {**shared, "index": index}
        if self.graph:
            values["cluster"] = self.graph.cluster(index)
        try:
            title = " ".join(self._title.render(values).split())
        except TemplateFault as fault:
            raise ItemFault(("output", "title"), f"fails for item {index}: {fault}") from fault
        if self._turns:
            turn = self._turn(index)
            title = f"{title} ({turn + 1})" if turn else title
        elif "index" not in self._title.names:
            title = f"{title} ({index + 1})"
        return f"{title}, {part + 1}" if self.recipe.pack else title

    def _turn(self, index: int) -> int:
        return index // self._turns


def _turn_column(columns: Sequence[Column], title: Template | None) -> int:
    """After how many items a title can come again, where the title reads a column that takes distinct values in turn;
    else 0."""
    for column in columns:
        if title and column.each and column.per is Per.RECORD and column.name in title.names:
            source = column.source
            values: Sequence[Any] = ()
            if isinstance(source, Values):
                values = source.values
            elif isinstance(source, SeedFile):
                values = source.rows
            elif isinstance(source, Tree):
                values = [leaf[-1] for leaf in source.leaves]
            names = {" ".join(str(value).split()).casefold() for value in values}
            if len(names) == len(values):
                return len(names)
    return 0


def _compiled_step(step: Step) -> _Step:
    return _Step(
        spec=step,
        prompt=compiled(step.prompt),
        system=compiled(step.system) if step.system else None,
        when=condition(step.when)[1] if step.when else None,
        validator=jsonschema_rs.validator_for(dict(step.schema)) if step.schema is not None else None,
    )
