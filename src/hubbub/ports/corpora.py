"""Runs of corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hubbub.core.corpora import CheckedRecipe, Corpus, CorpusOrder, CorpusRecords, Rejection, WorkedRecipe
from hubbub.core.types import UserId


class CorpusRuns(Protocol):
    """Corpus runs of one user each. One of another user is as if it were not there."""

    async def create(self, order: CorpusOrder) -> Corpus:
        """Durable when it returns, and begun. Raises BadRequest, Conflict, RateLimited, StorageError."""
        ...

    async def corpora(self, user: UserId) -> tuple[Corpus, ...]:
        """Newest first."""
        ...

    async def corpus(self, user: UserId, name: str) -> Corpus:
        """Raises NotFound, as all of these do."""
        ...

    async def pause(self, user: UserId, name: str) -> Corpus:
        """What is in flight ends and is kept. Raises Conflict for one that has ended, as ``stop`` does."""
        ...

    async def stop(self, user: UserId, name: str) -> Corpus: ...

    async def resume(self, user: UserId, name: str) -> Corpus:
        """Raises Conflict for one that is finished."""
        ...

    async def delete(self, user: UserId, name: str) -> None: ...

    async def records(self, user: UserId, name: str, first: int | None, limit: int) -> CorpusRecords:
        """``first``: where to begin, from 0; None: the newest. Raises StorageError."""
        ...

    async def rejected(self, user: UserId, name: str) -> tuple[Rejection, ...]:
        """The newest texts that were rejected, some of each reason."""
        ...

    async def page(self, user: UserId, name: str, path: str) -> Path:
        """A file of its hypertext; an empty ``path`` is the first page. Raises Conflict while it is being written."""
        ...


class Corpora(CorpusRuns, Protocol):
    """Corpora of all users, and the recipes that they are made from."""

    async def recipes(self) -> tuple[WorkedRecipe, ...]:
        """Those that come with Hubbub."""
        ...

    async def check(self, recipe: str, target: str, prompts: int) -> CheckedRecipe:
        """What is wrong with it, or what it is, with its first ``prompts``."""
        ...
