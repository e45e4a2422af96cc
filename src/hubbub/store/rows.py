"""Chats, answers and nodes as text and back, for every store: what goes in comes out the same from each of them.

Documents are JSON. A lone surrogate, which a client can send as an escape in JSON and which UTF-8 cannot hold, stays an
escape.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import msgspec

from hubbub.core.tree import canonical, item_body, item_from_body
from hubbub.core.types import (
    Answer,
    AnswerId,
    AnswerKind,
    AnswerStatus,
    Asked,
    Chat,
    ChatId,
    FinishReason,
    Item,
    ItemId,
    Json,
    Node,
    NodeHash,
    Priority,
    Sampling,
    Style,
    Usage,
    UserId,
)
from hubbub.ports import ChatEdited, LastAnswer

_SAMPLING = tuple(entry.name for entry in dataclasses.fields(Sampling))

DIGEST_BYTES = 16
"""128 bits of SHA-256: enough that two bodies never meet by chance, half the index."""


def dumps(value: Json) -> str:
    """JSON that can be kept as UTF-8. Raises TypeError for what is not JSON."""
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, OverflowError):  # a lone surrogate, an integer of more than 64 bits
        return json.dumps(value, separators=(",", ":"))


def key(text: str) -> str:
    """What to look for: no row is found by an id that UTF-8 cannot hold, and asking for one is no error."""
    return text.encode("utf-8", "backslashreplace").decode()


def fold(text: str) -> str:
    """The text as it is searched: without case in any script."""
    return key(text.casefold())


def digest(item: Item) -> bytes:
    """Equal for items with equal bodies, whatever their ids."""
    return hashlib.sha256(canonical(item).encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


def node_doc(node: Node) -> str:
    return dumps([node.item.id, node.created_at, item_body(node.item)])


def node_from(user: UserId, node_hash: str, parent: str | None, depth: int, doc: list[Any]) -> Node:
    """``doc`` as parsed JSON. Raises KeyError, TypeError or ValueError for one that no store wrote."""
    item_id, created_at, body = doc
    above = None if parent is None else NodeHash(parent)
    return Node(NodeHash(node_hash), above, depth, user, item_from_body(ItemId(item_id), body), created_at)


GLANCE_ITEMS = 8
"""How far from the end a chat's last message is looked for: a model calls tools and is answered meanwhile."""


def style_doc(style: Style) -> str:
    return dumps(_style(style))


def _style(style: Style) -> list[Json]:
    return [style.system_prompt, style.model, style.temperature, style.top_p, style.max_tokens, style.adapter]


def last_answer_from(answer_id: str, status: str, usage: str) -> LastAnswer:
    return LastAnswer(AnswerId(answer_id), AnswerStatus(status), Usage(*json.loads(usage)))


def chat_doc(chat: Chat) -> str:
    return dumps(
        {
            "title": chat.title,
            "style": _style(chat.style),
            "metadata": dict(chat.metadata),
            "forked_from": chat.forked_from,
            "pinned": chat.pinned,
            "named": chat.named,
        }
    )


def edit_doc(edit: ChatEdited) -> str:
    """What changes of a chat's document."""
    fields = {
        "title": edit.title,
        "style": None if edit.style is None else _style(edit.style),
        "metadata": None if edit.metadata is None else dict(edit.metadata),
        "pinned": edit.pinned,
        "named": edit.named,
    }
    return dumps({name: value for name, value in fields.items() if value is not None})


def edited(doc: str, edit: str) -> tuple[str, bool, str]:
    """Title, pin and document of a chat after an edit."""
    old, new = json.loads(doc), json.loads(edit)
    if "named" not in new and old.get("named", bool(old["title"])):
        new.pop("title", None)
    merged = {**old, **new}
    return merged["title"], merged.get("pinned", False), dumps(merged)


def chat_from(chat_id: ChatId, user: UserId, times: tuple[float, float], head: NodeHash | None, doc: str) -> Chat:
    """``times``: created and updated, Unix seconds."""
    fields = json.loads(doc)
    return Chat(
        id=chat_id,
        user=user,
        created_at=times[0],
        updated_at=times[1],
        head=head,
        title=fields["title"],
        style=Style(*fields["style"]),
        metadata=fields["metadata"],
        forked_from=fields["forked_from"],
        pinned=fields.get("pinned", False),
        named=fields.get("named", bool(fields["title"])),  # of an older Hubbub: it stays as it is
    )


def answer_doc(answer: Answer) -> str:
    usage = answer.usage
    return dumps(
        {
            "id": answer.id,
            "user": answer.user,
            "kind": answer.kind,
            "model": answer.model,
            "created_at": answer.created_at,
            "status": answer.status,
            "chat": answer.chat,
            "previous": answer.previous,
            "input": answer.input,
            "output": answer.output,
            "output_items": [[item.id, item_body(item)] for item in answer.output_items],
            "finish": answer.finish,
            "usage": [usage.input_tokens, usage.output_tokens, usage.cached_tokens],
            "error_code": answer.error_code,
            "error_message": answer.error_message,
            "error_param": answer.error_param,
            "params": dict(answer.params),
            "metadata": dict(answer.metadata),
            "store": answer.store,
            "background": answer.background,
            "completed_at": answer.completed_at,
            "cuts": answer.cuts,
            "asked": None if answer.asked is None else _asked_doc(answer.asked),
        }
    )


def _asked_doc(asked: Asked) -> dict[str, Json]:
    sampling = {name: value for name in _SAMPLING if (value := getattr(asked.sampling, name)) not in (None, ())}
    return {
        "system_prompt": asked.system_prompt,
        "sampling": sampling,
        "priority": asked.priority,
        "interruptions": asked.interruptions,
        "parked": asked.parked,
        **({"adapter": asked.adapter} if asked.adapter else {}),
    }


def _asked_from(fields: dict[str, Any]) -> Asked:
    sampling = fields["sampling"]
    lists = {name: tuple(sampling[name]) for name in ("stop", "tools") if name in sampling}
    fields["sampling"] = Sampling(**{**sampling, **lists})
    fields["priority"] = Priority(fields["priority"])
    return Asked(**fields)


def answer_from(doc: str) -> Answer:
    """Raises KeyError, TypeError or ValueError for a document that no store wrote."""
    fields = json.loads(doc)
    fields["kind"] = AnswerKind(fields["kind"])
    fields["status"] = AnswerStatus(fields["status"])
    fields["finish"] = None if fields["finish"] is None else FinishReason(fields["finish"])
    fields["output_items"] = tuple(item_from_body(item_id, body) for item_id, body in fields["output_items"])
    fields["usage"] = Usage(*fields["usage"])
    fields["cuts"] = tuple((index, length) for index, length in fields["cuts"])
    asked = fields.get("asked")  # rows of older versions do not have it
    fields["asked"] = None if asked is None else _asked_from(asked)
    return Answer(**fields)
