"""``plan corpus``: how long, how much power and money a given amount of text takes, and the four ways of the notes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hubbub.core.errors import BadRequest
from hubbub.planner.cases import Work
from hubbub.planner.chats import simulate
from hubbub.planner.figures import Figure, Provenance, banded, exact
from hubbub.planner.memory import require_fit
from hubbub.planner.setup import Setup, make_setup
from hubbub.planner.simulate import Bulk, Chats
from hubbub.planner.tokens import TextSize, stated_size, text_size
from hubbub.planner.units import GB, parse_positive

_NOBODY = Chats(count=0)
POWER_SHARE = 0.85
"""Of the board's power limit while it generates without pause; measured serving runs sit at 75 to 95 %."""
USD_KWH = 0.15
LIFE_H = 3 * 365 * 24
"""Hours over which a purchase is written off."""


@dataclass(frozen=True, slots=True)
class Job:
    """``size`` bytes of accepted text. Lengths in tokens; ``pack`` records come from one request; ``accept``: share of
    the generated text that filters and deduplication keep; ``in_flight`` 0 means as many as the engine decodes;
    ``bytes_per_token`` 0 takes those of the language's table."""

    size: int
    lang: str = "ru"
    record: float = 250.0
    prompt: float = 200.0
    shared: float = 150.0
    pack: int = 1
    accept: float = 0.85
    in_flight: int = 0
    price_in: float = 0.0
    price_out: float = 0.0
    """US dollars a million tokens, for an API beside the machine."""
    bytes_per_token: float = 0.0


def check_job(job: Job) -> None:
    """Raises BadRequest naming the option."""
    for name, value in (("bytes", job.size), ("record", job.record), ("pack", job.pack)):
        parse_positive(value, name)
    for name, value in (("prompt", job.prompt), ("shared", job.shared), ("bytes_per_token", job.bytes_per_token)):
        parse_positive(value, name, zero=True)
    if not 0 < job.accept <= 1:
        raise BadRequest(f"accept: must be above 0 and at most 1, got {job.accept}", param="accept")
    if job.shared > job.prompt:
        raise BadRequest("shared: must be between 0 and the prompt's tokens", param="shared")


def corpus_report(
    setup: Setup, job: Job, *, beside: Chats | None = None, text: TextSize | None = None
) -> dict[str, Any]:
    """Tokens, requests, time, energy, money and disk for ``job`` on ``setup``, alone or beside live chats."""
    check_job(job)
    require_fit(setup.memory, setup.shape, setup.quant, setup.machine)
    text = text or stated_size(job.bytes_per_token) or text_size(job.lang, setup.shape.vocab)
    rate_of = text.bytes_per_token
    tokens = Figure(
        job.size / rate_of.value,
        job.size / rate_of.high,
        job.size / rate_of.low,
        "tokens",
        rate_of.provenance,
        rate_of.narrower,
    )
    generated = tokens.scaled(1 / job.accept, "tokens")
    answer = job.record * job.pack
    requests = generated.scaled(1 / answer, "requests")
    flight = job.in_flight or min(setup.max_sequences * setup.machine.replicas, 1024)
    bulk = Bulk(flight, job.prompt, job.shared, answer)
    people = beside or _NOBODY
    outcome = simulate(setup, people, bulk, requests=max(600, flight + 2 * people.count))
    case = setup.case(Work("saturated", job.prompt, answer, float(flight)))
    speed = banded(setup, case, outcome.bulk_tokens_s, "tok/s")
    if not outcome.bulk_tokens:
        raise BadRequest(
            "chats: the live chats leave nothing for the corpus; fewer chats or a bigger machine", param="chats"
        )
    time = speed.into(generated, "s")
    total_in = outcome.prompt_tokens + outcome.cached_tokens
    return {
        "setup": setup.name,
        "bytes": job.size,
        "lang": job.lang,
        "bytes_per_token": rate_of.as_json(),
        "tokenizer_note": text.note,
        "tokens": tokens.as_json(),
        "accept": exact(job.accept, "share", Provenance.STATED).as_json(),
        "generated_tokens": generated.as_json(),
        "requests": requests.as_json(),
        "records": requests.scaled(job.pack, "records").as_json(),
        "prompt_tokens": requests.scaled(job.prompt, "tokens").as_json(),
        "prompt_tokens_read_share": 1 - outcome.cached_tokens / total_in if total_in else 1.0,
        "in_flight": flight,
        "speed": speed.as_json(),
        "time": time.as_json(),
        "beside_chats": people.count,
        "chat_ttft_p95_s": _p95(outcome.ttft),
        **money(setup, time),
        "api_cost": _api(job, generated, requests).as_json(),
        "disk": exact(job.size * 1.35, "bytes").as_json(),
        "disk_note": "text with JSON around it; about a third of that when compressed",
    }


