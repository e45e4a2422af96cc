"""The OpenAPI document, from the route table and the wire models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from hubbub import __version__
from hubbub.core.keys import Scope
from hubbub.core.types import Json
from hubbub.gateway.openapi_truth import MORE, refine
from hubbub.gateway.wire.errors import ErrorBody

BINARY = {"type": "string", "format": "binary"}
REF = "#/components/schemas/{name}"


class Described(Protocol):
    """What the document needs of a route."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def handler(self) -> Any: ...
    @property
    def summary(self) -> str: ...
    @property
    def body(self) -> Any: ...
    @property
    def form(self) -> Any: ...
    @property
    def upload(self) -> bool: ...
    @property
    def answer(self) -> Any: ...
    @property
    def query(self) -> Any: ...
    @property
    def streams(self) -> bool: ...
    @property
    def scopes(self) -> tuple[Scope, ...]: ...


def document(routes: Sequence[Described]) -> dict[str, Json]:
    """OpenAPI 3.1 of ``routes``."""
    kinds: list[Any] = [ErrorBody, *MORE]
    kinds += [
        kind for route in routes for kind in (route.body, route.form, route.answer, route.query) if kind is not None
    ]
    unique = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(unique, ref_template=REF)
    known = dict(zip(unique, schemas, strict=True))
    refine(components)
    paths: dict[str, dict[str, Json]] = {}
    for route in routes:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)
        operation = _operation(route, path, known, components)
        links = _links(route, routes)
        if links:
            operation["responses"]["200"]["links"] = links
        paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hubbub", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Where the server has keys (hb-...)."}
            },
        },
    }


def _name(route: Described) -> str:
    """``responses_create``: the file and the name of its handler."""
    return f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}"


def _links(made: Described, routes: Sequence[Described]) -> dict[str, Json]:
    """Where the id of what was made can be used. Not to fork and branch: they name an item, too."""
    if made.method != "POST" or (made.body is None and made.form is None):
        return {}
    links: dict[str, Json] = {}
    given = {name: f"$request.path.{name}" for name in re.findall(r"\{(\w+)\}", made.path)}
    place = "/data/0/id" if given else "/id"
    for route in routes:
        variable = re.match(re.escape(made.path) + r"/\{(\w+)\}", route.path)
        if variable and not route.path.endswith(("/fork", "/branch")):
            parameters = {**given, variable[1]: f"$response.body#{place}"}
            links[_name(route)] = {"operationId": _name(route), "parameters": parameters}
    return links


def _operation(route: Described, path: str, known: dict[Any, Json], components: dict[str, Json]) -> dict[str, Json]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    query = components[known[route.query]["$ref"].rsplit("/", 1)[-1]]
    parameters += [
        {
            "name": name,
            "in": "query",
            "required": name in query.get("required", ()),
            "schema": schema,
            **({"style": "deepObject", "explode": True} if name == "metadata" else {}),
        }
        for name, schema in query["properties"].items()
    ]
    content: dict[str, Json] = {}
    if route.answer is not None:
        content["application/json"] = {"schema": known[route.answer]}
    if route.streams:
        content["text/event-stream"] = {}
    operation: dict[str, Json] = {
        "operationId": _name(route),
        "summary": route.summary,
        "security": [{"key": []}] if route.scopes else [],
        "parameters": parameters,
        "responses": {
            "200": {"description": "OK", **({"content": content} if content else {})},
            "default": {"description": "An error", "content": {"application/json": {"schema": known[ErrorBody]}}},
        },
    }
    if route.upload:
        operation["requestBody"] = {"content": {"application/octet-stream": {"schema": BINARY}}}
    for kind, media in ((route.body, "application/json"), (route.form, "multipart/form-data")):
        if kind is not None:
            needed = components[known[kind]["$ref"].rsplit("/", 1)[-1]].get("required")
            operation["requestBody"] = {"required": bool(needed), "content": {media: {"schema": known[kind]}}}
    return operation
