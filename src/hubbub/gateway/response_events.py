"""The events of a streamed response: a pure function of (answer, deltas), so a replay is what was streamed.

Theory of operation. Every event is one ``bytes``; the number of an event is its place in the list. What an event says
of the response comes from the answer's unchanging fields (``created``, ``queued``, ``in_progress``) or from its end;
what it says of an item comes from the deltas. Items stay open to the end of the answer: an engine may say text after it
began to call a function, and how much it said must not hang on when somebody looked. ``response.queued`` is sent for
background responses, which start as queued on the wire; how long a response really waited is no part of its events.

The hot path is a delta: one formatted ``bytes`` with the parts that never change encoded when the item opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from json.encoder import encode_basestring as quoted

import msgspec

from hubbub.core import tree
from hubbub.core.types import Answer, AnswerStatus, Delta, Item, ItemId, ItemType, Json, Role, ToolDelta
from hubbub.gateway.items import item_out
from hubbub.gateway.views import begun, response_out
from hubbub.gateway.wire.items import OutputText

TEXT = -1
"""The key of the message among the open items; calls have their tool index."""

TERMINAL = {AnswerStatus.COMPLETED: "completed", AnswerStatus.FAILED: "failed"}
"""Length, and a cancel, for which the official client knows no event, end with ``response.incomplete``."""


class _Open:
    """An item that is being said. ``head`` is its delta event up to the sequence number, ``tail`` from there to the
    text."""

    __slots__ = ("head", "id", "kind", "output_index", "pieces")

    def __init__(self, item_id: ItemId, kind: ItemType, output_index: int) -> None:
        self.id = item_id
        self.kind = kind
        self.output_index = output_index
        self.pieces: list[str] = []
        name, more = (
            ("response.output_text.delta", ',"content_index":0,"logprobs":[]')
            if kind is ItemType.MESSAGE
            else ("response.function_call_arguments.delta", "")
        )
        self.head = (
            f'event: {name}\ndata: {{"type":"{name}","item_id":"{item_id}","output_index":{output_index}{more}'
            ',"sequence_number":'
        )


class ResponseEvents:
    """Feed it the deltas in order, in any grouping; it hands back the events, without those up to ``after``."""

    def __init__(self, answer: Answer, after: int = -1) -> None:
        self._answer = answer
        self._after = after
        self._number = 0
        self._running = False
        self._open: dict[int, _Open] = {}
        self._calls = 0

    def opening(self) -> bytes:
        """Events at acceptance."""
        queued = self._answer.background
        first = begun(self._answer, AnswerStatus.QUEUED if queued else AnswerStatus.IN_PROGRESS)
        events = [self._life("created", first)]
        if queued:
            events.append(self._life("queued", first))
        return self._shown(events, 0)

    def feed(self, answer: Answer, deltas: Sequence[Delta]) -> bytes:
        """Events of new deltas, and of the answer having left the queue."""
        before = self._number
        events: list[str] = []
        if deltas or answer.status is not AnswerStatus.QUEUED:
            self._run(answer, events)
        message = self._open.get(TEXT)
        for delta in deltas:
            if delta.tool is not None:
                self._tool(delta.tool, events)
                continue
            if message is None:
                message = self._open_message(events)
            message.pieces.append(delta.text)
            events.append(f'{message.head}{self._number},"delta":{quoted(delta.text)}}}\n\n')
            self._number += 1
        return self._shown(events, before)

    def closing(self, answer: Answer) -> bytes:
        """Events of the end. ``answer`` is in its final state."""
        before = self._number
        events: list[str] = []
        self._run(answer, events)
        final = {item.id: item for item in answer.output_items}
        if not self._open and any(item.type is ItemType.MESSAGE for item in answer.output_items):
            self._open_message(events)
        for item in self._open.values():
            self._close_item(item, final[item.id], events)
        name = TERMINAL.get(answer.status, "incomplete")
        events.append(self._life(name, response_out(answer)))
        return self._shown(events, before)

    # One kind of event each ------------------------------------------------------------------------------------------

    def _run(self, answer: Answer, events: list[str]) -> None:
        if not self._running:
            self._running = True
            events.append(self._life("in_progress", begun(answer, AnswerStatus.IN_PROGRESS)))

    def _open_message(self, events: list[str]) -> _Open:
        item = Item(tree.output_id(self._answer.id, ItemType.MESSAGE, 0), ItemType.MESSAGE, (), Role.ASSISTANT)
        opened = self._opened(TEXT, item, events)
        self._event(events, "content_part.added", opened, {"content_index": 0, "part": OutputText(text="")})
        return opened

    def _tool(self, piece: ToolDelta, events: list[str]) -> None:
        call = self._open.get(piece.index)
        if call is None:
            item_id = tree.output_id(self._answer.id, ItemType.FUNCTION_CALL, self._calls)
            self._calls += 1
            item = Item(item_id, ItemType.FUNCTION_CALL, (), call_id=piece.call_id, name=piece.name)
            call = self._opened(piece.index, item, events)
        if piece.arguments:
            call.pieces.append(piece.arguments)
            events.append(f'{call.head}{self._number},"delta":{quoted(piece.arguments)}}}\n\n')
            self._number += 1

    def _opened(self, key: int, item: Item, events: list[str]) -> _Open:
        opened = self._open[key] = _Open(item.id, item.type, len(self._open))
        shown = msgspec.to_builtins(item_out(item))
        self._event(events, "output_item.added", None, {
            "output_index": opened.output_index, "item": {**shown, "status": "in_progress"},
        })  # fmt: skip
        return opened

    def _close_item(self, opened: _Open, item: Item, events: list[str]) -> None:
        said = "".join(opened.pieces)
        if opened.kind is ItemType.MESSAGE:
            self._event(events, "output_text.done", opened, {"content_index": 0, "text": said, "logprobs": []})
            self._event(events, "content_part.done", opened, {"content_index": 0, "part": OutputText(text=said)})
        else:
            self._event(events, "function_call_arguments.done", opened, {"arguments": said})
        self._event(events, "output_item.done", None, {"output_index": opened.output_index, "item": item_out(item)})

    def _event(self, events: list[str], name: str, item: _Open | None, more: dict[str, Json]) -> None:
        place = {"item_id": item.id, "output_index": item.output_index} if item else {}
        events.append(self._encoded(f"response.{name}", {**place, **more}))

    def _life(self, name: str, response: Json) -> str:
        return self._encoded(f"response.{name}", {"response": response})

    def _encoded(self, name: str, fields: dict[str, Json]) -> str:
        data = msgspec.json.encode({"type": name, "sequence_number": self._number, **fields}).decode()
        self._number += 1
        return f"event: {name}\ndata: {data}\n\n"

    def _shown(self, events: list[str], first: int) -> bytes:
        if first <= self._after:
            events = events[self._after + 1 - first :]
        return "".join(events).encode("utf-8", "replace")
