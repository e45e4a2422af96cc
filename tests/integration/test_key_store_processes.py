"""Several processes, one file of keys."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from hubbub.store.keys_sqlite import SqliteKeyStore


async def test_processes_that_make_the_file_together_all_succeed(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys, pathlib\n"
        "from hubbub.store.keys_sqlite import SqliteKeyStore\n"
        "from hubbub.core.keys import User\n"
        "async def main():\n"
        "    store = await SqliteKeyStore.open(pathlib.Path(sys.argv[1]), busy_timeout_s=30)\n"
        "    await store.save_user(User(sys.argv[2]))\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    path = tmp_path / "keys.db"
    names = ["a", "b", "c", "d"]
    started = [await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path), name) for name in names]
    assert [await process.wait() for process in started] == [0] * 4
    store = await SqliteKeyStore.open(path)
    assert [user.id for user in await store.users()] == names
    await store.close()
