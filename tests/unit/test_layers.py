"""No import cycles, not even through imports inside functions. (The layers themselves: ``lint-imports``.)"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

import grimp


def cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """One cycle, first module repeated at the end; empty when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_a_cycle_is_found() -> None:
    assert set(cycle({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]})) == {"a", "b", "c"}
    assert cycle({"a": ["b", "c"], "b": ["c"]}) == []


def test_no_import_cycles() -> None:
    graph = grimp.build_graph("hubbub", exclude_type_checking_imports=True, cache_dir=None)
    assert cycle({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}) == []
