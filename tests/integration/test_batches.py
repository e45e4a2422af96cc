"""Files and batches through the official client: one line of results for each line of the input, whatever happens."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import BadRequestError, ConflictError, NotFoundError, RateLimitError
from openai.types import (
    Batch,
    BatchCreateParams,
    BatchError,
    BatchListParams,
    FileCreateParams,
    FileListParams,
    FileObject,
)

from hubbub.core.batches import BatchId, BatchOrder, FileId
from hubbub.core.keys import Scope
from hubbub.core.quota import Limits
from hubbub.core.types import UserId
from hubbub.corpus.batches.desk import WINDOW_S
from hubbub.engines.sim_faults import FaultKind, FaultRule
from hubbub.gateway.keyring import LOCAL
from hubbub.gateway.routes import batches, files
from hubbub.gateway.wire.batches import BatchCreate, BatchErrorOut, BatchOut
from hubbub.gateway.wire.files import FileForm, FileOut
from hubbub.runtime.clock import VirtualClock
from support.keys import a_key, bearer, locked, text_of
from support.serving import ENDLESS, MODEL, Served, served

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


def test_every_field_of_the_client_is_there() -> None:
    for told, known in ((BatchOut, Batch), (FileOut, FileObject), (BatchErrorOut, BatchError)):
        assert set(told.__struct_fields__) == set(known.model_fields)
    assert set(BatchCreate.__struct_fields__) == set(BatchCreateParams.__annotations__)
    assert {name.partition("[")[0] for name in FileForm.__struct_encode_fields__} == set(
        FileCreateParams.__annotations__
    )
    assert set(files.ListQuery.__struct_fields__) == set(FileListParams.__annotations__)
    assert set(batches.ListQuery.__struct_fields__) == set(BatchListParams.__annotations__)


def a_line(number: int, **body: Any) -> dict[str, Any]:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": f"Question {number}"}], "max_tokens": 6}
    return {"custom_id": f"row-{number}", "method": "POST", "url": CHAT, "body": {**asked, **body}}


def text_of_lines(*lines: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def begun(house: Served, text: bytes, endpoint: Any = CHAT, **more: Any) -> Batch:
    """A batch that has been ordered."""
    file = await house.client.files.create(file=("in.jsonl", text), purpose="batch")
    return await house.client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more)


async def ended(house: Served, batch: Batch) -> Batch:
    assert house.desk is not None
    await house.desk.ended(BatchId(batch.id))
    return await house.client.batches.retrieve(batch.id)


async def lines_of(house: Served, file: str | None) -> list[dict[str, Any]]:
    if file is None:
        return []
    content = await house.client.files.content(file)
    return [json.loads(line) for line in content.text.splitlines()]


async def results(house: Served, batch: Batch) -> dict[str, dict[str, Any]]:
    """Every line of both files by its custom id; fails for one that is there twice."""
    lines = await lines_of(house, batch.output_file_id) + await lines_of(house, batch.error_file_id)
    found = {line["custom_id"]: line for line in lines}
    assert len(found) == len(lines)
    return found


async def test_a_batch_of_completions(tmp_path: Path) -> None:
    async with served(files=tmp_path) as house:
        batch = await begun(house, text_of_lines(*(a_line(n) for n in range(40))), metadata={"of": "me"})
        assert (batch.status, batch.endpoint, batch.completion_window) == ("validating", CHAT, "24h")
        assert (batch.metadata, batch.errors, batch.output_file_id) == ({"of": "me"}, None, None)
        assert batch.expires_at == batch.created_at + WINDOW_S
        done = await ended(house, batch)
        assert done.status == "completed"
        assert done.request_counts is not None
        assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (40, 40, 0)
        assert done.model == MODEL
        assert done.error_file_id is None
        assert None not in (done.in_progress_at, done.finalizing_at, done.completed_at)
        assert done.output_file_id is not None
        lines = await lines_of(house, done.output_file_id)
        assert [line["custom_id"] for line in lines] == [f"row-{n}" for n in range(40)]
        spent = 0
        for line in lines:
            assert set(line) == {"id", "custom_id", "response", "error"}
            assert line["id"].startswith("batch_req_")
            assert line["error"] is None
            said = line["response"]
            assert (said["status_code"], said["body"]["object"]) == (200, "chat.completion")
            assert said["body"]["choices"][0]["message"]["content"]
            assert said["body"]["service_tier"] == "flex"
            spent += said["body"]["usage"]["total_tokens"]
        assert done.usage is not None
        assert done.usage.total_tokens == spent
        kept = await house.client.files.retrieve(done.output_file_id)
        assert (kept.purpose, kept.filename) == ("batch_output", f"{batch.id}_output.jsonl")
        assert kept.bytes == len((await house.client.files.content(kept.id)).content)


async def test_a_batch_of_responses_with_lines_that_fail(tmp_path: Path) -> None:
    bad: list[tuple[dict[str, Any], int, str, str]] = [
        ({"model": "gpt-9"}, 404, "model_not_found", "model"),
        ({"stream": True}, 400, "unsupported_parameter", "stream"),
        ({"store": True}, 400, "unsupported_parameter", "store"),
        ({"colour": "red"}, 400, "invalid_request_error", "colour"),
        ({"temperature": 9}, 400, "invalid_request_error", "temperature"),
        ({"input": "\0"}, 400, "invalid_request_error", "input"),
    ]
    good: dict[str, Any] = {"model": MODEL, "input": "Hello", "max_output_tokens": 4}
    asked = [good, *({**good, **wrong} for wrong, *_ in bad)]
    lines = [{"custom_id": str(n), "method": "POST", "url": RESPONSES, "body": b} for n, b in enumerate(asked)]
    async with served(files=tmp_path) as house:
        done = await ended(house, await begun(house, text_of_lines(*lines), RESPONSES))
        assert done.status == "completed"
        assert done.request_counts is not None
        assert (done.request_counts.completed, done.request_counts.failed) == (1, len(bad))
        assert done.model is None
        found = await results(house, done)
        assert [line["custom_id"] for line in await lines_of(house, done.output_file_id)] == ["0"]
        assert found["0"]["response"]["body"]["object"] == "response"
        assert found["0"]["response"]["body"]["store"] is False
        for number, (_, status, code, param) in enumerate(bad, start=1):
            said = found[str(number)]["response"]
            assert found[str(number)]["error"] is None
            assert said["status_code"] == status
            assert (said["body"]["error"]["code"], said["body"]["error"]["param"]) == (code, param)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (b"", [("empty_file", None, None)]),
        (b"\n  \n", [("empty_file", None, None)]),
        (
            text_of_lines(a_line(1)) + b"\n{oops\n[1]\n",
            [("invalid_json_line", 3, None), ("invalid_json_line", 4, None)],
        ),
        (text_of_lines(a_line(1), a_line(2), a_line(1)), [("duplicate_custom_id", 3, "custom_id")]),
        (text_of_lines({**a_line(1), "url": RESPONSES}), [("url_mismatch", 1, "url")]),
        (text_of_lines({**a_line(1), "method": "GET"}), [("invalid_method", 1, "method")]),
        (text_of_lines({"custom_id": "x"}), [("missing_required_parameter", 1, "method")]),
        (text_of_lines({**a_line(1), "custom_id": 7}), [("invalid_custom_id", 1, "custom_id")]),
        (text_of_lines({**a_line(1), "body": []}), [("invalid_body", 1, "body")]),
        (text_of_lines(a_line(1, user="x" * (1 << 16))), [("line_too_large", 1, None)]),
        (b"\xff\xfe\n", [("invalid_json_line", 1, None)]),
        (text_of_lines(*(a_line(n) for n in range(1001))), [("too_many_tasks", None, None)]),
    ],
)
async def test_an_input_that_is_wrong_fails_as_a_whole(
    tmp_path: Path, text: bytes, faults: list[tuple[str, int | None, str | None]]
) -> None:
    async with served(files=tmp_path) as house:
        done = await ended(house, await begun(house, text))
        assert (done.status, done.output_file_id, done.error_file_id) == ("failed", None, None)
        assert done.failed_at is not None
        assert done.errors is not None
        assert done.errors.object == "list"
        assert [(e.code, e.line, e.param) for e in done.errors.data or ()] == faults
        assert all(e.message for e in done.errors.data or ())


async def test_a_cancelled_batch_keeps_what_is_done(tmp_path: Path) -> None:
    slow = a_line(2, max_tokens=20_000)
    async with served(files=tmp_path, voice=ENDLESS) as house:
        batch = await begun(
            house, text_of_lines(a_line(1), slow, *(a_line(n, max_tokens=20_000) for n in range(3, 30)))
        )
        while (await house.client.batches.retrieve(batch.id)).request_counts.completed < 1:  # type: ignore[union-attr]
            pass
        cancelling = await house.client.batches.cancel(batch.id)
        assert cancelling.status == "cancelling"
        assert cancelling.cancelling_at is not None
        done = await ended(house, batch)
        assert done.status == "cancelled"
        assert done.cancelled_at is not None
        found = await results(house, done)
        assert set(found) == {f"row-{n}" for n in range(1, 30)}
        assert [line["custom_id"] for line in await lines_of(house, done.output_file_id)] == ["row-1"]
        assert found["row-2"]["response"] is None
        assert found["row-2"]["error"]["code"] == "batch_cancelled"
        assert (await house.client.batches.cancel(batch.id)).status == "cancelled"


async def test_a_batch_that_has_ended_cannot_be_cancelled(tmp_path: Path) -> None:
    async with served(files=tmp_path) as house:
        done = await ended(house, await begun(house, text_of_lines(a_line(1))))
        with pytest.raises(ConflictError, match="completed"):
            await house.client.batches.cancel(done.id)


async def test_a_batch_expires_with_what_is_done(tmp_path: Path) -> None:
    clock = VirtualClock()
    lines = [a_line(1), *(a_line(n, max_tokens=20_000) for n in range(2, 12))]
    async with served(files=tmp_path, voice=ENDLESS, clock=clock) as house:
        more = {"output_expires_after": {"anchor": "created_at", "seconds": 3600}}
        batch = await begun(house, text_of_lines(*lines), extra_body=more)
        while (await house.client.batches.retrieve(batch.id)).request_counts.completed < 1:  # type: ignore[union-attr]
            pass
        clock.advance(WINDOW_S)
        done = await ended(house, batch)
        assert done.status == "expired"
        assert done.expired_at == batch.expires_at
        found = await results(house, done)
        assert set(found) == {f"row-{n}" for n in range(1, 12)}
        assert found["row-1"]["response"]["status_code"] == 200
        assert {found[f"row-{n}"]["error"]["code"] for n in range(2, 12)} == {"batch_expired"}
        assert done.output_file_id is not None
        output = await house.client.files.retrieve(done.output_file_id)
        assert output.expires_at == output.created_at + 3600
        clock.advance(3601)
        assert house.desk is not None
        while (await house.call("GET", f"/v1/files/{output.id}"))[0] != 404:
            pass
        assert not (tmp_path / output.id).exists()


async def test_an_engine_that_dies_loses_no_line(tmp_path: Path) -> None:
    rules = (FaultRule(FaultKind.CRASH, rate=0.2, times=2, after_tokens=2), FaultRule(FaultKind.UNAVAILABLE, rate=0.1))
    async with served(files=tmp_path, faults=rules, restart_s=0.05) as house:
        done = await ended(house, await begun(house, text_of_lines(*(a_line(n) for n in range(60)))))
        assert done.status == "completed"
        assert set(await results(house, done)) == {f"row-{n}" for n in range(60)}


async def test_files(tmp_path: Path) -> None:
    async with served(files=tmp_path) as house:
        shelf = house.client.files
        made = [await shelf.create(file=(f"{n}.jsonl", b"x" * n), purpose="batch") for n in range(4)]
        assert [file.bytes for file in made] == [0, 1, 2, 3]
        assert {(file.object, file.purpose, file.status) for file in made} == {("file", "batch", "processed")}
        assert made[0].expires_at is None
        newest = [file.id async for file in shelf.list(limit=2)]
        assert newest == [file.id for file in reversed(made)]
        assert [file.filename async for file in shelf.list(order="asc", limit=3)] == [f"{n}.jsonl" for n in range(4)]
        assert [file async for file in shelf.list(purpose="batch_output")] == []
        assert (await shelf.content(made[3].id)).content == b"xxx"
        assert (await shelf.delete(made[3].id)).deleted
        with pytest.raises(NotFoundError):
            await shelf.content(made[3].id)
        with pytest.raises(NotFoundError):
            await shelf.delete(made[3].id)
        with pytest.raises(NotFoundError):
            await shelf.list(after="file-none")
        kept = await shelf.create(
            file=("../../etc/x.jsonl", b""), purpose="batch", expires_after={"anchor": "created_at", "seconds": 7200}
        )
        assert (kept.filename, kept.expires_at) == ("x.jsonl", kept.created_at + 7200)
        await shelf.create(file=b"last", purpose="batch")
        with pytest.raises(ConflictError, match="keeps 5"):
            await shelf.create(file=b"one too many", purpose="batch")
    names = {path.name for path in tmp_path.iterdir()}
    assert not any(name.endswith(".part") for name in names)
    assert len([name for name in names if name.startswith("file-")]) == 5


async def test_a_file_that_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    async with served(files=tmp_path) as house:
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", io.BytesIO(b"x" * (1 << 20) + b"y"), filename="big")
        status, said = await house.post("/files", data=form)
        assert (status, said["error"]["code"], said["error"]["param"]) == (413, "body_too_large", "file")
        assert not list(tmp_path.glob("file-*"))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "batch"}, "file"),
        ({"file": b"x"}, "purpose"),
        ({"file": b"x", "purpose": "assistants"}, "purpose"),
        ({"file": b"x", "purpose": "batch", "colour": "red"}, "colour"),
        ({"file": b"x", "purpose": "batch", "expires_after[seconds]": "7200"}, "expires_after"),
        ({"file": b"x", "purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "1"},
         "expires_after[seconds]"),
        ({"file": b"x", "purpose": "b" * 5000}, "purpose"),
    ],
)  # fmt: skip
async def test_a_wrong_upload_is_named(tmp_path: Path, fields: dict[str, Any], param: str) -> None:
    async with served(files=tmp_path) as house:
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in fields.items():
            form.add_field(name, value, **({"filename": "x"} if name == "file" else {}))
        status, said = await house.post("/files", data=form)
        assert (status, said["error"]["param"]) == (400, param)
        assert said["error"]["message"]
        assert not list(tmp_path.glob("file-*"))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"nothing of the kind", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\nno name\r\n--x--", "multipart/form-data; boundary=x"),
        (b"x", "multipart/form-data"),
        (b"{}", "application/json"),
        (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\ncut',
            "multipart/form-data; boundary=x",
        ),
    ],
)
async def test_a_broken_form_is_a_bad_request(tmp_path: Path, body: bytes, kind: str) -> None:
    async with served(files=tmp_path) as house:
        status, said = await house.post("/files", data=body, headers={"Content-Type": kind})
        assert (status, said["error"]["code"]) == (400, "invalid_request_error")
        assert not list(tmp_path.glob("file-*"))


async def test_what_cannot_be_ordered(tmp_path: Path) -> None:
    async with served(files=tmp_path, voice=ENDLESS) as house:
        with pytest.raises(NotFoundError) as none:
            await house.client.batches.create(input_file_id="file-x", endpoint=CHAT, completion_window="24h")  # type: ignore[arg-type]
        assert none.value.param == "input_file_id"
        with pytest.raises(BadRequestError) as wrong:
            await begun(house, b"", "/v1/embeddings")
        assert wrong.value.param == "endpoint"
        long = text_of_lines(a_line(1, max_tokens=20_000))
        first = await begun(house, long)
        with pytest.raises(ConflictError, match="reads file"):
            await house.client.files.delete(first.input_file_id)
        second = await begun(house, long)
        with pytest.raises(RateLimitError, match="runs 2"):
            await begun(house, long)
        listed = [batch.id async for batch in house.client.batches.list(limit=1)]
        assert listed == [second.id, first.id]
        for batch in (first, second):
            await house.client.batches.cancel(batch.id)
            await ended(house, batch)
        await house.client.files.delete(first.input_file_id)
        output = (await ended(house, first)).error_file_id
        assert output is not None
        with pytest.raises(BadRequestError, match="purpose"):
            await house.client.batches.create(input_file_id=output, endpoint=CHAT, completion_window="24h")  # type: ignore[arg-type]


async def test_two_users_and_what_their_keys_allow(tmp_path: Path) -> None:
    keys = (
        a_key("ann", limits=Limits(tokens_per_day=100_000)),
        a_key("bob"),
        a_key("eve", frozenset({Scope.READ})),
    )
    async with locked(*keys, files=tmp_path) as door:
        ann = door.house.client.with_options(api_key=text_of("ann"))
        file = await ann.files.create(file=("in.jsonl", text_of_lines(a_line(1), a_line(2))), purpose="batch")
        batch = await ann.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        assert door.house.desk is not None
        await door.house.desk.ended(BatchId(batch.id))
        done = await ann.batches.retrieve(batch.id)
        assert done.usage is not None
        assert done.usage.total_tokens > 0
        _, _, headers = await door.call("ann", "GET", "/v1/models")
        assert int(headers["x-ratelimit-remaining-tokens"]) == 100_000 - done.usage.total_tokens
        order = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
        for method, path, body in (
            ("GET", f"/v1/files/{file.id}", None),
            ("GET", f"/v1/files/{done.output_file_id}/content", None),
            ("DELETE", f"/v1/files/{file.id}", None),
            ("GET", f"/v1/batches/{batch.id}", None),
            ("POST", f"/v1/batches/{batch.id}/cancel", None),
            ("POST", "/v1/batches", order),
            ("GET", f"/v1/batches?after={batch.id}", None),
            ("GET", f"/v1/files?after={file.id}", None),
        ):
            assert (await door.call("bob", method, path, body))[0] == 404
        assert (await door.call("bob", "GET", "/v1/files"))[1]["data"] == []
        assert (await door.call("bob", "GET", "/v1/batches"))[1]["data"] == []
        assert (await door.call("eve", "POST", "/v1/batches", order))[0] == 403
        async with door.house.http.get(f"{door.house.url}/v1/files/{file.id}/content", headers=bearer("ann")) as got:
            assert await got.read() == text_of_lines(a_line(1), a_line(2))


async def test_a_used_up_quota_holds_up_nobody_else(tmp_path: Path) -> None:
    text = text_of_lines(*(a_line(n) for n in range(20)))
    async with locked(a_key("ann", limits=Limits(tokens_per_minute=60)), a_key("bob"), files=tmp_path) as door:
        ordered = {}
        for name in ("ann", "bob"):
            client = door.house.client.with_options(api_key=text_of(name))
            file = await client.files.create(file=("in.jsonl", text), purpose="batch")
            ordered[name] = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
        assert door.house.desk is not None
        await door.house.desk.ended(BatchId(ordered["bob"].id))
        _, bobs, _ = await door.call("bob", "GET", f"/v1/batches/{ordered['bob'].id}")
        assert bobs["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
        _, anns, _ = await door.call("ann", "GET", f"/v1/batches/{ordered['ann'].id}")
        assert anns["status"] == "in_progress"
        assert anns["request_counts"]["failed"] == 0
        _, anns, _ = await door.call("ann", "POST", f"/v1/batches/{ordered['ann'].id}/cancel")
        assert anns["status"] == "cancelling"


async def test_lines_of_a_key_that_is_gone_fail(tmp_path: Path) -> None:
    async with locked(a_key("ann"), files=tmp_path) as door:
        client = door.house.client.with_options(api_key=text_of("ann"))
        file = await client.files.create(file=("in.jsonl", text_of_lines(a_line(1))), purpose="batch")
        assert door.house.desk is not None
        batch = await door.house.desk.create(BatchOrder(UserId("ann"), "key_gone", FileId(file.id), CHAT))
        await door.house.desk.ended(batch.id)
        done = await client.batches.retrieve(batch.id)
        assert done.error_file_id is not None
        line = json.loads((await client.files.content(done.error_file_id)).text)
        assert line["response"]["status_code"] == 401
        assert line["response"]["body"]["error"]["code"] == "invalid_api_key"


async def test_a_disk_that_takes_nothing_only_holds_rows_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with served(files=tmp_path) as house:
        with closing(sqlite3.connect(tmp_path / "index.sqlite3")) as other:
            other.execute("CREATE TRIGGER no BEFORE INSERT ON rows BEGIN SELECT RAISE(ABORT, 'no room'); END")
            batch = await begun(house, text_of_lines(*(a_line(n) for n in range(20))))
            while "wait to be stored" not in caplog.text:
                waiting = await house.client.batches.retrieve(batch.id)
                assert waiting.request_counts is not None
                assert waiting.request_counts.completed == 0
            other.execute("DROP TRIGGER no")
        done = await ended(house, batch)
        assert done.status == "completed"
        assert set(await results(house, done)) == {f"row-{n}" for n in range(20)}


async def test_an_input_that_vanishes_keeps_what_is_done(tmp_path: Path) -> None:
    async with served(files=tmp_path) as house:
        batch = await begun(house, text_of_lines(*(a_line(n) for n in range(20))))
        done = await ended(house, batch)
        assert house.desk is not None
        (tmp_path / batch.input_file_id).unlink()
        gone = await house.desk.create(BatchOrder(LOCAL, "", FileId(batch.input_file_id), CHAT))
        await house.desk.ended(gone.id)
        failed = await house.client.batches.retrieve(gone.id)
        assert failed.status == "failed"
        assert failed.errors is not None
        assert [error.code for error in failed.errors.data or ()] == ["input_file_unreadable"]
        with pytest.raises(NotFoundError, match="gone from the disk"):
            await house.client.files.content(batch.input_file_id)
        assert len(await results(house, done)) == 20
