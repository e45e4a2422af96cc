"""Ollama, after ollama/ollama fb30760996871fa9460115c753afd2c60d4ab0f7: server/routes.go, server/sched.go,
openai/openai.go, middleware/openai.go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from support.twins.base import Twin


class OllamaTwin(Twin):
    """``seats``: running ones and those in its queue (``OLLAMA_MAX_QUEUE``); past it Ollama answers 503."""

    def __init__(self) -> None:
        super().__init__()
        self.models = {"qwen3:0.6b", "qwen3-warm"}
        self.seats = 4

    def routes(self) -> Mapping[str, Any]:
        return {
            "GET /api/version": self.version,
            "POST /api/show": self.show,
            "POST /v1/chat/completions": self.chat,
        }

    async def version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": "0.18.1"})

    async def show(self, request: web.Request) -> web.Response:
        name = (await request.json())["model"]
        if name not in self.models:
            return web.json_response({"error": f"model '{name}' not found"}, status=404)
        return web.json_response({"details": {"family": "qwen3"}, "model_info": {"qwen3.context_length": 40_960}})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        if self.running >= self.seats:
            words = "server busy, please try again.  maximum pending requests exceeded"
            return web.json_response({"error": {"message": words, "type": "api_error"}}, status=503)
        if body["model"] not in self.models:
            words = f"model '{body['model']}' not found"
            return web.json_response({"error": {"message": words, "type": "not_found_error"}}, status=404)
        return await self.say(request, body)
