"""The OpenAPI document, from the route table and the wire models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from hubbub import __version__
from hubbub.core.types import Json
from hubbub.gateway.wire.errors import ErrorBody
from hubbub.gateway.wire.items import FunctionCallIn, FunctionCallOutputIn, MessageIn

REF = "#/components/schemas/{name}"


class Described(Protocol):
    """What the document needs of a route."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def body(self) -> Any: ...
    @property
    def answer(self) -> Any: ...
    @property
    def query(self) -> Any: ...
    @property
    def streams(self) -> bool: ...


def document(routes: Sequence[Described]) -> dict[str, Json]:
    """OpenAPI 3.1 of ``routes``."""
    kinds: list[Any] = [ErrorBody, MessageIn, FunctionCallIn, FunctionCallOutputIn]
    kinds += [kind for route in routes for kind in (route.body, route.answer, route.query) if kind is not None]
    unique = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(unique, ref_template=REF)
    known = dict(zip(unique, schemas, strict=True))
    paths: dict[str, dict[str, Json]] = {}
    for route in routes:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, path, known, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hubbub", "version": __version__},
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(route: Described, path: str, known: dict[Any, Json], components: dict[str, Json]) -> dict[str, Json]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    query = components[known[route.query]["$ref"].rsplit("/", 1)[-1]]
    parameters += [
        {"name": name, "in": "query", "required": name in query.get("required", ()), "schema": schema}
        for name, schema in query["properties"].items()
    ]
    content: dict[str, Json] = {}
    if route.answer is not None:
        content["application/json"] = {"schema": known[route.answer]}
    if route.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    operation: dict[str, Json] = {
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "OK", **({"content": content} if content else {})},
            "default": {"description": "An error", "content": {"application/json": {"schema": known[ErrorBody]}}},
        },
    }
    if route.body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": known[route.body]}}}
    return operation
