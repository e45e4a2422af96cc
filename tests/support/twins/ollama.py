"""Ollama, after ollama/ollama fb30760996871fa9460115c753afd2c60d4ab0f7: server/routes.go, server/sched.go,
openai/openai.go, middleware/openai.go."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from support.twins.twin import WINDOW, Refused, Twin


class OllamaTwin(Twin):
    """``seats``: running ones and those in its queue (``OLLAMA_MAX_QUEUE``); past it Ollama answers 503."""

    def __init__(self) -> None:
        super().__init__()
        self.models = {"qwen3:0.6b", "qwen3-warm"}
        self.seats = 64

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/version", self._version),
            web.post("/api/show", self._show),
            web.post("/v1/chat/completions", self.chat),
        ]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        state = await self.engine.state()
        if state.running + state.waiting >= self.seats:
            words = "server busy, please try again.  maximum pending requests exceeded"
            return web.json_response(_error(words, "api_error"), status=503)
        return await super().chat(request)

    def read(self, body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        if body["model"] not in self.models:
            raise Refused(404, _error(f"model '{body['model']}' not found", "not_found_error"))
        messages, partial = body["messages"], ""
        if messages[-1]["role"] == "assistant":
            *messages, last = messages
            partial = last["content"]
        return messages, partial

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.18.1"})

    async def _show(self, request: web.Request) -> web.Response:
        name = (await request.json())["model"]
        if name not in self.models:
            return web.json_response({"error": f"model '{name}' not found"}, status=404)
        return web.json_response({"details": {"family": "qwen3"}, "model_info": {"qwen3.context_length": WINDOW}})


def _error(words: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": words, "type": kind}}
