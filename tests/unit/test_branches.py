"""The tree of one chat's branches: where to go on, what stands beside what, which end is the latest."""

from __future__ import annotations

from hubbub.core.branches import ChatTree, Twig
from hubbub.core.types import ItemId, NodeHash


def a_tree(head: str | None, leaves: str, *edges: str) -> ChatTree:
    """``edges``: ``parent>child`` in the order in which they came; an item's id is its node's name in upper case."""
    twigs = [
        Twig(NodeHash(child), NodeHash(parent) if parent else None, ItemId(child.upper()), born)
        for born, (parent, child) in enumerate(edge.split(">") for edge in edges)
    ]
    return ChatTree(NodeHash(head) if head else None, [NodeHash(leaf) for leaf in leaves], twigs)


TREE = a_tree("d", "ce", ">a", "a>b", "b>c", "a>d", "b>e")


def test_siblings_are_in_the_order_of_their_coming_with_oneself() -> None:
    assert TREE.siblings(NodeHash("b")) == TREE.siblings(NodeHash("d")) == ["B", "D"]
    assert TREE.siblings(NodeHash("e")) == ["C", "E"]
    assert TREE.siblings(NodeHash("a")) == ["A"]


def test_the_latest_end_below() -> None:
    assert TREE.leaf(NodeHash("b")) == "e"
    assert TREE.leaf(NodeHash("a")) == "e"
    assert TREE.leaf(NodeHash("d")) == "d"


def test_an_item_is_found_on_any_branch_first_on_the_one_shown() -> None:
    assert [TREE.find(ItemId(name)) for name in "ACDE"] == ["a", "c", "d", "e"]
    assert TREE.find(ItemId("X")) is None
    twice = ChatTree(NodeHash("b"), [NodeHash("a")], [Twig(NodeHash(n), None, ItemId("I"), 0) for n in "ab"])
    assert twice.find(ItemId("I")) == "b"


def test_a_branch_is_left_unless_it_is_gone_on_with() -> None:
    assert TREE.left(NodeHash("d")) is None
    assert TREE.left(NodeHash("a")) == "d"
    assert TREE.left(NodeHash("c")) == "d"
    assert TREE.left(None) == "d"
    assert a_tree(None, "").left(None) is None
    # A question without an answer is on the path of the answer that it had before.
    assert a_tree("a", "b", ">a", "a>b").left(NodeHash("b")) is None