def _p95(values: list[float]) -> float | None:
    ordered = sorted(values)
    return ordered[int(0.95 * (len(ordered) - 1))] if ordered else None


def money(setup: Setup, time: Figure) -> dict[str, Any]:
    """Energy and dollars for a machine busy for ``time``: rent, and purchase written off over three years and power."""
    card, count = setup.machine.card, setup.machine.count
    hours = time.scaled(1 / 3600, "h")
    kilowatts = (card.watts or 150.0) * count * POWER_SHARE / 1000 + 0.15
    energy = hours.scaled(kilowatts, "kWh")
    out: dict[str, Any] = {"energy": energy.as_json()}
    if card.rent_usd_h:
        out["rent"] = hours.scaled(card.rent_usd_h * count, "USD").as_json()
    owned = (card.price_usd or 1000.0) * 1.3 * count / LIFE_H + kilowatts * USD_KWH
    out["own"] = hours.scaled(owned, "USD").as_json()
    return out


def _api(job: Job, generated: Figure, requests: Figure) -> Figure:
    price_in, price_out = job.price_in or 0.10, job.price_out or 0.40
    value = (requests.value * job.prompt * price_in + generated.value * price_out) / 1e6
    ratio = generated.high / generated.value
    return Figure(
        value,
        value * generated.low / generated.value,
        value * ratio,
        "USD",
        Provenance.STATED if job.price_out else Provenance.TABLE,
        "your provider's price: --price-in, --price-out",
    )


# The four ways ------------------------------------------------------------------------------------------------------


def scenarios(size: int = int(GB), lang: str = "ru") -> dict[str, Any]:
    """The four ways of the user's notes: what the note says, what we get, and why they differ."""
    text = text_size(lang)
    rate = text.bytes_per_token
    tokens = Figure(size / rate.value, size / rate.high, size / rate.low, "tokens", rate.provenance, rate.narrower)
    note_tokens = size / 4
    rows = [
        _throttled(tokens, note_tokens),
        _way(
            "B. local, one stream",
            "60 to 120 days (25 to 50 tok/s)",
            tokens,
            [
                ("transformers, Qwen-7B 4 bit, RTX 4090", "Qwen-7B", "RTX 4090", "GPTQ-Int4", "transformers", 1),
                ("vLLM, Qwen2.5-7B 4 bit, RTX 4090", "Qwen2.5-7B", "RTX 4090", "AWQ", "vllm", 1),
                ("vLLM, Qwen-1.8B, RTX 4090", "Qwen-1.8B", "RTX 4090", "BF16", "vllm", 1),
            ],
            "The note's 26 tok/s is transformers at batch 1, bound by Python and not by the card. An engine with CUDA "
            "graphs reads the same weights two to five times as often.",
        ),
        _way(
            "C. local, ten streams",
            "10 to 12 days (RTX 6000 PRO 96 GB)",
            tokens,
            [("vLLM, Qwen2.5-7B, RTX PRO 6000", "Qwen2.5-7B", "RTX PRO 6000", "BF16", "vllm", 10)],
            "Ten streams share each reading of the weights: each keeps about 80 % of the single stream's rate, not a "
            "tenth of the card.",
        ),
        _way(
            "D. Saiga / Mistral 7B, continuous batching",
            "1 to 2 days, from 100 to 300 tok/s",
            tokens,
            [
                ("vLLM, Saiga-Mistral-7B, RTX 4090", "Saiga-Mistral-7B", "RTX 4090", "BF16", "vllm", 256),
                ("vLLM, Saiga-Mistral-7B, RTX PRO 6000", "Saiga-Mistral-7B", "RTX PRO 6000", "BF16", "vllm", 256),
            ],
            "The figures of the note do not fit each other: 100 to 300 tok/s is 8 to 29 days. One to two days needs "
            "1,200 to 2,400 tok/s, which continuous batching does reach, on one RTX 4090.",
        ),
    ]
    return {
        "bytes": size,
        "lang": lang,
        "tokens": tokens.as_json(),
        "note_tokens": note_tokens,
        "scenarios": rows,
        "corrections": corrections(tokens, size),
    }


