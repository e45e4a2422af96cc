"""What may stand where something else stood: the values that a field takes, found by its path when it is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec.inspect as kinds

_STEP = re.compile(r"\[[^\]]*\]|[^.\[]+")


def choices(kind: Any, path: str) -> list[str]:
    """Values of the field at ``path`` (as msgspec writes it, without ``$``) of a body of ``kind``; empty where they are
    not a list of values."""
    here, found = list(_members(kinds.type_info(kind))), list[str]()
    for step in _STEP.findall(path):
        found = [str(one.tag) for one in here if isinstance(one, kinds.StructType) and one.tag_field == step]
        here = [inner for one in here for inner in _below(one, step)]
    for one in here:
        if isinstance(one, kinds.LiteralType):
            found += map(str, one.values)
        elif isinstance(one, kinds.EnumType):
            found += [str(member.value) for member in one.cls]
    return list(dict.fromkeys(found))


def _members(kind: kinds.Type) -> Iterator[kinds.Type]:
    if isinstance(kind, kinds.UnionType):
        for inner in kind.types:
            yield from _members(inner)
    else:
        yield kind


def _below(kind: kinds.Type, step: str) -> Iterable[kinds.Type]:
    inner: Iterable[kinds.Type] = ()
    if isinstance(kind, kinds.StructType):
        inner = [field.type for field in kind.fields if field.encode_name == step]
    elif step.startswith("[") and isinstance(kind, kinds.ListType | kinds.VarTupleType):
        inner = [kind.item_type]
    elif step.startswith("[") and isinstance(kind, kinds.DictType):
        inner = [kind.value_type]
    return (member for one in inner for member in _members(one))
