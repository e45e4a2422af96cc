"""A note of the Nexus AI Chat Importer (a plugin of Obsidian), read so that it can be given back byte for byte.

A note is frontmatter, a head, and messages one after the other. A message is a head line, quoted lines, and
``<!-- UID: ... -->``; what follows up to the next one (blank lines, ``---``) is its end. The forms by version of the
plugin, whatever the provider (chatgpt, claude, gemini, lechat, perplexity):

    1.0, 1.1     ``### User, on DATE at TIME;`` ``> text``, ``#### Assistant, on ...;`` (first ``ChatGPT``) ``>> text``
    1.2          ``>[!nexus_user] **User** - DATE at TIME``, ``> text``, blank lines after each message
    from 1.3     the same without the blank lines; from 1.3.2 a blank line is ``>`` and ``> x`` is quoted as ``>> x``
    from 1.6     ``**Assistant · MODEL**``; ``models:`` in the frontmatter; ``## Related Queries`` at the end

Attachments are callouts within a message (``>>[!nexus_attachment]``; in 1.2 after it, before the UID). They stay in the
text as they stand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from hubbub.core.types import Role
from hubbub.exchange.nexus_times import Clock, clock_of

PLUGIN = "nexus-ai-chat-importer"
NOTHING = ("[No content found]", "[No content]")
"""What the plugin writes for a message without text."""
_HEAD = re.compile(r">\[!nexus_(user|agent|assistant)\][+-]?[ \t]*(.*)")
_LOOSE = re.compile(r">[ \t]?\[!nexus_(user|agent|assistant)\][+-]?[ \t]*(.*)")
"""With a blank, as formatters and people write callouts; within a message it is taken for quoted text."""
_OLD = re.compile(r"#{3,4} (User|Assistant|ChatGPT), on (.+);")
_UID = re.compile(r"<!-- UID: (.*?) -->\s*")
_NAMED = re.compile(r"\*\*(.+?)\*\*(?:\s+-\s+(.*))?")
_FIELD = re.compile(r"([A-Za-z_][\w-]*):[ \t]*(.*)")
_ATTACHED = re.compile(r"^(?:> ?)*\[!nexus_attachment\]|^(?:> ?)+\*\*📎 ", re.MULTILINE)
_BREAK = re.compile(r"\s*|---\s*")


class Form(StrEnum):
    OLD = "old"
    LOOSE = "loose"
    DENSE = "dense"


@dataclass(frozen=True, slots=True)
class Piece:
    """One message: the text from ``start`` to ``end`` of the note. ``when`` as it is written there."""

    start: int
    end: int
    role: Role
    uid: str
    when: str
    text: str
    old: bool


@dataclass(frozen=True, slots=True)
class Note:
    text: str
    fields: dict[str, str]
    title: str
    pieces: tuple[Piece, ...]
    clock: Clock
    attachments: int = 0
    zoneless: bool = False
    head: dict[str, str] = field(default_factory=dict)

    @property
    def newline(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"

    @property
    def form(self) -> Form:
        """The form of its last message; of a note without any, the newest."""
        if not self.pieces:
            return Form.DENSE
        last = self.pieces[-1]
        if last.old:
            return Form.OLD
        body = self.text[last.start : last.end].replace("\r\n", "\n")
        return Form.LOOSE if re.search(r"-->\n\n(?:---\n)?\n\n*$|\n---\n\n+$", body) else Form.DENSE


def is_note(text: str) -> bool:
    """Whether this is a conversation of the plugin's: not one of its reports, not an artifact, not another note."""
    if "[!nexus_user]" in text or "[!nexus_agent]" in text or "[!nexus_assistant]" in text:
        return "artifact_id:" not in text[:1000]
    named = _fields(text)
    return "nexus" in named and "conversation_id" in named and "artifact_id" not in named


def read(text: str) -> Note:
    """Every text is a note of some kind: what is not a message is head or end."""
    named = _fields(text)
    pieces = tuple(_unlike(_pieces(text), named.get("conversation_id", "")))
    top = text[: pieces[0].start] if pieces else text
    head = {key: value for key in ("Title", "Created", "Last Updated") if (value := _line(top, key))}
    created = (named.get("create_time", ""), head.get("Created", named.get("create_time", "")))
    clock = clock_of(created, [named.get("update_time", ""), *(piece.when for piece in pieces)])
    return Note(
        text,
        named,
        head.get("Title") or named.get("aliases", "") or _heading(top),
        pieces,
        clock,
        attachments=sum(len(_ATTACHED.findall(piece.text)) for piece in pieces),
        zoneless=bool(pieces) and not clock.sure,
        head=head,
    )


def _fields(text: str) -> dict[str, str]:
    """The frontmatter's plain lines. The plugin writes no nested ones but ``models``."""
    lines = text.removeprefix("\ufeff").split("\n", 200)
    named: dict[str, str] = {}
    if lines[0].rstrip() != "---":
        return named
    for line in lines[1:]:
        if line.rstrip() == "---":
            return named
        found = _FIELD.fullmatch(line.rstrip())
        if found:
            named.setdefault(found[1], _bare(found[2]))
    return {}


