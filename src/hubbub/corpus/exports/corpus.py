"""What an export is made from, and the pass over it that makes its links valid."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hubbub.core.errors import Conflict, StorageError, StorageFull
from hubbub.corpus.items import Items
from hubbub.corpus.links import Accepted, resolve
from hubbub.corpus.recipe import Recipe
from hubbub.corpus.record import Record


@dataclass(frozen=True)
class Corpus:
    """``records`` reads the accepted records in order, each time anew. ``items`` must know the weights of every epoch
    that the run recorded. ``manifest`` is shown in the dataset card as it is."""

    records: Callable[[], Iterator[Record]]
    recipe: Recipe
    items: Items
    manifest: Mapping[str, Any]

    @cached_property
    def accepted(self) -> Accepted:
        """One pass over the records."""
        accepted = Accepted(self.recipe.texts_per_item)
        for record in self.records():
            accepted.add(record.id)
        return accepted

    def finished(self) -> Iterator[Record]:
        """The records in order, every link valid."""
        links = self.recipe.links
        for record in self.records():
            yield resolve(record, self.accepted, links.cluster, self.items.title) if links else record


@contextmanager
def whole_folder(to: Path) -> Iterator[Path]:
    """A new folder that appears at ``to`` when the block ends well, and not at all otherwise. Raises Conflict where
    something stands there, StorageError where the disk does not take it."""
    part = to.with_name(to.name + ".part")
    with _told(to):
        if to.exists() and (not to.is_dir() or any(to.iterdir())):
            raise Conflict(f"{to} is there already; name a new folder, or remove it first", param="to")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            yield part
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        if to.exists():
            to.rmdir()
        part.replace(to)


def file_at(to: Path, name: str) -> Path:
    """The file ``to``, or ``name`` in the folder that it is or is to be. Raises StorageError."""
    with _told(to):
        return to / name if to.is_dir() or not to.suffix else to


@contextmanager
def whole_file(to: Path) -> Iterator[Path]:
    """The same for one file, which takes the place of one that is there."""
    part = to.with_name(to.name + ".part")
    with _told(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _told(to: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
        raise kind(f"{to} cannot be written: {error.strerror or error}", param="to") from error
