"""What a plan can be asked about by name: for whoever offers it to pick from."""

from __future__ import annotations

from typing import Any

from hubbub.planner import hardware, models, tokens
from hubbub.planner.detect import detect
from hubbub.planner.quant import QUANTS


def choices() -> dict[str, Any]:
    """Models with their parameters and window in tokens, cards with their memory in bytes, types of weights, languages,
    and the machine this runs on."""
    return {
        "models": [
            {"name": shape.name, "parameters": shape.total_params, "context": shape.context}
            for shape in models.cards().values()
        ],
        "hardware": [
            {
                "name": card.name,
                "kind": card.kind,
                "memory": card.memory_gib * 2**30,
                "price_usd": card.price_usd,
                "rent_usd_h": card.rent_usd_h,
            }
            for card in hardware.cards().values()
        ],
        "quants": [*QUANTS, "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M"],
        "languages": tokens.languages(),
        "here": detect().machine.name,
    }
