"""After a start: what the last stop interrupted goes on, or ends where it cannot.

Theory of operation. An unfinished answer has in the store all it needs to go on: its question is the path up to its
``input``, ``asked`` says how it was asked, the journal has what was said and was shown. So its run is made again, with
the same deltas under the same numbers, and the scheduler is handed it. A reader that comes back sees one stream.

What ends instead: an answer of an older Hubbub (nothing says how it was asked), and one that has lived through
``max_interruptions`` kills, as it may be what kills the server. The count is stored before the answer runs; an orderly
stop marks what it leaves behind as ``parked``, so that it does not count.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hubbub.core.errors import Interrupted
from hubbub.core.types import Answer, Asked, Delta, Node, Priority
from hubbub.ports import AnswerSaved, Change, Clock, Store
from hubbub.runtime.question import closing
from hubbub.runtime.run import interrupted

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One answer to go on with: as it is stored now, the path it was asked about, and what was said."""

    answer: Answer
    asked: Asked
    path: tuple[Node, ...]
    deltas: tuple[Delta, ...]


async def recover(store: Store, clock: Clock, max_interruptions: int) -> list[Unfinished]:
    """Those to go on with, all others are ended. First chats, then bulk; of each first those that had begun, and then
    in the order they were accepted. Raises StorageError."""
    going_on: list[Unfinished] = []
    changes: list[Change] = []
    for answer in await store.unfinished():
        deltas = await store.entries(answer.id)
        path = await store.path(answer.user, answer.input)
        asked = answer.asked
        error = Interrupted()
        if asked is not None:
            asked = replace(asked, interruptions=asked.interruptions + (not asked.parked), parked=False)
            if asked.interruptions > max_interruptions:
                error = Interrupted(
                    f"the server was killed {asked.interruptions} times while this answer was being written; what was "
                    "said until then is kept"
                )
                asked = None
        if asked is None:
            ended, nodes = interrupted(answer, path[-1] if path else None, deltas, clock.wall(), error)
            changes += closing(ended, nodes)
            continue
        counted = replace(answer, asked=asked)
        changes.append(AnswerSaved(counted))
        going_on.append(Unfinished(counted, asked, path, deltas))
    if changes:
        await store.commit(*changes)
        log.warning("%d unfinished answers go on", len(going_on), extra={"action": "recovery"})
    return sorted(going_on, key=lambda each: (each.asked.priority is Priority.BULK, not each.deltas))


def parked(answers: Sequence[Answer]) -> list[Change]:
    """What an orderly stop stores of the answers it leaves unfinished."""
    return [
        AnswerSaved(replace(answer, asked=replace(answer.asked, parked=True)))
        for answer in answers
        if answer.asked is not None
    ]
