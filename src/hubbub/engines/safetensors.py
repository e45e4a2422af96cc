"""Writing safetensors, one tensor in memory at a time.

Format: 8 bytes of length, a JSON header of names to {dtype, shape, data_offsets}, then the bytes of each tensor
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tensor:
    """``read`` gives the values in C order when they are written."""

    shape: tuple[int, ...]
    read: Callable[[], Floats]


def write_bf16(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """All of ``tensors`` as bfloat16. The file is whole or is not there. Raises OSError."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors.items():
        size = 2 * math.prod(tensor.shape)
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for name, tensor in tensors.items():
            values = tensor.read()
            if values.shape != tensor.shape:
                raise ValueError(f"tensor {name} has the shape {values.shape}, not {tensor.shape}")
            file.write(_bf16(values).tobytes())
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _bf16(values: Floats) -> npt.NDArray[np.uint16]:
    """Rounded to nearest, ties to even: the upper half of a float32."""
    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    rounded: npt.NDArray[np.uint16] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return rounded
