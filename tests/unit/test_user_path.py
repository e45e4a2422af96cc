"""Paths as people write them: what cannot be one is an error that names the option."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubbub.core.errors import ConfigError, NotFound
from hubbub.engines.models import resolve_model
from hubbub.planner.modelfiles import load_model
from hubbub.planner.tokens import sample_size
from hubbub.user_path import home, user_path


def test_what_is_not_there_is_still_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/a", "model") == tmp_path / "a"
    assert user_path("b", "model") == Path("b")


@pytest.mark.parametrize(
    ("text", "why"), [("a" * 5000, "too long"), ("~nosuchuser/x", "home"), ("a/" * 3000, "too long")]
)
def test_what_cannot_be_one_names_the_option(text: str, why: str) -> None:
    for look in (lambda: user_path(text, "model"), lambda: resolve_model(text), lambda: load_model(text)):
        with pytest.raises(ConfigError, match=f"^model: .*{why}") as caught:
            look()
        assert caught.value.param == "model"
        assert len(caught.value.message) < 200


@pytest.mark.large
def test_a_sample_is_read_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.txt").write_text("The words of somebody's own. " * 50)
    assert sample_size(Path("~/own.txt"), "qwen").bytes_per_token.value > 1


def test_a_file_in_a_file_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not user_path(tmp_path / "file" / "x", "model").exists()


def test_no_model_at_all_is_told_the_way_out() -> None:
    with pytest.raises(NotFound, match="hubbub plan models"):
        load_model(" ")


def test_nobody_has_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    assert home() == Path("/")
