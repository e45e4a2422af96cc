"""A chat as JSON, in the form of ChatGPT's export: what reads that reads this, and it comes back with all branches.

What that form has no place for is under ``hubbub``: of the chat its style and metadata, of a message what it is
exactly, where it is not a plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hubbub.core.tree import item_body
from hubbub.core.types import Chat, Item, ItemType, Json, Node, NodeHash, Origin, Role
from hubbub.exchange.chatgpt import EXTENSION, OURS
from hubbub.exchange.model import uid_of

ROOT = "client-created-root"
_AUTHORS = {ItemType.FUNCTION_CALL: "assistant", ItemType.FUNCTION_CALL_OUTPUT: "tool"}


def document(chat: Chat, paths: Sequence[Sequence[Node]], origin: Origin | None) -> dict[str, Json]:
    """``paths``: of all branches, the one that is on first."""
    nodes = sorted({n.hash: n for path in paths for n in path}.values(), key=lambda n: (n.depth, n.created_at))
    keys = _keys(nodes)
    mapping: dict[str, dict[str, Any]] = {ROOT: {"id": ROOT, "message": None, "parent": None, "children": []}}
    for node in nodes:
        key, parent = keys[node.hash], keys[node.parent] if node.parent is not None else ROOT
        mapping[key] = {"id": key, "message": _message(node), "parent": parent, "children": []}
        mapping[parent]["children"].append(key)
    source = origin.source if origin else f"{OURS}{chat.id}"
    return {
        "title": chat.title,
        "create_time": chat.created_at,
        "update_time": chat.updated_at,
        "mapping": mapping,
        "current_node": keys[chat.head] if chat.head is not None else ROOT,
        "conversation_id": source.rpartition(":")[2],
        "id": source.rpartition(":")[2],
        EXTENSION: {
            "source": source,
            "chat": chat.id,
            "style": {name: value for name, value in asdict(chat.style).items() if value is not None},
            "metadata": dict(chat.metadata),
        },
    }


def _keys(nodes: Sequence[Node]) -> dict[NodeHash, str]:
    """A key for each node: what its item is called; after an edit several nodes may hold items of one name."""
    keys: dict[NodeHash, str] = {}
    taken = {ROOT}
    for node in nodes:
        uid = uid_of(node.item)
        key = uid if uid not in taken else node.hash
        taken.add(key)
        keys[node.hash] = key
    return keys


def _message(node: Node) -> dict[str, Json]:
    item = node.item
    role = item.role.value if item.role else _AUTHORS.get(item.type, "user")
    name = item.name if item.type is ItemType.FUNCTION_CALL_OUTPUT else None
    return {
        "id": uid_of(item),
        "author": {"role": role, "name": name, "metadata": {}},
        "create_time": node.created_at,
        "content": _content(item),
        "status": "finished_successfully" if item.complete else "finished_partial_completion",
        "metadata": {} if _plain(item) else {EXTENSION: item_body(item)},
        "recipient": item.name or "all" if item.type is ItemType.FUNCTION_CALL else "all",
    }


def _content(item: Item) -> dict[str, Json]:
    if item.type is ItemType.FUNCTION_CALL:
        return {"content_type": "code", "language": "json", "text": item.text}
    return {"content_type": "text", "parts": list(item.parts)}


def _plain(item: Item) -> bool:
    """Whether the form itself says all."""
    return (
        item.type is ItemType.MESSAGE
        and item.role in (Role.USER, Role.ASSISTANT)
        and item.complete
        and len(item.parts) == 1
        and bool(item.text.strip())
        and "\0" not in item.text
        and not item.call_id
        and not item.name
    )
