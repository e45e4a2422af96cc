"""Instructions are tried, not believed."""

from __future__ import annotations

import platform

from hubbub.engines.instruction_probe import runs, survives
from hubbub.engines.machine import inspect_machine


def test_what_the_processor_does_not_run_is_seen() -> None:
    if platform.machine() == "x86_64":
        assert survives("c3")
        assert not survives("0f0bc3")  # ud2, which no processor runs
    assert runs("avx2") == ("avx2" in inspect_machine().instructions and platform.system() == "Linux")
