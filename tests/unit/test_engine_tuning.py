"""What can be tuned of which engine, and where it is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hubbub.app import engine_specs
from hubbub.cli.engine_tune_file import check_room, target_of, write
from hubbub.core.errors import ConfigError
from hubbub.core.types import EngineId
from hubbub.engines.catalog import KINDS
from hubbub.engines.kinds import EngineSpec, Kind, fewer_threads
from hubbub.engines.llamacpp import LlamaCppOptions
from hubbub.engines.llamacpp_layout import KvShape, Wishes, lay_out
from hubbub.engines.tuning import check_tunable, choices, present, with_values
from hubbub.settings import Loaded, load

SHAPE = KvShape(window=8192, values=11_520, weight_bytes=100 << 20)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
@pytest.mark.parametrize("cores", [1, 2, 8, 64])
def test_every_value_worth_trying_is_one_its_options_take(kind: Kind, cores: int) -> None:
    for tunable in kind.tunables:
        for value in tunable.values(cores):
            made = kind.options(**{tunable.name: value})
            assert made != kind.options()
    assert set(kind.meanwhile(0)) <= {field.name for field in dataclasses.fields(kind.options)}


def test_threads_are_fewer_than_the_cores() -> None:
    assert [list(fewer_threads(cores)) for cores in (1, 2, 3, 8)] == [[], [1], [2, 1], [7, 4]]


def spec(kind: str, **more: object) -> EngineSpec:
    return dataclasses.replace(EngineSpec(EngineId("e"), kind, Path()), **more)  # type: ignore[arg-type]


def test_the_defaults_are_the_tunables_alone_and_the_rest_as_it_is_set() -> None:
    asked = spec("llamacpp", options=LlamaCppOptions(threads=3, kv_type="q8_0"))
    assert present(asked) == {"threads": 3}
    plain = with_values(asked, {}, "base").options
    assert (plain.threads, plain.kv_type) == (0, "q8_0")
    assert plain.kv_tokens > 0  # room for two side by side
    tried = with_values(asked, {"threads": 1}, "other")
    assert (tried.id, tried.options.threads) == ("other", 1)
    many = with_values(spec("llamacpp", chats=200), {}, "base").options
    assert lay_out(SHAPE, Wishes(chats=200, kv_tokens=many.kv_tokens), free=8 << 30).slots == 200
    given = spec("llamacpp", options=LlamaCppOptions(kv_tokens=9000))
    assert with_values(given, {}, "base").options.kv_tokens == 9000


def test_choices_are_for_this_many_cores() -> None:
    assert ("threads", (1,)) in list(choices(spec("openvino"), cores=2))
    assert "threads" not in dict(choices(spec("openvino"), cores=1))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (spec("openai", url="http://far:1"), "runs at http://far:1"),
        (spec("vllm", url="http://far:1"), "runs at http://far:1"),
        (spec("ollama"), "those that can be tuned are openvino"),
    ],
)
def test_what_cannot_be_tuned_is_told(asked: EngineSpec, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_tunable(asked)


def written(folder: Path, text: str, setting: dict[str, object], name: str = "", engine: str = "") -> str:
    path = folder / "hubbub.toml"
    path.write_text(text)
    loaded = read(path)
    target = target_of(loaded.settings, engine_specs(loaded.settings, folder), name, engine, "")
    check_room(path, target)
    write(path, target, setting)
    read(path)
    assert [file.name for file in folder.iterdir()] == ["hubbub.toml"]
    return path.read_text()


def read(path: Path) -> Loaded:
    return load({}, file=path, environ={})


def test_the_embedded_engine_has_a_section_of_its_own(tmp_path: Path) -> None:
    text = "# mine\n[server]\nport = 1 # not 8000\n\n[openvino]\nthreads = 2 # too many\n"
    assert written(tmp_path, text, {"batched_tokens": 512}) == (
        "# mine\n[server]\nport = 1 # not 8000\n\n[openvino]\nthreads = 0 # too many\nbatched_tokens = 512\n"
    )


def test_a_named_engine_has_its_options(tmp_path: Path) -> None:
    text = '[engines.a]\nkind = "llamacpp" # fast\n\n[engines.b]\nkind = "vllm"\n[engines.b.options]\neager = true\n'
    after = written(tmp_path, text, {"threads": 1}, name="b")
    assert after == text + "threads = 1\n"
    after = written(tmp_path, text, {"threads": 1}, engine="llamacpp")
    assert "# fast" in after
    assert read(tmp_path / "hubbub.toml").settings.engines["a"].options.threads == 1


def test_the_one_engine_becomes_a_named_one_where_it_needs_options(tmp_path: Path) -> None:
    text = '[engine]\nkind = "simulated" # for now\nmodel = "m"\nflags = "--echo"\n'
    after = written(tmp_path, text, {"step_ms": 7.5})
    table = read(tmp_path / "hubbub.toml").settings.engines["simulated"]
    assert (table.model, table.options.flags, table.options.step_ms) == ("m", "--echo", 7.5)
    assert "# for now" in after
    assert "[engine]" not in after


@pytest.mark.parametrize(
    ("text", "asked", "says"),
    [
        ('[engines.a]\nkind = "vllm"\n', ("b", "", ""), "there is no engine 'b': hubbub.toml has a"),
        ('[engines.a]\nkind = "vllm"\n', ("", "llamacpp", ""), "none of them is that"),
        ('[engines.a]\nkind = "vllm"\n[engines.b]\nkind = "vllm"\n', ("", "", ""), "more than one fits"),
        ('[engine]\nkind = "simulated"\n', ("main", "", ""), "there is no engine 'main'"),
    ],
)
def test_an_engine_that_is_not_there_is_told(tmp_path: Path, text: str, asked: tuple[str, str, str], says: str) -> None:
    (tmp_path / "hubbub.toml").write_text(text)
    settings = read(tmp_path / "hubbub.toml").settings
    with pytest.raises(ConfigError, match=says):
        target_of(settings, engine_specs(settings, tmp_path), *asked)


def test_another_engine_than_the_files_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "hubbub.toml"
    path.write_text('[engine]\nkind = "openvino"\nmodel = "x.gguf"\n')
    settings = load({"engine.kind": "simulated"}, file=path, environ={}).settings
    target = target_of(settings, engine_specs(settings, tmp_path), "", "simulated", "")
    with pytest.raises(ConfigError, match="another engine than the one to tune"):
        check_room(path, target)
