"""SGLang's server as its source has it: the wheel sglang 0.5.23 of PyPI, python/sglang/srt.

entrypoints/http_server.py (routes), entrypoints/openai/serving_base.py (flat errors, ``base:adapter`` in ``model``, a
model's name is not checked), serving_chat.py (``continue_final_message``; a named tool and a JSON schema are grammars),
managers/tokenizer_manager.py (what is said of a long prompt), observability/metrics_collector.py (names and labels),
scheduler_components/internal_state.py.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from support.twins.twin import MODEL, SEQUENCES, WINDOW, Refused, Twin

KV_TOKENS = 65_536


class SGLangTwin(Twin):
    """``metrics``: started with ``--enable-metrics``."""

    adapters = ("red",)

    def __init__(self, *, metrics: bool = True) -> None:
        super().__init__()
        self.metrics = metrics
        self.loras: list[str | None] = []

    def routes(self) -> list[web.RouteDef]:
        routes = [
            web.post("/v1/chat/completions", self.chat),
            web.get("/v1/models", self._models),
            web.get("/server_info", self._server_info),
            web.get("/model_info", self._model_info),
            web.get("/ready", self._ready),
            web.post("/tokenize", self._tokenize),
        ]
        return [*routes, web.get("/metrics", self._metrics)] if self.metrics else routes

    def read(self, body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        # The name of the model is not checked; what follows a colon is an adapter.
        _, _, adapter = body["model"].partition(":")
        self.loras.append(adapter or body.get("lora_path"))
        if adapter and adapter not in self.adapters:
            raise Refused(400, _error(f"Got LoRA adapter that has never been loaded: {adapter}", "BadRequest", 400))
        messages, partial = body["messages"], ""
        if messages[-1]["role"] == "assistant":
            if body.get("continue_final_message"):
                *messages, last = messages
                partial = last["content"]
            else:
                messages = [*messages[:-1], {"role": "user", "content": messages[-1]["content"]}]
        return messages, partial

    def too_long(self, tokens: int) -> str:
        return f"The input ({tokens} tokens) is longer than the model's context length ({WINDOW} tokens)."

    def refusal(self, message: str) -> Refused:
        return Refused(400, _error(message, "BadRequest", 400))

    async def _models(self, _: web.Request) -> web.Response:
        base: dict[str, Any] = {"id": MODEL, "object": "model", "owned_by": "sglang", "root": MODEL, "parent": None}
        cards = [base | {"max_model_len": WINDOW}]
        cards += [base | {"id": name, "parent": MODEL, "max_model_len": None} for name in self.adapters]
        return web.json_response({"object": "list", "data": cards})

    async def _server_info(self, _: web.Request) -> web.Response:
        state = {"effective_max_running_requests_per_dp": SEQUENCES, "last_gen_throughput": 0.0}
        info = {"max_total_num_tokens": KV_TOKENS, "max_req_input_len": WINDOW - 6, "disable_radix_cache": False}
        return web.json_response(info | {"internal_states": [state], "version": "0.5.23"})

    async def _model_info(self, _: web.Request) -> web.Response:
        return web.json_response({"model_path": MODEL, "is_generation": True})

    async def _ready(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        asked = self._request({}, body["messages"], "")
        count = await self.engine.count_tokens(asked.messages)
        return web.json_response({"tokens": [0] * (count or 0), "count": count, "max_model_len": WINDOW})

    async def _metrics(self, _: web.Request) -> web.Response:
        state = await self.engine.state()
        labels = 'engine_type="unified",model_name="small",moe_ep_rank="0",pp_rank="0",tp_rank="0"'
        lines = []
        for name, value in (("num_running_reqs", state.running), ("num_queue_reqs", state.waiting)):
            # With priorities, the sum is under an empty label, and each priority beside it.
            lines += [
                f'sglang:{name}{{{labels},priority=""}} {value:.1f}',
                f'sglang:{name}{{{labels},priority="1"}} {value:.1f}',
            ]
        lines.append(f'sglang:token_usage{{{labels},priority=""}} {state.kv_used}')
        lines.append(f'sglang:num_retracted_reqs{{{labels},priority=""}} 0.0')
        return web.Response(text="\n".join(lines) + "\n")


def _error(message: str, kind: str, status: int) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": status}
