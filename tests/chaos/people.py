"""Those who chat: each chat is one person's, who asks, leaves, comes back and does all the rest, by chance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from hubbub.core.errors import HubbubError, NotFound
from hubbub.core.types import (
    AnswerId,
    AnswerKind,
    AnswerStatus,
    Chat,
    ChatId,
    Item,
    ItemId,
    ItemType,
    Priority,
    Role,
    Sampling,
    Style,
    UserId,
)
from hubbub.ports import AnswerDeleted
from hubbub.runtime.chats import ChatEdit
from hubbub.runtime.hub import Ask

from .ledger import Reader
from .server import Gone, Server

if TYPE_CHECKING:
    from .world import World

T = TypeVar("T")
ACTIONS = (
    ("ask", 60), ("wait", 8), ("background", 10), ("completion", 8), ("unstored", 8),
    ("fork", 4), ("append", 5), ("remove", 4), ("restyle", 3), ("delete", 2),
)  # fmt: skip


PATIENCE_S = 600.0
PARTED = ("server_restarted", "storage_full", "storage_error")
"""What the server says to whom it sends away from an answer that goes on, or that it did not take."""


def says(text: str) -> Item:
    return Item(ItemId(""), ItemType.MESSAGE, (text,), Role.USER)


class Person:
    """One chat and whoever writes in it. ``items``: the texts that are known to be in it, in order."""

    def __init__(self, world: World, number: int, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self._name = f"chat {number}"
        self._turn = 0
        self.user = UserId(f"user {rng.randrange(12)}")
        self.chat: ChatId | None = None
        self._unsure: ChatId | None = None
        """A chat whose deletion was asked for and not heard of: it may be there, and it may yet go."""
        self.prompt: str | None = None
        self.items: list[str] = []
        self.followers: list[asyncio.Task[None]] = []

    async def live(self, turns: int) -> None:
        rng, world = self._rng, self._world
        await asyncio.sleep(rng.random() * 20)
        await self._make()
        while self._turn < turns or not world.fate.quiet:
            self._turn += 1
            [action] = rng.choices([name for name, _ in ACTIONS], [weight for _, weight in ACTIONS])
            world.fate.note(f"{self._name} {action}")
            try:
                await getattr(self, f"_{action}")()
            except NotFound:
                await self._make()
            if rng.random() < 0.2:
                await self.check()
            await asyncio.sleep(rng.expovariate(1 / 4))
        await self.check()
        await asyncio.gather(*self.followers)

    # Talking to whatever server there is ------------------------------------------------------------------------------

    async def _call(self, work: Callable[[Server], Coroutine[Any, Any, T]]) -> T:
        """Until a server says something. Raises Gone when that is not known, HubbubError when it is no."""
        server = await self._world.up()
        return await server.call(work(server))

    async def _surely(self, work: Callable[[Server], Coroutine[Any, Any, T]]) -> T:
        """For what can be done twice. Raises NotFound where its chat is not there, which only a deletion explains."""
        while True:
            try:
                return await self._call(work)
            except NotFound as error:
                if self.chat is None or self.chat != self._unsure:
                    self._world.ledger.blame("lost", f"{self._name} ({self.chat}): {error}")
                raise
            except (Gone, HubbubError):
                await asyncio.sleep(self._rng.random())

    async def _texts(self) -> list[str]:
        chat = self._chat
        return [node.item.text for node in await self._surely(lambda server: server.chats.items(self.user, chat))]

    @property
    def _chat(self) -> ChatId:
        assert self.chat is not None
        return self.chat

    async def check(self) -> None:
        """The chat is what it is known to be."""
        await self.settle()
        try:
            texts = await self._texts()
        except NotFound:
            await self._make()
            return
        if texts != self.items:
            twice = len(set(texts)) < len(texts)
            self._world.ledger.blame(
                "doubled" if twice else "lost", f"{self._name} ({self.chat}) has {texts}, should have {self.items}"
            )
            self.items = texts

    async def settle(self) -> None:
        """Until nothing is being written in the chat."""
        waited = 0.2
        while waited < PATIENCE_S:
            server = await self._world.up()
            if not server.hub.busy(self.user, self._chat) and server is self._world.server:
                return
            await asyncio.sleep(waited)
            waited *= 1.1
        self._world.ledger.blame("leaked", f"{self._name} ({self.chat}) is busy for ever")

    async def _resolve(self, *possible: list[str]) -> list[str]:
        """After a connection broke: what became of it. It must be one of the possible."""
        await self.settle()
        texts = await self._texts()
        if texts not in possible:
            self._world.ledger.blame("lost", f"{self._name} has {texts}, which is none of {possible}")
        self.items = texts
        return texts

    # Chats ------------------------------------------------------------------------------------------------------------

    async def _make(self) -> None:
        """A new chat. One whose making nobody heard of may be there, too: nobody knows its name."""
        self.prompt = self._rng.choice([None, None, "Be brief."])
        style = Style(system_prompt=self.prompt)
        hello = f"{self._name}.{self._turn} begins"
        made = await self._surely(lambda server: server.chats.create(self.user, [says(hello)], style=style))
        self.chat, self.items = made.id, [hello]
        self._world.ledger.chats += 1

    async def _fork(self) -> None:
        await self.settle()
        chat = self._chat
        made: Chat = await self._surely(lambda server: server.chats.fork(self.user, chat))
        old, self.chat = self.chat, made.id
        self._world.ledger.chats += 1
        await self.check()
        if self._rng.random() < 0.5:
            self.chat = old

    async def _append(self) -> None:
        chat, text = self._chat, f"{self._name}.{self._turn} adds"
        try:
            await self._call(lambda server: server.chats.append(self.user, chat, [says(text)]))
        except Gone:
            await self._resolve(self.items, [*self.items, text])
        except HubbubError:
            return
        else:
            self.items.append(text)

    async def _remove(self) -> None:
        if len(self.items) < 2:
            return
        await self.settle()
        chat, place = self._chat, self._rng.randrange(len(self.items))
        nodes = await self._surely(lambda server: server.chats.items(self.user, chat))
        rest = [text for n, text in enumerate(self.items) if n != place]
        try:
            await self._call(lambda server: server.chats.remove(self.user, chat, nodes[place].item.id))
        except Gone:
            await self._resolve(self.items, rest)
        except HubbubError:
            return
        else:
            self.items = rest

    async def _restyle(self) -> None:

        await self.settle()
        chat, prompt = self._chat, self._rng.choice(["Be brief.", "Be kind."])
        edit = ChatEdit(style=Style(system_prompt=prompt))
        await self._surely(lambda server: server.chats.edit(self.user, chat, edit))
        self.prompt = prompt

    async def _delete(self) -> None:
        await self.settle()
        chat = self._chat
        try:
            await self._call(lambda server: server.chats.delete(self.user, chat))
        except (Gone, HubbubError):
            self._unsure = chat  # it is there or not; it goes on or not: the next step finds out
            return
        self.chat = None
        await self._make()

    # Asking -----------------------------------------------------------------------------------------------------------

    def _question(self, **more: Any) -> Ask:
        rng = self._rng
        sampling = Sampling(
            seed=rng.choice([None, rng.randrange(1000)]),
            max_tokens=rng.choice([None, None, rng.randrange(1, 12)]),
            temperature=rng.choice([None, 0.7]),
            stop=rng.choice([(), (), ("e",), (" a", "."), ("и",)]),
        )
        text = f"{self._name}.{self._turn} asks"
        fields: dict[str, Any] = {"chat": self.chat, "sampling": sampling, **more}
        fields["priority"] = rng.choice([Priority.CHAT] * 5 + [Priority.BULK])
        return Ask(self.user, fields.pop("kind", AnswerKind.RESPONSE), (says(text),), **fields)

    async def _ask(self) -> None:
        await self._stream(self._question())

    async def _background(self) -> None:
        await self._stream(self._question(background=True))

    async def _completion(self) -> None:
        options = {"include_usage": True} if self._rng.random() < 0.5 else {}
        await self._stream(self._question(kind=AnswerKind.COMPLETION, chat=None, params=options))

    async def _unstored(self) -> None:
        await self._stream(self._question(chat=None, store=False, kind=self._rng.choice(list(AnswerKind))))

    async def _wait(self) -> None:
        """Ask without a stream."""
        ask = self._question()
        question = ask.items[0].text
        try:
            answer = await self._call(lambda server: server.whole(ask))
        except Gone:
            await self._found(question)
        except HubbubError as error:
            # Refused, or parted from: then it goes on.
            if error.code in PARTED:
                await self._found(question)
            else:
                await self.check()
        else:
            self.items.append(question)
            if answer.status is not AnswerStatus.FAILED:
                self.items += [item.text for item in answer.output_items]
            await self.check()

    async def _found(self, question: str) -> None:
        """Whether it was asked, and what was said, by looking."""
        await self.settle()
        texts = await self._texts()
        rest = texts[len(self.items) :]
        if texts[: len(self.items)] != self.items or len(rest) > 2 or rest[:1] not in ([], [question]):
            self._world.ledger.blame("lost", f"{self._name} has {texts} after {self.items} and {question!r}")
        self.items = texts

    async def _stream(self, ask: Ask) -> None:
        question = ask.items[0].text
        server = await self._world.up()
        reader = Reader(self._world.ledger, self.user, ask.kind, AnswerId(""), stored=ask.store)
        reader.sampling, reader.instructions = ask.sampling, self.prompt if ask.chat else None
        try:
            await self._read(server, reader, lambda wire: server.post(ask, wire))
        except (Gone, HubbubError) as error:
            if not reader.events:
                if isinstance(error, Gone) and ask.chat:
                    await self._found(question)
                return
        if not ask.store:
            return
        self._world.readers.append(reader)
        if self._rng.random() < 0.3:
            self.followers.append(asyncio.create_task(self._watch(reader)))
        if self._rng.random() < 0.07:
            await self._cancel(reader)
        await self._come_back(reader)
        if ask.chat:
            self.items.append(question)
            self.items += said_in(reader)
        elif self._rng.random() < 0.2:
            await self._forget(reader)

    async def _read(self, server: Server, reader: Reader, serve: Any) -> None:
        """One connection, to the end of the stream or until the reader has had enough."""
        rng, fate = self._rng, self._world.fate
        enough = rng.randrange(1, 20) if rng.random() < 0.4 else None
        wire, handler = server.stream(serve)
        try:
            while (data := await wire.read()) is not None:
                reader.take(data)
                if not reader.answer:
                    reader.answer = id_in(reader.events[0])
                had = enough is not None and len(reader.events) >= enough
                if had and not reader.over and fate.strikes("reader left"):
                    return
            if not reader.over:
                self._world.ledger.blame("lost", f"the stream of {reader.answer} ended without an end")
                reader.over = True
        finally:
            handler.cancel()

    async def _come_back(self, reader: Reader) -> None:
        """As often as it takes to see the end."""
        while not reader.over:
            await asyncio.sleep(self._rng.expovariate(1.0))
            server = await self._world.up()
            try:
                await self._read(
                    server,
                    reader,
                    lambda wire: server.follow(self.user, reader.answer, reader.kind, reader.last, wire),  # noqa: B023
                )
            except (Gone, HubbubError) as error:
                if isinstance(error, HubbubError) and error.http_status == 404:
                    self._world.ledger.blame("lost", f"{reader.answer}: {error}")
                    return

    async def _watch(self, other: Reader) -> None:
        """A second reader of the same stream, from anywhere in it."""
        first = self._rng.randrange(len(other.events))
        mine = Reader(self._world.ledger, self.user, other.kind, other.answer, first)
        mine.sampling, mine.instructions = other.sampling, other.instructions
        self._world.readers.append(mine)
        other_deleted = self._world.deleted
        while not mine.over and mine.answer not in other_deleted:
            server = await self._world.up()
            try:
                await self._read(
                    server,
                    mine,
                    lambda wire: server.follow(self.user, mine.answer, mine.kind, mine.last, wire),  # noqa: B023
                )
            except (Gone, HubbubError):
                await asyncio.sleep(self._rng.random())

    async def _cancel(self, reader: Reader) -> None:
        self._world.cancelled.add(reader.answer)
        try:
            await self._call(lambda server: server.hub.cancel(self.user, reader.answer))
        except (Gone, HubbubError):
            return

    async def _forget(self, reader: Reader) -> None:
        """Delete a completion that has ended."""
        self._world.deleted.add(reader.answer)
        await self._surely(lambda server: server.store.commit(AnswerDeleted(reader.answer)))


def id_in(event: bytes) -> AnswerId:
    shown = msgspec.json.decode(event.partition(b"data: ")[2])
    return AnswerId(shown["response"]["id"] if "response" in shown else shown["id"])


def said_in(reader: Reader) -> list[str]:
    """What a response's last event says that its chat has now."""
    if reader.kind is AnswerKind.COMPLETION or not reader.over:
        return []
    response = msgspec.json.decode(reader.events[-1].partition(b"data: ")[2])["response"]
    if response["status"] == "failed":
        return []
    return [part["text"] for item in response["output"] for part in item["content"]]
