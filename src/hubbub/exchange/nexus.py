"""A note of the Nexus importer as a talk."""

from __future__ import annotations

from collections import Counter

from hubbub.core.types import ChatId, Item, ItemType
from hubbub.exchange.model import Said, Talk, item_id, title_of, without_nul
from hubbub.exchange.nexus_note import Note, is_note, read
from hubbub.exchange.nexus_times import iso
from hubbub.exchange.packed import packed

PROVIDER = "nexus"


def conversation(data: bytes, stem: str) -> Talk | None:
    """The talk of a note's bytes; None for a note that is no conversation. ``stem``: the file's name, for the title.

    Raises ValueError for what is not UTF-8.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as wrong:
        raise ValueError(f"this is not UTF-8: byte {wrong.start} is 0x{data[wrong.start]:02x}") from None
    return _talk(read(text), data, stem) if is_note(text) else None


def _talk(note: Note, data: bytes, stem: str) -> Talk:
    left_out: Counter[str] = Counter()
    said: list[Said] = []
    at = created = _time(note, "create_time", "Created")
    for piece in note.pieces:
        found = note.clock.read(piece.when)
        left_out["times"] += found is None
        at = at if found is None else found
        text = without_nul(piece.text, left_out)
        item = Item(item_id(ItemType.MESSAGE, piece.uid), ItemType.MESSAGE, (text,), piece.role)
        said.append(Said(len(said) - 1, item, at))
    left_out["attachments"] += note.attachments
    left_out["time_zones"] += note.zoneless
    updated = _time(note, "update_time", "Last Updated")
    provider = note.fields.get("provider", "") or "unknown"
    named = note.fields.get("conversation_id", "") or (note.pieces[0].uid if note.pieces else stem)
    chat = note.fields.get("hubbub_chat", "")
    return Talk(
        source=f"{'' if provider == 'hubbub' else PROVIDER + ':'}{provider}:{named}"[:300],
        title=title_of(note.title or stem),
        said=tuple(said),
        current=len(said) - 1,
        created_at=created if created is not None else next((one.at for one in said if one.at is not None), None),
        updated_at=max((one for one in (updated, at) if one is not None), default=None),
        metadata={"imported_from": f"{PROVIDER}:{provider}"[:512]},
        chat=ChatId(chat) if chat else None,
        rendered=True,
        original=packed(data),
        left_out=+left_out,
    )


def _time(note: Note, field: str, line: str) -> float | None:
    """In the frontmatter, in UTC from 1.3 on; else as the body has it."""
    written = note.fields.get(field, "")
    known = iso(written)
    return known if known is not None else note.clock.read(written or note.head.get(line, ""))
