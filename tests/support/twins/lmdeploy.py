"""LMDeploy's server as its source has it: the wheel lmdeploy 0.18.0 of PyPI.

serve/openai/endpoints (routes; unknown models are 404), serve/openai/errors.py (flat errors), serve/openai/
chat_completions/serving.py (errors in the stream stand below ``error``, and ``[DONE]`` follows), serve/core/
async_engine.py (what is said of a long prompt), model.py (a last assistant message is continued, no field asks for it),
metrics/loggers.py. It tells neither its KV cache nor its context length.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from support.twins.twin import MODEL, WINDOW, Refused, Twin


class LMDeployTwin(Twin):
    adapters = ("red",)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", self.chat),
            web.get("/v1/models", self._models),
            web.get("/health", self._health),
            web.get("/metrics", self._metrics),
        ]

    def read(self, body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        if body["model"] not in (MODEL, *self.adapters):
            message = f"The model {body['model']!r} does not exist."
            raise Refused(404, _error(message, "not_found_error", 404))
        messages, partial = body["messages"], ""
        if messages[-1]["role"] == "assistant":
            *messages, last = messages
            partial = last["content"]
        return messages, partial

    def too_long(self, tokens: int) -> str:
        return f"Input length ({tokens}) must be smaller than the model context length ({WINDOW})."

    async def refuse_in_stream(self, response: web.StreamResponse, message: str) -> None:
        await self.write(response, {"error": _error(message, "invalid_request_error", 400)})
        await response.write(b"data: [DONE]\n\n")

    async def _models(self, _: web.Request) -> web.Response:
        cards = [
            {"id": name, "object": "model", "owned_by": "lmdeploy", "root": name} for name in (MODEL, *self.adapters)
        ]
        return web.json_response({"object": "list", "data": cards})

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", "message": ""})

    async def _metrics(self, _: web.Request) -> web.Response:
        state = await self.engine.state()
        labels = f'{{engine="0",model_name="{MODEL}"}}'
        lines = [
            f"lmdeploy:num_requests_running{labels} {state.running:.1f}",
            f"lmdeploy:num_requests_waiting{labels} {state.waiting:.1f}",
            f"lmdeploy:num_api_requests_waiting{labels} 0.0",
            f"lmdeploy:gpu_cache_usage_perc{labels} {state.kv_used}",
            f"lmdeploy:iteration_tokens_total_count{labels} 1.0",
        ]
        return web.Response(text="\n".join(lines) + "\n")


def _error(message: str, kind: str, status: int) -> dict[str, Any]:
    return {"message": message, "type": kind, "code": status, "param": None, "object": "error"}
