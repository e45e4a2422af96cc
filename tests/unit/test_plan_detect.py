"""NVIDIA cards through NVML: against a module of the same names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hubbub.planner.detect import detect, nvidia

GIB = 2**30


class FakeNvml:
    """``cards``: name and bytes of memory of each; ``lost``: of these indices the driver knows nothing any more."""

    class NVMLError(Exception):
        pass

    def __init__(self, cards: list[tuple[str | bytes, float]], *, driver: bool = True, lost: int = -1) -> None:
        self._cards, self._driver, self._lost = cards, driver, lost
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802
        if not self._driver:
            raise self.NVMLError("driver not loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self._cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index == self._lost:
            raise self.NVMLError("GPU is lost")
        return index

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:  # noqa: N802
        return self._cards[handle][0]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(total=self._cards[handle][1] * GIB)


@pytest.mark.parametrize(
    ("name", "memory", "card"),
    [
        ("NVIDIA GeForce RTX 4090", 23.99, "RTX-4090"),
        (b"NVIDIA A100-SXM4-80GB", 79.25, "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", 39.56, "A100-40GB"),
        ("NVIDIA H100 80GB HBM3", 79.65, "H100-SXM"),
        ("NVIDIA H100 PCIe", 79.65, "H100-PCIe"),
        ("NVIDIA L40S", 44.99, "L40S"),
        ("Tesla T4", 15.0, "T4"),
    ],
)
def test_cards_by_the_names_the_driver_gives(name: str | bytes, memory: float, card: str) -> None:
    nvml = FakeNvml([(name, memory)] * 2)
    found = nvidia(nvml)
    assert found is not None
    assert (found.card.name, found.count, found.tp) == (card, 2, 2)
    assert found.card.memory_gib == pytest.approx(memory, abs=0.01)
    assert nvml.open == 0


def test_of_unlike_cards_those_with_the_most_memory_in_all() -> None:
    found = nvidia(FakeNvml([("Tesla T4", 15.0), ("NVIDIA L40S", 45.0), ("Tesla T4", 15.0), ("NVIDIA L40S", 45.0)]))
    assert found is not None
    assert (found.card.name, found.count) == ("L40S", 2)


def test_an_unknown_card_is_taken_for_another_and_says_so() -> None:
    found = nvidia(FakeNvml([("NVIDIA Quantum X9", 31.0)]))
    assert found is not None
    assert (found.card.name, found.card.memory_gib) == ("NVIDIA Quantum X9", 31.0)
    assert "taken for" in found.card.source


def test_no_driver_no_card_or_a_lost_one_is_no_machine_of_cards(tmp_path: Path) -> None:
    for nvml in (FakeNvml([], driver=False), FakeNvml([]), FakeNvml([("Tesla T4", 15.0)], lost=0)):
        assert nvidia(nvml) is None
        assert nvml.open == 0
        assert detect(measure=False, folder=tmp_path, nvml=nvml).machine.card.kind != "nvidia"


def test_the_fingerprint_names_the_cards(tmp_path: Path) -> None:
    marks = {
        detect(measure=False, folder=tmp_path, nvml=FakeNvml([(name, memory)] * count)).fingerprint
        for name, memory, count in (("Tesla T4", 15.0, 1), ("Tesla T4", 15.0, 2), ("NVIDIA L4", 22.0, 1))
    }
    assert len(marks) == 3
