"""Hugging Face transformers behind OpenAI-compatible HTTP: its continuous batching, and PEFT adapters.

``transformers serve`` (5.23) draws every request of a batch by the sampling of the first, cannot go on with an answer
that was begun, knows no adapters and tells no capacity; this does. Run by path with the Python of an environment that
has torch, transformers, peft and aiohttp; of Hubbub it takes only modules that need nothing but the standard library.

::

    HTTP (event loop)  -->  Turns (one adapter at a time)  -->  ContinuousBatchingManager (its own thread)  -->  HTTP

State: ``Turns`` says which adapter the model has now and how many requests are in it; an adapter is switched only when
none is. ``Service.live`` are the requests that stream.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import signal
import sys
import types
import uuid
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

if "hubbub" not in sys.modules:
    # The package without what else stands beside it: this environment has versions of its own.
    _package = types.ModuleType("hubbub")
    _package.__path__ = [str(Path(__file__).parents[1])]
    sys.modules["hubbub"] = _package

from hubbub.engines.openvino_server.stops import StopMatcher

PAGE_TOKENS = 32
"""Tokens of a KV page. Transformers' own 256 would have a short chat hold eight times what it needs."""
GREEDY = 1e-4
"""A temperature that leaves the likeliest token alone: the manager draws all requests of a batch."""


class Refused(Exception):
    """A request that cannot be served, with its HTTP status and error code."""

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_request_error", status: int = 400):
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": "invalid_request_error", "code": code, "param": param}


