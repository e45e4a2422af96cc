"""What people were told, and whether it holds."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace

from hubbub.core.types import (
    Answer,
    AnswerId,
    AnswerKind,
    AnswerStatus,
    ChatId,
    FinishReason,
    Request,
    RequestId,
    Sampling,
    UserId,
)
from hubbub.engines.sim_prompt import Voice, parse_body, speech_of
from hubbub.engines.wire_body import chat_body
from hubbub.gateway.sse import ended
from hubbub.runtime.prompt import messages_of
from hubbub.runtime.run import replayed
from hubbub.store.memory import MemoryStore

from .server import encoder

NUMBER = re.compile(rb'"sequence_number":(\d+)')
DONE = b"data: [DONE]"
TERMINAL = re.compile(rb'^event: response\.(completed|incomplete|failed)\n|"finish_reason":"|^data: \{"error":')
FAILURES = {"engine_lost", "engine_error", "engine_unavailable", "storage_error", "storage_full", "server_restarted"}


SEAMS = 3
"""A stop text may begin within a token: if a kill comes between the half that was said and the end, another token is
spent to find the stop again, each time."""


class Ledger:
    """``faults``: what does not hold, in words, by kind (lost, doubled, leaked, unfinished)."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.words: list[str] = []
        self.chats = 0

    def blame(self, kind: str, words: str) -> None:
        self.counts[kind] += 1
        self.words.append(f"{kind}: {words}")


@dataclass
class Reader:
    """What one reader has of one stream, over all its connections, from event ``first`` on."""

    ledger: Ledger
    user: UserId
    kind: AnswerKind
    answer: AnswerId
    first: int = 0
    events: list[bytes] = field(default_factory=list)
    over: bool = False
    terminals: int = 0
    stored: bool = True
    sampling: Sampling = field(default_factory=Sampling)
    instructions: str | None = None

    @property
    def last(self) -> int:
        """The number of the last event it has."""
        return self.first + len(self.events) - 1

    def take(self, data: bytes) -> None:
        for event in data.split(b"\n\n"):
            if event == DONE:
                self.over = True
            elif event:
                self._take(event)

    def _take(self, event: bytes) -> None:
        if self.over:
            self.ledger.blame("doubled", f"{self.answer} went on after its end: {event!r}")
        found = NUMBER.findall(event)
        if self.stored:
            number = int(found[-1] if self.kind is AnswerKind.COMPLETION else found[0])
            if number != self.last + 1:
                kind = "lost" if number > self.last + 1 else "doubled"
                self.ledger.blame(kind, f"{self.answer}: event {number} came after {self.last}")
        self.events.append(event)
        if TERMINAL.search(event):
            self.terminals += 1
            if self.kind is AnswerKind.RESPONSE or event.startswith(b'data: {"error":'):
                self.over = True


def check_stream(ledger: Ledger, reader: Reader, answer: Answer) -> None:
    """The reader has the stream as it is replayed now, to its end if it stayed so long."""
    raw = ended(answer, replayed(answer), encoder(answer))
    whole = [event for event in raw.split(b"\n\n") if event not in (b"", DONE)]
    mine = whole[reader.first : reader.first + len(reader.events)]
    if mine != reader.events:
        pairs = zip(mine, reader.events, strict=False)
        place = next((n for n, (now, then) in enumerate(pairs) if now != then), len(mine))
        then, now = reader.events[place], mine[place : place + 1]
        ledger.blame("lost", f"{reader.answer}: event {reader.first + place} was {then!r}, is {now!r}")
    if reader.over and reader.last + 1 != len(whole):
        ledger.blame(
            "lost", f"{reader.answer}: its stream has {len(whole)} events, the reader's ended at {reader.last}"
        )
    ends = sum(TERMINAL.search(event) is not None for event in whole)
    theirs = sum(TERMINAL.search(event) is not None for event in whole[reader.first :])
    if ends != 1 or (reader.over and reader.terminals != theirs):
        ledger.blame("doubled", f"{reader.answer} ended {ends} times, for its reader {reader.terminals} times")


def at_the_seam(answer: Answer, request: Request, pieces: tuple[str, ...], voice: Voice) -> bool:
    """Whether its last token was said but for the stop text within, and the kill came before that end: no token is
    left to find the stop again, so that it ends by its length, which is as true."""
    if answer.finish is not FinishReason.LENGTH or answer.usage.output_tokens != request.sampling.max_tokens:
        return False
    whole = speech_of(
        parse_body(chat_body(replace(request, sampling=replace(request.sampling, stop=())))), voice
    ).pieces
    return len(whole) == len(pieces) and whole[:-1] == pieces[:-1] and whole[-1] != pieces[-1]


async def check_text(ledger: Ledger, reader: Reader, answer: Answer, kept: MemoryStore, voice: Voice) -> None:
    """It says what the model says to that question, all of it once: whoever said which part."""
    path = await kept.path(answer.user, answer.input)
    messages = messages_of(reader.instructions, (node.item for node in path))
    request = Request(
        RequestId(answer.id), answer.user, ChatId(""), answer.model, 0, messages=messages, sampling=reader.sampling
    )
    speech = speech_of(parse_body(chat_body(request)), voice)
    wanted = "".join(speech.pieces)
    text = "".join(item.text for item in answer.output_items)
    if answer.status in (AnswerStatus.COMPLETED, AnswerStatus.INCOMPLETE):
        if text != wanted:
            ledger.blame("lost" if len(text) < len(wanted) else "doubled", f"{answer.id} says {text!r}, not {wanted!r}")
        elif not 0 <= answer.usage.output_tokens - len(speech.pieces) <= (SEAMS if reader.sampling.stop else 0):
            ledger.blame("lost", f"{answer.id} has {answer.usage.output_tokens} tokens, not {len(speech.pieces)}")
        elif answer.finish is not speech.finish and not at_the_seam(answer, request, speech.pieces, voice):
            ledger.blame("lost", f"{answer.id} ended by {answer.finish}, not {speech.finish}")
    elif not wanted.startswith(text):
        ledger.blame("doubled", f"{answer.id} says {text!r}, which does not begin {wanted!r}")
    if answer.status is AnswerStatus.FAILED and answer.error_code not in FAILURES:
        ledger.blame("lost", f"{answer.id} failed by {answer.error_code}: {answer.error_message}")
