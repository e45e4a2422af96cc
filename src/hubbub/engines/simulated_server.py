"""``python -m hubbub.engines.simulated_server``: the simulated engine as a process of its own, like a real one.

The first line on stdout is JSON, ``{"port": N, ...}``, once the port is open; port 0 lets the system choose.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from aiohttp import web

from hubbub.core.errors import BadRequest, ConfigError
from hubbub.engines.sim_batch import Pace
from hubbub.engines.sim_faults import parse_rule
from hubbub.engines.sim_http import SimulatedApp
from hubbub.engines.sim_profiles import EXAMPLE, Profile, profile_of
from hubbub.engines.sim_prompt import Voice
from hubbub.engines.simulated import SimulatedConfig


@dataclass(frozen=True, slots=True)
class ServerOptions:
    host: str = "127.0.0.1"
    port: int = 0
    api_key: str = field(default="", repr=False)
    engine: SimulatedConfig = field(default_factory=SimulatedConfig)


@contextlib.asynccontextmanager
async def serving(options: ServerOptions) -> AsyncIterator[str]:
    """Serve while the context is open; gives the URL. Raises ConfigError for a port that is taken."""
    app = SimulatedApp(options.engine, options.api_key).application()
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.port, backlog=4096)
        try:
            await site.start()
        except OSError as fault:
            raise ConfigError(f"port {options.port} on {options.host}: {fault.strerror}; choose another") from fault
        port = runner.addresses[0][1]
        yield f"http://{options.host}:{port}"
    finally:
        await runner.cleanup()


async def serve(options: ServerOptions) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(options) as url:
        port = int(url.rpartition(":")[2])
        sys.stdout.write(json.dumps({"port": port, "url": url, "models": options.engine.voice.models}) + "\n")
        sys.stdout.flush()
        await stop.wait()


def parse_options(arguments: Sequence[str]) -> ServerOptions:
    """Flags to options; exits with a message as argparse does."""
    parser = argparse.ArgumentParser(prog="hubbub engine simulate", description=__doc__)
    profile, pace = _profile(parser, arguments)
    voice = Voice() if profile is None else replace(Voice(), context_window=profile.context_window)
    add = parser.add_argument
    add("--profile", help=f"be as fast and as large as a real setup, like '{EXAMPLE}'; other flags change that")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0: any free one (default)")
    add("--api-key", default="", help="asked for under /v1")
    add("--model", action="append", help="a name to serve; may be repeated (default: simulated)")
    add("--adapter", action="append", default=[], help="a LoRA adapter to serve; may be repeated")
    add("--no-mixing", dest="mixes", action="store_false", help="say that adapters cannot be decoded together")
    add("--seed", type=int, default=voice.seed)
    add("--context-window", type=int, default=voice.context_window, help="tokens")
    add("--output-median", type=int, default=voice.output_median, help="tokens an answer")
    add("--output-sigma", type=float, default=voice.output_sigma, help="spread of the log of that; 0: always the same")
    add("--echo", action="store_true", help="say again what was said in the chat")
    add("--max-sequences", type=int, default=pace.max_sequences)
    add("--kv-tokens", type=int, default=pace.kv_tokens)
    add("--batch-tokens", type=int, default=pace.batch_tokens, help="tokens a step may hold, prefill and decode")
    add("--no-prefix-cache", dest="prefix_cache", action="store_false")
    add("--step-ms", type=float, default=pace.base * 1e3, help="of an empty step")
    add("--sequence-ms", type=float, default=pace.per_sequence * 1e3, help="for each decoding sequence")
    add("--context-token-ms", type=float, default=pace.per_context_token * 1e3, help="for each token of context")
    add("--prefill-token-ms", type=float, default=pace.per_prefill_token * 1e3, help="for each token of a prompt")
    add("--jitter", type=float, default=pace.jitter, help="spread of the log of a step's length")
    add("--itl-ms", type=float, help="constant rate: every step takes this long, whatever it holds")
    add("--ttft-ms", type=float, default=0.0, help="with --itl-ms: time to the first token")
    add("--slow-start", type=float, default=0.0, help="seconds until /health is good")
    add("--fault", action="append", default=[], help="like cut:after_tokens=5,rate=0.1; may be repeated")
    args = parser.parse_args(arguments)
    try:
        faults = tuple(parse_rule(text) for text in args.fault)
    except BadRequest as error:
        parser.error(error.message)
    voice = Voice(
        models=tuple(args.model or voice.models),
        context_window=args.context_window,
        seed=args.seed,
        output_median=args.output_median,
        output_sigma=args.output_sigma,
        echo=args.echo,
        adapters=tuple(args.adapter),
        mixes_adapters=args.mixes,
    )
    shaped = (args.step_ms, args.sequence_ms) == (pace.base * 1e3, pace.per_sequence * 1e3)
    pace = Pace(
        steps=pace.steps if shaped else (),
        base=args.step_ms / 1e3,
        per_sequence=args.sequence_ms / 1e3,
        per_context_token=args.context_token_ms / 1e3,
        per_prefill_token=args.prefill_token_ms / 1e3,
        jitter=args.jitter,
        max_sequences=args.max_sequences,
        kv_tokens=args.kv_tokens,
        batch_tokens=args.batch_tokens,
        prefix_cache=args.prefix_cache,
        itl=None if args.itl_ms is None else args.itl_ms / 1e3,
        ttft=args.ttft_ms / 1e3,
    )
    engine = SimulatedConfig(voice, pace, faults, slow_start_s=args.slow_start)
    return ServerOptions(host=args.host, port=args.port, api_key=args.api_key, engine=engine)


def _profile(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[Profile | None, Pace]:
    """Read before all other flags, as it sets their defaults; exits with the names there are for one that is none."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--profile")
    name = early.parse_known_args(arguments)[0].profile
    if not name:
        return None, Pace()
    try:
        profile = profile_of(name)
    except BadRequest as error:
        parser.error(error.message)
    return profile, profile.pace


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    try:
        if sys.platform == "win32":
            asyncio.run(serve(options))
        else:
            import uvloop

            uvloop.run(serve(options))
    except ConfigError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()