class Turns:
    """Which adapter speaks. First come, first served: who waits for another adapter holds up those who come later."""

    def __init__(self, switch: Any) -> None:
        self._switch = switch
        self._now = ""
        self._inside = 0
        self._queue: deque[tuple[str, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @asynccontextmanager
    async def of(self, adapter: str) -> AsyncIterator[None]:
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (adapter, admitted)
        self._queue.append(entry)
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if entry in self._queue:
                self._queue.remove(entry)
            else:
                self._inside -= 1
            self._admit()
            raise
        try:
            yield
        finally:
            self._inside -= 1
            self._admit()

    def _admit(self) -> None:
        while self._queue and (self._inside == 0 or self._queue[0][0] == self._now):
            adapter, admitted = self._queue.popleft()
            if adapter != self._now:
                self._switch(adapter)
                self._now = adapter
            self._inside += 1
            admitted.set_result(None)


class Model:
    """The model, its tokenizer and the manager that batches."""

    def __init__(self, flags: argparse.Namespace) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if flags.threads:
            torch.set_num_threads(flags.threads)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = AutoTokenizer.from_pretrained(flags.model)
        self.model = AutoModelForCausalLM.from_pretrained(flags.model, dtype=flags.dtype, attn_implementation="sdpa")
        self.model.to(self.device)
        for adapter in flags.adapter:
            name, _, path = adapter.partition("=")
            self.model.load_adapter(path, adapter_name=name)
        self.adapters = tuple(adapter.partition("=")[0] for adapter in flags.adapter)
        if self.adapters:
            self.model.disable_adapters()
        self.window = min(flags.context_window or 1 << 30, int(self.model.config.max_position_embeddings))
        self.generation = self.model.generation_config
        ends = self.generation.eos_token_id
        self.ends = frozenset(ends if isinstance(ends, list) else [self.tokenizer.eos_token_id, ends]) - {None}
        self.manager = self._manager(flags)

    def _manager(self, flags: argparse.Namespace) -> Any:
        from transformers import ContinuousBatchingConfig, GenerationConfig
        from transformers.generation.continuous_batching import cb_logits_processors as processors

        class Draw(processors.ContinuousBatchingLogitsProcessor):  # type: ignore[misc]
            """Draws here, by a seed of the request's own: the likeliest token once each has got its Gumbel noise is one
            drawn by their probabilities. The manager, which draws for all from one generator, is left no choice."""

            supported_kwargs = {"seed": int}  # noqa: RUF012
            ignored_kwargs = ()

            def fill_defaults(self, int32_tensor: Any) -> None:
                int32_tensor.zero_()

            def prepare_tensor_args(self, requests_with_new_token: list[Any]) -> Any:
                import torch

                seeds = [_next_seed(request.state) for request in requests_with_new_token]
                return torch.tensor(seeds, dtype=torch.int32)

            def __call__(self, scores: Any, tensor_arg: Any) -> Any:
                import torch

                drawn = torch.full_like(scores, float("-inf"))
                for row, seed in enumerate(tensor_arg[: scores.size(0)].tolist()):
                    generator = torch.Generator(scores.device).manual_seed(seed)
                    noise = torch.empty_like(scores[row], dtype=torch.float32).exponential_(generator=generator).log()
                    drawn[row, (scores[row].float() - noise).argmax()] = 0.0
                return drawn

        class TopP(processors.ContinuousBatchingTopPLogitsWarper):  # type: ignore[misc]
            """Sorts the vocabulary only where somebody asked for it."""

            def __call__(self, scores: Any, tensor_arg: Any) -> Any:
                import torch

                if bool((tensor_arg[: scores.size(0)].view(torch.float32) >= 1).all()):
                    return scores
                return super().__call__(scores, tensor_arg)

        processors.CLASSIC_TO_CB_PROCESSORS_MAP[processors.TopPLogitsWarper] = TopP
        # Neither 1: the manager would then leave the processor out for all requests.
        sampling = GenerationConfig(do_sample=True, temperature=0.5, top_p=0.5, top_k=0, eos_token_id=sorted(self.ends))
        batching = ContinuousBatchingConfig(
            page_size=PAGE_TOKENS,
            num_blocks=flags.kv_tokens // PAGE_TOKENS if flags.kv_tokens else None,
            max_batch_tokens=max(flags.batched_tokens, flags.chats) if flags.kv_tokens else None,
            max_requests_per_batch=flags.chats,
            # Keys and values that one adapter made are wrong for the next.
            allow_block_sharing=not self.adapters,
            per_request_processors=True,
        )
        manager = self.model.init_continuous_batching(sampling, batching)
        processor = manager.logit_processor
        processor.logits_processor.append(Draw())
        processor.tensors_required += 1
        processor._retrieve_processors_kwargs()
        return manager

    def start(self) -> None:
        self.manager.batch_processor = self.manager._create_batch_processor()
        self.manager.start()

    @property
    def kv_tokens(self) -> int:
        return int(self.manager.batch_processor.cache.num_blocks) * PAGE_TOKENS

    def switch(self, adapter: str) -> None:
        with self.manager.pause():
            if adapter:
                self.model.enable_adapters()
                self.model.set_adapter(adapter)
            else:
                self.model.disable_adapters()

    def prompt(self, body: dict[str, Any]) -> list[int]:
        """Token ids. Raises Refused."""
        messages, partial = body.get("messages"), ""
        if not isinstance(messages, list) or not messages:
            raise Refused("messages must be a list with at least one message", "messages")
        if body.get("continue_final_message"):
            messages, partial = messages[:-1], str(messages[-1].get("content") or "")
        try:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except (ValueError, TypeError, KeyError) as fault:
            raise Refused(f"the chat template refuses these messages: {fault}", "messages") from fault
        ids = self.tokenizer(text + partial, add_special_tokens=False)["input_ids"]
        return [int(one) for one in ids]

    def sampling(self, body: dict[str, Any]) -> dict[str, Any]:
        """Raises Refused for what the manager cannot do."""
        for key in ("response_format", "tools", "presence_penalty", "frequency_penalty"):
            plain = {"type": "text"} if key == "response_format" else None
            if body.get(key) and body[key] != plain:
                raise Refused(f"transformers' continuous batching has no {key}", key, "unsupported_parameter")

        def asked(key: str) -> float:
            value = body.get(key)
            own = getattr(self.generation, key, None) if self.generation.do_sample else None
            return float(next((one for one in (value, own) if one is not None), 1.0))

        seed = secrets.randbits(31) if body.get("seed") is None else int(body["seed"]) & 0x7FFFFFFF
        return {"temperature": max(asked("temperature"), GREEDY), "top_p": asked("top_p"), "seed": seed}


def _next_seed(state: Any) -> int:
    """Another one for each token of a request, 31 bits (MurmurHash3's last step)."""
    state.drawn = getattr(state, "drawn", -1) + 1
    mixed: int = (state.logit_processor_kwargs.get("seed", 0) + state.drawn * 0x9E3779B1) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return (mixed ^ (mixed >> 16)) & 0x7FFFFFFF


class Service:
    def __init__(self, model: Model, flags: argparse.Namespace) -> None:
        self.model = model
        self.name = flags.served_name
        self.chats = flags.chats
        self.turns = Turns(model.switch)
        self.live: set[str] = set()

    def capacity(self) -> dict[str, Any]:
        """The fields of EngineState."""
        import torch
        import transformers

        model = self.model
        return {
            "models": [self.name],
            "context_window": min(model.window, model.kv_tokens),
            "max_sequences": self.chats,
            "kv_tokens": model.kv_tokens,
            "prefix_cache": not model.adapters,
            "running": len(self.live),
            "waiting": self.turns.waiting,
            "steps": getattr(model.manager, "current_batch", 0),
            "adapters": list(model.adapters),
            "mixes_adapters": False,
            "details": {"transformers": transformers.__version__, "torch": torch.__version__, "device": model.device},
        }

    def adapter(self, body: dict[str, Any]) -> str:
        asked = body.get("model") or self.name
        if asked in self.model.adapters:
            return str(asked)
        if asked != self.name:
            there = ", ".join((self.name, *self.model.adapters))
            raise Refused(f"model {asked!r} is not served here; there is {there}", "model", "model_not_found", 404)
        return ""

    async def answer(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The chunks of a completion. Raises Refused before the first one."""
        if not body.get("stream"):
            raise Refused("only streamed answers are given here", "stream", "unsupported_parameter")
        adapter, ids, sampling = self.adapter(body), self.model.prompt(body), self.model.sampling(body)
        window = min(self.model.window, self.model.kv_tokens)
        most = body.get("max_tokens") or body.get("max_completion_tokens") or window - len(ids)
        if len(ids) + max(1, most) > window:
            words = f"the model's context length is {window} tokens; {len(ids)} of prompt and {most} of answer are more"
            raise Refused(words, "messages", "context_length_exceeded")
        stops = body.get("stop") or []
        said = Said(self.model, [stops] if isinstance(stops, str) else list(stops))
        async with self.turns.of(adapter):
            async for chunk in self._generate(ids, most, sampling, said):
                yield chunk
        usage = {"prompt_tokens": len(ids), "completion_tokens": said.tokens, "total_tokens": len(ids) + said.tokens}
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": said.finish}]}
        yield {"choices": [], "usage": usage}

    async def _generate(
        self, ids: list[int], most: int, sampling: dict[str, Any], said: Said
    ) -> AsyncIterator[dict[str, Any]]:
        key, manager = uuid.uuid4().hex, self.model.manager
        heard: asyncio.Queue[Any] = asyncio.Queue()
        manager.register_result_handler(key, heard.put_nowait)
        self.live.add(key)
        whole = False
        try:
            manager.add_request(ids, key, most, streaming=True, eos_token_id=sorted(self.model.ends), **sampling)
            while not whole and not said.finish:
                output = await heard.get()
                if output.error:
                    raise RuntimeError(output.error)
                whole = output.is_finished()
                if text := said.hear(output.generated_tokens, whole):
                    yield {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
        finally:
            self.live.discard(key)
            if not whole:
                manager.cancel_request(key)


class Said:
    """What one answer has said. ``finish``: empty while it goes on."""

    def __init__(self, model: Model, stops: list[str]) -> None:
        from tokenizers.decoders import DecodeStream

        self._model = model
        self._tokenizer = model.tokenizer.backend_tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._stops = StopMatcher(stops)
        self.tokens = 0
        self.finish = ""

    def hear(self, tokens: list[int], whole: bool) -> str:
        """``tokens``: all so far. Returns the text that is new."""
        pieces = [self._stream.step(self._tokenizer, token) or "" for token in tokens[self.tokens :]]
        self.tokens = len(tokens)
        text = self._stops.feed("".join(pieces))
        if self._stops.hit:
            self.finish = "stop"
        elif whole:
            self.finish = "stop" if tokens and tokens[-1] in self._model.ends else "length"
            text += self._stops.end()
        return text


def application(service: Service) -> Any:
    from aiohttp import web

    async def completions(request: Any) -> Any:
        chunks: AsyncIterator[dict[str, Any]] | None = None
        try:
            chunks = service.answer(await request.json())
            first = await anext(chunks)
        except json.JSONDecodeError as fault:
            raise web.HTTPBadRequest(text=json.dumps({"error": {"message": f"no JSON: {fault}"}})) from fault
        except Refused as refused:
            return web.json_response({"error": refused.error}, status=refused.status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await response.write(_event(first))
            async for chunk in chunks:
                await response.write(_event(chunk))
        except RuntimeError as fault:
            await response.write(_event({"error": {"message": str(fault), "code": 500}}))
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]
        await response.write(b"data: [DONE]\n\n")
        return response

    async def tokenize(request: Any) -> Any:
        return web.json_response({"count": len(service.model.prompt(await request.json()))})

    async def health(_request: Any) -> Any:
        alive = service.model.manager.is_running()
        return web.json_response({"status": "ok" if alive else "dead"}, status=200 if alive else 503)

    async def capacity(_request: Any) -> Any:
        return web.json_response(service.capacity())

    async def models(_request: Any) -> Any:
        names = (service.name, *service.model.adapters)
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})

    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/chat/completions", completions)
    app.router.add_post("/tokenize", tokenize)
    for path, handler in (("/health", health), ("/capacity", capacity), ("/v1/models", models)):
        app.router.add_get(path, handler)
    return app


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


async def serve(flags: argparse.Namespace) -> None:
    from aiohttp import web

    model = Model(flags)
    model.start()
    runner = web.AppRunner(application(Service(model, flags)), handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, flags.host, flags.port).start()
    print(f"transformers serve {flags.served_name} at port {flags.port}", flush=True)  # noqa: T201
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    model.manager.stop(block=False)
    await runner.cleanup()


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="transformers_server", allow_abbrev=False)
    flags.add_argument("--model", required=True, help="a Hugging Face folder or name")
    flags.add_argument("--served-name", required=True)
    flags.add_argument("--host", default="127.0.0.1")
    flags.add_argument("--port", type=int, required=True)
    flags.add_argument("--chats", type=int, default=64)
    flags.add_argument("--kv-tokens", type=int, default=0, help="0: what transformers derives from the GPU")
    flags.add_argument("--batched-tokens", type=int, default=512)
    flags.add_argument("--context-window", type=int, default=0)
    flags.add_argument("--threads", type=int, default=0)
    flags.add_argument("--dtype", default="auto")
    flags.add_argument("--adapter", action="append", default=[], metavar="NAME=FOLDER")
    return flags


if __name__ == "__main__":
    asyncio.run(serve(parser().parse_args()))
