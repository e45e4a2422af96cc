"""FastChat's OpenAI server as its source has it: the wheel fschat 0.2.36 of PyPI, fastchat/serve/openai_api_server.py
(check_model, check_length, chat_completion_stream_generator: no usage in a stream; count_tokens) and
fastchat/constants.py (codes)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from support.twins.twin import MODEL, WINDOW, Refused, Twin

INVALID_MODEL, CONTEXT_OVERFLOW = 40301, 40303


class FastChatTwin(Twin):
    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", self.chat),
            web.get("/v1/models", self._models),
            web.post("/api/v1/token_check", self._check),
        ]

    def read(self, body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        if body["model"] != MODEL:
            raise Refused(400, _error(f"Only {MODEL} allowed now, your model {body['model']}", INVALID_MODEL))
        return body["messages"], ""

    def too_long(self, tokens: int) -> str:
        return (
            f"This model's maximum context length is {WINDOW} tokens. However, your messages resulted in {tokens} "
            "tokens. Please reduce the length of the messages."
        )

    def refusal(self, message: str) -> Refused:
        return Refused(400, _error(message, CONTEXT_OVERFLOW))

    async def _models(self, _: web.Request) -> web.Response:
        card = {"id": MODEL, "object": "model", "created": 1, "owned_by": "fastchat", "root": MODEL, "parent": None}
        return web.json_response({"object": "list", "data": [card]})

    async def _check(self, request: web.Request) -> web.Response:
        asked = (await request.json())["prompts"]
        checked = [{"fits": True, "tokenCount": len(one["prompt"].split()), "contextLength": WINDOW} for one in asked]
        return web.json_response({"prompts": checked})


def _error(message: str, code: int) -> dict[str, Any]:
    return {"object": "error", "message": message, "code": code}
