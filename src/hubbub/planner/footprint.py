"""Memory figures as engines and tables report them, from shape and start flags alone.

What transformers keeps beside weights and KV changed with its releases, fitted to the Qwen tables: until 4.44 the
logits of the whole prompt in 16 and 32 bit (6 B x tokens x vocabulary), until 4.49 one feed-forward layer's
activations, since then next to nothing.
"""

from __future__ import annotations

from hubbub.planner.cases import Case
from hubbub.planner.memory import BLOCK, plan_memory
from hubbub.planner.units import GIB


def memory_figure(case: Case) -> float:
    """The value of a memory metric: GiB (also where the name says gb: the sources mean GiB), tokens or blocks."""
    shape, quant, metric = case.shape, case.quant, case.metric
    if metric == "kv_cache_gb_expected":
        return shape.kv_bytes_at(shape.context or 32768, quant.kv_bytes) / GIB
    plan = plan_memory(shape, quant, case.machine, case.engine, case.load)
    if metric == "weights_gib":
        return plan.weights_bytes / GIB
    if metric == "activation_peak_gib":
        return plan.activation_bytes / GIB
    if metric == "non_torch_gib":
        return plan.non_torch_bytes / GIB
    if metric == "peak_torch_gib":
        return (plan.weights_bytes + plan.activation_bytes) / GIB
    if metric == "kv_cache_gib":
        return plan.kv_bytes / GIB
    if metric in ("kv_cache_tokens", "kv_blocks16"):
        return float(plan.kv_tokens) / (BLOCK if metric == "kv_blocks16" else 1)
    return process_bytes(case) / GIB


def process_bytes(case: Case) -> float:
    """Bytes the process holds at its peak, on all cards together."""
    shape, quant, engine, machine, work = case.shape, case.quant, case.engine, case.machine, case.work
    total = machine.card.memory_gib * GIB * machine.count
    weights = shape.weight_bytes(quant)
    sequences = work.concurrency if work.concurrency < 1e6 else 1.0
    kv = sequences * shape.kv_bytes_at(work.tokens_in + work.tokens_out, quant.kv_bytes)
    prompt = sequences * work.tokens_in
    wide = max(shape.ffn, shape.shared_ffn + shape.top_k * shape.expert_ffn)
    layer = 2.0 * prompt * (3 * wide + 3.5 * shape.hidden)
    split = (machine.pipeline - 1) * prompt * shape.hidden * 50
    if engine.preallocates and not machine.card.cpu:
        pool = {"vllm": 0.93, "trtllm": 0.975}.get(engine.family, engine.memory_share())
        return total * (case.load.share or pool)
    if engine.family == "deepspeed" and not machine.card.cpu:
        return total
    if engine.family == "ipex":
        return 2.5 * weights + 1.6 * layer + kv
    if engine.family == "llamacpp":
        return weights + kv + (0.6 if machine.card.cpu else 1.2) * GIB
    if engine.family == "autoawq":
        return 1.1 * weights + 0.5 * kv + 20.0 * prompt * shape.vocab + 0.1 * GIB
    if engine.family in ("ctranslate", "onnx", "exllama", "mlc"):
        return 1.15 * weights + kv + 2.0 * GIB
    tied = shape.embedding_params * 2 if shape.tied and quant.family == "fp8" else 0.0
    return weights * 1.01 + tied + _transformers(case, kv, layer, prompt, split)


def _transformers(case: Case, kv: float, layer: float, prompt: float, split: float) -> float:
    shape = case.shape
    every_head = shape.kv_heads == shape.heads
    if case.engine.family == "gptq":
        return 1.85 * kv
    if case.engine.version.startswith("old"):
        first = shape.name.startswith("Qwen-")
        grown = 1.87 if first else 1.42 if every_head else 0.95
        return grown * kv + 0.25 * GIB + (0.0 if first else 5.7 * prompt * shape.vocab) + split
    if case.engine.version == "mid":
        return 0.95 * kv + layer + 0.03 * GIB + split
    return 1.02 * kv + 0.03 * GIB + 0.3 * split
