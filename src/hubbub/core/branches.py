"""The branches of one chat: the path it shows, and those it left when a question was asked again elsewhere. Pure.

A chat shows the path up to its head. A branch that it left is kept by its leaf, the last item it had. Together these
paths are a tree; where they part, items are *siblings* (docs/decisions/005). A leaf from which the chat
went on later is one no more, and does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hubbub.core.types import ItemId, NodeHash


@dataclass(frozen=True, slots=True)
class Twig:
    """A node of the tree without its text. ``born`` orders nodes by when they were added."""

    hash: NodeHash
    parent: NodeHash | None
    item: ItemId
    born: int


class ChatTree:
    """``twigs``: of all paths of the chat, each node once. ``leaves``: those kept beside the head, the latest last."""

    def __init__(self, head: NodeHash | None, leaves: Sequence[NodeHash], twigs: Sequence[Twig]) -> None:
        self.head = head
        self.leaves = tuple(leaves)
        self._twigs = {twig.hash: twig for twig in twigs}
        self._below: dict[NodeHash | None, list[Twig]] = {}
        for twig in sorted(twigs, key=lambda twig: twig.born):
            self._below.setdefault(twig.parent, []).append(twig)

    def path(self) -> list[Twig]:
        """What the chat shows, root first."""
        return list(self._up(self.head))[::-1]

    def siblings(self, node: NodeHash) -> list[ItemId]:
        """Of this node and those beside it, by when they were added."""
        return [twig.item for twig in self._below[self._twigs[node].parent]]

    def find(self, item: ItemId) -> NodeHash | None:
        """The node of an item: on the path shown, else on the branch left last."""
        for end in (self.head, *reversed(self.leaves)):
            for twig in self._up(end):
                if twig.item == item:
                    return twig.hash
        return None

    def leaf(self, node: NodeHash) -> NodeHash:
        """The latest of all ends below a node, or itself."""
        ends, reached = [], [self._twigs[node]]
        while reached:
            twig = reached.pop()
            below = self._below.get(twig.hash, [])
            reached += below
            if not below:
                ends.append(twig)
        return max(ends, key=lambda twig: twig.born).hash

    def left(self, to: NodeHash | None) -> NodeHash | None:
        """The leaf to keep when the chat shows the path up to ``to``, or goes on from there; None where it stays."""
        return None if any(twig.hash == self.head for twig in self._up(to)) else self.head

    def _up(self, node: NodeHash | None) -> Iterator[Twig]:
        while node is not None:
            twig = self._twigs[node]
            yield twig
            node = twig.parent
