"""A conversation of ChatGPT's export as a tree of items."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hubbub.core.types import ItemType, Role
from hubbub.exchange.chatgpt import conversation as read
from hubbub.exchange.model import Talk
from support.exchange_kit import CHAT, branching, conversation, message


def talk_of(given: Any) -> Talk:
    return read(given)[0]


def chain(*said: dict[str, Any], **more: Any) -> dict[str, Any]:
    nodes: list[tuple[str, str | None, Any]] = [("root", None, None)]
    for one in said:
        nodes.append((one["id"], nodes[-1][0], one))
    return conversation(*nodes, **more)


def texts(talk: Talk) -> list[tuple[str, str]]:
    return [((one.item.role or one.item.type).value, one.item.text) for one in talk.said]


def test_every_branch_is_there_and_the_one_that_was_shown() -> None:
    talk = talk_of(branching())
    assert texts(talk) == [
        ("user", "Why do whales sing?"),
        ("assistant", "To be heard."),
        ("assistant", "To find each other."),
        ("user", "And *at night*?"),
    ]
    assert [one.parent for one in talk.said] == [-1, 0, 0, 2]
    assert (talk.current, talk.title, talk.source) == (3, "Of whales", f"chatgpt:{CHAT}")
    assert (talk.created_at, talk.updated_at, talk.said[1].at) == (1_700_000_000.5, 1_700_000_900.25, 1_700_000_010.0)
    assert talk.said[0].item.id == "msg_q1"
    assert talk.metadata == {"imported_from": "chatgpt", "imported_model": "gpt-4o"}
    assert not talk.left_out


def test_custom_instructions_are_the_chats_system_prompt() -> None:
    context = {
        "content_type": "user_editable_context",
        "user_profile": "About me: I dive.",
        "user_instructions": "Be brief.",
    }
    hidden = {"is_visually_hidden_from_conversation": True}
    talk = talk_of(
        chain(
            message("s", "system", "", at=None, metadata=hidden),
            message("u", "user", at=None, content=context, metadata={**hidden, "is_user_system_message": True}),
            message("q", "user", "Hi"),
            message("late", "system", "From now on, in French."),
        )
    )
    assert talk.style.system_prompt == "About me: I dive.\n\nBe brief."
    assert texts(talk) == [("user", "Hi"), ("system", "From now on, in French.")]


def test_a_tool_is_a_call_and_its_output() -> None:
    code = {"content_type": "code", "language": "python", "text": "print(6 * 7)"}
    output = {"content_type": "execution_output", "text": "42\n"}
    talk = talk_of(
        chain(
            message("q", "user", "6 times 7?"),
            message("c", "assistant", content=code, recipient="python"),
            message("o", "tool", content=output, author={"role": "tool", "name": "python"}),
            message("o2", "tool", "and more", author={"role": "tool", "name": "browser"}),
            message("a", "assistant", "42."),
        )
    )
    call, out = talk.said[1].item, talk.said[2].item
    assert (call.type, call.name, json.loads(call.text)) == (
        ItemType.FUNCTION_CALL,
        "python",
        {"input": "print(6 * 7)"},
    )
    assert (out.type, out.text, out.call_id) == (ItemType.FUNCTION_CALL_OUTPUT, "42\n", call.call_id)
    assert texts(talk)[3:] == [("assistant", "Output of browser:\n\nand more"), ("assistant", "42.")]


def test_a_call_without_output_is_text() -> None:
    code = {"content_type": "code", "language": "unknown", "text": "search('whales')"}
    talk = talk_of(chain(message("q", "user", "?"), message("c", "assistant", content=code, recipient="browser")))
    assert texts(talk)[1] == ("assistant", "```\nsearch('whales')\n```")


def test_pictures_files_and_sound_are_named_and_counted_and_their_words_kept() -> None:
    parts = {
        "content_type": "multimodal_text",
        "parts": [
            {
                "content_type": "image_asset_pointer",
                "asset_pointer": "sediment://file_1",
                "size_bytes": 9,
                "metadata": None,
            },
            "What is this?",
            {"content_type": "audio_transcription", "text": "spoken", "direction": "in"},
            {"content_type": "audio_asset_pointer", "asset_pointer": "sediment://file_2"},
            {"content_type": "hologram", "rays": 3},
        ],
    }
    files = [{"id": "file_1", "name": "a.png"}, {"id": "file_3", "name": "b.pdf", "size": 1}]
    talk = talk_of(chain(message("q", "user", content=parts, metadata={"attachments": files})))
    assert talk.said[0].item.text == ("[image, not imported]\n\nWhat is this?\n\nspoken\n[file, not imported: b.pdf]")
    assert talk.left_out == {"images": 1, "audio_and_video": 1, "files": 1, "unknown_content:hologram": 1}


def test_thoughts_hidden_and_unknown_things_are_counted() -> None:
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "s", "content": "c"}]}
    recap = {"content_type": "reasoning_recap", "content": "Thought for 3 seconds"}
    strange = {"content_type": "new_thing", "text": "but with words"}
    talk = talk_of(
        chain(
            message("q", "user", "Hi"),
            message("t", "assistant", content=thoughts),
            message("r", "assistant", content=recap),
            message("h", "assistant", "x", metadata={"is_visually_hidden_from_conversation": True}),
            message("n", "assistant", content=strange),
            message("p", "assistant", "half", status="in_progress"),
        )
    )
    assert texts(talk) == [("user", "Hi"), ("assistant", "but with words"), ("assistant", "half")]
    assert [one.parent for one in talk.said] == [-1, 0, 1]
    assert not talk.said[2].item.complete
    assert talk.left_out == {"thoughts": 2, "hidden_messages": 1, "unknown_content:new_thing": 1}


def test_citations_are_as_chatgpt_shows_them() -> None:
    mark, gone = "\ue200cite\ue202turn0search1\ue201", "\ue200video\ue201"
    references = [{"matched_text": mark, "alt": "([site](https://x.org))"}, {"matched_text": gone, "alt": None}]
    talk = talk_of(chain(message("a", "assistant", f"So {mark}. {gone}", metadata={"content_references": references})))
    assert talk.said[0].item.text == "So ([site](https://x.org)). "
    assert talk.left_out == {"citations": 1}


def test_a_circle_is_cut_and_said() -> None:
    given = conversation(
        ("a", "c", message("a", "user", "one")),
        ("b", "a", message("b", "assistant", "two")),
        ("c", "b", message("c", "user", "three")),
        ("self", "self", message("self", "user", "alone")),
    )
    talk, remarks = read(given)
    assert [text for _, text in texts(talk)] == ["alone", "one", "two", "three"]
    assert remarks == ("its messages go round in a circle: it was cut above a",)


@pytest.mark.large
def test_a_chain_of_three_thousand_is_no_recursion() -> None:
    nodes = [(str(n), str(n - 1) if n else None, message(str(n), "user", f"t{n}")) for n in range(3_000)]
    talk = talk_of(conversation(*nodes))
    assert len(talk.said) == 3_000
    assert talk.current == 2_999


@pytest.mark.parametrize("given", [None, 3, [], {}, {"title": "x"}, {"chat_messages": []}])
def test_what_is_no_conversation_says_so(given: Any) -> None:
    with pytest.raises(ValueError, match="conversation"):
        read(given)


@pytest.mark.parametrize(
    "node",
    [
        None, 3, {}, {"message": 3}, {"message": {"author": 3, "content": 4, "metadata": 5}},
        {"message": {"author": {"role": 7}, "content": {"parts": 3, "content_type": []}}, "parent": 4, "children": 5},
        {"message": {"author": {"role": "user"}, "content": {"parts": [None, 3, [], {}]}, "create_time": "x"}},
        {"message": {"author": {"role": "user"}, "content": {"parts": ["x\0y"]}, "create_time": 1e300}},
        {"message": {"author": {"role": "user"}, "content": {"parts": ["x"]}, "metadata": {"attachments": [3]}}},
    ],
)  # fmt: skip
def test_nothing_in_a_mapping_is_trusted(node: Any) -> None:
    talk = talk_of({"mapping": {"n": node, "": node}, "current_node": 3, "title": 4, "create_time": True})
    assert talk.created_at is None
    assert all("\0" not in one.item.text for one in talk.said)


def test_roles_of_all_items_are_known() -> None:
    talk = talk_of(branching())
    assert {one.item.role for one in talk.said} == {Role.USER, Role.ASSISTANT}