def _throttled(tokens: Figure, note_tokens: float) -> dict[str, Any]:
    ours = Figure(
        tokens.value / 3, tokens.low / 4, tokens.high / 2, "s", Provenance.TABLE, "your provider's rate limit"
    )
    note_s = note_tokens / 2
    return {
        "way": "A. API, throttled to 2 to 4 tok/s",
        "note": "2 to 3 years, from 1.3 M minutes",
        "ours": [{"setup": "API at 3 tok/s (2 to 4)", "time": ours.as_json()}],
        "reason": "By the note's own figures (10 M phrases x 25 tokens at 2 tok/s) it is "
        f"{note_s / 60 / 1e6:.2f} M minutes, "
        f"{note_s / 86400 / 365.25:.1f} years. With the tokens Russian really takes it is "
        f"{ours.low / 86400 / 365.25:.1f} to {ours.high / 86400 / 365.25:.1f} years.",
    }


def _way(
    way: str, note: str, tokens: Figure, runs: list[tuple[str, str, str, str, str, int]], reason: str
) -> dict[str, Any]:
    ours = []
    for label, model, card, quant, engine, streams in runs:
        setup = make_setup(model, card, quant=quant, engine=engine)
        bulk = Bulk(streams, 100, 80, 300)
        outcome = simulate(setup, _NOBODY, bulk, requests=max(60, 3 * streams))
        mode = "closed" if streams < 64 else "saturated"
        case = setup.case(Work(mode, 100, 300, float(streams)))
        speed = banded(setup, case, outcome.bulk_tokens_s, "tok/s")
        ours.append({"setup": label, "speed": speed.as_json(), "time": speed.into(tokens, "s").as_json()})
    return {"way": way, "note": note, "ours": ours, "reason": reason}


def corrections(tokens: Figure, size: int) -> list[dict[str, str]]:
    """What the notes have wrong, with numbers."""
    from hubbub.planner.models import cards

    def kv(name: str, context: int) -> float:
        return cards()[name].kv_bytes_at(context) / 2**30

    gb = size / GB
    return [
        {
            "claim": "1 character is 1 byte; a phrase of 100 characters is 25 tokens, so 1 GB is 250 M tokens",
            "correction": f"Cyrillic takes 2 bytes a character: {gb:.3g} GB of Russian is about {size / 1.79e6:.0f} M "
            f"characters and {tokens.low / 1e6:.0f} to {tokens.high / 1e6:.0f} M Qwen tokens "
            f"({size / tokens.high:.2f} to {size / tokens.low:.2f} bytes each), "
            "measured on Dostoevsky, Tolstoy, Chekhov and FastAPI's docs.",
        },
        {
            "claim": "A chat of 2-8k tokens takes tens of MB; 200 chats 2-4 GB",
            "correction": f"Qwen-7B of 2023 (a KV head for every head) takes {kv('Qwen-7B', 2048):.1f} GiB at 2k and "
            f"{kv('Qwen-7B', 8192):.1f} GiB at 8k; Qwen2.5-7B {kv('Qwen2.5-7B', 2048) * 1024:.0f} and "
            f"{kv('Qwen2.5-7B', 8192) * 1024:.0f} MiB; tens of MiB only Qwen2.5-0.5B to 3B at 2k "
            f"({kv('Qwen2.5-0.5B', 2048) * 1024:.0f} to {kv('Qwen2.5-3B', 2048) * 1024:.0f}). "
            "200 chats of 4k on Qwen2.5-7B, all resident: "
            f"{200 * kv('Qwen2.5-7B', 4096):.1f} GiB.",
        },
        {
            "claim": "Scenario A: 1.3 M minutes",
            "correction": "10 M phrases x 12.5 s are 2.08 M minutes, 4 years.",
        },
        {
            "claim": "Scenario D: 100-300 tok/s gives 1-2 days",
            "correction": f"{tokens.value / 1e6:.0f} M tokens at 100 to 300 tok/s are "
            f"{tokens.value / 300 / 86400:.0f} to "
            f"{tokens.value / 100 / 86400:.0f} days; 1 to 2 days needs {tokens.value / 172800:,.0f} to "
            f"{tokens.value / 86400:,.0f} tok/s.",
        },
        {
            "claim": "Qwen 7B INT4 takes 5.5-8 GB, 14B INT4 10-12 GB of VRAM",
            "correction": "Right for weights and one chat; every further chat adds its KV cache (above).",
        },
    ]


def job_beside(job: Job, chats: Chats, setup: Setup) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same job alone and beside chats."""
    return corpus_report(setup, job), corpus_report(setup, job, beside=replace(chats))
