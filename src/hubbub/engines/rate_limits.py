"""What a hosted API says of its rate limits, in the headers of every answer. Pure.

Four ways to say it are known:

- OpenAI's (also Groq, Azure, vLLM-based hosts): ``x-ratelimit-{limit,remaining,reset}-{requests,tokens}``. A reset is a
  duration (``1s``, ``6m0s``, ``12ms``): the time until the allowance is whole again. It refills all the time.
- ``ratelimit-limit``, ``-remaining``, ``-reset`` (IETF draft up to 02; with ``x-`` in front: OpenRouter, GitHub). The
  allowance comes back all at once, in ``reset`` seconds, or at that Unix time (seconds or milliseconds).
- ``ratelimit: limit=100, remaining=50, reset=5`` (drafts 03 to 07), with ``ratelimit-policy: 100;w=60``.
- ``ratelimit: "default";r=50;t=5`` with ``ratelimit-policy: "default";q=100;w=60`` (drafts since 08; Hugging Face).

``retry-after-ms`` and ``retry-after`` say how long to keep away.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from hubbub.engines.remote_errors import retry_seconds

Header = Callable[[str], str | None]
"""A header by its name, in any case; None where there is none."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms]?)", re.ASCII)
_UNITS = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_UNIX_S, _UNIX_MS = 1e9, 1e12
"""A reset of at least so much is a time, not a duration."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """``limit`` and ``remaining``: requests or tokens. ``reset_s``: until it is whole again. ``refills``: bit by bit
    until then, not all at once at its end. ``period_s``: how long a window lasts; 0: not told."""

    limit: float
    remaining: float
    reset_s: float
    refills: bool
    period_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """What one answer says. ``retry_s``: None where it says nothing."""

    requests: Allowance | None = None
    tokens: Allowance | None = None
    retry_s: float | None = None


def read(header: Header, wall: float) -> Told:
    """What cannot be understood is as if it were not said. ``wall``: Unix seconds."""
    requests = _openai(header, "requests") or _ietf(header, wall)
    return Told(requests, _openai(header, "tokens"), _retry(header))


def duration(text: str) -> float | None:
    """Seconds of ``6m0s``, ``12ms``, ``1.5s`` or a bare number; None for anything else."""
    parts, end = [], 0
    for match in _DURATION.finditer(text.strip()):
        if match.start() != end:
            return None
        end = match.end()
        parts.append(float(match[1]) * _UNITS[match[2]])
    return sum(parts) if parts and end == len(text.strip()) else None


def _openai(header: Header, what: str) -> Allowance | None:
    limit, remaining = (_number(header(f"x-ratelimit-{word}-{what}")) for word in ("limit", "remaining"))
    if not limit or remaining is None:
        return None
    return Allowance(limit, min(limit, remaining), duration(header(f"x-ratelimit-reset-{what}") or "") or 0.0, True)


def _ietf(header: Header, wall: float) -> Allowance | None:
    policy = _fields(header("ratelimit-policy") or "")
    told = _fields(header("ratelimit") or header("x-ratelimit") or "")
    limit = told.get("limit") or policy.get("q") or policy.get("")
    remaining, reset = told.get("remaining", told.get("r")), told.get("reset", told.get("t"))
    for prefix in ("ratelimit", "x-ratelimit"):
        if remaining is None:
            named = _fields(header(f"{prefix}-limit") or "")
            limit, remaining = limit or named.get(""), _number(header(f"{prefix}-remaining"))
            policy = policy or named
            reset = _number(header(f"{prefix}-reset"))
    if not limit or remaining is None or reset is None:
        return None
    if reset >= _UNIX_S:
        reset = max(0.0, (reset / 1e3 if reset >= _UNIX_MS else reset) - wall)
    return Allowance(limit, min(limit, remaining), reset, False, policy.get("w", 0.0))


def _retry(header: Header) -> float | None:
    milliseconds = _number(header("retry-after-ms"))
    return milliseconds / 1e3 if milliseconds is not None else retry_seconds(header("retry-after"))


def _number(text: str | None) -> float | None:
    """The number a field begins with: ``100, 100;w=60`` is 100."""
    match = _NUMBER.match((text or "").strip())
    return float(match[0]) if match else None


def _fields(text: str) -> dict[str, float]:
    """Numbers by name of ``limit=100, reset=5``, ``"default";q=100;w=60`` or ``100, 100;w=60`` (the bare number has
    the empty name). Of several policies the first counts."""
    found: dict[str, float] = {}
    for part in re.split(r"[,;]", text):
        name, equals, value = part.strip().partition("=")
        number = _number(value if equals else name)
        if number is not None:
            found.setdefault(name.strip().lower() if equals else "", number)
    return found
