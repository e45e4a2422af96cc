from __future__ import annotations

from pathlib import Path

import pytest

from hubbub.core.errors import ConfigError
from hubbub.settings import keys, load


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
