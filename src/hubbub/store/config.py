"""What a store can be told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from hubbub.core.errors import ConfigError
from hubbub.user_path import user_path

MEMORY = ":memory:"


class StoreKind(StrEnum):
    SQLITE = "sqlite"
    MEMORY = "memory"


class Synchronous(StrEnum):
    """When the store waits for the disk itself, which is what it takes to survive a power cut.

    ``COMMITS``: for commits, not for the journal of live answers. ``ALWAYS``: for both. ``NEVER``: for neither; all of
    them survive a kill of the process even so, and nothing can corrupt the file.
    """

    COMMITS = "commits"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where the store is and how it works. Raises ConfigError naming the field.

    ``readers``: threads, each with a connection, that answer reads. ``busy_timeout_s``: how long to wait for a lock
    that another program (a backup, the ``sqlite3`` shell) holds. ``journal_limit_bytes``: the journal of live answers
    is rewritten without what has ended when it grows past this. ``read_only``: look and check, change nothing; works
    beside a running server.
    """

    path: str = field(
        default="hubbub.db", metadata={"help": "database file, in the data folder; :memory: keeps nothing"}
    )
    kind: StoreKind = field(default=StoreKind.SQLITE, metadata={"help": "sqlite or memory"})
    synchronous: Synchronous = field(
        default=Synchronous.COMMITS, metadata={"help": "what waits for the disk: commits, always or never"}
    )
    readers: int = field(default=4, metadata={"help": "threads that answer reads"})
    busy_timeout_s: float = field(
        default=5.0, metadata={"help": "seconds to wait for a lock that another program holds"}
    )
    journal_limit_bytes: int = field(
        default=64 * 1024 * 1024, metadata={"help": "the journal of live answers is rewritten when it grows past this"}
    )
    read_only: bool = field(default=False, metadata={"help": "look and check, change nothing"})

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError("store.path is empty: name a file, or :memory: for a store that is gone at exit")
        if self.readers < 1:
            raise ConfigError(f"store.readers is {self.readers}: at least 1 is needed")
        if not self.busy_timeout_s >= 0:
            raise ConfigError(f"store.busy_timeout_s is {self.busy_timeout_s}: it cannot be negative")
        if self.journal_limit_bytes < 1:
            raise ConfigError(f"store.journal_limit_bytes is {self.journal_limit_bytes}: it must be positive")

    @property
    def in_memory(self) -> bool:
        return self.kind is StoreKind.MEMORY or self.path == MEMORY

    @property
    def file(self) -> Path:
        return user_path(self.path, "store.path")

    def within(self, folder: Path) -> StoreConfig:
        """With its file in ``folder``, unless it names a place of its own or keeps nothing."""
        return self if self.in_memory else replace(self, path=str(folder / self.path))
