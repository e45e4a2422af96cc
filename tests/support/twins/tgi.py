"""Text Generation Inference 3.3, after huggingface/text-generation-inference
db931fcf42da018a3657580c64bf2720f167f9ab: router/src/server.rs, router/src/lib.rs, router/src/validation.rs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from support.twins.base import Twin


class TGITwin(Twin):
    """``tokens``: of every prompt. ``seats``: ``--max-concurrent-requests``; past it TGI answers 429."""

    WINDOW = 4096

    def __init__(self) -> None:
        super().__init__()
        self.tokens = 7
        self.seats = 4
        self.adapters = ("warm",)

    def routes(self) -> Mapping[str, Any]:
        return {
            "GET /health": self.health,
            "GET /info": self.info,
            "GET /metrics": self.metrics,
            "POST /v1/chat/completions": self.chat,
        }

    async def health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def info(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "model_id": "Qwen/Qwen3-8B",
                "model_sha": None,
                "model_pipeline_tag": "text-generation",
                "max_concurrent_requests": self.seats,
                "max_best_of": 2,
                "max_stop_sequences": 4,
                "max_input_tokens": self.WINDOW - 1,
                "max_total_tokens": self.WINDOW,
                "validation_workers": 2,
                "max_client_batch_size": 4,
                "router": "text-generation-router",
                "version": "3.3.7",
            }
        )

    async def metrics(self, _request: web.Request) -> web.Response:
        text = (
            "# TYPE tgi_batch_current_size gauge\n"
            f"tgi_batch_current_size {self.running}\n"
            "# TYPE tgi_queue_size gauge\n"
            "tgi_queue_size 0\n"
            "# TYPE tgi_batch_current_max_tokens gauge\n"
            f"tgi_batch_current_max_tokens {self.running * self.WINDOW // 2}\n"
        )
        return web.Response(text=text)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        if self.running >= self.seats:
            return _error(429, "Model is overloaded", "overloaded")
        if body.get("temperature") is not None and body["temperature"] <= 0:
            return _error(422, "Input validation error: `temperature` must be strictly positive", "validation")
        wanted = body.get("max_tokens") or 1
        if self.tokens + wanted > self.WINDOW:
            words = (
                f"Input validation error: `inputs` tokens + `max_new_tokens` must be <= {self.WINDOW}. "
                f"Given: {self.tokens} `inputs` tokens and {wanted} `max_new_tokens`"
            )
            return _error(422, words, "validation")
        if body["model"] not in ("tgi", *self.adapters):
            return _error(422, f"Input validation error: adapter {body['model']} not found", "validation")
        return await self.say(request, body)


def _error(status: int, words: str, kind: str) -> web.Response:
    return web.json_response({"error": words, "error_type": kind}, status=status)
