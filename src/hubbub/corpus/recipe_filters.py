"""Reading ``[filters]``."""

from __future__ import annotations

import re
from pathlib import Path

from hubbub.corpus.guests import NO_FILES, TOO_SLOW, slow
from hubbub.corpus.problems import Table
from hubbub.corpus.quality.custom import CustomFault, load_filter
from hubbub.corpus.recipe import Bounds, Cut, Filters


def read_filters(table: Table, folder: Path) -> Filters:
    """``folder``: where the names of files with custom filters start."""
    base = Filters()
    for key in ("forbid", "require"):
        for pattern in table.texts(key):
            try:
                re.compile(pattern)
            except re.error as error:
                table.wrong(key, f"{pattern!r} is no regular expression: {error}")
            if table.notes.guest and slow(pattern):
                table.wrong(key, f"{pattern!r} {TOO_SLOW}")
    if table.notes.guest and "custom" in table:
        table.wrong("custom", f"{NO_FILES}; leave it out, or run the recipe with `hubbub corpus run`")
    for name in () if table.notes.guest else table.texts("custom"):
        try:
            load_filter(name, folder)
        except CustomFault as fault:
            table.wrong("custom", str(fault))
    made = Filters(
        chars=_bounds(table, "chars"),
        words=_bounds(table, "words"),
        tokens=_bounds(table, "tokens"),
        language=table.flag("language", base.language),
        language_column=table.text("language_column"),
        language_min_chars=table.whole("language_min_chars", base.language_min_chars, low=0),
        script=table.flag("script", base.script),
        latin_share=table.number("latin_share", base.latin_share, low=0.0, high=1.0),
        repetition=table.number("repetition", base.repetition, low=0.0, high=1.0),
        line_repeats=table.number("line_repeats", base.line_repeats, low=0.0, high=1.0),
        refusals=table.flag("refusals", base.refusals),
        leaks=table.flag("leaks", base.leaks),
        echo=table.flag("echo", base.echo),
        cut=Cut(table.one_of("cut", Cut, base.cut)),
        forbid=table.texts("forbid"),
        require=table.texts("require"),
        custom=table.texts("custom"),
        stop_after=table.whole("stop_after", base.stop_after, low=10),
    )
    table.done()
    return made


def _bounds(table: Table, key: str) -> Bounds:
    """``[least, most]``, or a table with min and max."""
    given = table.raw(key)
    if given is None:
        return Bounds()
    if isinstance(given, dict):
        inner = table.table(key)
        low, high = inner.whole("min", None, low=0), inner.whole("max", None, low=1)
        inner.done()
    elif isinstance(given, list) and len(given) == 2 and all(type(end) is int and end >= 0 for end in given):
        low, high = given
    else:
        table.wrong(key, f"must be [least, most] or a table with min and max, is {given!r}")
        return Bounds()
    if low is not None and high is not None and low > high:
        table.wrong(key, f"no text is at least {low} and at most {high} long")
    return Bounds(low, high)
