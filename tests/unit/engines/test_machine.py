"""What a machine says of itself, from the files the kernel would show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.engines.machine import GIB, Gpu, Machine, choose_engine, inspect_machine, parse_nvidia

BARE = Machine("Linux 6 x86_64", "cpu", 4, 4.0, 8 * GIB, 4 * GIB, ("avx2",), engines={"openvino-genai": "2026.4"})


def test_this_machine() -> None:
    machine = inspect_machine()
    assert machine.cpus > 0
    assert machine.cores > 0
    assert 0 < machine.free_bytes <= machine.memory_bytes
    assert machine.cpu
    assert "openvino-genai" in machine.engines


@pytest.mark.parametrize(
    "files",
    [
        {"cpu.max": "50000 100000", "memory.max": str(GIB), "memory.current": str(GIB // 4)},
        {
            "cpu/cpu.cfs_quota_us": "50000",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": str(GIB),
            "memory/memory.usage_in_bytes": str(GIB // 4),
        },
    ],
    ids=["v2", "v1"],
)
def test_a_container_counts_what_it_may_use(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    machine = inspect_machine(tmp_path)
    assert machine.cpus == 0.5
    assert machine.memory_bytes == GIB
    assert machine.free_bytes <= GIB * 3 // 4


def test_no_limits(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    assert inspect_machine(tmp_path).cpus >= 1


def test_nvidia_rows() -> None:
    text = "NVIDIA H100 80GB HBM3, 81559, 550.54\n[Unknown Error], [N/A], \n"
    assert parse_nvidia(text) == (Gpu("NVIDIA H100 80GB HBM3", 81559 << 20, "550.54"),)


def test_the_choice_of_engine() -> None:
    assert choose_engine(BARE).engine == "openvino"
    assert "vLLM" in choose_engine(replace(BARE, gpus=(Gpu("H100", 80 * GIB),))).why
    assert "slow" in choose_engine(replace(BARE, instructions=())).why
    nothing = choose_engine(replace(BARE, engines={}))
    assert nothing.engine == ""
    assert "pip install openvino-genai" in nothing.why
