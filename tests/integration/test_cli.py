"""The command as people meet it: a process, its words, its exit code."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from hubbub import __version__
from support.command import COMMAND, alone, environ, hubbub


def test_version_and_help(tmp_path: Path) -> None:
    assert alone("version", cwd=tmp_path).stdout == f"{__version__}\n"
    told = hubbub("--help", cwd=tmp_path)
    assert told.returncode == 0
    for command in ("serve", "demo", "doctor", "engine", "store", "config", "version"):
        assert command in told.stdout


def test_help_loads_neither_engine_nor_server(tmp_path: Path) -> None:
    heavy = "('aiohttp', 'openvino', 'huggingface_hub')"
    code = f"import sys, hubbub.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("serve", "--engine", "steam"), "engine.kind is 'steam'"),
        (("serve", "--engine", "simulated", "--config", "absent.toml"), "absent.toml cannot be read"),
        (("serve", "--model", "./no-such.gguf"), "no-such.gguf"),
        (("store", "verify"), "there is no folder hubbub-data"),
        (("demo", "--json", "nowhere/out.json"), "there is no folder"),
    ],
)
def test_a_fault_is_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    done = alone(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("hubbub: ")


def test_serve_says_that_its_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = alone("serve", "--engine", "simulated", "--port", str(port), cwd=tmp_path)
        examined = hubbub("doctor", "--engine", "simulated", "--port", str(port), "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr
    assert examined.returncode == 1
    findings = {finding["name"]: finding for finding in json.loads(examined.stdout)["findings"]}
    assert findings["port"]["grade"] == "bad"
    assert "--port" in findings["port"]["text"]


def test_doctor_tells_what_would_run(tmp_path: Path) -> None:
    done = hubbub("doctor", "--model", "smollm2", "--port", "0", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    findings = {finding["name"]: finding for finding in told["findings"]}
    assert (done.returncode, told["ok"]) == (0, True)
    assert findings["model"]["model"] == "smollm2"
    assert findings["engine"]["engine"] == "openvino"
    assert findings["versions"]["versions"]["hubbub"] == __version__
    assert findings["memory"]["total_bytes"] > 0
    assert hubbub("doctor", "--model", "./none.gguf", "--port", "0", cwd=tmp_path).returncode == 1


def test_config_show_tells_values_and_sources_and_hides_secrets(tmp_path: Path) -> None:
    (tmp_path / "hubbub.toml").write_text("[server]\nport = 9000\n")
    done = hubbub("config", "show", "--json", cwd=tmp_path, HUBBUB_ENGINE_API_KEY="sk-1", HUBBUB_SERVER_HOST="::1")
    told = json.loads(done.stdout)
    assert told["server.port"] == {"value": 9000, "source": "hubbub.toml"}
    assert told["server.host"] == {"value": "::1", "source": "HUBBUB_SERVER_HOST"}
    assert told["server.data"]["source"] == "default"
    assert "sk-1" not in done.stdout
    table = hubbub("config", "show", cwd=tmp_path).stdout
    assert "server.port" in table
    assert "9000" in table


POOLS = """
[server]
port = 9
[engines.sim]
kind = "simulated"
replicas = 2
[engines.far]
url = "http://127.0.0.1:9"
api_key_env = "FAR_KEY"
"""


def test_config_show_and_doctor_know_the_engines_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "hubbub.toml").write_text(POOLS)
    done = hubbub("config", "show", "--json", cwd=tmp_path, FAR_KEY="sk-1")
    told = json.loads(done.stdout)
    assert told["engines.sim.replicas"] == {"value": 2, "source": "hubbub.toml"}
    assert told["engines.far.api_key"]["value"] == "(hidden)"
    assert told["engines.far.options.kv_tokens"]["source"] == "default"
    assert "engine.kind" not in told
    assert "sk-1" not in done.stdout
    examined = hubbub("doctor", "--port", "0", "--json", cwd=tmp_path, FAR_KEY="sk-1")
    findings = {finding["name"]: finding for finding in json.loads(examined.stdout)["findings"]}
    assert findings["engines.sim"]["grade"] == "good"
    assert findings["engines.far"]["grade"] == "note", "the server can start without it"
    assert examined.returncode == 0
    missing = hubbub("config", "show", cwd=tmp_path)
    assert (missing.returncode, missing.stderr) == (
        2,
        "hubbub: engines.far.api_key_env: FAR_KEY is not set in the environment\n",
    )


def test_engine_list_without_a_server_tells_the_kinds_and_how_to_start_one(tmp_path: Path) -> None:
    (tmp_path / "hubbub.toml").write_text("[server]\nport = 9\n")
    done = hubbub("engine", "list", cwd=tmp_path)
    assert done.returncode == 0
    assert "openvino" in done.stdout
    assert "no Hubbub answers at http://127.0.0.1:9" in done.stdout
    drained = hubbub("engine", "drain", "sim", cwd=tmp_path)
    assert drained.returncode == 2
    assert "start it with `hubbub serve`" in drained.stderr
    kinds = json.loads(hubbub("engine", "list", "--json", cwd=tmp_path).stdout)["kinds"]
    assert {"openvino", "openai", "simulated"} <= {kind["kind"] for kind in kinds}


def test_engines_of_a_running_server(tmp_path: Path) -> None:
    (tmp_path / "hubbub.toml").write_text('[server]\nport = 0\n[engines.sim]\nkind = "simulated"\nreplicas = 2\n')
    server = subprocess.Popen([*COMMAND, "serve"], cwd=tmp_path, env=environ(), stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        url = server.stdout.readline().split()[-1]
        at = ("--server", url)
        assert hubbub("engine", "drain", "sim-2", "--wait", *at, cwd=tmp_path).stdout == (
            "sim-2 is given nothing new and runs nothing\n"
        )
        listed = hubbub("engine", "list", *at, cwd=tmp_path).stdout
        assert "ready, draining" in next(line for line in listed.splitlines() if line.startswith(" sim-2"))
        assert hubbub("engine", "drain", "sim-2", "--undo", *at, cwd=tmp_path).returncode == 0
        unknown = hubbub("engine", "drain", "sim-3", *at, cwd=tmp_path)
        assert (unknown.returncode, unknown.stderr) == (
            2,
            f"hubbub: {url} says: there is no engine 'sim-3'; there is sim, sim-2\n",
        )
        assert "sim is being restarted" in hubbub("engine", "restart", "sim", *at, cwd=tmp_path).stdout
        checked = hubbub("engine", "check", url, "--json", cwd=tmp_path)
        assert (checked.returncode, json.loads(checked.stdout)["ok"]) == (0, True)
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_serve_may_open_as_many_files_as_the_system_lets_it(tmp_path: Path) -> None:
    """A shell gives it 1,024 mostly, which were as many connections: beyond them it had none to its engine either."""
    limited = ("/bin/sh", "-c", f"ulimit -Sn 300 && exec {shlex.join(COMMAND)} serve --engine simulated --port 0")
    server = subprocess.Popen(limited, cwd=tmp_path, env=environ(), stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    with contextlib.ExitStack() as stack:
        stack.callback(server.stdout.close)
        stack.callback(server.wait, 30)
        stack.callback(server.terminate)
        url = server.stdout.readline().split()[-1]
        for _ in range(400):
            stack.enter_context(socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))))
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            assert json.load(answer)["ready"]


def test_engine_check_of_nobody(tmp_path: Path) -> None:
    done = hubbub("engine", "check", "http://127.0.0.1:9", cwd=tmp_path)
    assert done.returncode == 1
    assert "does not answer" in done.stdout
    assert hubbub("engine", "check", "localhost", cwd=tmp_path).returncode == 2


def test_engine_simulate_has_its_own_help(tmp_path: Path) -> None:
    done = hubbub("engine", "simulate", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "--itl-ms" in done.stdout
