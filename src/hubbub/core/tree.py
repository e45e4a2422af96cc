"""How items become nodes of the content-addressed tree. Pure: the store keeps what these functions make.

``hash = sha256(parent hash, user, item id, item body)``. The id of an input item is derived from its content and place,
so that the same beginning sent twice by one user is the same rows; the id of an answer is given when it starts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hubbub.core.types import Item, ItemId, ItemType, Json, Node, NodeHash, Role, UserId

ITEM_PREFIX = {ItemType.MESSAGE: "msg_", ItemType.FUNCTION_CALL: "fc_", ItemType.FUNCTION_CALL_OUTPUT: "fco_"}
_TYPES = {kind.value: kind for kind in ItemType}
_ROLES: dict[str | None, Role | None] = {None: None, **{role.value: role for role in Role}}
# Dictionaries: calling an Enum costs as much as all the rest of reading an item, and paths have thousands.
_sorted_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
# Made once: json.dumps with these makes one for every call, which is most of the time of a short item.


def item_body(item: Item) -> dict[str, Json]:
    """The item without its id, as JSON: what is stored, hashed and compared."""
    body: dict[str, Json] = {"type": item.type.value, "parts": list(item.parts), "complete": item.complete}
    if item.role is not None:
        body["role"] = item.role.value
    if item.call_id:
        body["call_id"] = item.call_id
    if item.name:
        body["name"] = item.name
    return body


def item_from_body(item_id: ItemId, body: dict[str, Json]) -> Item:
    """The inverse of :func:`item_body`. Raises KeyError on a body this version did not write."""
    return Item(
        id=item_id,
        type=_TYPES[body["type"]],
        parts=tuple(body["parts"]),
        role=_ROLES[body.get("role")],
        call_id=body.get("call_id", ""),
        name=body.get("name", ""),
        complete=body["complete"],
    )


def canonical(item: Item) -> str:
    """The item's body as one JSON text, the same for equal bodies."""
    return _sorted_json(item_body(item))


def _digest(*fields: str) -> str:
    # Lengths keep fields apart: no two different field lists give the same bytes.
    data = b"".join(b"%d:%s" % (len(raw), raw) for raw in (f.encode("utf-8", "surrogatepass") for f in fields))
    return hashlib.sha256(data).hexdigest()


def derived_id(user: UserId, parent: NodeHash | None, item: Item) -> ItemId:
    """The id an input item gets: the same for the same user, place and content."""
    return ItemId(ITEM_PREFIX[item.type] + _digest("id", user, parent or "", canonical(item))[:32])


def node_hash(user: UserId, parent: NodeHash | None, item: Item) -> NodeHash:
    return NodeHash(_digest("node", user, parent or "", item.id, canonical(item)))


def link(user: UserId, parent: Node | None, items: Iterable[Item], now: float) -> tuple[Node, ...]:
    """Nodes for ``items`` one after the other below ``parent``. An item with an empty id gets its derived id."""
    nodes: list[Node] = []
    for given in items:
        above = parent.hash if parent else None
        item = given if given.id else replace(given, id=derived_id(user, above, given))
        parent = Node(node_hash(user, above, item), above, parent.depth + 1 if parent else 1, user, item, now)
        nodes.append(parent)
    return tuple(nodes)


def without(path: Sequence[Node], gone: ItemId, now: float) -> tuple[tuple[Node, ...], NodeHash | None]:
    """The path with one item left out: the new nodes to add, and the new head. Ids of all other items stay.

    Raises KeyError if no item of the path has that id.
    """
    place = next((i for i, node in enumerate(path) if node.item.id == gone), None)
    if place is None:
        raise KeyError(gone)
    above = path[place - 1] if place else None
    added = link(path[place].user, above, (node.item for node in path[place + 1 :]), now)
    if added:
        return added, added[-1].hash
    return (), above.hash if above else None


def is_sound(node: Node) -> bool:
    """Whether the node's hash is the hash of what it holds."""
    return node.hash == node_hash(node.user, node.parent, node.item)


def output_id(answer: str, kind: ItemType, index: int) -> ItemId:
    """The id of an answer's ``index``-th output item: known when the answer starts, before its text is."""
    return ItemId(f"{ITEM_PREFIX[kind]}{answer.rsplit('_', 1)[-1].rsplit('-', 1)[-1]}{index:02d}")
