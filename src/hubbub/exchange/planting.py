"""From a talk to nodes of the tree: which of it a chat has already, and what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hubbub.core import tree
from hubbub.core.types import Node, NodeHash, Role, UserId
from hubbub.exchange.chatgpt import leaves
from hubbub.exchange.model import Said, Talk
from hubbub.exchange.nexus_note import rendered
from hubbub.exchange.nexus_write import shown


@dataclass(frozen=True, slots=True)
class Planted:
    """``added``: nodes that were not there, parents first. ``head``: where the shown branch ends, with its ``path``.
    ``leaves``: where branches end that were not there."""

    added: tuple[Node, ...]
    head: NodeHash | None
    path: frozenset[NodeHash]
    leaves: tuple[NodeHash, ...]


def plant(user: UserId, talk: Talk, there: Sequence[tuple[Node, ...]], now: float) -> Planted:
    """``there``: the paths of the chat's branches. ``now``: the time of what has none, Unix seconds."""
    known = {node.hash: node for path in there for node in path}
    placed: list[Node] = _matching(talk, there) if talk.rendered else []
    added: list[Node] = []
    for one in talk.said[len(placed) :]:
        above = placed[one.parent] if one.parent >= 0 else None
        (node,) = tree.link(user, above, (one.item,), now if one.at is None else one.at)
        placed.append(known.get(node.hash, node))
        if node.hash not in known:
            known[node.hash] = node
            added.append(node)
    head = placed[talk.current] if talk.current >= 0 else None
    new = {node.hash for node in added}
    ends = [placed[place].hash for place in leaves(talk.said)]
    return Planted(
        tuple(added),
        head.hash if head else None,
        _path(head, known),
        tuple(dict.fromkeys(end for end in ends if end in new)),
    )


def _path(head: Node | None, known: dict[NodeHash, Node]) -> frozenset[NodeHash]:
    path = set()
    while head is not None:
        path.add(head.hash)
        head = known[head.parent] if head.parent is not None else None
    return frozenset(path)


def _matching(talk: Talk, there: Sequence[tuple[Node, ...]]) -> list[Node]:
    """The nodes of the path that agrees with the talk longest, one for each thing said."""
    return max((_agreeing(talk.said, path) for path in there), key=len, default=[])


def _agreeing(said: Sequence[Said], path: Sequence[Node]) -> list[Node]:
    """What a note has no place for (tools, instructions) is passed over on the path."""
    found = []
    for one, node in zip(said, shown(path), strict=False):
        role = node.item.role or Role.USER
        if (one.item.id, one.item.role) != (node.item.id, role) or rendered(one.item.text) != rendered(node.item.text):
            break
        found.append(node)
    return found
