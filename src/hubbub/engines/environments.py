"""Engines' own Python environments: made by ``hubbub engine install``, used by the kinds that launch such an engine.

An engine's pins (torch above all) never meet Hubbub's. One recipe a variant: a lock file in ``locks/`` of versions that
were seen to work together, installed without resolving anything anew. But for a CPU's torch: that comes first, with
what it needs and by pip, whose configuration says from where a build without CUDA can be had.

On disk, under one folder (``[server] environments``)::

    vllm/cpu-3f2a91c07d5e/          the environment; its name is the variant and the hash of its pins
    vllm/current.json               the one in use: written last, replaced whole
    vllm/lock                       held by who installs

An install that broke off is taken up where it stopped, since the folder's name is the same; the one in use is left
alone until another is complete. ``current.json`` names a folder only once all of its pins are there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hubbub.core.errors import ConfigError, EngineError, NotFound
from hubbub.engines.recipes import Recipe, Step
from hubbub.user_path import user_path

CURRENT, LOCK, AGAIN = "current.json", "lock", "-again"
VERIFY = """
import importlib.metadata, sys
for pin in sys.argv[1:]:
    name, _, version = pin.partition("==")
    found = importlib.metadata.version(name.partition(" ")[0]).partition("+")[0]
    if version and found != version.partition("+")[0]:
        sys.exit(f"{name} is {found}, not {version}")
"""
"""Run in the environment, so that nothing of it is imported here. A local part, such as +cpu, may differ; a pin by
address has no version."""
PULSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Environment:
    """One that is complete. ``folder`` is its venv."""

    engine: str
    variant: str
    version: str
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Installer:
    """``uv``: the program, empty for pip. ``indexes``: package indexes beside the configured one."""

    uv: str = ""
    indexes: tuple[str, ...] = ()

    @staticmethod
    def choose(tool: str = "auto", indexes: tuple[str, ...] = ()) -> Installer:
        """uv where it is on the PATH, unless pip is asked for. Raises ConfigError."""
        found = shutil.which("uv") or ""
        if tool not in ("auto", "uv", "pip"):
            raise ConfigError(f"--with is {tool!r}: it can be auto, uv or pip", param="with")
        if tool == "uv" and not found:
            raise ConfigError("--with uv: uv is not on the PATH; install it, or take --with pip", param="with")
        return Installer("" if tool == "pip" else found, indexes)

    def make(self, python: str, folder: Path) -> list[str]:
        if self.uv:
            return [self.uv, "venv", "--seed", "--allow-existing", "--python", python, str(folder)]
        return [python, "-m", "venv", str(folder)]

    def install(self, folder: Path, step: Step) -> list[str]:
        python = str(folder / "bin" / "python")
        if self.uv and not step.by_pip:
            command = [self.uv, "pip", "install", "--python", python, "--index-strategy", "unsafe-best-match"]
            if os.environ.get("PYTHONDONTWRITEBYTECODE"):  # else each start compiles all anew; pip compiles by itself
                command.append("--compile-bytecode")
        else:
            command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
        extra = [word for index in self.indexes for word in ("--extra-index-url", index)]
        return [*command, *extra, *step.arguments]


def installed(engine: str, home: Path) -> Environment | None:
    """The environment in use; None where there is none, or its files are gone."""
    try:
        said = json.loads((_root(engine, home) / CURRENT).read_text("utf-8"))
        found = Environment(engine, said["variant"], said["version"], _root(engine, home) / said["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.python.exists() else None


def _root(engine: str, home: Path) -> Path:
    return user_path(home, "server.environments").absolute() / engine


def environment_of(engine: str, home: Path) -> Environment:
    """Raises NotFound with the command that makes it."""
    found = installed(engine, home)
    if found is None:
        raise NotFound(
            f"engine {engine} has no environment in {_root(engine, home).parent}: "
            f"make it with `hubbub engine install {engine}`",
            param="kind",
        )
    return found


@dataclass(frozen=True, slots=True)
class Plan:
    """What an install will do. ``done``: it is there already. ``resumed``: part of it is."""

    recipe: Recipe
    python: str
    folder: Path
    done: bool
    resumed: bool

    @property
    def words(self) -> str:
        recipe = self.recipe
        return (
            f"{recipe.engine} {recipe.version} for {recipe.variant}: about {recipe.download_gb:g} GB to download, "
            f"{recipe.disk_gb:g} GB in {self.folder}"
        )


def plan(recipe: Recipe, home: Path, *, force: bool = False) -> Plan:
    """Raises ConfigError: no Python that fits, a full disk."""
    name = f"{recipe.variant}-{recipe.digest}"
    root = _root(recipe.engine, home)
    current = installed(recipe.engine, home)
    used = current.folder.name if current is not None else ""
    done = used.removesuffix(AGAIN) == name and not force
    if used.removesuffix(AGAIN) == name and (used == name) == force:
        name += AGAIN  # the one that is used, or the name it leaves free
    folder = root / name
    made = Plan(recipe, recipe.python(), folder, done, folder.is_dir() and not done and not force)
    if not done:
        _check_disk(made, root)
    return made


def _check_disk(made: Plan, home: Path) -> None:
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < made.recipe.disk_gb * 1e9:
        raise ConfigError(
            f"{made.words}: only {free / 1e9:.1f} GB are free there; free some, or set "
            "[server] environments to a folder on another disk",
            param="server.environments",
        )


def install(made: Plan, installer: Installer, tell: Callable[[str], None]) -> Environment:
    """Blocks for minutes; said again after a failure, it goes on where it stopped. ``tell`` gets a line for each step.

    Raises EngineError, with the installer's last words, and ConfigError (another one runs)."""
    recipe, folder = made.recipe, made.folder
    root = folder.parent
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        before = installed(recipe.engine, root.parent)
        if folder.exists() and not made.resumed:
            shutil.rmtree(folder)
        tell(f"making {folder}")
        _run(installer.make(made.python, folder), tell)
        for number, step in enumerate(recipe.steps, 1):
            tell(f"step {number} of {len(recipe.steps)}: {step.words}")
            with pulse(tell):
                _run(installer.install(folder, step), tell, step.env)
        _verify(recipe, folder)
        found = Environment(recipe.engine, recipe.variant, recipe.version, folder)
        _point(root, found)
        for old in {path for path in root.iterdir() if path.is_dir()} - {folder}:
            # A server that runs from it keeps what it has open, and the next start takes the new one.
            if before is None or old != before.folder:
                shutil.rmtree(old, ignore_errors=True)
        tell(f"{recipe.engine} {recipe.version} is ready in {folder}")
        return found


