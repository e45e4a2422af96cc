"""A conversation of ChatGPT's export (``conversations.json``) as a tree of items.

``mapping`` is the tree: ``{id: {"id", "parent", "children", "message"}}``, with nodes that hold no message, and
``current_node`` the leaf that was on the screen. Every branch is kept. What a model was told beforehand (custom
instructions, memory) becomes the chat's system prompt. A call of a tool becomes a function call where its output
follows, else text.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hubbub.core.tree import item_from_body
from hubbub.core.types import ChatId, Item, ItemType, Json, Role, Style
from hubbub.exchange.chatgpt_content import INSTRUCTIONS, THOUGHTS, Fields, fields, instructions_of, text_of, word
from hubbub.exchange.model import Said, Talk, item_id, seconds, title_of, without_nul

PROVIDER = "chatgpt"
EXTENSION = "hubbub"
"""Where our own exports keep what ChatGPT's form has no place for."""
OURS = "hubbub:"
FINISHED = ("finished_successfully", "")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node stands: what was last kept above it, the call that waits for an output, and what was told before
    the first question."""

    parent: int = -1
    call: str = ""
    begun: bool = False
    told: tuple[str, ...] = ()


def conversation(given: Json) -> tuple[Talk, tuple[str, ...]]:
    """The talk, and what is to be said of it beside. Raises ValueError for what is no conversation."""
    chat = fields(given)
    if "chat_messages" in chat:
        raise ValueError("this is a conversation of Claude's export; bring it as notes of the Nexus importer")
    if "mapping" not in chat:
        raise ValueError("this is no ChatGPT conversation: it has no mapping")
    return _Reader(chat).talk()


@dataclass
class _Reader:
    given: Fields
    left_out: Counter[str] = field(default_factory=Counter)
    said: list[Said] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mapping: dict[str, Fields] = {key: fields(node) for key, node in fields(self.given["mapping"]).items()}
        self.places: dict[str, _Place] = {}

    def talk(self) -> tuple[Talk, tuple[str, ...]]:
        loops = self._walk()
        current, place = self._current()
        told = "\n\n".join(place.told)
        others = {"\n\n".join(p.told) for p in self.places.values()} - {"", told}
        ours = fields(self.given.get(EXTENSION))
        style = _style(ours.get("style")) or Style(system_prompt=told or None)
        if told and style.system_prompt != told:
            self.left_out["instructions"] += 1
        self.left_out["instructions"] += sum(not told.startswith(other) for other in others)
        model = word(self.given.get("default_model_slug"))
        metadata = {"imported_from": PROVIDER, **({"imported_model": model[:512]} if model else {})}
        source, chat = self._source(ours)
        talk = Talk(
            source=source,
            title=title_of(word(self.given.get("title"))),
            said=tuple(self.said),
            current=current,
            created_at=seconds(self.given.get("create_time")),
            updated_at=seconds(self.given.get("update_time")),
            style=style,
            metadata=_texts(ours.get("metadata")) if ours else metadata,
            chat=chat,
            left_out=+self.left_out,
        )
        return talk, tuple(f"its messages go round in a circle: it was cut above {node[:80]}" for node in loops)

    def _source(self, ours: Fields) -> tuple[str, ChatId | None]:
        source = word(ours.get("source"))
        if not source:
            named = word(self.given.get("conversation_id")) or word(self.given.get("id"))
            if not named:  # what it holds is the same in every export
                named = hashlib.sha256("\n".join(sorted(self.mapping)).encode("utf-8", "replace")).hexdigest()[:32]
            source = f"{PROVIDER}:{named}"
        chat = word(ours.get("chat")) or (source.removeprefix(OURS) if source.startswith(OURS) else "")
        return source[:300], ChatId(chat) if chat else None

    def _current(self) -> tuple[int, _Place]:
        named = word(self.given.get("current_node"))
        place = self.places.get(named)
        if place is None and self.places:
            place = next(reversed(self.places.values()))
        return (place.parent, place) if place else (-1, _Place())

    # The tree ----------------------------------------------------------------------------------------------------

    def _walk(self) -> list[str]:
        """Every node, parents first, branches in their order. Returns where circles were cut."""
        below = self._children()
        for root in [key for key in self.mapping if self._parent(key) is None]:
            self._descend(root, below)
        loops = []
        for key in self.mapping:
            if key not in self.places:  # no root leads here
                loops.append(key)
                self._descend(key, below)
        return loops

    def _descend(self, root: str, below: Mapping[str, list[str]]) -> None:
        waiting = [(root, _Place())]
        while waiting:
            key, above = waiting.pop()
            if key in self.places:
                continue
            kids = below.get(key, [])
            self.places[key] = place = self._take(key, above, kids)
            waiting += [(kid, place) for kid in reversed(kids)]

    def _parent(self, key: str) -> str | None:
        parent = self.mapping[key].get("parent")
        return parent if isinstance(parent, str) and parent in self.mapping and parent != key else None

    def _children(self) -> dict[str, list[str]]:
        """By what nodes say of their parents; in the order in which these list them."""
        below: dict[str, list[str]] = {}
        for key in self.mapping:
            parent = self._parent(key)
            if parent is not None:
                below.setdefault(parent, []).append(key)
        for parent, kids in below.items():
            listed = self.mapping[parent].get("children")
            if len(kids) > 1 and isinstance(listed, list):
                order = {kid: place for place, kid in enumerate(listed) if isinstance(kid, str)}
                kids.sort(key=lambda kid: order.get(kid, len(order)))
        return below

    # One message -------------------------------------------------------------------------------------------------

    def _take(self, key: str, above: _Place, kids: list[str]) -> _Place:
        message = fields(self.mapping[key].get("message"))
        if not message:
            return above
        uid = word(message.get("id")) or key
        exact = fields(fields(message.get("metadata")).get(EXTENSION))
        if exact:
            return self._keep(above, _exact(exact, uid), message)
        role, kind = self._role(message), word(fields(message.get("content")).get("content_type"))
        hidden = bool(fields(message.get("metadata")).get("is_visually_hidden_from_conversation"))
        if kind in THOUGHTS:
            self.left_out["thoughts"] += 1
            return above
        if kind in INSTRUCTIONS:
            return self._tell(above, instructions_of(message), uid, message)
        text = without_nul(text_of(message, self.left_out), self.left_out)
        if role == "tool":
            return self._output(above, uid, text, message)
        if not text.strip():
            return above
        if role == "system" and not hidden:
            return self._tell(above, text, uid, message)
        if hidden:
            self.left_out["hidden_messages"] += 1
            return above
        if role == "user":
            return self._keep(above, _message(Role.USER, uid, text), message)
        if self._to_tool(message):
            return self._call(above, uid, text, message, kids)
        return self._keep(above, _message(Role.ASSISTANT, uid, text, complete=_complete(message)), message)

    def _keep(self, above: _Place, item: Item, message: Fields, call: str = "") -> _Place:
        at = seconds(message.get("create_time"))
        if at is None and above.parent >= 0:
            at = self.said[above.parent].at
        self.said.append(Said(above.parent, item, at))
        return _Place(len(self.said) - 1, call, above.begun or item.role is Role.USER, above.told)

    def _tell(self, above: _Place, text: str, uid: str, message: Fields) -> _Place:
        """Before the first question it is the chat's system prompt, later a message of its own."""
        text = without_nul(text, self.left_out).strip()
        if not text or text in above.told:
            return above
        if above.begun:
            return self._keep(above, _message(Role.SYSTEM, uid, text), message)
        return _Place(above.parent, above.call, above.begun, (*above.told, text))

    def _call(self, above: _Place, uid: str, text: str, message: Fields, kids: list[str]) -> _Place:
        """A function call, where every way on from it is an output: chat templates want one."""
        answered = kids and all(self._role(fields(self.mapping[kid].get("message"))) == "tool" for kid in kids)
        if not answered:
            language = word(fields(message.get("content")).get("language")).replace("unknown", "")
            return self._keep(above, _message(Role.ASSISTANT, uid, f"```{language}\n{text}\n```"), message)
        name = word(message.get("recipient"))
        call = Item(
            item_id(ItemType.FUNCTION_CALL, uid),
            ItemType.FUNCTION_CALL,
            (_arguments(text),),
            call_id=f"call_{uid[:80]}",
            name=name[:100],
        )
        return self._keep(above, call, message, call=call.call_id)

    def _output(self, above: _Place, uid: str, text: str, message: Fields) -> _Place:
        if above.call:
            kind = ItemType.FUNCTION_CALL_OUTPUT
            return self._keep(above, Item(item_id(kind, uid), kind, (text,), call_id=above.call), message)
        if not text.strip():
            return above
        name = word(fields(message.get("author")).get("name")) or "a tool"
        return self._keep(above, _message(Role.ASSISTANT, uid, f"Output of {name}:\n\n{text}"), message)

    def _role(self, message: Fields) -> str:
        return word(fields(message.get("author")).get("role"))

    def _to_tool(self, message: Fields) -> bool:
        return word(message.get("recipient")) not in ("", "all")


