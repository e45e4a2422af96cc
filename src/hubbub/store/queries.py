"""The named statements of ``queries.sql``."""

from __future__ import annotations

from importlib import resources

_MARK = "-- :name "


def _parse(text: str) -> dict[str, str]:
    named: dict[str, str] = {}
    for block in text.split(_MARK)[1:]:
        name, _, body = block.partition("\n")
        lines = [line for line in body.splitlines() if not line.startswith("--")]
        named[name.strip()] = "\n".join(lines).strip()
    return named


_STATEMENTS = _parse(resources.files("hubbub.store").joinpath("queries.sql").read_text("utf-8"))


def query(name: str) -> str:
    return _STATEMENTS[name]


def page_query(name: str, *, descending: bool, pinned_first: bool = False, hits: str = "") -> str:
    """``hits``: the statement that names the nodes a search has found."""
    after, order = ("<", "DESC") if descending else (">", "ASC")
    rank = place = ranked = ""
    if pinned_first:
        rank, place = ("chats.pinned, ", ":pinned, ") if descending else ("1 - chats.pinned, ", "1 - :pinned, ")
        ranked = rank.replace(",", f" {order},")
    found = _STATEMENTS[hits] if hits else ""
    return _STATEMENTS[name].format(after=after, order=order, rank=rank, place=place, ranked=ranked, hits=found)
