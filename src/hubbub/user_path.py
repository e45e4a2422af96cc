"""Paths as people write them, in options, settings and files."""

from __future__ import annotations

import os
from pathlib import Path

from hubbub.core.errors import ConfigError

SHOWN = 80
"""Characters of a path in an error."""


def user_path(text: str | os.PathLike[str], option: str) -> Path:
    """The path with its ``~`` expanded, whether it exists or not.

    Raises ConfigError naming the option where nothing can be: the home of somebody unknown, a name too long, a folder
    that must not be looked into.
    """
    given = os.fspath(text)
    try:
        path = Path(given).expanduser()
        path.exists()
    except OSError as error:
        raise ConfigError(f"{option}: {_short(given)}: {error.strerror}", param=option) from None
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"{option}: {_short(given)}: {error}", param=option) from None
    return path


def home() -> Path:
    """The folder of whoever runs this; the root where the system knows of none, as in a container run as any user."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text):,} characters)"
