"""Columns of one work item: drawn from (run seed, index) and, where cells are steered, from the weights of its epoch.

Steered columns are drawn by rejection: draw as the recipe says, keep it with the probability that the cell's weight
has of the greatest, else draw again, 64 times at most. So no table of all cells is needed, and cells may hang on one
another by conditions. An item whose draws were all turned down takes the best of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hubbub.corpus.draws import bits, in_turn, running_sums, unit, weighted
from hubbub.corpus.problems import ItemFault
from hubbub.corpus.recipe import Column, Expression, Per, Personas, Range, Recipe, SeedFile, Source, Tree, Values
from hubbub.corpus.record import Value
from hubbub.corpus.steering import EpochWeights
from hubbub.corpus.templates import TemplateFault, compiled, condition

TRIES = 64

_Draw = Callable[[int, Mapping[str, Any], int], Any]
"""(number of the draw, columns so far, try) -> value"""


class Persona(dict[str, Any]):
    """Traits by name; as a text, all of them."""

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.items())


class Topic(dict[str, Any]):
    """``leaf``, ``path``, ``l1``, ``l2`` ...; as a text, the leaf."""

    def __str__(self) -> str:
        return str(self["leaf"])


class Sampler:
    """Draws the columns of one recipe. Holds nothing that changes."""

    def __init__(self, recipe: Recipe) -> None:
        self._seed = recipe.seed
        self._steered = recipe.steering.columns
        self._cluster = recipe.links.cluster if recipe.links else 0
        self._pack = recipe.texts_per_item
        self._columns = [(column, self._draw_of(column)) for column in recipe.columns]
        pers = {column.per for column in recipe.columns if column.name in self._steered}
        self._per_of_cell = Per.CLUSTER if pers == {Per.CLUSTER} else Per.RECORD

    def shared(self, index: int, weights: EpochWeights) -> tuple[dict[str, Any], str]:
        """What all texts of item ``index`` share, and the name of its cell."""
        greatest = max(1.0, *weights.cells.values()) if weights.cells else 1.0
        number = self._number(self._per_of_cell, index, 0)
        best: tuple[float, dict[str, Any], str] = (-1.0, {}, "")
        for attempt in range(TRIES if weights.cells else 1):
            values = self._draw_all(index, attempt)
            cell = self.cell(values)
            weight = weights.cells.get(cell, 1.0)
            if not weights.cells or unit(self._seed, "cell", number, attempt) * greatest < weight:
                return values, cell
            if weight > best[0]:
                best = (weight, values, cell)
        return best[1], best[2]

    def row(self, index: int, part: int, shared: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that text ``part`` of item ``index`` has for itself."""
        values = dict(shared)
        own = {}
        for column, draw in self._columns:
            if column.per is Per.TEXT:
                try:
                    own[column.name] = values[column.name] = draw(index * self._pack + part, values, 0)
                except TemplateFault as fault:
                    raise _fails(column, index, fault) from fault
        return own

    def cell(self, values: Mapping[str, Any]) -> str:
        return " / ".join(str(values[name]) for name in self._steered)

    def _draw_all(self, index: int, attempt: int) -> dict[str, Any]:
        values: dict[str, Any] = {"index": index}
        if self._cluster:
            values["cluster"] = index // self._cluster
        for column, draw in self._columns:
            if column.per is not Per.TEXT:
                tried = attempt if column.name in self._steered else 0
                try:
                    values[column.name] = draw(self._number(column.per, index, 0), values, tried)
                except TemplateFault as fault:
                    raise _fails(column, index, fault) from fault
        return values

    def _number(self, per: Per, index: int, part: int) -> int:
        if per is Per.CLUSTER:
            return index // self._cluster
        return index * self._pack + part if per is Per.TEXT else index

    def _draw_of(self, column: Column) -> _Draw:
        plain = self._draw_from(column.source, column.name, column.each)
        cases = [
            (condition(case.test)[1], self._draw_from(case.source, f"{column.name}#{number}", False))
            for number, case in enumerate(column.cases)
        ]
        if not cases:
            return plain

        def draw(number: int, values: Mapping[str, Any], attempt: int) -> Any:
            for test, chosen in cases:
                if test(values):
                    return chosen(number, values, attempt)
            return plain(number, values, attempt)

        return draw

    def _draw_from(self, source: Source, name: str, each: bool) -> _Draw:
        seed = self._seed
        if isinstance(source, Expression):
            template = compiled(source.template)
            return lambda number, values, attempt: template.render(values)
        if isinstance(source, Range):
            return lambda number, values, attempt: _in_range(source, unit(seed, name, number, attempt))
        if isinstance(source, Personas):
            draws = {trait: self._draw_from(of, f"{name}.{trait}", False) for trait, of in source.traits.items()}
            return lambda number, values, attempt: Persona(
                {trait: draw(number, values, attempt) for trait, draw in draws.items()}
            )
        choices = _choices(source)
        size = len(choices)
        if each:
            return lambda number, values, attempt: choices[in_turn(seed, name, number, size)]
        if isinstance(source, Values) and source.weights:
            sums = running_sums(source.weights)
            return lambda number, values, attempt: choices[weighted(sums, unit(seed, name, number, attempt))]
        return lambda number, values, attempt: choices[bits(seed, name, number, attempt) % size]


def _fails(column: Column, index: int, fault: TemplateFault) -> ItemFault:
    return ItemFault(("columns", column.name), f"its template fails for item {index}: {fault}")


def _choices(source: Values | SeedFile | Tree) -> tuple[Any, ...]:
    if isinstance(source, Values):
        return source.values
    if isinstance(source, SeedFile):
        return source.rows
    return tuple(_topic(leaf) for leaf in source.leaves)


def _topic(path: tuple[str, ...]) -> Topic:
    levels = {f"l{depth}": name for depth, name in enumerate(path, 1)}
    return Topic(leaf=path[-1], path=list(path), **levels)


def _in_range(source: Range, at: float) -> int | float:
    if source.whole:
        return int(source.low) + int(at * (int(source.high) - int(source.low) + 1))
    return round(source.low + at * (source.high - source.low), 6)


def plain(value: Any) -> Value:
    """The value as JSON keeps it: a topic by its path, a persona by its traits."""
    if isinstance(value, Topic):
        return list(value["path"])
    return dict(value) if isinstance(value, Persona) else value
