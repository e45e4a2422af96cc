"""Filters that the recipe's author wrote in Python: ``module:function``, or ``file.py:function`` beside the recipe.

They are code that the recipe names, and run with the rights of whoever runs the recipe.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CustomFilter = Callable[[str, Mapping[str, Any]], str | None]
"""(text, the item's columns) -> None for a good text, or the reason it is rejected for."""


class CustomFault(ValueError):
    """A custom filter that cannot be loaded."""


def load_filter(name: str, folder: Path) -> CustomFilter:
    """Raises CustomFault, which says what is wrong with ``name`` or with what it names."""
    place, _, attribute = name.rpartition(":")
    if not place or not attribute.isidentifier():
        raise CustomFault(f"{name!r} must be 'module:function' or 'file.py:function'")
    try:
        module = _module(place, folder)
    except Exception as error:
        raise CustomFault(f"{place} cannot be loaded: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if not callable(found):
        raise CustomFault(f"{place} has no function {attribute!r}")
    made: CustomFilter = found
    return made


def _module(place: str, folder: Path) -> Any:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    path = folder / place
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"hubbub_recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
