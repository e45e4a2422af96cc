"""A model on a machine under an engine: the thing all questions are asked about, and its step-time function.

``Setup`` gathers what the user named. ``StepModel`` is its step time as plain numbers (no arrays), quick enough to be
called for every step of a simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from hubbub.core.errors import ContextTooLong, NotFound
from hubbub.planner.cases import Case, Work
from hubbub.planner.coefficients import Coefficients, bundled
from hubbub.planner.engines import EngineKind, parse_engine
from hubbub.planner.hardware import Machine, close_to, make_machine
from hubbub.planner.memory import Load, MemoryPlan, plan_memory, require_fit
from hubbub.planner.modelfiles import load_model
from hubbub.planner.models import ModelShape
from hubbub.planner.quant import Quant, kv_element_bytes, parse_quant
from hubbub.planner.step_time import Floats, Steps, Table, table_of


@dataclass(frozen=True, slots=True)
class Setup:
    """``price_h`` is US dollars an hour to run it: rent where known, else purchase over three years and power."""

    shape: ModelShape
    quant: Quant
    engine: EngineKind
    machine: Machine
    load: Load = field(default_factory=Load)
    coefficients: Coefficients | None = None
    measured: str = ""
    """Set once a calibration on this machine backs the coefficients: its fingerprint."""

    @property
    def name(self) -> str:
        return f"{self.shape.name} {self.quant.name} on {self.machine.name}, {self.engine.family}"

    @property
    def memory(self) -> MemoryPlan:
        return plan_memory(self.shape, self.quant, self.machine, self.engine, self.load)

    @property
    def model(self) -> Coefficients:
        return self.coefficients or bundled()

    @property
    def max_sequences(self) -> int:
        return self.load.max_sequences or self.engine.max_sequences(self.machine.card)

    def case(self, work: Work, metric: str = "output_tok_s_total") -> Case:
        return Case(self.shape, self.quant, self.engine, self.machine, metric, work, self.load)

    def with_load(self, **changes: int | float | None) -> Setup:
        return replace(self, load=replace(self.load, **changes))  # type: ignore[arg-type]


EMBEDDED_MODELS = ("Llama", "SmolLM", "TinyLlama", "Qwen2", "Qwen3", "Mistral", "Saiga", "Vikhr")
EMBEDDED_QUANTS = ("BF16", "F16", "Q8_0", "Q4_0", "Q4_1", "Q4_K_M", "Q6_K")


def embedded_runs(shape: ModelShape, quant: Quant) -> bool:
    """Whether Hubbub's embedded engine reads such a file: GGUF of the llama, qwen2 and qwen3 architectures, dense."""
    return (
        shape.name.startswith(EMBEDDED_MODELS)
        and not shape.moe
        and not shape.state_bytes
        and (quant.name in EMBEDDED_QUANTS)
    )


def embedded_kv_bytes(shape: ModelShape) -> float:
    """Bytes a KV element of the embedded engine: 8 bit, and two 32 bit numbers a key channel and block of 32 tokens
    and a value token and head to scale them."""
    return 1.125 + 4.0 / shape.head_dim


def default_engine(machine: Machine, quant: Quant, shape: ModelShape | None = None) -> str:
    """The engine most people would run: on CPUs Hubbub's own where it can, else llama.cpp, which Macs and GGUF files on
    cards take too; vLLM elsewhere."""
    if machine.card.cpu and shape is not None and embedded_runs(shape, quant):
        return "openvino"
    if quant.family.startswith("gguf") or machine.card.cpu or machine.card.kind == "apple":
        return "llama.cpp"
    return "vllm"


ENGINES = ("vllm", "sglang", "tensorrt-llm", "lmdeploy", "llama.cpp", "openvino", "transformers", "tgi", "mlx", "mlc")
KNOWN_ENGINES = ", ".join(ENGINES)


def make_setup(
    model: str,
    hardware: str,
    *,
    quant: str = "",
    kv: str = "",
    engine: str = "",
    engine_version: str = "",
    gpus: int = 1,
    tp: int = 0,
    share: float | None = None,
    max_sequences: int = 0,
    context: int = 0,
    coefficients: Coefficients | None = None,
) -> Setup:
    """A setup from what a person writes. Raises NotFound, BadRequest or ContextTooLong naming the option.

    ``context``: tokens a chat may reach; it must not exceed the model's window.
    """
    if engine and parse_engine(engine).family == "other":
        near = close_to(engine.lower(), {name: name for name in ENGINES})
        raise NotFound(f"engine: no engine named {engine!r}{near or f'; known are {KNOWN_ENGINES}'}", param="engine")
    shape, stated = load_model(model)
    machine = make_machine(hardware, gpus, tp=tp)
    family = parse_engine(engine).family if engine else ""
    gguf = family in ("llamacpp", "openvino") or (not engine and (machine.card.cpu or machine.card.kind == "apple"))
    chosen = parse_quant(quant, llamacpp=gguf) if quant else stated or parse_quant("", llamacpp=gguf)
    if kv:
        chosen = replace(chosen, kv_bytes=kv_element_bytes(kv))
    kind = parse_engine(engine or default_engine(machine, chosen, shape), engine_version)
    if kind.family == "openvino" and not kv:
        chosen = replace(chosen, kv_bytes=embedded_kv_bytes(shape))
    if kind.layer_split:
        machine = make_machine(hardware, gpus, layer_split=True)
    if context and shape.context and context > shape.context:
        raise ContextTooLong(
            f"context: {context:,} tokens is beyond the window of {shape.name}, {shape.context:,}", param="context"
        )
    return Setup(shape, chosen, kind, machine, Load(share, max_sequences), coefficients)