def _bare(value: str) -> str:
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] == "'":
        return value[1:-1].replace("''", "'")
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"')
    return value


def _line(top: str, key: str) -> str:
    mark = r"# Title" if key == "Title" else re.escape(key)
    found = re.search(rf"^{mark}: (.*)$", top, re.MULTILINE)
    return found[1].strip() if found else ""


def _heading(top: str) -> str:
    found = re.search(r"^# (.+)$", top, re.MULTILINE)
    return found[1].strip() if found else ""


@dataclass(slots=True)
class _Open:
    """A message that is being read."""

    start: int
    role: Role
    when: str
    old: bool
    lines: list[str] = field(default_factory=list)
    uid: str | None = None


def _pieces(text: str) -> Iterator[Piece]:
    now: _Open | None = None
    end = 0
    for at, raw in _lines(text):
        line = raw.rstrip("\r\n")
        closed = now is None or now.uid is not None
        begun = _begun(line, at, loose=closed)
        if begun is not None:
            if now is not None:
                yield _piece(now, at)
            now = begun
        elif now is not None and now.uid is None:
            found = _UID.fullmatch(line)
            if found:
                now.uid = found[1]
            else:
                now.lines.append(line)
            end = at + len(raw)
        elif now is not None and not _BREAK.fullmatch(line):
            yield _piece(now, end)
            now = None
        else:
            end = at + len(raw)
    if now is not None:
        yield _piece(now, len(text))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their places. Only the line feed ends one: a text may hold other separators."""
    at = 0
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        yield at, text[at:end]
        at = end


def _begun(line: str, at: int, *, loose: bool) -> _Open | None:
    found = (_LOOSE if loose else _HEAD).fullmatch(line)
    if found:
        named = _NAMED.fullmatch(found[2].strip())
        when = (named[2] or "") if named else ""
        return _Open(at, Role.USER if found[1] == "user" else Role.ASSISTANT, when.strip(), old=False)
    found = _OLD.fullmatch(line.rstrip())
    if found:
        return _Open(at, Role.USER if found[1] == "User" else Role.ASSISTANT, found[2].strip(), old=True)
    return None


def _piece(now: _Open, end: int) -> Piece:
    lines, when = now.lines, now.when
    if not when and not now.old and lines:  # the head on two lines, as the plugin's manual shows it
        named = _NAMED.fullmatch(lines[0].removeprefix(">").strip())
        if named and named[2]:
            when, lines = named[2].strip(), lines[1:]
    text = unquoted("\n".join(lines), now.role, old=now.old)
    return Piece(now.start, end, now.role, now.uid or "", when, "" if text in NOTHING else text, now.old)


def _unlike(pieces: Iterator[Piece], conversation: str) -> Iterator[Piece]:
    """Pieces whose UIDs are there and differ: of several with the same one, the later ones are numbered."""
    seen: dict[str, int] = {}
    for place, piece in enumerate(pieces):
        uid = piece.uid or hashlib.sha256(f"{conversation}\n{place}\n{piece.text}".encode()).hexdigest()[:32]
        seen[uid] = seen.get(uid, 0) + 1
        uid = uid if seen[uid] == 1 else f"{uid}.{seen[uid]}"
        yield Piece(piece.start, piece.end, piece.role, uid, piece.when, piece.text, piece.old)


def unquoted(body: str, role: Role, *, old: bool) -> str:
    """The text of a message from its quoted lines."""
    return "\n".join(_unquoted(line, role, old=old) for line in body.split("\n")).rstrip("\n")


def _unquoted(line: str, role: Role, *, old: bool) -> str:
    if old and role is Role.ASSISTANT:
        return line[3:] if line.startswith(">> ") else line[2:] if line.startswith(">>") else line
    if line.startswith("> "):
        return line[2:]
    return line[1:] if line.startswith(">") else line


def quoted(text: str, role: Role, form: Form) -> str:
    """The lines of a message in a form."""
    if not text.strip():
        return f"{'>>' if form is Form.OLD and role is Role.ASSISTANT else '>'} {NOTHING[0]}"
    lines = text.split("\n")
    if form is Form.OLD:
        mark = ">>" if role is Role.ASSISTANT else ">"
        return "\n".join(f"{mark} {line}" for line in lines)
    if form is Form.LOOSE:
        return "\n".join(f"> {line}" for line in lines)
    return "\n".join(">" if not line.strip() else f">{line}" if line.startswith(">") else f"> {line}" for line in lines)


def rendered(text: str) -> str:
    """A text as it comes back from a note: equal for texts that no note tells apart."""
    shown = unquoted(quoted(text.replace("\r", ""), Role.USER, Form.DENSE), Role.USER, old=False)
    shown = "\n".join(line if line.strip() else "" for line in shown.split("\n"))
    return "" if shown in NOTHING else shown
