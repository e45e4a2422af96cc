"""``GET /frames``: all requests of one client over one WebSocket, one message a step. The form is in engines/frames."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import msgspec
from aiohttp import WSMsgType, web

from hubbub.core.errors import BadRequest, EngineError, HubbubError
from hubbub.core.types import Chunk, FinishReason
from hubbub.engines.frames import (
    MAX_MESSAGE_BYTES,
    SIGN_OF_LIFE_S,
    Cancel,
    Piece,
    Submit,
    decode_op,
    encode_pieces,
    piece_of,
)
from hubbub.engines.openvino_server.body import parse_body
from hubbub.engines.openvino_server.service import Job, Service

log = logging.getLogger(__name__)


async def frames(request: web.Request, service: Service) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, compress=False, writer_limit=1 << 20)
    await socket.prepare(request)
    connection = _Connection(service)
    service.step_ends.add(connection.flush)
    writer = asyncio.create_task(connection.write(socket))
    try:
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                break
            connection.take(message.data)
    finally:
        service.step_ends.discard(connection.flush)
        connection.close()
        writer.cancel()
        await asyncio.wait([writer])
    return socket


class _Connection:
    """A request of this client that has not ended is, by its own id, in one of ``_vetted`` (its grammar is being tried)
    and ``_numbers`` (the service has it). ``_pieces``: said, not sent."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._vetted: dict[str, asyncio.Task[None]] = {}
        self._numbers: dict[str, int] = {}
        self._pieces: list[Piece] = []
        self._wake = asyncio.Event()

    def take(self, data: bytes) -> None:
        try:
            op = decode_op(data)
        except msgspec.DecodeError:
            return  # without an id there is nobody to tell
        if isinstance(op, Submit):
            self._submit(op)
        elif isinstance(op, Cancel) and self._take_out(op.id):
            self._say(op.id, Chunk(finish=FinishReason.CANCELLED))
            self._wake.set()

    def _submit(self, op: Submit) -> None:
        try:
            if op.id in self._numbers or op.id in self._vetted:
                raise BadRequest(f"id: {op.id!r} is already in flight on this connection", param="id")
            job = self._service.prepare(parse_body(op.body))
            if job.constrained:
                self._vetted[op.id] = asyncio.create_task(self._vet(op.id, job))
            else:
                self._start(op.id, job)
        except HubbubError as error:
            self._refuse(op.id, error)

    async def _vet(self, wire_id: str, job: Job) -> None:
        try:
            await self._service.vet(job)
            self._start(wire_id, job)
        except HubbubError as error:
            self._refuse(wire_id, error)
        except Exception as fault:  # the task's boundary: nobody else would hear of it
            log.exception("a schema could not be tried")
            self._refuse(wire_id, EngineError(f"the schema could not be tried: {fault}"))
        del self._vetted[wire_id]  # where it was cancelled, the one who did has done it

    def _start(self, wire_id: str, job: Job) -> None:
        self._numbers[wire_id] = self._service.submit(job, partial(self._say, wire_id))

    def _refuse(self, wire_id: str, error: HubbubError) -> None:
        self._say(wire_id, Chunk(error=error))
        self._wake.set()

    def _take_out(self, wire_id: str) -> bool:
        """Stop it, wherever it is. False where it is nowhere."""
        if (vetted := self._vetted.pop(wire_id, None)) is not None:
            vetted.cancel()
        elif (number := self._numbers.pop(wire_id, None)) is not None:
            self._service.cancel(number)
        else:
            return False
        return True

    def _say(self, wire_id: str, chunk: Chunk) -> None:
        self._pieces.append(piece_of(wire_id, chunk))
        if chunk.last:
            self._numbers.pop(wire_id, None)

    def flush(self) -> None:
        """A step is over: what it brought goes out as one message."""
        if self._pieces:
            self._wake.set()

    async def write(self, socket: web.WebSocketResponse) -> None:
        steps = self._service.gauges.steps
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), SIGN_OF_LIFE_S / 2)
            except TimeoutError:
                # Only a stepper that steps is alive; a prompt of many chunks brings no tokens for long.
                if self._service.gauges.steps == steps:
                    continue
            steps = self._service.gauges.steps
            self._wake.clear()
            pieces, self._pieces = self._pieces, []
            try:
                await socket.send_bytes(encode_pieces(pieces))
            except OSError:
                return  # the reader sees the same end

    def close(self) -> None:
        for wire_id in (*self._vetted, *self._numbers):
            self._take_out(wire_id)
