"""docs/api.md and docs/openapi.json, made from the route table, the wire models and the error tree."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hubbub.core.errors import kinds
from hubbub.gateway.errors import error_type
from hubbub.gateway.openapi import document
from hubbub.gateway.routes.table import ROUTES
from hubbub.gateway.wire import support

HEAD = """# The interface

Made by `python -m hubbub.gateway.reference docs`; do not edit. The full schemas are in `openapi.json` beside this page
and at `/openapi.json` of a running server.

Everything under `/v1` but `/v1/chats` follows the OpenAI contract; the official client works with
`base_url="http://host:port/v1"` and any key. A request body is JSON. A field that is unknown, or that asks for what
this server does not offer, is refused with 400 and named in `error.param`.

## Routes
"""

STREAMS = """
## Streams

`stream: true` answers with server-sent events. A response's events are numbered from 0 by `sequence_number`;
`GET /v1/responses/{response_id}?stream=true&starting_after=N` goes on with event N+1, while the answer is being written
and after its end, for any number of readers. The chunks of a stored chat completion (`store: true`) carry a
`sequence_number`, too, and `GET /v1/chat/completions/{completion_id}?stream=true&starting_after=N` goes on with chunk
N+1, to `[DONE]`. A stored answer, background or not, goes on when its client leaves, and after a restart of the server
under the same numbers; end it with `/cancel`, a chat completion with `DELETE`. One that is not stored ends when its
client leaves. A server that stops cuts the connection in the middle of the stream, without an ending. Function calls
and the text close at the end of the answer. `response.queued` is sent for background responses. A cancelled response
ends with `response.incomplete`, whose `response.status` is `cancelled`. A silent stream sends comments; while the
request waits they tell, every second or so, its place and about how long it is to its first token:
`: queued position=3 estimate_s=4.2`. A failure after the beginning is `response.failed`, or in a chat completion a
`data` object with `error`.
"""

ERRORS = """
## Errors

`{"error": {"message", "type", "param", "code"}}`. `x-should-retry` says whether to try again, `Retry-After` (at most
120 s) when. A failed response has `error.code` of the OpenAI contract and `error.type` with the code of this table.

| code | status | type | retry |
| --- | --- | --- | --- |
"""


def api_page() -> str:
    """The whole page."""
    parts = [HEAD, "\n| method | path | |\n| --- | --- | --- |\n", *_routes()]
    for title, fields in (
        ("POST /v1/responses", support.RESPONSES),
        ("POST /v1/responses/input_tokens", support.INPUT_TOKENS),
        ("POST /v1/chat/completions", support.COMPLETIONS),
    ):
        parts += [f"\n## Fields of {title}\n\n", support.table(fields)]
    return "".join((*parts, STREAMS, ERRORS, *_errors()))


def _routes() -> Iterator[str]:
    for route in ROUTES:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)
        yield f"| {route.method} | `{path}` | {route.summary}{' (stream)' if route.streams else ''} |\n"


def _errors() -> Iterator[str]:
    for kind in kinds():
        retry = "yes" if kind.retryable else "no"
        yield f"| `{kind.code}` | {kind.http_status} | {error_type(kind.http_status)} | {retry} |\n"


def api_schema() -> str:
    """The OpenAPI document, indented. Without the version, which would change with every release."""
    described = document(ROUTES)
    described["info"]["version"] = ""
    return msgspec.json.format(msgspec.json.encode(described), indent=1).decode() + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "api.md").write_text(api_page())
    (folder / "openapi.json").write_text(api_schema())
