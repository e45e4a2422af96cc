"""The one place that knows which store a configuration means."""

from __future__ import annotations

from hubbub.ports import Store
from hubbub.store.config import StoreConfig
from hubbub.store.memory import MemoryStore
from hubbub.store.sqlite import SqliteStore


async def open_store(config: StoreConfig) -> Store:
    """Open what ``config`` names, making it if it is not there. Raises StorageError or StorageFull with the way out."""
    if config.in_memory:
        return MemoryStore()
    return await SqliteStore.open(config.file, config)
