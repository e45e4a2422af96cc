"""llama-server's own ways: adapters by number, slots by number, capacity in ``/props``, gauges in ``/metrics``.

Read in ggml-org/llama.cpp b11434, tools/server: server-context.cpp (slots, LoRA, KV), server-common.cpp (bodies).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import aiohttp
import msgspec

from hubbub.core.errors import BadRequest, EngineUnavailable, ModelNotFound
from hubbub.core.types import EngineState, Json, Message, Request
from hubbub.engines.dialect import Dialect, Site
from hubbub.engines.llamacpp_beginnings import Beginnings
from hubbub.engines.llamacpp_slots import SlotTable
from hubbub.engines.metrics_text import Samples
from hubbub.engines.probe import PROBE_TIMEOUT
from hubbub.engines.remote_errors import error_of_response, error_of_transport
from hubbub.engines.wire_body import chat_body, messages_body

RUNNING, WAITING, STEPS = (
    f"llamacpp:{name}" for name in ("requests_processing", "requests_deferred", "n_decode_total")
)


class _Generation(msgspec.Struct):
    n_ctx: int


class _Props(msgspec.Struct):
    default_generation_settings: _Generation
    total_slots: int
    model_alias: str = ""
    model_path: str = ""
    build_info: str = ""


class _Slot(msgspec.Struct):
    n_prompt_tokens: int = 0
    is_processing: bool = False


class _Counted(msgspec.Struct):
    input_tokens: int


_slots = msgspec.json.Decoder(list[_Slot])


class LlamaCppDialect(Dialect):
    """``models``: empty lets any name pass. ``adapters``: names in the order in which the server loaded them.
    ``slots``: None lets the server choose. ``beginnings``: None lets each slot read its own."""

    def __init__(
        self,
        models: Sequence[str] = (),
        adapters: Sequence[str] = (),
        slots: SlotTable | None = None,
        beginnings: Beginnings | None = None,
    ) -> None:
        self._models = tuple(models)
        self._adapters = tuple(adapters)
        self._slots = slots
        self._beginnings = beginnings

    def body(self, request: Request) -> dict[str, Json]:
        """Raises ModelNotFound, which the server would not notice; BadRequest for an adapter that is not loaded."""
        if self._models and request.model not in self._models:
            there = ", ".join(self._models)
            raise ModelNotFound(f"model {request.model!r} is not served here; there is {there}", param="model")
        body = chat_body(replace(request, adapter=""))
        if request.adapter and request.adapter not in self._adapters:
            loaded = ", ".join(self._adapters) or "none"
            raise BadRequest(f"adapter {request.adapter!r} is not loaded; there is {loaded}", param="adapter")
        if self._adapters:
            # Said also for no adapter at all: without a list the server keeps the slot's keys and values of the adapter
            # it had before.
            body["lora"] = [
                {"id": number, "scale": 1.0 if name == request.adapter else 0.0}
                for number, name in enumerate(self._adapters)
            ]
        place = self._slots.place(request.id) if self._slots is not None else None
        if place is not None:
            body["id_slot"], body["cache_prompt"] = place.slot, place.warm
        return body

    async def prepare(self, site: Site, request: Request, body: dict[str, Json]) -> None:
        slot = body.get("id_slot")
        if self._beginnings is not None and isinstance(slot, int):
            laid = await self._beginnings.lay(site, request, slot, body.get("lora"))
            body["cache_prompt"] = laid or body["cache_prompt"]

    def answered(self, request: Request, status: int, header: Callable[[str], str | None]) -> None:
        # The head comes with the first token, so that an error has a status of its own (ggml-org/llama.cpp#16486).
        if self._slots is not None and status == 200:
            self._slots.answered(request.id)

    async def state(self, site: Site, known: EngineState | None) -> EngineState:
        state = known or await self._capacity(site)
        status, body = await site.get("/metrics")
        if status >= 500:
            raise EngineUnavailable(f"{site.base}/metrics answered {status}", retry_after=1.0)
        _, slots = await site.get("/slots")
        samples = Samples(body.decode("utf-8", "replace") if status == 200 else "", (RUNNING, WAITING, STEPS))
        return replace(
            state,
            running=int(samples.total(RUNNING)),
            waiting=int(samples.total(WAITING)),
            steps=int(samples.total(STEPS)),
            kv_used=min(1.0, _held(slots) / state.kv_tokens),
        )

    async def _capacity(self, site: Site) -> EngineState:
        status, body = await site.get("/props")
        if status != 200:
            raise EngineUnavailable(error_of_response(status, None, body).message, retry_after=1.0)
        try:
            props = msgspec.json.decode(body, type=_Props)
        except msgspec.DecodeError as fault:
            raise EngineUnavailable(f"{site.base}/props is not llama-server's ({fault})") from fault
        window = props.default_generation_settings.n_ctx
        limits = site.limits
        return EngineState(
            models=limits.models or (props.model_alias or props.model_path,),
            context_window=min(window, limits.context_window or window),
            max_sequences=props.total_slots,
            kv_tokens=limits.kv_tokens or props.total_slots * window,
            prefix_cache=True,
            adapters=self._adapters,
            # A step decodes only slots with the first busy slot's adapter; the others wait until that one is done.
            mixes_adapters=False,
            details={"url": site.base, "version": props.build_info},
        )

    async def count_tokens(self, site: Site, model: str, messages: Sequence[Message]) -> int | None:
        body = msgspec.json.encode({"messages": messages_body(messages)})
        try:
            async with site.session.post(
                site.base + "/v1/chat/completions/input_tokens",
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=PROBE_TIMEOUT,
            ) as response:
                data = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as fault:
            words = error_of_transport(fault, site.engine, begun=False).message
            raise EngineUnavailable(words, retry_after=1.0) from fault
        if response.status == 404:
            return None  # older than b7800 or so
        if response.status != 200:
            raise EngineUnavailable(error_of_response(response.status, None, data).message)
        return msgspec.json.decode(data, type=_Counted).input_tokens


def _held(slots: bytes) -> int:
    """Tokens of requests in flight, out of ``/slots``; 0 where the server does not tell (``--no-slots``)."""
    try:
        return sum(slot.n_prompt_tokens for slot in _slots.decode(slots) if slot.is_processing)
    except msgspec.DecodeError:
        return 0
