"""The smallest instance of a JSON schema: what the simulated engine says where structured output is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hubbub.core.errors import BadRequest

PARAM = "response_format"
MAX_DEPTH = 32
MAX_SIZE = 100_000
"""Values of an instance, and characters that a length asks for."""

_FORMATS = {
    "date-time": "2024-01-01T00:00:00Z",
    "date": "2024-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "a@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def smallest(schema: object) -> Any:
    """A value that fits ``schema``: required properties only, arrays as short as they may be.

    Knows types, enum, const, local $ref, anyOf / oneOf (the first), allOf (objects merged), bounds of numbers, lengths
    and formats. ``pattern`` is taken from the schema's ``default`` or ``examples``. Raises BadRequest for a schema that
    is not one, that nests without end, that asks for too much, or whose pattern comes with neither.
    """
    try:
        return _instance(schema, _Root(schema), 0)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as wrong:
        raise BadRequest(f"the JSON schema has a value that does not belong there: {wrong}", param=PARAM) from None


@dataclass(slots=True)
class _Root:
    schema: Any
    left: int = MAX_SIZE

    def take(self, size: int) -> None:
        """Raises BadRequest."""
        self.left -= size
        if self.left < 0:
            raise BadRequest(f"the JSON schema requires more than {MAX_SIZE} values and characters", param=PARAM)


def _instance(schema: Any, root: _Root, depth: int) -> Any:
    root.take(1)
    if depth > MAX_DEPTH:
        raise BadRequest(f"the JSON schema requires more than {MAX_DEPTH} levels", param=PARAM)
    if schema is True or schema == {}:
        return None
    if not isinstance(schema, dict):
        raise BadRequest("a JSON schema must be an object", param=PARAM)
    if "$ref" in schema:
        return _instance(_resolve(schema["$ref"], root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _instance(schema[key][0], root, depth + 1)
    if schema.get("allOf"):
        return _merged([_instance(part, root, depth + 1) for part in schema["allOf"]])
    return _typed(schema, root, depth)


def _typed(schema: dict[str, Any], root: _Root, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "null")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            properties = schema.get("properties", {})
            return {name: _instance(properties.get(name, True), root, depth + 1) for name in schema.get("required", ())}
        case "array":
            first = schema.get("prefixItems", [])
            count = max(schema.get("minItems", 0), 0)
            return [
                _instance(first[i] if i < len(first) else schema.get("items", True), root, depth + 1)
                for i in range(count)
            ]
        case "string":
            return _string(schema, root)
        case "integer":
            return math.ceil(_number(schema, 1))
        case "number":
            return _number(schema, 0.5)
        case "boolean":
            return True
        case "null":
            return None
    raise BadRequest(f"the JSON schema has an unknown type {kind!r}", param=PARAM)


def _string(schema: dict[str, Any], root: _Root) -> str:
    if "pattern" in schema:
        given = [*([schema["default"]] if "default" in schema else ()), *schema.get("examples", ())]
        if not given:
            raise BadRequest(
                "the simulated engine cannot invent text for a 'pattern'; give the schema a 'default'",
                param=PARAM,
            )
        return str(given[0])
    text = _FORMATS.get(schema.get("format", ""), "")
    least: int = schema.get("minLength", 0)
    root.take(max(least, 0))
    return text + "a" * (least - len(text))


def _number(schema: dict[str, Any], step: float) -> float:
    """The number in bounds that is nearest to zero from its lower bound."""
    multiple = schema.get("multipleOf")
    low = schema.get("minimum", -math.inf)
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + (multiple or step))
    high = schema.get("maximum", math.inf)
    if "exclusiveMaximum" in schema:
        high = min(high, schema["exclusiveMaximum"] - (multiple or step))
    value: float = min(max(0, low), high)
    return math.ceil(value / multiple) * multiple if multiple else value


def _resolve(ref: str, root: _Root) -> Any:
    place = root.schema
    for step in ref.removeprefix("#").strip("/").split("/"):
        if step:
            try:
                place = place[step.replace("~1", "/").replace("~0", "~")]
            except (KeyError, TypeError):
                raise BadRequest(f"the JSON schema has no {ref!r}", param=PARAM) from None
    return place


def _merged(parts: list[Any]) -> Any:
    if all(isinstance(part, dict) for part in parts):
        return {name: value for part in parts for name, value in part.items()}
    return parts[0]
