"""What engines say went wrong, in their own words, as core errors."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from hubbub.core.errors import (
    BadRequest,
    BodyTooLarge,
    ContextTooLong,
    EngineError,
    EngineLost,
    EngineUnavailable,
    HubbubError,
    ModelNotFound,
    Overloaded,
    StorageFull,
)
from hubbub.engines.remote_errors import (
    MESSAGE_CHARS,
    error_of_code,
    error_of_response,
    error_of_transport,
    retry_seconds,
)

CONTEXT = [
    (
        b'{"object":"error","message":"This model\'s maximum context length is 4096 tokens. However, you requested '
        b'5000 tokens (4900 in the messages, 100 in the completion).","type":"BadRequestError","param":null,"code":400}'
    ),
    (
        b'{"error":{"message":"The decoder prompt (length 5000) is longer than the maximum model length of 4096.",'
        b'"type":"BadRequestError","param":null,"code":400}}'
    ),
    (
        b'{"error":{"code":400,"message":"the request exceeds the available context size. try increasing the context '
        b'size or enable context shift","type":"exceed_context_size_error","n_prompt_tokens":5000,"n_ctx":4096}}'
    ),
    (
        b'{"error":{"message":"Your input exceeds the limit.","type":"invalid_request_error","param":"messages",'
        b'"code":"context_length_exceeded"}}'
    ),
    (
        b'{"object":"error","message":"The input (5000 tokens) is longer than the model\'s context length (4096 '
        b'tokens).","code":400}'
    ),
    (
        b'{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",'
        b'"error_type":"validation"}'
    ),
]


@pytest.mark.parametrize("body", CONTEXT)
def test_context_length_in_every_wording(body: bytes) -> None:
    assert type(error_of_response(422 if b"validation" in body else 400, None, body)) is ContextTooLong


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error":{"message":"temperature must be >= 0","param":"temperature"}}', BadRequest),
        (400, b"", BadRequest),
        (401, b'{"error":{"message":"Incorrect API key provided"}}', EngineError),
        (403, b'{"detail":"Forbidden"}', EngineError),
        (404, b'{"error":{"message":"The model `x` does not exist.","code":404}}', ModelNotFound),
        (404, b'{"detail":"Not Found"}', EngineError),
        (413, b"<html>Request Entity Too Large</html>", BodyTooLarge),
        (422, b'{"detail":[{"loc":["body","n"],"msg":"not an integer"}]}', BadRequest),
        (429, b'{"error":{"message":"slow down"}}', Overloaded),
        (500, b"Internal Server Error", EngineError),
        (502, b"<html>", EngineUnavailable),
        (503, b'{"error":{"message":"Loading model","code":503}}', EngineUnavailable),
    ],
)
def test_statuses(status: int, body: bytes, kind: type[HubbubError]) -> None:
    error = error_of_response(status, "3", body)
    assert type(error) is kind
    assert error.message
    assert error.retry_after == (None if kind is ModelNotFound else 3.0)


def test_the_field_at_fault_is_kept() -> None:
    error = error_of_response(400, None, b'{"error":{"message":"too hot","param":"temperature"}}')
    assert (error.message, error.param) == ("too hot", "temperature")


def test_a_traceback_is_cut_short() -> None:
    error = error_of_response(500, None, b"\n\n" + b"x" * 5000 + b"\nline 2")
    assert len(error.message) == MESSAGE_CHARS


def test_both_forms_of_retry_after() -> None:
    assert retry_seconds("2.5") == 2.5
    assert retry_seconds(None) is None
    assert retry_seconds("soon") is None
    assert retry_seconds("-4") == 0.0
    later = retry_seconds(formatdate(time.time() + 60, usegmt=True))
    assert later is not None
    assert 50 < later <= 60


def test_codes_of_our_own_engines() -> None:
    assert type(error_of_code("storage_full", "full")) is StorageFull
    unknown = error_of_code("from_the_future", "hm", "field", 2.0)
    assert type(unknown) is EngineError
    assert (unknown.message, unknown.param, unknown.retry_after) == ("hm", "field", 2.0)


def test_a_broken_wire_is_a_loss_only_once_the_answer_has_begun() -> None:
    fault = ConnectionResetError("reset by peer")
    assert type(error_of_transport(fault, "e", begun=True)) is EngineLost
    unavailable = error_of_transport(fault, "e", begun=False)
    assert type(unavailable) is EngineUnavailable
    assert unavailable.retryable
