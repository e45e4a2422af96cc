"""``hubbub engine tune`` as a process, on the simulated engine, where one setting really is faster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hubbub.settings import load

FILE = """\
# mine
[engines.main]
kind = "simulated"  # until the real one is here

[engines.main.options]
flags = "--jitter 0 --output-median 6 --output-sigma 0 --sequence-ms 0"

[engines.far]
url = "http://127.0.0.1:9"
"""


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    command = [sys.executable, "-m", "hubbub", "engine", "tune", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def tune(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = begin(folder, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_the_faster_setting_is_written_and_the_rest_of_the_file_kept(tmp_path: Path) -> None:
    path = tmp_path / "hubbub.toml"
    path.write_text(FILE)
    code, out, err = tune(tmp_path, "main", "--minutes", "0.5", "--streams", "1,4")
    assert (code, err) == (0, "")
    assert "min left] noise: the defaults stray" in out
    assert "step_ms = 30.0: slower at 1 streams" in out
    assert "Best: step_ms = 7.5" in out
    assert "Written into [engines.main.options]" in out
    text = path.read_text()
    assert "# mine" in text
    assert "# until the real one is here" in text
    assert text.replace("step_ms = 7.5\n", "") == FILE
    assert load({}, file=path, environ={}).settings.engines["main"].options.step_ms == 7.5


def test_a_dry_run_writes_nothing_and_needs_no_file(tmp_path: Path) -> None:
    code, out, err = tune(tmp_path, "--engine", "simulated", "--minutes", "0.5", "--streams", "2", "--dry-run")
    assert (code, err) == (0, "")
    assert "into [engines.simulated.options] of hubbub.toml, run this without --dry-run" in out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("far",), "runs at http://127.0.0.1:9: it is tuned where it is started"),
        (("near",), "there is no engine 'near': hubbub.toml has main, far"),
        (("main", "--streams", "many"), "--streams is 'many'"),
        (("--engine", "steam"), "engine.kind is 'steam'"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    (tmp_path / "hubbub.toml").write_text(FILE)
    code, out, err = tune(tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_an_interrupt_leaves_the_file_and_no_process(tmp_path: Path) -> None:
    path = tmp_path / "hubbub.toml"
    path.write_text(FILE)
    process = begin(tmp_path, "main", "--minutes", "5", "--streams", "1")
    assert process.stdout is not None
    process.stdout.readline()  # the engine runs
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "stopped: nothing is written\n"
    assert path.read_text() == FILE
    assert [file.name for file in tmp_path.iterdir()] == ["hubbub.toml"]
    assert not psutil.wait_procs(family, timeout=20)[1]
