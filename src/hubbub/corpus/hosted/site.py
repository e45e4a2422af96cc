"""A run's hypertext as static pages, made when somebody asks for them and made anew when there is more."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from hubbub.core.corpora import CorpusOrder
from hubbub.core.errors import Conflict, NotFound
from hubbub.corpus.exports import export
from hubbub.corpus.hosted.worked import guest_recipe
from hubbub.corpus.reading import NotBegun, Reading
from hubbub.corpus.session import read_corpus

FOLDER, FRESH = "site", "site.new"
INDEX = "index.html"
MOST_PAGES = 200_000
"""A file each; more than these are for ``hubbub corpus export``."""


class Sites:
    """The sites of all runs. One is made at a time."""

    def __init__(self) -> None:
        self._making = asyncio.Lock()

    async def page(self, order: CorpusOrder, folder: Path, path: str) -> Path:
        """The file of a page. Raises NotFound, Conflict for a run that is too large, StorageError, StorageFull."""
        async with self._making:
            site = await asyncio.to_thread(_site, order, folder)
        return await asyncio.to_thread(_file, site, path or INDEX)


def _file(site: Path, path: str) -> Path:
    found = (site / path).resolve()
    if not found.is_relative_to(site.resolve()) or not found.is_file():
        raise NotFound(f"there is no page {path[:200]!r}", param="path")
    return found


def _site(order: CorpusOrder, folder: Path) -> Path:
    """Its folder is named by the records that are in it, so that what is stale shows."""
    try:
        with Reading.open(folder) as reading:
            count = reading.counters().get("records", 0)
    except NotBegun:
        count = 0
    site = folder / FOLDER / str(count)
    if site.is_dir():
        return site
    if not count:
        raise NotFound("there are no pages yet: nothing is accepted", param="path")
    if count > MOST_PAGES:
        raise Conflict(f"{count:,} pages are too many to show here: use `hubbub corpus export --format html`")
    with read_corpus(folder, guest_recipe(order.recipe, order.target, order.seed)) as corpus:
        fresh = folder / FRESH
        shutil.rmtree(fresh, ignore_errors=True)
        export(corpus, "html", fresh)
    shutil.rmtree(site.parent, ignore_errors=True)
    site.parent.mkdir()
    fresh.replace(site)
    return site
