from __future__ import annotations

from pathlib import Path

import pytest

from hubbub.core.errors import ConfigError
from hubbub.engines.catalog import KINDS
from hubbub.engines.config import EngineTable, specs
from hubbub.engines.remote import RemoteOptions
from hubbub.settings import Loaded, engine_values, keys, load


def test_flags_beat_environment_beats_file_beats_defaults(tmp_path: Path) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_text('[server]\nport = 1\nhost = "::1"\ndata = "d"\n')
    loaded = load(
        {"server.port": 3, "server.data": None},
        file=file,
        environ={"HUBBUB_SERVER_PORT": "2", "HUBBUB_SERVER_DATA": "e"},
    )
    server = loaded.settings.server
    assert (server.port, server.host, server.data, server.log_level) == (3, "::1", "e", "info")
    assert loaded.sources == {
        "server.port": "flag",
        "server.host": str(file),
        "server.data": "HUBBUB_SERVER_DATA",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[server]\nprot = 1\n", "server.prot .* did you mean server.port"),
        ("port = 1\n", "'port' stands outside a section"),
        ('[server]\nport = "eighty"\n', "server.port .* is 'eighty': Expected `int`"),
        ("[server\n", "not valid TOML"),
    ],
)
def test_a_bad_file_is_an_error_that_names_the_key(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load({}, file=file, environ={})


def test_a_bad_environment_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    file = tmp_path / "none.toml"
    file.write_text("")
    with pytest.raises(ConfigError, match="HUBBUB_SERVER_PROT is no setting; did you mean HUBBUB_SERVER_PORT"):
        load({}, file=file, environ={"HUBBUB_SERVER_PROT": "1"})
    with pytest.raises(ConfigError, match="HUBBUB_SERVER_PORT"):
        load({}, file=file, environ={"HUBBUB_SERVER_PORT": "x"})
    with pytest.raises(ConfigError, match="cannot be read"):
        load({}, file=tmp_path / "absent.toml", environ={})


def test_every_setting_has_help() -> None:
    assert [key for key, entry in keys() if not entry.metadata.get("help")] == []


POOLS = """
[engines.small]
kind = "simulated"
replicas = 2
adapters = { pirate = "loras/pirate" }

[engines.far]
url = "http://127.0.0.1:9"
model = "big"
api_key_env = "FAR_KEY"
[engines.far.options]
context_window = 4096
"""


def told(tmp_path: Path, text: str, environ: dict[str, str] | None = None, **flags: str) -> Loaded:
    file = tmp_path / "hubbub.toml"
    file.write_text(text)
    return load({key.replace("_", ".", 1): value for key, value in flags.items()}, file=file, environ=environ or {})


def test_tables_make_engines(tmp_path: Path) -> None:
    loaded = told(tmp_path, POOLS, {"FAR_KEY": "sk-1\n"})
    made = list(specs(loaded.settings.engines, tmp_path, tmp_path))
    assert [(spec.id, spec.kind, spec.model) for spec in made] == [
        ("small", "simulated", ""),
        ("small-2", "simulated", ""),
        ("far", "openai", "big"),
    ]
    assert made[0].adapters == made[1].adapters == {"pirate": "loras/pirate"}
    assert (made[2].api_key, made[2].options) == ("sk-1", RemoteOptions(context_window=4096))
    assert "sk-1" not in repr(loaded)
    assert loaded.sources["engines.far.options.context_window"].endswith("hubbub.toml")


def test_an_api_key_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(" sk-2\n")
    text = f'[engines.far]\nurl = "http://localhost:9"\napi_key_file = "{tmp_path / "key"}"\n'
    assert told(tmp_path, text).settings.engines["far"].api_key == "sk-2"


def test_a_flag_or_the_environment_names_an_engine_instead_of_the_file(tmp_path: Path) -> None:
    assert told(tmp_path, POOLS, engine_kind="simulated").settings.engines == {}
    assert told(tmp_path, POOLS, {"HUBBUB_ENGINE_MODEL": "smollm2"}).settings.engines == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[engine]\nkind = "simulated"\n[engines.a]\n', "has engine.kind beside .engines."),
        ("[openvino]\nthreads = 1\n[engines.a]\n", "has openvino.threads beside .engines."),
        ("[engines]\na = 3\n", r"engines.a .* is 3: write a table \[engines.a\]"),
        ('[engines.a]\nmodle = "x"\n', "engines.a.modle .* is no setting; did you mean engines.a.model?"),
        ('[engines.a]\nkind = "simulatd"\n', "engines.a.kind .* is 'simulatd'; did you mean simulated?"),
        ('[engines.a]\nkind = "steam"\n', "engines.a.kind .* is 'steam'; it can be openvino,"),
        ("[engines.a]\nreplicas = 0\n", "engines.a.replicas is 0; it must be from 1"),
        ('[engines.a]\nreplicas = "two"\n', "engines.a.replicas .* is 'two': Expected `int`"),
        ('[engines.a]\nkind = "openai"\n', "engines.a.url is missing"),
        ('[engines.a]\nurl = "localhost"\n', "engines.a.url is 'localhost'; it must begin"),
        ('[engines.a]\nurl = "http://x"\nreplicas = 2\n', "engines.a.replicas is 2 for one url"),
        ('[engines.a]\nadapters = { "x y" = "p" }\n', "engines.a.adapters has 'x y'"),
        ('[engines.a]\nadapters = { x = "" }\n', "engines.a.adapters.x is empty"),
        ('[engines."a/b"]\n', "engines has 'a/b': a name is"),
        ("[engines.a]\nreplicas = 2\n[engines.a-2]\n", "both make an engine a-2"),
        ("[engines.a]\noptions = 1\n", "engines.a.options .* is 1: write a table"),
        ("[engines.a.options]\ntreads = 1\n", "engines.a.options.treads .* did you mean engines.a.options.threads?"),
        ("[engines.a.options]\nthreads = -1\n", "engines.a.options.threads is -1"),
        ('[engines.a]\napi_key = "sk-1"\napi_key_env = "X"\n', "engines.a.api_key_env is given beside"),
        ('[engines.a]\napi_key_env = "NOT_SET"\n', "NOT_SET is not set"),
        ('[engines.a]\napi_key_env = "HUBBUB_X"\n', "names that begin with HUBBUB_"),
        ('[engines.a]\napi_key_file = "/no/such"\n', "/no/such cannot be read"),
        ("[engines.a]\napi_key = 12\n", r"engines.a.api_key .* is \(hidden\)"),
    ],
)
def test_a_bad_table_is_an_error_that_names_the_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        told(tmp_path, text)
    assert "sk-1" not in refused.value.message


def test_what_has_no_effect_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"HUBBUB_OPENVINO_THREADS is about the single engine"):
        told(tmp_path, "[engines.a]\n", {"HUBBUB_OPENVINO_THREADS": "1"})


def test_every_option_of_every_kind_has_help() -> None:
    tables = {name: EngineTable(kind=name, url="http://x", options=kind.options()) for name, kind in KINDS.items()}
    rows = [row for name, table in tables.items() for row in engine_values(name, table)]
    assert [key for key, entry, _ in rows if not entry.metadata.get("help")] == []
