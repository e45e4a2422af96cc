"""A chat of ChatGPT's export as long as nobody has one: too long for the quick tiers."""

from __future__ import annotations

from hubbub.exchange.chatgpt import conversation as read
from support.exchange_kit import conversation, message

MANY = 100_000


def test_a_chain_of_a_hundred_thousand() -> None:
    nodes = [(str(n), str(n - 1) if n else None, message(str(n), "user", f"t{n}")) for n in range(MANY)]
    talk = read(conversation(*nodes))[0]
    assert len(talk.said) == MANY
    assert [one.parent for one in talk.said] == list(range(-1, MANY - 1))
    assert talk.current == MANY - 1
