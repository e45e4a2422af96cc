"""Write the pages of docs/ that are made from the code (cli, settings, errors, metrics). ``--check`` compares."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import os
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

WIDTH = "100"
os.environ.update(COLUMNS=WIDTH, TERMINAL_WIDTH=WIDTH, NO_COLOR="1")  # read when the help formatters are imported

from typer.testing import CliRunner  # noqa: E402

from hubbub.cli.main import app  # noqa: E402
from hubbub.core import errors  # noqa: E402
from hubbub.engines.catalog import KINDS  # noqa: E402
from hubbub.engines.config import EngineTable  # noqa: E402
from hubbub.engines.simulated_server import parse_options  # noqa: E402
from hubbub.runtime.telemetry import METRICS, SECONDS  # noqa: E402
from hubbub.settings import PREFIX, keys  # noqa: E402

DOCS = Path(__file__).parent.parent / "docs"
NOTE = "<!-- Made by scripts/docs.py (make docs). Do not edit. -->\n\n"
COMMANDS = (
    (),
    ("serve",),
    ("demo",),
    ("doctor",),
    ("engine",),
    *(("engine", n) for n in ("list", "check", "install", "uninstall", "drain", "restart", "simulate")),
    ("store",),
    ("store", "verify"),
    ("store", "stats"),
    ("chats",),
    ("chats", "import"),
    ("chats", "export"),
    ("keys",),
    *(("keys", name) for name in ("create", "list", "show", "revoke", "users", "weight")),
    ("corpus",),
    *(("corpus", name) for name in ("preview", "run", "export")),
    ("config",),
    ("config", "show"),
    ("version",),
)


def cli() -> str:
    parts = [
        "# Command line\n\nExit codes: 0 good; 1 the command's own bad news; 2 wrong use or a fault; 130 Ctrl-C.\n"
    ]
    parts += [f"## {' '.join(('hubbub', *path))}\n\n```\n{_help(path)}\n```\n" for path in COMMANDS]
    return "\n".join(parts)


def _help(path: tuple[str, ...]) -> str:
    if path == ("engine", "simulate"):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            parse_options(["--help"])
        text = out.getvalue()
    else:
        shown = CliRunner().invoke(app, [*path, "--help"], prog_name="hubbub", terminal_width=int(WIDTH))
        if shown.exit_code != 0:
            raise RuntimeError(f"hubbub {' '.join(path)} --help failed: {shown.output}")
        text = shown.output
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def settings() -> str:
    lines = [
        "# Settings\n",
        "Default < `hubbub.toml` < environment < flag. `hubbub config show` tells what holds and why.",
        f"A section is a table: `[server]`, `port = 8000`. In the environment: `{PREFIX}SERVER_PORT=8000`.\n",
    ]
    section = ""
    for key, entry in keys():
        if key.partition(".")[0] != section:
            section = key.partition(".")[0]
            lines += [f"\n## [{section}]\n", "| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        lines.append(_row(key, entry))
    return "\n".join(lines) + "\n" + engines()


def engines() -> str:
    """The tables of ``[engines.NAME]``."""
    heads = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    lines = [
        "\n\n## [engines.NAME]\n",
        "Several engines, of one model or of several, in place of `[engine]` and `[openvino]`: see [pools](pools.md).",
        "In the file alone; where a flag or the environment names an engine, that one is served instead.\n",
        *heads,
    ]
    lines += [_row(f"engines.NAME.{e.name}", e) for e in dataclasses.fields(EngineTable) if e.name != "options"]
    for kind in KINDS.values():
        lines += [f"\n### [engines.NAME.options] of the kind {kind.name}\n", f"{kind.summary}.\n", *heads]
        lines += [_row(f"engines.NAME.options.{entry.name}", entry) for entry in dataclasses.fields(kind.options)]
    return "\n".join(lines) + "\n"


def _row(key: str, entry: dataclasses.Field[Any]) -> str:
    told = entry.metadata.get("help", "")
    return f"| `{key}` | {_cell(_type(entry))} | {_cell(_default(entry))} | {_cell(told)} |"


def _type(entry: dataclasses.Field[Any]) -> str:
    if isinstance(entry.default, Enum):
        return ", ".join(str(member.value) for member in type(entry.default))
    return entry.type if isinstance(entry.type, str) else getattr(entry.type, "__name__", str(entry.type))


def _default(entry: dataclasses.Field[Any]) -> str:
    value = entry.default
    if value is dataclasses.MISSING and entry.default_factory is not dataclasses.MISSING:
        value = entry.default_factory()
    if value is None or value == "":
        return "none"
    return f"`{getattr(value, 'value', value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def error_codes() -> str:
    lines = [
        "# Errors\n",
        'Every error has the OpenAI shape, `{"error": {"message", "type", "param", "code"}}`; on a stream that has',
        "begun it is an event. `code` is stable. A retry can help where it says so; `Retry-After` says when.\n",
        "| code | status | retry | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for kind in errors.kinds():
        meaning = " ".join((kind.__doc__ or "").split())
        lines.append(f"| `{kind.code}` | {kind.http_status} | {'yes' if kind.retryable else 'no'} | {_cell(meaning)} |")
    return "\n".join(lines) + "\n"


def metrics() -> str:
    lines = [
        "# Metrics\n",
        "`GET /metrics`, in the text format of Prometheus. Bounds of histograms, in seconds: "
        + ", ".join(f"{bound:g}" for bound in SECONDS)
        + ".\n",
        "| name | kind | meaning |",
        "| --- | --- | --- |",
    ]
    lines += [f"| `{metric.name}` | {metric.kind} | {_cell(metric.help)} |" for metric in METRICS]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli,
    "settings.md": settings,
    "errors.md": error_codes,
    "metrics.md": metrics,
}


def main(arguments: list[str]) -> int:
    check, stale = "--check" in arguments, 0
    for name, page in PAGES.items():
        path, text = DOCS / name, NOTE + page()
        before = path.read_text() if path.exists() else ""
        if before == text:
            continue
        if check:
            stale += 1
            diff = difflib.unified_diff(before.splitlines(), text.splitlines(), f"docs/{name}", "the code", lineterm="")
            print("\n".join(diff))
        else:
            path.write_text(text)
            print(f"wrote docs/{name}")
    if stale:
        print(f"{stale} pages of docs/ are not what the code says; run: make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