def remove(engine: str, home: Path) -> bool:
    """Whether there was anything to remove. Raises ConfigError while it is being installed."""
    root = _root(engine, home)
    if not root.is_dir():
        return False
    with _alone(root):
        (root / CURRENT).unlink(missing_ok=True)
        for path in root.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
    return True


def _point(root: Path, found: Environment) -> None:
    said = asdict(found) | {"folder": found.folder.name}
    unfinished = root / (CURRENT + ".part")
    unfinished.write_text(json.dumps(said, indent=1), "utf-8")
    unfinished.replace(root / CURRENT)


def _verify(recipe: Recipe, folder: Path) -> None:
    done = subprocess.run(
        [folder / "bin" / "python", "-c", VERIFY, *recipe.pins],
        capture_output=True,
        text=True,
        env=_clean(),
        check=False,
    )
    if done.returncode != 0:
        words = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        raise EngineError(f"{folder} is not what its recipe says: {words}; try again with --force")


@contextmanager
def pulse(tell: Callable[[str], None], every_s: float = PULSE_S) -> Iterator[None]:
    """A line now and then while it lasts: an installer that compiles says nothing for minutes."""
    over, began = threading.Event(), time.monotonic()

    def beat() -> None:
        while not over.wait(every_s):
            tell(f"still at work, {(time.monotonic() - began) / 60:.0f} min")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _run(command: list[str], tell: Callable[[str], None], env: Mapping[str, str] | None = None) -> None:
    last: list[str] = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**_clean(), **(env or {})},
    ) as process:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        for line in process.stdout:
            if words := line.strip():
                tell(words)
                last = [*last[-5:], words]
    if process.returncode != 0:
        raise EngineError(
            f"{' '.join(command[:4])} ... ended with exit code {process.returncode}:\n" + "\n".join(last) + "\n"
            "say it again to go on from here"
        )


def _clean() -> dict[str, str]:
    """The environment without what would point a venv's Python at another one's packages."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    import fcntl

    with (root / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another install works in {root}; wait for it", param="engine") from None
        yield
