from __future__ import annotations

from hubbub.core.types import Item, ItemId, ItemType, Message, Role, Sampling, Style, ToolCall, Usage
from hubbub.runtime.prompt import TokenEstimate, messages_of, styled


def item(kind: ItemType, text: str, **more: object) -> Item:
    return Item(ItemId(""), kind, (text,), **more)  # type: ignore[arg-type]


def test_a_call_joins_the_text_it_was_said_with() -> None:
    path = [
        item(ItemType.MESSAGE, "What time is it?", role=Role.USER),
        item(ItemType.MESSAGE, "Let me see.", role=Role.ASSISTANT),
        item(ItemType.FUNCTION_CALL, "{}", call_id="c1", name="clock"),
        item(ItemType.FUNCTION_CALL, '{"zone": 1}', call_id="c2", name="clock"),
        item(ItemType.FUNCTION_CALL_OUTPUT, "noon", call_id="c1"),
    ]
    assert messages_of("Be brief.", path) == (
        Message(Role.SYSTEM, "Be brief."),
        Message(Role.USER, "What time is it?"),
        Message(Role.ASSISTANT, "Let me see.", (ToolCall("c1", "clock", "{}"), ToolCall("c2", "clock", '{"zone": 1}'))),
        Message(Role.TOOL, "noon", tool_call_id="c1"),
    )


def test_no_system_prompt_no_system_message() -> None:
    assert messages_of(None, [item(ItemType.MESSAGE, "Hi", role=Role.USER)]) == (Message(Role.USER, "Hi"),)
    assert messages_of("", []) == ()


def test_style_fills_only_what_the_request_leaves_open() -> None:
    style = Style(temperature=0.2, top_p=0.9, max_tokens=50)
    assert styled(Sampling(temperature=1.0, seed=7), style) == Sampling(
        temperature=1.0, top_p=0.9, max_tokens=50, seed=7
    )


def test_the_estimate_learns_and_its_bound_holds() -> None:
    estimate = TokenEstimate()
    messages = (Message(Role.USER, "я" * 1000),)
    before = estimate.tokens(messages)
    for _ in range(200):
        estimate.learn(messages, Usage(input_tokens=405))
    assert before > 405
    assert abs(estimate.tokens(messages) - 405) <= 5
    assert estimate.most(messages) >= 2000
