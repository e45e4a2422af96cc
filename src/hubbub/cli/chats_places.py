"""Where ``hubbub chats`` works: in the data folder, or by way of a running server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hubbub.cli.chats_server import download, upload
from hubbub.cli.chats_view import progress
from hubbub.core.errors import ConfigError, StorageError
from hubbub.core.types import ChatId, UserId
from hubbub.exchange.exporting import Exporter, Format
from hubbub.exchange.importing import Importer, Report
from hubbub.runtime.clock import SystemClock
from hubbub.runtime.hub import random_id
from hubbub.settings import data_folder
from hubbub.store.open import open_store

if TYPE_CHECKING:
    from hubbub.cli.chats_folder import Target
    from hubbub.cli.engine_server import RunningServer
    from hubbub.ports import Store
    from hubbub.settings import Settings


class Place(Protocol):
    async def bring(self, paths: Sequence[Path]) -> dict[str, Any]:
        """The report, as the interface has it."""
        ...

    async def take(self, form: str, chats: tuple[str, ...], target: Target) -> None: ...


class Here:
    """The data folder itself. To bring, no server may have it open; to take, one may."""

    def __init__(self, settings: Settings, user: UserId) -> None:
        """Raises ConfigError for a store that is nowhere."""
        if settings.store.in_memory:
            raise ConfigError("store.kind is memory: such a store is in its server alone; name that with --server")
        self._settings = settings
        self._user = user

    async def bring(self, paths: Sequence[Path]) -> dict[str, Any]:
        store = await self._opened()
        report = Report()
        try:
            answering = {(answer.user, answer.chat) for answer in await store.unfinished()}
            importer = Importer(store, SystemClock(), random_id, lambda user, chat: (user, chat) in answering)
            for path in paths:
                await self._one(importer, path, report)
        finally:
            await store.close()
        return {**asdict(report), "left_out": dict(report.left_out), "passed_over": dict(report.passed_over)}

    async def _opened(self) -> Store:
        try:
            return await open_store(self._settings.store.within(data_folder(self._settings)))
        except StorageError as error:
            if "another Hubbub" not in error.message:
                raise
            raise StorageError(f"{error.message}; or bring by way of that server: --server http://host:port") from None

    async def _one(self, importer: Importer, path: Path, report: Report) -> None:
        if path.is_dir():
            with progress(path.name, None) as tell:
                await importer.bring_folder(self._user, path, report, lambda: tell(report.seen, f"{report.seen} chats"))
            return
        with path.open("rb") as source, progress(path.name, path.stat().st_size) as tell:
            await importer.bring(
                self._user, path.name, source, report, lambda: tell(source.tell(), f"{report.seen} chats")
            )

    async def take(self, form: str, chats: tuple[str, ...], target: Target) -> None:
        folder = Path(self._settings.server.data)
        if not folder.is_dir():
            raise ConfigError(f"server.data: there is no folder {folder}; name it with --data")
        store = await open_store(replace(self._settings.store.within(folder), read_only=True))
        try:
            async for piece in Exporter(store).every(self._user, Format(form), map(ChatId, chats)):
                target.write(piece.name, piece.data)
        finally:
            await store.close()


class There:
    """A running server. Whose chats is the key's."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server

    async def bring(self, paths: Sequence[Path]) -> dict[str, Any]:
        whole: dict[str, Any] = {}
        for path in paths:
            report = upload(self._server, path)
            whole = _sum(whole, report) if whole else report
        return whole

    async def take(self, form: str, chats: tuple[str, ...], target: Target) -> None:
        download(self._server, form, chats, target)


def _sum(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    whole = dict(one)
    for key, value in other.items():
        if isinstance(value, dict):
            whole[key] = {name: one[key].get(name, 0) + value.get(name, 0) for name in {**one[key], **value}}
        elif isinstance(value, int | list):
            whole[key] = one[key] + value
    return whole
