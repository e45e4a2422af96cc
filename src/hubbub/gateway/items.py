"""Items between the wire and the core: both ways, for responses, conversations and chats."""

from __future__ import annotations

from collections.abc import Sequence

from hubbub.core.errors import BadRequest, Unsupported
from hubbub.core.types import Item, ItemId, ItemType, Json, Role
from hubbub.gateway.wire.base import convert, joined
from hubbub.gateway.wire.items import (
    FunctionCallIn,
    FunctionCallOut,
    FunctionCallOutputIn,
    FunctionCallOutputOut,
    InputText,
    ItemOut,
    MessageIn,
    MessageOut,
    OutputText,
    RefusalPart,
    Status,
    TextPart,
)

NEW = ItemId("")
"""An id that the tree derives from content and place."""

TEXT_PARTS = ("input_text", "output_text", "text")


def items_in(given: str | Sequence[Json] | None, path: str) -> tuple[Item, ...]:
    """The items of a body's field ``path``; a bare text is a user's message. Ids that are sent are not kept.

    Raises BadRequest or Unsupported, naming the place as in ``input[1].content[0].type``.
    """
    if given is None:
        return ()
    if isinstance(given, str):
        return (Item(NEW, ItemType.MESSAGE, (given,), Role.USER),)
    return tuple(_item_in(item, f"{path}[{place}]") for place, item in enumerate(given))


def _item_in(item: Json, path: str) -> Item:
    kind = item.get("type", "message")
    if kind == "message":
        message = convert({**item, "type": "message"}, MessageIn, path)
        parts = parts_in(message.content, joined(path, "content"))
        complete = message.status != "incomplete"
        return Item(NEW, ItemType.MESSAGE, parts, Role(message.role), complete=complete)
    if kind == "function_call":
        call = convert(item, FunctionCallIn, path)
        return Item(NEW, ItemType.FUNCTION_CALL, (call.arguments,), call_id=call.call_id, name=call.name)
    if kind == "function_call_output":
        output = convert(item, FunctionCallOutputIn, path)
        parts = parts_in(output.output, joined(path, "output"))
        return Item(NEW, ItemType.FUNCTION_CALL_OUTPUT, parts, call_id=output.call_id, name=output.name or "")
    raise Unsupported(
        f"{path}: items of type {kind!r} are not supported here; send message, function_call or function_call_output",
        param=f"{path}.type",
    )


def parts_in(content: str | Sequence[Json], path: str) -> tuple[str, ...]:
    """The texts of a message. Raises Unsupported for images, files and audio, naming the part."""
    if isinstance(content, str):
        return (content,)
    parts = []
    for place, part in enumerate(content):
        here = f"{path}[{place}]"
        kind = part.get("type")
        if kind in TEXT_PARTS:
            parts.append(convert(part, TextPart, here).text)
        elif kind == "refusal":
            parts.append(convert(part, RefusalPart, here).refusal)
        elif kind is None:
            raise BadRequest(f"missing required parameter {here}.type", param=f"{here}.type")
        else:
            raise Unsupported(
                f"{here}: content of type {kind!r} is not supported here; this server takes text", param=f"{here}.type"
            )
    return tuple(parts)


def item_out(item: Item) -> ItemOut:
    """The item as the wire shows it."""
    status: Status = "completed" if item.complete else "incomplete"
    if item.type is ItemType.FUNCTION_CALL:
        return FunctionCallOut(id=item.id, status=status, call_id=item.call_id, name=item.name, arguments=item.text)
    if item.type is ItemType.FUNCTION_CALL_OUTPUT:
        return FunctionCallOutputOut(id=item.id, status=status, call_id=item.call_id, output=item.text)
    role = item.role or Role.USER
    part = OutputText if role is Role.ASSISTANT else InputText
    return MessageOut(id=item.id, status=status, role=role.value, content=[part(text=text) for text in item.parts])