def _complete(message: Fields) -> bool:
    return word(message.get("status")) in FINISHED


def _message(role: Role, uid: str, text: str, *, complete: bool = True) -> Item:
    return Item(item_id(ItemType.MESSAGE, uid), ItemType.MESSAGE, (text,), role, complete=complete)


def _arguments(text: str) -> str:
    """What a tool was called with, as JSON: chat templates read it as such."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    return text if isinstance(given, dict) else json.dumps({"input": text}, ensure_ascii=False)


def _exact(body: Fields, uid: str) -> Item:
    """An item of our own export. Raises ValueError for one that was changed beyond reading."""
    try:
        kind = ItemType(body["type"])
        item = item_from_body(item_id(kind, uid), dict(body))
    except (KeyError, TypeError, ValueError) as wrong:
        raise ValueError(f"metadata.{EXTENSION} of message {uid[:80]} cannot be read: {wrong!r}") from None
    sound = all(isinstance(part, str) for part in (*item.parts, item.call_id, item.name))
    if not sound or not isinstance(item.complete, bool):
        raise ValueError(f"metadata.{EXTENSION} of message {uid[:80]} cannot be read")
    return item


def _style(given: Json) -> Style | None:
    """The style of our own export; what is not of its type is left to the defaults."""
    if not isinstance(given, dict):
        return None
    texts = {name: given[name] for name in ("system_prompt", "model", "adapter") if isinstance(given.get(name), str)}
    numbers: dict[str, Any] = {
        name: given[name]
        for name in ("temperature", "top_p", "max_tokens")
        if isinstance(given.get(name), int | float) and not isinstance(given[name], bool)
    }
    return Style(**texts, **numbers)


def _texts(given: Json) -> dict[str, str]:
    pairs = fields(given).items()
    return {key[:64]: value[:512] for key, value in list(pairs)[:16] if isinstance(value, str)}


def leaves(said: tuple[Said, ...]) -> Iterator[int]:
    """The places that nothing follows."""
    above = {one.parent for one in said}
    return (place for place in range(len(said)) if place not in above)
