"""What goes out comes in again, whatever was said: notes byte for byte, JSON exactly; and nothing on the way in falls
over."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.core import tree
from hubbub.core.types import Chat, ChatId, Item, ItemId, ItemType, Node, Role
from hubbub.exchange import nexus
from hubbub.exchange.exporting import Exporter, Format
from hubbub.exchange.files import Reading
from hubbub.exchange.json_items import elements
from hubbub.exchange.nexus_note import Form, quoted, read, rendered, unquoted
from hubbub.exchange.nexus_times import clock_of
from hubbub.ports import BranchKept, ChatSaved, HeadMoved, NodesAdded
from hubbub.store.memory import MemoryStore
from support.exchange_kit import ANN, NOTES, bring

NOW = 1_700_000_000.0
words = st.sampled_from(
    [
        "a",
        " ",
        "\n",
        ">",
        "> ",
        ">[!nexus_user] **User** - x",
        "<!-- UID: z -->",
        "---",
        "# ",
        "```",
        "ё",
        "\t",
        "\u2028",
    ]
)
KEYS = (
    "id",
    "mapping",
    "message",
    "parent",
    "children",
    "author",
    "role",
    "content",
    "content_type",
    "parts",
    "text",
    "a",
)
texts = st.lists(words | st.text(max_size=5), max_size=8).map("".join).map(lambda text: text.replace("\0", ""))
talks = st.lists(st.tuples(st.sampled_from([Role.USER, Role.ASSISTANT]), texts), min_size=1, max_size=5)
notes = st.sampled_from(NOTES)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


def linked(said: list[tuple[Role, str]], below: Node | None = None, name: str = "n") -> tuple[Node, ...]:
    items = [Item(ItemId(f"msg_{name}{n}"), ItemType.MESSAGE, (text,), role) for n, (role, text) in enumerate(said)]
    return tree.link(ANN, below, items, NOW)


async def home(said: list[tuple[Role, str]]) -> tuple[MemoryStore, Chat]:
    store, nodes = MemoryStore(), linked(said)
    chat = Chat(ChatId("conv_1"), ANN, NOW, NOW, head=nodes[-1].hash, title="t")
    await store.commit(NodesAdded(nodes), ChatSaved(chat))
    return store, chat


@given(texts, st.sampled_from(Form), st.sampled_from([Role.USER, Role.ASSISTANT]))
def test_a_quoted_text_is_one_text_again(text: str, form: Form, role: Role) -> None:
    back = unquoted(quoted(text.replace("\r", ""), role, form), role, old=form is Form.OLD)
    assert rendered(back) == rendered(text)
    assert rendered(rendered(text)) == rendered(text)


@given(st.text(max_size=300) | st.lists(words | notes, max_size=20).map("".join))
def test_every_text_is_read_and_its_pieces_lie_in_order(text: str) -> None:
    note = read(text)
    ends = [0]
    for piece in note.pieces:
        assert ends[-1] <= piece.start < piece.end <= len(text)
        ends.append(piece.end)
    assert len({piece.uid for piece in note.pieces}) == len(note.pieces)


@settings(deadline=None)
@given(notes, talks)
def test_a_note_comes_back_and_goes_on(text: str, more: list[tuple[Role, str]]) -> None:
    async def there_and_back() -> None:
        store = MemoryStore()
        await bring(store, text.encode(), "n.md")
        talk = nexus.conversation(text.encode(), "n")
        assert talk is not None
        origin = await store.brought(ANN, talk.source)
        assert origin is not None
        export = Exporter(store)
        assert (await export.one(ANN, origin.chat, Format.NEXUS)).data == text.encode()
        path = await store.path(ANN, origin.leaf)
        nodes = linked(more, path[-1])
        await store.commit(NodesAdded(nodes), HeadMoved(origin.chat, origin.leaf, nodes[-1].hash, NOW))
        longer = (await export.one(ANN, origin.chat, Format.NEXUS)).data
        assert longer.decode("utf-8").startswith(text)
        assert (await bring(store, longer, "n.md")).items == 0
        assert (await export.one(ANN, origin.chat, Format.NEXUS)).data == longer
        assert await store.verify() == ()

    asyncio.run(there_and_back())


@settings(deadline=None)
@given(talks)
def test_a_chat_of_ours_is_known_again_as_a_note(said: list[tuple[Role, str]]) -> None:
    async def there_and_back() -> None:
        store, chat = await home(said)
        note = (await Exporter(store).one(ANN, chat.id, Format.NEXUS)).data
        report = await bring(store, note, "n.md")
        assert (report.created, report.items) == (0, 0)
        assert (await Exporter(store).one(ANN, chat.id, Format.NEXUS)).data == note

    asyncio.run(there_and_back())


@settings(deadline=None)
@given(talks, talks, st.integers(0, 4))
def test_json_holds_everything(said: list[tuple[Role, str]], other: list[tuple[Role, str]], at: int) -> None:
    async def there_and_back() -> None:
        store, chat = await home(said)
        path = await store.path(ANN, chat.head)
        branch = linked(other, path[min(at, len(path) - 1)], "b")
        await store.commit(NodesAdded(branch), BranchKept(chat.id, branch[-1].hash))
        data = (await Exporter(store).one(ANN, chat.id, Format.JSON)).data
        assert (await bring(store, data)).unchanged == 1
        twin = MemoryStore()
        assert (await bring(twin, data)).items == len(path) + len(branch)
        assert await twin.path(ANN, chat.head) == path
        assert await twin.path(ANN, branch[-1].hash) == (*path[: min(at, len(path) - 1) + 1], *branch)

    asyncio.run(there_and_back())


@given(
    st.lists(st.dictionaries(st.text(max_size=5), json_values, max_size=3), max_size=5),
    st.integers(1, 40),
    st.booleans(),
)
def test_a_list_is_split_as_it_was_joined(chats: list[Any], step: int, wide: bool) -> None:
    source = BytesIO(json.dumps(chats, ensure_ascii=not wide, indent=step % 3 or None).encode("utf-8", "surrogatepass"))
    found = [element.raw for element in elements(lambda size: source.read(step), 10_000)]
    assert json.dumps([json.loads(raw or b"") for raw in found]) == json.dumps(chats)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps([value, value]).encode()))
def test_nothing_that_is_brought_falls_over(data: bytes) -> None:
    for one in Reading("x").found(BytesIO(data)):
        assert (one.talk is None) != (one.problem is None)


@given(st.floats(1e8, 4e9), st.sampled_from(["9/2/2025 at 9:17 AM", "29.06.2025 16:50:01", "2025-06-29 06:50:01", ""]))
def test_a_time_that_was_written_is_read_as_it_was(at: float, like: str) -> None:
    clock = clock_of(("", ""), [like, "2025-06-29 06:50:01"])
    back = clock.read(clock.write(at, like))
    assert back is not None
    assert 0 <= at - back < 60
