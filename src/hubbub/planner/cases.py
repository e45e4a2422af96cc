"""One row of published measurements, understood: which model on what, doing what, and which figure of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hubbub.core.errors import HubbubError
from hubbub.planner.engines import EngineKind, parse_engine
from hubbub.planner.hardware import Machine, resolve_card
from hubbub.planner.memory import Load
from hubbub.planner.modelnames import resolve_model
from hubbub.planner.models import ModelShape
from hubbub.planner.quant import QUANTS, Quant, parse_quant

DRAFTS = 4
"""Draft tokens where a row says only that it speculates: what the engines' guides set."""
SHAREGPT = (217.0, 201.0)
"""Mean tokens in and out of the ShareGPT requests vLLM's benchmark samples, from the rows that print them."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the engine is asked to do.

    ``mode``: static (a batch starts together), closed (``concurrency`` clients, each asks again when answered), burst
    (``requests`` at once), rate (``rate`` requests/s), saturated (more than fits, for ever). Lengths are means in
    tokens; ``varied`` lengths are those of real dialogues.
    """

    mode: str
    tokens_in: float
    tokens_out: float
    concurrency: float = 1.0
    requests: float = math.inf
    rate: float = 0.0
    varied: bool = False
    window: float = math.inf
    """Tokens of context at which the engine ends an answer, however long it should be."""

    @property
    def answered(self) -> float:
        """Tokens the engine gives of the ``tokens_out`` asked for, at least one."""
        return max(min(self.tokens_out, self.window - self.tokens_in), 1.0)


@dataclass(frozen=True, slots=True)
class Case:
    shape: ModelShape
    quant: Quant
    engine: EngineKind
    machine: Machine
    metric: str
    work: Work
    load: Load = field(default_factory=Load)
    eager: bool = False
    drafts: int = 0
    """Tokens that speculative decoding proposes a step; 0: it is off."""
    source: str = ""
    origin: str = ""
    """Set and site the row is from; empty where there is none, as in every plan."""
    sure: bool = True
    """False where something had to be guessed (an unknown model, lengths not in the row)."""


class OutOfScope(Exception):
    """The row cannot be predicted; the text says why."""


SPEED = frozenset(
    """output_tok_s_e2e_batch1 total_tok_s_e2e_batch1 tok_s_e2e_batch1 decode_tok_s_batch1 decode_tok_s_total
    decode_tok_s_per_gpu prefill_tok_s prefill_tok_s_per_gpu output_tok_s_total output_tok_s_per_gpu total_tok_s
    total_tok_s_per_gpu req_s benchmark_duration_s ttft_ms_batch""".split()  # noqa: SIM905 - a column of names reads best
)
MEMORY = frozenset(
    """gpu_memory_gb ram_gb weights_gib activation_peak_gib non_torch_gib kv_cache_gib kv_cache_tokens kv_blocks16
    peak_torch_gib kv_cache_gb_expected""".split()  # noqa: SIM905
)
_LATENCY = re.compile(r"^(ttft|tpot|itl|e2e_latency|e2e|latency)_?(ms|s)?_(mean|median|avg|p50|p90|p95|p99)$")