def fitting_setup(setup: Setup) -> Setup:
    """The same; raises BadRequest when the weights do not fit."""
    require_fit(setup.memory, setup.shape, setup.quant, setup.machine)
    return setup


class StepModel:
    """Seconds of engine steps of one model copy. ``decode(b, tokens)``: a step of ``b`` sequences that hold ``tokens``
    tokens of context together; ``prompt(n, past)``: the arithmetic of ``n`` prompt tokens after ``past``;
    ``mixed``: a step that does both. ``single``: the table of one case, ``values``: its coefficients, ``most``:
    sequences at the most."""

    def __init__(self, single: Table, values: Mapping[str, Floats], most: int) -> None:
        table = single.take(np.zeros(most, dtype=int))
        steps = Steps(table, {name: np.repeat(value, most) for name, value in values.items()})
        scale = float(values["scale"][0])
        batch = np.arange(1, most + 1, dtype=float)
        linear = steps.linear(batch)
        per_byte = float(values["kv"][0] / single.bandwidth[0]) * scale
        base = steps.decode(batch, np.zeros(most))
        self.reading: list[float] = (steps.reading(batch) * scale).tolist()
        self.arithmetic: list[float] = (steps.arithmetic(batch) * scale).tolist()
        self.rest: list[float] = ((base - linear) * scale).tolist()
        self.base: list[float] = (base * scale).tolist()
        self.window = int(single.window[0]) if single.kv_window[0] else 0
        self.kv_s = float(single.kv_full[0]) * per_byte
        self.window_kv_s = float(single.kv_window[0]) * per_byte
        pre = float(values["prefill"][0]) * scale / float(single.prefill_flops[0])
        self.prompt_s = pre * float(single.flops_prompt_token[0]) + scale * float(
            values["comm"][0] * single.exchange_s[0]
        )
        self.attention_s = pre * float(single.flops_attention[0])
        self.serial_s = float(values["serial_ms"][0]) * 1e-3 * scale
        self.request_s = float(values["request_ms"][0]) * 1e-3 * scale
        self.most = most

    def prompt(self, tokens: float, past: float = 0.0) -> float:
        return tokens * (self.prompt_s + self.attention_s * (past + tokens / 2))

    def _context(self, sequences: int, tokens: float) -> float:
        seen = min(tokens, sequences * self.window) if self.window else 0.0
        return self.kv_s * tokens + self.window_kv_s * seen

    def decode(self, sequences: int, tokens: float) -> float:
        """One step; ``tokens`` is the sum of all contexts."""
        return self.base[min(sequences, self.most) - 1] + self._context(sequences, tokens)

    def mixed(self, sequences: int, tokens: float, prompt: float, prompts: int) -> float:
        """A step of ``sequences`` that decode, with ``prompt`` seconds of arithmetic beside, of which ``prompts`` end.
        The weights are read once for both, and the reading hides behind the arithmetic of both."""
        at = min(max(sequences, 1), self.most) - 1
        read, compute = self.reading[at], prompt + (self.arithmetic[at] if sequences else 0.0)
        linear: float = (read * read * read + compute * compute * compute) ** (1 / 3)
        return linear + self.rest[at] + prompts * self.serial_s + self._context(sequences, tokens)

    def run(self, sequences: int, tokens: float, steps: int) -> float:
        """``steps`` decode steps in a row, each adding one token to every sequence: a closed sum."""
        middle = tokens + sequences * (steps - 1) / 2
        return steps * self.decode(sequences, middle)

    def steps_within(self, sequences: int, tokens: float, seconds: float, most: int) -> int:
        """The fewest steps that take at least ``seconds``, at least 1 and at most ``most``."""
        first = self.decode(sequences, tokens)
        if first <= 0:
            return most
        guess = seconds / first
        later = self.decode(sequences, tokens + sequences * min(guess, most) / 2)
        return max(1, min(most, int(seconds / later) + 1))


def step_model(setup: Setup, most: int = 0) -> StepModel:
    """Step times of a setup, for up to ``most`` sequences (0: as many as its engine takes)."""
    case = setup.case(Work("saturated", 512, 256, 1.0))
    most = max(1, min(most or setup.max_sequences, 4096))
    values = setup.model.values([case])
    # a figure's correction is of its own load; steps are scaled by that of a usual one
    usual = setup.case(Work("closed", 512, 256, float(min(most, 64))))
    values["scale"] = values["scale"] / setup.model.correction([usual])
    return StepModel(table_of([case]), values, most)
