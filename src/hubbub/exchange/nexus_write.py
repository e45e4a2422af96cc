"""Notes in the Nexus importer's form: a new one, or one that was brought with what was said since.

What was brought comes back byte for byte. New messages follow it the way the plugin itself adds messages to a note that
is there, in the form of the note's last message and of its times.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

from hubbub.core.types import Chat, ItemType, Node, Origin, Role
from hubbub.exchange.model import item_id, uid_of
from hubbub.exchange.nexus_note import PLUGIN, Form, Note, quoted, read, rendered
from hubbub.exchange.nexus_times import UTC_CLOCK
from hubbub.exchange.packed import unpacked

VERSION = "1.6.3"
"""Of the plugin whose form a new note has."""
CHAT_URL = "https://chatgpt.com/c/"
_RESERVED = re.compile(r"(true|false|null|yes|no|on|off|\d+|\d*\.\d+)", re.IGNORECASE)


def shown(nodes: Sequence[Node]) -> list[Node]:
    """What has a place in a note: what people and models said, without tools and instructions."""
    return [n for n in nodes if n.item.type is ItemType.MESSAGE and n.item.role in (Role.USER, Role.ASSISTANT)]


def note(chat: Chat, path: Sequence[Node], origin: Origin | None) -> str:
    """The note of a chat as it stands: ``path``, the items of the branch it is on."""
    messages = shown(path)
    if origin is None or not origin.original:
        return _new(chat, messages, origin)
    brought = read(unpacked(origin.original).decode())
    same = 0
    for piece, node in zip(brought.pieces, messages, strict=False):
        expected = item_id(ItemType.MESSAGE, piece.uid)
        if (node.item.id, node.item.role) != (expected, piece.role) or rendered(node.item.text) != rendered(piece.text):
            break
        same += 1
    kept = brought.text
    if same < len(brought.pieces):  # another branch is on, or something was left out: what it shares with the note
        kept = brought.text[: brought.pieces[same - 1].end if same else brought.pieces[0].start]
    return kept + _more(brought, messages[same:], bare=not same)


def _more(brought: Note, nodes: Sequence[Node], *, bare: bool) -> str:
    if not nodes:
        return ""
    like = next((piece.when for piece in reversed(brought.pieces) if piece.when), "")
    form = brought.form
    texts = [_message(node, form, brought.clock.write(node.created_at, like)) for node in nodes]
    text = ("" if bare else "\n\n") + ("\n" if form is Form.DENSE else "\n\n").join(texts)
    return text if brought.newline == "\n" else text.replace("\r\n", "\n").replace("\n", "\r\n")


def _message(node: Node, form: Form, when: str) -> str:
    role = node.item.role or Role.USER
    name = "User" if role is Role.USER else "Assistant"
    body = quoted(node.item.text.replace("\r", ""), role, form)
    if form is Form.OLD:
        head = f"{'###' if role is Role.USER else '####'} {name}, on {when};"
    else:
        head = f">[!nexus_{'user' if role is Role.USER else 'agent'}] **{name}** - {when}"
    text = f"{head}\n{body}\n<!-- UID: {uid_of(node.item)} -->"
    if form is Form.DENSE:
        return f"{text}\n\n---" if role is Role.ASSISTANT else text
    return f"{text}\n\n---\n\n\n" if role is Role.ASSISTANT else f"{text}\n\n\n"


def _new(chat: Chat, messages: Sequence[Node], origin: Origin | None) -> str:
    provider, conversation = named(chat, origin)
    title = chat.title or "Untitled"
    url = f"Chat URL: {CHAT_URL}{conversation}\n" if provider == "chatgpt" else ""
    updated = max([chat.updated_at, *(node.created_at for node in messages)])
    head = (
        f'---\nnexus: {PLUGIN}\nplugin_version: "{VERSION}"\nprovider: {provider}\naliases: {_alias(title)}\n'
        f"conversation_id: {conversation}\ncreate_time: {_iso(chat.created_at)}\nupdate_time: {_iso(updated)}\n"
        f"hubbub_chat: {chat.id}\n---\n# Title: {title}\n\nCreated: {UTC_CLOCK.write(chat.created_at, '')}\n"
        f"Last Updated: {UTC_CLOCK.write(updated, '')}\n{url}\n\n"
    )
    return head + "\n".join(_message(node, Form.DENSE, UTC_CLOCK.write(node.created_at, "")) for node in messages)


def named(chat: Chat, origin: Origin | None) -> tuple[str, str]:
    """Provider and conversation, as a note's frontmatter has them."""
    words = origin.source.split(":") if origin else []
    if len(words) >= 2 and all(words):
        return (words[-2], words[-1]) if re.fullmatch(r"[\w.-]+", words[-2] + words[-1]) else ("hubbub", chat.id)
    return "hubbub", chat.id


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _alias(title: str) -> str:
    """A title as the plugin writes it into YAML: without what file systems refuse, quoted where it must be."""
    plain = "".join(c for c in unicodedata.normalize("NFD", title) if not "\u0300" <= c <= "\u036f")
    plain = re.sub(r"[<>/\\|?*\n\r]+", "", plain)
    plain = " ".join(re.sub(r"\.{2,}", ".", plain).split())
    plain = re.sub(r"^[^\w\s\"']+", "", plain).strip() or "Untitled"
    special = title[:1] in tuple("#&*!|>%@`") or any(c in plain for c in "\"':[]{}\t") or _RESERVED.fullmatch(plain)
    return "'" + plain.replace("'", "''") + "'" if special else plain
