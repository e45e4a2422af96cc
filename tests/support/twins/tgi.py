"""Text Generation Inference 3.3, after huggingface/text-generation-inference
db931fcf42da018a3657580c64bf2720f167f9ab: router/src/server.rs, router/src/lib.rs, router/src/validation.rs."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from hubbub.core.types import Request
from support.twins.twin import SEQUENCES, WINDOW, Refused, Twin


class TGITwin(Twin):
    """``seats``: ``--max-concurrent-requests``; past it TGI answers 429."""

    adapters = ("warm",)

    def __init__(self) -> None:
        super().__init__()
        self.seats = 64
        self._most = 0

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self._health),
            web.get("/info", self._info),
            web.get("/metrics", self._metrics),
            web.post("/v1/chat/completions", self.chat),
        ]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        state = await self.engine.state()
        if state.running + state.waiting >= self.seats:
            return web.json_response(_error("Model is overloaded", "overloaded"), status=429)
        return await super().chat(request)

    def read(self, body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        if body.get("temperature") is not None and body["temperature"] <= 0:
            raise Refused(422, _error("Input validation error: `temperature` must be strictly positive", "validation"))
        if body["model"] not in ("tgi", *self.adapters):
            words = f"Input validation error: adapter {body['model']} not found"
            raise Refused(422, _error(words, "validation"))
        if "value" not in body.get("response_format", {"value": None}):
            raise Refused(422, _error("response_format: missing field `value`", "validation"))
        self._most = body.get("max_tokens") or 1
        messages, partial = body["messages"], ""
        if messages[-1]["role"] == "assistant":
            *messages, last = messages
            partial = last["content"]
        return messages, partial

    def _request(self, body: dict[str, Any], messages: list[dict[str, Any]], partial: str) -> Request:
        grammar = body.get("response_format")
        if grammar is not None:
            body = body | {"response_format": {"type": grammar["type"], grammar["type"]: grammar["value"]}}
        return super()._request(body, messages, partial)

    def too_long(self, tokens: int) -> str:
        return (
            f"Input validation error: `inputs` tokens + `max_new_tokens` must be <= {WINDOW}. "
            f"Given: {tokens} `inputs` tokens and {self._most} `max_new_tokens`"
        )

    def refusal(self, message: str) -> Refused:
        return Refused(422, _error(message, "validation"))

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "model_id": "Qwen/Qwen3-8B",
                "model_sha": None,
                "model_pipeline_tag": "text-generation",
                "max_concurrent_requests": self.seats,
                "max_best_of": 2,
                "max_stop_sequences": 4,
                "max_input_tokens": WINDOW - 1,
                "max_total_tokens": WINDOW,
                "validation_workers": 2,
                "max_client_batch_size": 4,
                "router": "text-generation-router",
                "version": "3.3.7",
            }
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        state = await self.engine.state()
        text = (
            "# TYPE tgi_batch_current_size gauge\n"
            f"tgi_batch_current_size {state.running}\n"
            "# TYPE tgi_queue_size gauge\n"
            f"tgi_queue_size {state.waiting}\n"
            "# TYPE tgi_batch_current_max_tokens gauge\n"
            f"tgi_batch_current_max_tokens {state.kv_used * SEQUENCES * WINDOW}\n"
        )
        return web.Response(text=text)


def _error(words: str, kind: str) -> dict[str, str]:
    return {"error": words, "error_type": kind}
