"""Plans asked for in JSON: what ``/v1/plan`` takes. A field of the wrong type or value is an error that names it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubbub.core.errors import BadRequest
from hubbub.planner import compare, corpus, recommend
from hubbub.planner.api import setup_here
from hubbub.planner.chats import Targets, chat_report, curve, memory_report
from hubbub.planner.choices import choices
from hubbub.planner.detect import best_kept, cpu_name, detect
from hubbub.planner.folder import calibration_folder
from hubbub.planner.hardware import Machine, make_machine
from hubbub.planner.setup import Setup, make_setup
from hubbub.planner.simulate import Chats
from hubbub.planner.units import parse_bytes, parse_count, parse_positive

KINDS = ("memory", "chats", "corpus", "scenarios", "compare", "recommend", "choices")
KNOWN = frozenset(
    """kind model hardware quant kv engine engine_version gpus tp max_num_seqs context chats think question answer turns
    ttft itl bytes lang record prompt shared pack accept bytes_per_token beside machines models engines quants days
    curve search""".split()  # noqa: SIM905 - a column of names reads best
)
MOST_NAMES = 64
"""Machines or models in one comparison."""


class Asked:
    """The body of a request, read by field. All getters raise BadRequest; null is as good as absent."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        unknown = sorted(set(body) - KNOWN)
        if unknown:
            raise BadRequest(f"{unknown[0]}: not an option of a plan", param=unknown[0])
        self._body = {key: value for key, value in body.items() if value is not None}

    def has(self, field: str) -> bool:
        return self._body.get(field) not in (None, "", 0, [], False)

    def text(self, field: str, default: str = "") -> str:
        value = self._body.get(field, default)
        if not isinstance(value, str):
            raise _wrong(field, "a text", value)
        return value

    def flag(self, field: str, *, default: bool) -> bool:
        value = self._body.get(field, default)
        if not isinstance(value, bool):
            raise _wrong(field, "true or false", value)
        return value

    def number(self, field: str, default: float, *, zero: bool = False) -> float:
        value = self._body.get(field, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(field, "a number", value)
        return parse_positive(_finite(field, value), field, zero=zero)

    def count(self, field: str, default: int, *, least: int = 1, most: int = 1_000_000_000) -> int:
        """A number, or a text such as '8k'."""
        return parse_count(self._size(field, default), field, least=least, most=most)

    def size(self, field: str, default: str) -> int:
        """Bytes."""
        return parse_bytes(self._size(field, default), field)

    def names(self, field: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of texts, or one text with commas."""
        value = self._body.get(field) or default
        found = value.split(",") if isinstance(value, str) else value
        if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
            raise _wrong(field, "a list of texts", value)
        if len(found) > MOST_NAMES:
            raise BadRequest(f"{field}: at most {MOST_NAMES} at once, got {len(found)}", param=field)
        return tuple(name.strip() for name in found if name.strip()) or default

    def _size(self, field: str, default: str | float) -> str | float:
        value = self._body.get(field, default)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise _wrong(field, "a number or a text", value)
        return value if isinstance(value, str) else _finite(field, value)


def _finite(field: str, value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadRequest(f"{field}: must be a finite number", param=field)
    return number


def _wrong(field: str, wanted: str, value: object) -> BadRequest:
    return BadRequest(f"{field}: must be {wanted}, got {str(value)[:80]!r}", param=field)


def plan_request(body: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """A plan from JSON: ``kind`` and the options of the command of that name, spelt as its long flags with ``_``.

    ``folder``: of this machine's calibrations. Raises BadRequest, NotFound or ContextTooLong, naming the field.
    """
    asked, folder = Asked(body), folder or calibration_folder()
    kind = asked.text("kind", "memory")
    if kind == "memory":
        return memory_report(_setup(asked, folder), _context(asked))
    if kind == "chats":
        setup, people = _setup(asked, folder), _chats(asked)
        plan = chat_report(setup, people, _targets(asked), search=asked.flag("search", default=True))
        return plan | ({"curve": curve(setup, people)} if asked.flag("curve", default=False) else {})
    if kind == "corpus":
        beside = asked.count("beside", 0, least=0, most=100_000)
        return corpus.corpus_report(_setup(asked, folder), _job(asked), beside=Chats(beside) if beside else None)
    if kind == "scenarios":
        return corpus.scenarios(asked.size("bytes", "1GB"), asked.text("lang", "ru"))
    if kind == "choices":
        return choices()
    if kind == "compare":
        return _compare(asked)
    if kind == "recommend":
        return _recommend(asked, folder)
    raise BadRequest(f"kind: unknown plan {kind!r}; known are {', '.join(KINDS)}", param="kind")


def _compare(asked: Asked) -> dict[str, Any]:
    ask = compare.Ask(_job(asked), _chats(asked) if asked.has("chats") else None, _targets(asked))
    return compare.compare(
        ask,
        asked.names("machines", compare.DEFAULT_MACHINES),
        asked.names("models", compare.DEFAULT_MODELS),
        engines=asked.names("engines", ("",)),
        quants=asked.names("quants", ("",)),
    )


def _recommend(asked: Asked, folder: Path) -> dict[str, Any]:
    wish = recommend.Wish(
        _chats(asked) if asked.has("chats") or not asked.has("bytes") else None,
        _job(asked) if asked.has("bytes") else None,
        _targets(asked),
        asked.number("days", 7) * 86400,
    )
    if asked.has("models"):
        wish = replace(wish, models=asked.names("models", ()))
    return recommend.recommend(_machine(asked, folder), wish)


def _machine(asked: Asked, folder: Path) -> Machine:
    if asked.has("hardware"):
        return make_machine(asked.text("hardware"), asked.count("gpus", 1, most=4096))
    return detect(_unmeasured(folder), folder).machine


def _unmeasured(folder: Path) -> bool:
    """Whether this CPU was never timed: a server that is busy does not do it again for each plan."""
    return best_kept(folder, cpu_name()) == (0.0, 0.0)


def _setup(asked: Asked, folder: Path) -> Setup:
    options: dict[str, Any] = {name: asked.text(name) for name in ("quant", "kv", "engine", "engine_version")}
    options["max_sequences"] = asked.count("max_num_seqs", 0, least=0, most=4096)
    options["context"] = _context(asked) if asked.has("context") else 0
    model = asked.text("model") or "Qwen2.5-7B"
    if not asked.has("hardware"):
        return setup_here(model, measure=_unmeasured(folder), folder=folder, **options)
    gpus, tp = asked.count("gpus", 1, most=4096), asked.count("tp", 0, least=0)
    return make_setup(model, asked.text("hardware"), gpus=gpus, tp=tp, **options)


def _context(asked: Asked) -> int:
    return asked.count("context", 4096)


def _chats(asked: Asked) -> Chats:
    return Chats(
        asked.count("chats", 200, most=100_000),
        asked.number("think", 20, zero=True),
        asked.number("question", 60),
        asked.number("answer", 250),
        turns=asked.number("turns", 12),
        context=_context(asked),
    )


def _targets(asked: Asked) -> Targets:
    return Targets(asked.number("ttft", 2), asked.number("itl", 0.1))


def _job(asked: Asked) -> corpus.Job:
    job = corpus.Job(asked.size("bytes", "1GB"), asked.text("lang", "ru"))
    return replace(
        job,
        record=asked.number("record", job.record),
        prompt=asked.number("prompt", job.prompt, zero=True),
        shared=asked.number("shared", job.shared, zero=True),
        pack=asked.count("pack", job.pack, most=10_000),
        accept=asked.number("accept", job.accept),
        bytes_per_token=asked.number("bytes_per_token", 0.0, zero=True),
    )
