"""Instructions are tried, not believed."""

from __future__ import annotations

import platform

import pytest

from hubbub.engines.instruction_probe import runs, survives
from hubbub.engines.llamacpp_build import JOBS, build_environment
from hubbub.engines.machine import inspect_machine
from hubbub.engines.openvino_server.sizing import usable_cores


def test_what_the_processor_does_not_run_is_seen() -> None:
    if platform.machine() == "x86_64":
        assert survives("c3")
        assert not survives("0f0bc3")  # ud2, which no processor runs
    assert runs("avx2") == ("avx2" in inspect_machine().instructions and platform.system() == "Linux")


@pytest.mark.large
def test_a_build_starts_no_more_compilers_than_there_are_cores() -> None:
    assert 1 <= int(build_environment({})[JOBS]) <= usable_cores()
    assert build_environment({JOBS: "7"})[JOBS] == "7"