def number(text: object, default: float | None = None) -> float | None:
    """The first number in a cell, or ``default``."""
    match = re.search(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", str(text if text is not None else "").replace(",", ""))
    return float(match.group(0)) if match else default


def _cell(row: Mapping[str, str | None], name: str) -> str:
    value = row.get(name)
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in ("nan", "none", "null") else text


def parse_row(row: Mapping[str, str | None]) -> Case:
    """Raises OutOfScope with the reason."""
    metric = _cell(row, "metric")
    if metric not in SPEED and metric not in MEMORY and not _LATENCY.match(metric):
        raise OutOfScope(f"unknown metric {metric!r}")
    notes = _cell(row, "notes")
    engine = parse_engine(_cell(row, "engine"), _cell(row, "engine_version"), _cell(row, "date"))
    quant_text = _cell(row, "quant")
    try:
        shape, sure = _model(row, notes)
        gpus = _gpus(row)
        cpu = None if gpus is None else gpus == 0
        hardware = _cell(row, "hardware") or ("CPU" if metric in ("weights_gib", "kv_cache_gb_expected") else "")
        card = resolve_card(hardware, cpu=cpu)
        quant = _quant(quant_text, f"{_cell(row, 'engine')} {_cell(row, 'model')}", engine, shape)
    except HubbubError as error:
        raise OutOfScope(error.message) from error
    if (
        engine.family == "trtllm"
        and quant.math in ("fp8", "fp4")
        and re.search(r"nim|bench", _cell(row, "engine"), re.I)
    ):
        quant = replace(quant, kv_bytes=1.0)  # NVIDIA's own checkpoints bring an 8 bit cache
    machine = _machine(Machine(card), row, engine, notes)
    work, guessed = _work(row, metric, engine, notes)
    if engine.family == "vllm" and shape.context:
        # stops at the model's window; what a source counts then is the length it asked for
        work = replace(work, window=float(shape.context))
    if engine.family == "vllm" and machine.card.kind in ("npu",):
        engine = replace(engine, family="mindie")
    load = Load(
        share=_find(r"util(?:ization)?[ =]+([01]?\.\d+)", notes),
        max_sequences=int(_find(r"max[-_]num[-_]seqs[ =]+(\d+)", notes) or 0),
        token_budget=_budget(engine, notes),
    )
    return Case(
        shape,
        quant,
        engine,
        machine,
        metric,
        work,
        load,
        "enforce-eager" in notes,
        _drafts(engine, notes),
        _cell(row, "file"),
        _origin(row),
        sure and not guessed and not notes.rstrip().endswith("\\"),  # a command cut off hides its flags
    )


def _origin(row: Mapping[str, str | None]) -> str:
    site = re.match(r"https?://(?:www\.)?(github\.com/[^/]+/[^/]+|[^/]+)", _cell(row, "source_url"))
    return f"{_cell(row, 'file')}|{site.group(1) if site else ''}".strip("|")


def _drafts(engine: EngineKind, notes: str) -> int:
    """Tokens drafted a step, by the row's flags; ``DRAFTS`` where they are not told. A command of SGLang that is cut
    off at its first backslash had more flags: those seen whole beside it all speculate."""
    stated = _find(r"(?:num[-_]speculative[-_]tokens|num[-_]draft[-_]tokens)\W+(\d+)", notes)
    if stated is not None:
        return int(stated)
    cut = engine.family == "sglang" and notes.rstrip().endswith("\\")
    return DRAFTS if cut or re.search(r"speculative|mtp\b|eagle|medusa", notes, re.I) else 0


def _budget(engine: EngineKind, notes: str) -> int:
    stated = _find(r"max[-_]num[-_](?:batched[-_])?tokens[ =]+(\d+)", notes)
    if stated is None and engine.version in ("v0.4", "v0.6"):
        stated = _find(r"max[-_]model[-_]len[ =]+(\d+)", notes)  # without chunking, a step takes a whole prompt
    return int(stated or 0)


def _model(row: Mapping[str, str | None], notes: str) -> tuple[ModelShape, bool]:
    name = _served(notes, _cell(row, "model"))
    params = _cell(row, "params") if name == _cell(row, "model") else ""
    if len(name) < 2:
        for text in (notes, _cell(row, "source_url"), _cell(row, "source_name")):
            match = re.search(r"((?:qwen|llama|mistral|gemma|gpt-oss|deepseek)[\w.-]*?\d[\w.-]*b[\w-]*)", text, re.I)
            if match is not None:
                return resolve_model(match.group(1), params), False
        if not params:
            raise OutOfScope("the row names no model")
    shape = resolve_model(name, params)
    return shape, not shape.source.startswith(("scaled", "usual"))


_COMMAND = re.compile(r"(?:\b(?:vllm|mindie|sglang) serve|--model(?:-path)?)[ =]+['\"]?([\w./-]*\w)", re.I)


def _served(notes: str, name: str) -> str:
    """The model the row's own command serves, where it is another than the column's: tables keep a page's headline
    model over runs of its siblings."""
    found = _COMMAND.search(notes)
    if found is None or len(name) < 2:
        return name
    served, column = (re.sub(r"[^a-z0-9]", "", text.split("/")[-1].lower()) for text in (found.group(1), name))
    same = not served or served.startswith(column) or column.startswith(served)
    return name if same else found.group(1).split("/")[-1]


def _quant(text: str, hints: str, engine: EngineKind, shape: ModelShape) -> Quant:
    llamacpp = engine.family == "llamacpp"
    if not text:
        hint = re.search(
            r"awq|gptq[-_ ]?int[48]|gptq|fp8|int4|int8|w4a16|w8a8|4bit|8bit|q\d_\w+|mxfp4|fp4", hints, re.I
        )
        text = hint.group(0) if hint else ""
    if not text and shape.name.startswith("GPT-OSS"):
        return QUANTS["MXFP4"]
    quant = parse_quant(text, llamacpp=llamacpp)
    if shape.name.startswith("GPT-OSS") and quant.family in ("fp8", "fp4", "16bit"):
        return replace(QUANTS["MXFP4"], kv_bytes=quant.kv_bytes, math=quant.math)  # its weights come in MXFP4 only
    return quant


def _gpus(row: Mapping[str, str | None]) -> int | None:
    value = number(_cell(row, "n_gpu"))
    return None if value is None else int(value)


def _find(pattern: str, text: str) -> float | None:
    match = re.search(pattern, text, re.I)
    return float(match.group(1)) if match else None


def _machine(machine: Machine, row: Mapping[str, str | None], engine: EngineKind, notes: str) -> Machine:
    text = f"{notes} {_cell(row, 'model')}"
    gpus = max(1, _gpus(row) or 1)
    named = _find(r"x ?(\d)$", _cell(row, "hardware"))
    if named and gpus == 1:
        gpus = int(named)
    if machine.card.cpu:
        return replace(machine, count=1)
    tp = int(_find(r"(?<![a-z])tp(?:-size)?[ =]?(\d+)", text) or 0)
    pp = (
        int(_find(r"(?<![a-z])pp[ =]?(\d)\b", text) or 1)
        if "llama-bench" not in notes and engine.family == "trtllm"
        else 1
    )
    if re.search(r"\b(dp|dep)[ =]?\d", text, re.I) and not tp:
        group = 1 if re.search(r"\bdp", text, re.I) else gpus // pp
        return Machine(machine.card, gpus, max(1, group), pp)
    if engine.layer_split:
        return Machine(machine.card, gpus, 1, gpus)
    gpus = max(gpus, tp)
    tp = tp or max(1, gpus // pp)
    return Machine(machine.card, max(gpus, tp * pp), tp, pp)


def _lengths(row: Mapping[str, str | None], metric: str) -> tuple[float, float, bool, bool]:
    """Tokens in, tokens out, whether they vary, whether they had to be guessed."""
    text = f"{_cell(row, 'input_len')} {_cell(row, 'output_len')}".lower()
    varied = "sharegpt" in text
    default = SHAREGPT if varied else (128.0, 256.0)
    if metric.startswith("prefill"):
        default = (512.0, 1.0)
    tokens_in, tokens_out = number(_cell(row, "input_len")), number(_cell(row, "output_len"))
    guessed = tokens_in is None and tokens_out is None and not varied
    if tokens_in is None:
        tokens_in = 16.0 if metric.startswith("decode") or _cell(row, "input_len") == "short" else default[0]
    return max(tokens_in, 0.0), max(tokens_out if tokens_out is not None else default[1], 1.0), varied, guessed


_SERVING = re.compile(
    r"output_tok_s_(total|per_gpu)|total_tok_s|req_s|benchmark|ttft_ms_(?!batch)|tpot|itl|e2e_lat|latency"
)


def _work(row: Mapping[str, str | None], metric: str, engine: EngineKind, notes: str) -> tuple[Work, bool]:
    tokens_in, tokens_out, varied, guessed = _lengths(row, metric)
    batch_text = _cell(row, "batch_or_concurrency").lower()
    batch = number(batch_text)
    varied = varied or "sharegpt" in notes.lower()
    count = _find(r"\bn=(\d+)", notes) or _find(r"(\d+) (?:prompts|requests|concurrent requests)", notes)
    base = Work("static", tokens_in, tokens_out, max(batch or 1.0, 1.0), count or math.inf, varied=varied)
    if "batch1" in metric or not _SERVING.match(metric):
        return replace(base, concurrency=1.0 if "batch1" in metric else base.concurrency), guessed
    if engine.admission == "static" and batch is not None and "req/s" not in batch_text:
        return base, guessed
    if "batch latency" in notes or "latency_s=" in notes:
        return base, guessed
    rate = _find(r"([\d.]+) ?(?:req/s|rps|qps|requests/s)", f"{batch_text} ") or _find(
        r"rate (\d+(?:\.\d+)?)(?!\d)", notes
    )
    if rate is None and batch is not None:
        rate = _find(r"(?<!, )(?<!RPS )(\d+(?:\.\d+)?) ?RPS\b", notes)
    if rate:
        return replace(base, mode="rate", rate=rate), guessed
    if "burst" in batch_text or (count is not None and batch is not None and batch >= count):
        return replace(
            base, mode="burst", requests=batch or count or 1000.0, concurrency=batch or count or 1000.0
        ), guessed
    if batch is None:
        words = re.search(r"max|satur|offline|stress|inf", batch_text) is not None or count is None
        if words:
            return replace(base, mode="saturated", concurrency=math.inf), guessed
        return replace(base, mode="burst", requests=count or 1000.0, concurrency=count or 1000.0), guessed
    if engine.family == "lmdeploy" and not varied:
        return base, guessed  # its profiler starts each round of a batch together
    return replace(base, mode="closed"), guessed
