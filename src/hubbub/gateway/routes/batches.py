"""Batches."""

from __future__ import annotations

from hubbub.core.batches import Batch, BatchId, BatchOrder, BatchStatus, FileId
from hubbub.gateway.call import Call, NoQuery
from hubbub.gateway.views import response_usage
from hubbub.gateway.wire.base import In, Limit, Listed, checked_metadata, listed
from hubbub.gateway.wire.batches import BatchCreate, BatchErrorOut, BatchErrors, BatchOut, RequestCounts


class ListQuery(In, frozen=True, kw_only=True):
    after: str | None = None
    limit: Limit = 20


async def create(call: Call[BatchCreate, NoQuery]) -> BatchOut:
    body, key = call.body, call.caller.key
    order = BatchOrder(
        user=call.user,
        key="" if key is None else key.id,
        input_file=FileId(body.input_file_id),
        endpoint=body.endpoint,
        metadata=checked_metadata(body.metadata),
        keep_seconds=None if body.output_expires_after is None else body.output_expires_after.seconds,
    )
    return batch_out(await call.gateway.files.create(order))


async def index(call: Call[None, ListQuery]) -> Listed[BatchOut]:
    after = None if call.query.after is None else BatchId(call.query.after)
    rows = await call.gateway.files.batches(call.user, after, call.query.limit)
    return listed([batch_out(batch) for batch in rows.rows], [batch.id for batch in rows.rows], rows.has_more)


async def retrieve(call: Call[None, NoQuery]) -> BatchOut:
    return batch_out(await call.gateway.files.batch(call.user, BatchId(call.arg("batch_id"))))


async def cancel(call: Call[None, NoQuery]) -> BatchOut:
    """What was answered until then is kept."""
    return batch_out(await call.gateway.files.cancel(call.user, BatchId(call.arg("batch_id"))))


def batch_out(batch: Batch) -> BatchOut:
    faults = [
        BatchErrorOut(code=fault.code, message=fault.message, line=fault.line, param=fault.param)
        for fault in batch.faults
    ]
    since = {status: int(batch.since[status]) if status in batch.since else None for status in BatchStatus}
    return BatchOut(
        id=batch.id,
        endpoint=batch.order.endpoint,
        model=batch.model,
        errors=BatchErrors(data=faults) if faults else None,
        input_file_id=batch.order.input_file,
        status=batch.status.value,
        output_file_id=batch.output_file,
        error_file_id=batch.error_file,
        created_at=int(batch.created_at),
        in_progress_at=since[BatchStatus.IN_PROGRESS],
        expires_at=int(batch.expires_at),
        finalizing_at=since[BatchStatus.FINALIZING],
        completed_at=since[BatchStatus.COMPLETED],
        failed_at=since[BatchStatus.FAILED],
        expired_at=since[BatchStatus.EXPIRED],
        cancelling_at=since[BatchStatus.CANCELLING],
        cancelled_at=since[BatchStatus.CANCELLED],
        request_counts=RequestCounts(total=batch.total, completed=batch.completed, failed=batch.failed),
        usage=response_usage(batch.usage),
        metadata=dict(batch.order.metadata) or None,
    )
