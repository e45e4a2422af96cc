"""A process that writes to a store and says what was acknowledged, one JSON line each, until it is killed.

``PATH LIFE`` writes for ever. ``PATH limited BYTES`` writes until files may not grow past that size, then reports.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from dataclasses import replace
from pathlib import Path

from hubbub.core.errors import StorageError
from hubbub.core.types import Answer, Chat
from hubbub.ports import AnswerSaved, ChatSaved, HeadMoved, NodesAdded
from hubbub.store.sqlite import SqliteStore
from support.store_kit import NOW, a_chat, an_answer, ended, entry, nodes

CHATS = 8
ANSWER_DELTAS = 25
LIMITED_ROUNDS = 10_000


def tell(*what: object) -> None:
    # One write a line, so that a kill cuts between lines or in the last.
    os.write(1, (json.dumps(what) + "\n").encode())


async def chat_for_ever(store: SqliteStore, name: str, rounds: int) -> None:
    chat: Chat = a_chat(name)
    await store.commit(ChatSaved(chat))
    above = None
    for turn in range(rounds):
        text = f"{name} says {turn} " + "x" * (turn % 300)
        (node,) = nodes(text, below=above)
        await store.commit(NodesAdded((node,)), HeadMoved(chat.id, chat.head, node.hash, NOW + turn))
        tell("said", name, text)
        chat, above = replace(chat, head=node.hash), node


async def answer_for_ever(store: SqliteStore, life: str, lane: int, rounds: int) -> None:
    for turn in range(rounds):
        answer: Answer = an_answer(f"resp_{life}_{lane}_{turn}")
        await store.commit(AnswerSaved(answer))
        for index in range(ANSWER_DELTAS):
            await store.append([entry(answer.id, index, f"{index} ")])
            tell("journal", answer.id, index + 1)
        if turn % 3:
            await store.commit(AnswerSaved(ended(answer)))
            tell("ended", answer.id)


async def main(path: Path, life: str, limit: int | None) -> None:
    store = await SqliteStore.open(path)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    rounds = sys.maxsize if limit is None else LIMITED_ROUNDS
    try:
        async with asyncio.TaskGroup() as tasks:
            for lane in range(CHATS):
                tasks.create_task(chat_for_ever(store, f"conv_{life}_{lane}", rounds))
                tasks.create_task(answer_for_ever(store, life, lane, rounds))
    except* StorageError as refused:
        tell("refused", *{repr(error) for error in refused.exceptions})
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await store.commit(ChatSaved(a_chat("conv_again")))
        tell("again")
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None))
