"""What ``verify`` looks at, row by row: the same findings in the same words from every store."""

from __future__ import annotations

from collections.abc import Iterator

from hubbub.core.tree import is_sound
from hubbub.core.types import Answer, Chat, Node, UserId

Above = tuple[UserId, int] | None
"""User and depth of the row a node's parent points to; None where there is no such row."""


def name(node: Node) -> str:
    return f"node {node.hash[:16]} ({node.item.id}, depth {node.depth}, user {node.user})"


def node_faults(node: Node, above: Above) -> Iterator[str]:
    if not is_sound(node):
        yield f"{name(node)}: its hash is not that of what it holds"
    if node.parent is None:
        if node.depth != 1:
            yield f"{name(node)}: a root's depth is 1"
    elif above is None:
        yield f"{name(node)}: its parent {node.parent[:16]} is missing"
    else:
        user, depth = above
        if user != node.user:
            yield f"{name(node)}: its parent belongs to user {user}"
        if node.depth != depth + 1:
            yield f"{name(node)}: its parent's depth is {depth}"


def chat_faults(chat: Chat, head: UserId | None) -> Iterator[str]:
    """``head``: the user of the node that the chat's head points to, None where there is no such node."""
    if chat.head is not None and head != chat.user:
        yield f"chat {chat.id} (user {chat.user}): its head {chat.head[:16]} is {whose(head)}"


def answer_faults(answer: Answer, asked: UserId | None, output: UserId | None) -> Iterator[str]:
    """``input``, ``output``: the users of the nodes pointed to, None where there is no such node."""
    for field, pointer, found in (("input", answer.input, asked), ("output", answer.output, output)):
        if pointer is not None and found != answer.user:
            yield f"answer {answer.id} (user {answer.user}): its {field} {pointer[:16]} is {whose(found)}"


def whose(user: UserId | None, what: str = "a node") -> str:
    return "missing" if user is None else f"{what} of user {user}"
