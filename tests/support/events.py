"""Reading server-sent events, strictly."""

from __future__ import annotations

import json
from typing import Any

from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def frames(raw: bytes) -> list[tuple[str, str]]:
    """(event, data) of every frame; comments are left out."""
    found = []
    for block in raw.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            fields = dict(line.split(": ", 1) for line in lines)
            found.append((fields.get("event", ""), fields["data"]))
    return found


def response_events(raw: bytes) -> list[dict[str, Any]]:
    """The events, each valid for the official client's types and named as its data says."""
    events = []
    for name, data in frames(raw):
        event = json.loads(data)
        _EVENT.validate_python(event)
        assert event["type"] == name
        events.append(event)
    return events
