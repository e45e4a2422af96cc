"""Builds the page before a wheel or a source archive is packed (``scripts/web.py`` does it; ``make web``, too)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _web(root: str) -> ModuleType:
    path = Path(root) / "scripts" / "web.py"
    spec = importlib.util.spec_from_file_location("hubbub_web_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    """An editable install builds nothing: its server says how to."""

    def dependencies(self) -> list[str]:
        """Node, where a page is to be built and there is none."""
        web = _web(self.root)
        return [] if web.is_built(Path(self.root)) or web.node_on_path() else [web.NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            _web(self.root).build(Path(self.root))
