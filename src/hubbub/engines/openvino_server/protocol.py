"""What the front and the stepper say to each other over the stepper's stdin and stdout: length-prefixed msgpack."""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

_LENGTH = struct.Struct("<I")


class Sampler(msgspec.Struct, array_like=True, frozen=True):
    """How tokens are drawn. ``temperature`` 0 is greedy. ``grammar`` is a structural tag (JSON text) that the output
    must match, or empty. ``adapter``: 0 for none, else the number of the LoRA adapter, counted from 1."""

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    grammar: str = ""
    ignore_eos: bool = False
    adapter: int = 0


class Add(msgspec.Struct, array_like=True, tag=True, frozen=True):
    id: int
    prompt: list[int]
    sampler: Sampler


class Drop(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """Stop ``id`` and free what it holds; nothing more is said of it. Unknown ids are ignored."""

    id: int


Op = Add | Drop

Finish = Literal["", "stop", "length", "error"]


class Out(msgspec.Struct, array_like=True, gc=False):
    """New tokens of one request. ``error`` is set with finish "error" only. ``cached``: tokens of the prompt that came
    from the prefix cache, said with the first tokens."""

    id: int
    tokens: list[int]
    finish: Finish = ""
    error: str = ""
    cached: int = 0


class Gauges(msgspec.Struct, array_like=True):
    """``kv_used``: share of the KV blocks held by live requests, 0 to 1. ``step_s``: the last step's length."""

    running: int = 0
    waiting: int = 0
    kv_used: float = 0.0
    steps: int = 0
    step_s: float = 0.0
    preempted: int = 0
    rss_bytes: int = 0


class Ready(msgspec.Struct, array_like=True, tag=True):
    """The pipeline is loaded. ``kv_bytes``: of the whole cache, as allocated."""

    kv_bytes: int
    load_s: float


class Step(msgspec.Struct, array_like=True, tag=True):
    """Everything one step brought; also sent without outs when gauges changed."""

    outs: list[Out]
    gauges: Gauges


class Failed(msgspec.Struct, array_like=True, tag=True):
    """The stepper gives up; it exits after this."""

    message: str


Say = Ready | Step | Failed

_encoder = msgspec.msgpack.Encoder()
op_decoder: msgspec.msgpack.Decoder[Op] = msgspec.msgpack.Decoder(Op)
say_decoder: msgspec.msgpack.Decoder[Say] = msgspec.msgpack.Decoder(Say)


def frame(message: Op | Say) -> bytes:
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Splitter:
    """Bytes as they come, cut into message bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        buffer = self._buffer
        buffer += data
        bodies, at = [], 0
        while len(buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, at)
            end = at + _LENGTH.size + length
            if len(buffer) < end:
                break
            bodies.append(bytes(buffer[at + _LENGTH.size : end]))
            at = end
        del buffer[:at]
        return bodies
