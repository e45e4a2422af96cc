"""Who a key is: all keys in memory, read anew when one has changed.

Theory of operation. A request looks its key up by its hash in a dictionary; no request waits for the disk. One task
asks the key store a few times a second whether anything changed (the command line makes and revokes keys beside a
running server), and writes down what keys were used for. So a revoked key is refused within a second. When the key
store cannot be read for ``STALE_S`` seconds, nobody can say what was revoked: all keys are refused until it can.

With the use written down every ``POLL_S`` seconds, a kill takes at most that much from the count of a day's tokens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hubbub.core.errors import Forbidden, StorageError, Unauthorized
from hubbub.core.keys import HELD, Key, KeyId, Scope, Session, User, digest_of
from hubbub.core.quota import Account, Limits, day_of
from hubbub.core.types import UserId
from hubbub.ports import Clock, KeyStore

log = logging.getLogger(__name__)

POLL_S = 0.25
STALE_S = 10.0
COARSE_S = 60.0
"""Last use is kept to the minute: enough to find keys that nobody uses, too little to follow somebody."""
LOCAL = UserId("local")
"""The one user of a server without keys."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. Without ``key`` and ``scopes``: anybody, on a server without keys (``trusted``), or on a route that
    needs none. ``scopes``: of somebody who signed in. ``session``: the digest of the session that came with it."""

    user: UserId
    key: Key | None = field(default=None, repr=False)
    account: Account | None = field(default=None, repr=False)
    trusted: bool = False
    scopes: frozenset[Scope] = frozenset()
    session: str = field(default="", repr=False)

    def allows(self, scope: Scope) -> bool:
        if self.trusted or (self.key is not None and self.key.allows(scope)):
            return True
        return any(scope in HELD[held] for held in self.scopes)

    def check(self, *scopes: Scope) -> None:
        """Raises Forbidden unless one of ``scopes`` is allowed."""
        if not any(self.allows(scope) for scope in scopes):
            held = ", ".join(sorted(self.key.scopes if self.key else self.scopes)) or "none"
            raise Forbidden(f"this needs a key with the scope {' or '.join(scopes)}; this key's: {held}")


ANYBODY = Caller(LOCAL, trusted=True)
NOBODY = Caller(UserId(""))


class KeyRing:
    """``defaults`` are the limits of keys that have none of their own. ``weights`` is kept up to date with the users'
    shares, for the scheduler that was given the same dictionary."""

    def __init__(
        self, store: KeyStore, clock: Clock, defaults: Limits, weights: dict[str, float] | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._defaults = defaults
        self._weights: dict[str, float] = {} if weights is None else weights
        self._base = dict(self._weights)
        self._callers: dict[str, Caller] = {}
        self._accounts: dict[KeyId, Account] = {}
        self._members: dict[UserId, User] = {}
        self._member_accounts: dict[UserId, Account] = {}
        self._sessions: dict[str, Session] = {}
        self._revision = -1
        self._read_at = clock.now()
        self._last: dict[KeyId, float] = {}
        self._used: dict[KeyId, float] = {}  # of those, what has still to be written
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises StorageError."""
        await self._read(await self._store.spent(day_of(self._clock.wall())))
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Write down what is left to write."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._write()
        except StorageError as error:
            log.error("the last use of the keys is not kept: %s", error, extra={"action": "keys"})

    @property
    def usable(self) -> int:
        """Keys that open something now."""
        now = self._clock.wall()
        return sum(caller.key is not None and not caller.key.trouble(now) for caller in self._callers.values())

    def caller(self, authorization: str | None) -> Caller:
        """Who an ``Authorization`` header is. Raises Unauthorized, or StorageError while keys cannot be read."""
        self._fresh()
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise Unauthorized("this server wants a key, or a sign-in: send it as 'Authorization: Bearer hb-...'")
        return self._good(self._callers.get(digest_of(text.strip())))

    def holder(self, key: KeyId) -> Caller:
        """Who holds a key, for what goes on when the request that came with it has been answered. Raises
        Unauthorized."""
        return self._good(next((held for held in self._callers.values() if held.key and held.key.id == key), None))

    @property
    def members(self) -> Mapping[UserId, User]:
        """All users by name."""
        return self._members

    def all_keys(self) -> list[Key]:
        """All keys, oldest first."""
        return [caller.key for caller in self._callers.values() if caller.key is not None]

    def signed_in(self, token: str) -> Caller | None:
        """Whose session a browser holds; None for one that is unknown or over. Raises StorageError as ``caller``."""
        self._fresh()
        session = self._sessions.get(digest_of(token))
        if session is None or session.expires_at <= self._clock.wall():
            return None
        member = self._members.get(session.user)
        return None if member is None else replace(self._as_member(member), session=session.digest)

    def member(self, user: UserId) -> Caller:
        """A user who ordered something in a session, for what goes on without it. Raises Unauthorized."""
        found = self._members.get(user)
        if found is None:
            raise Unauthorized(f"there is no user {user!r} any more")
        return self._as_member(found)

    def _as_member(self, user: User) -> Caller:
        account = self._member_accounts.get(user.id)
        if account is None:
            account = Account(self._defaults, self._clock.now(), self._clock.wall(), 0)
            self._member_accounts[user.id] = account
        return Caller(user.id, account=account, scopes=user.scopes)

    async def refresh(self) -> None:
        """Know at once of a change that was made here. Raises StorageError."""
        await self._read({})

    def _fresh(self) -> None:
        if self._clock.now() - self._read_at > STALE_S:
            raise StorageError("the keys cannot be read just now, so nobody can be let in; the server's log says why")

    def _good(self, caller: Caller | None) -> Caller:
        if caller is None or caller.key is None:
            raise Unauthorized("this key is not known here; `hubbub keys list` on the server shows those that are")
        now = self._clock.wall()
        trouble = caller.key.trouble(now)
        if trouble:
            raise Unauthorized(f"this key ({caller.key.id}) {trouble}; ask for another")
        minute = now - now % COARSE_S
        if minute > self._last.get(caller.key.id, 0.0):
            self._last[caller.key.id] = self._used[caller.key.id] = minute
        return caller

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                if await self._store.revision() != self._revision:
                    await self._read({})
                self._read_at = self._clock.now()
                await self._write()
            except StorageError as error:
                log.error("the keys cannot be read or written: %s", error, extra={"action": "keys"})

    async def _read(self, spent: Mapping[KeyId, int]) -> None:
        revision = await self._store.revision()  # before the rest: a change in between is read the next time
        keys, users = await self._store.keys(), await self._store.users()
        sessions = await self._store.sessions()
        now, wall = self._clock.now(), self._clock.wall()
        accounts = {}
        for key in keys:
            known = self._accounts.get(key.id)
            accounts[key.id] = known or Account(key.limits.over(self._defaults), now, wall, spent.get(key.id, 0))
        self._accounts = accounts
        self._callers = {key.digest: Caller(key.user, key, accounts[key.id]) for key in keys}
        self._members = {user.id: user for user in users}
        self._member_accounts = {name: found for name, found in self._member_accounts.items() if name in self._members}
        self._sessions = {session.digest: session for session in sessions}
        self._weights.clear()
        self._weights.update(self._base)
        self._weights.update({user.id: user.weight for user in users if user.weight != 1.0})
        self._revision, self._read_at = revision, now

    async def _write(self) -> None:
        spent = {
            (name, day): tokens
            for name, account in self._accounts.items()
            if account.unsaved
            for day, tokens in account.drain().items()
        }
        used, self._used = self._used, {}
        if not spent and not used:
            return
        try:
            await self._store.record(used, spent)
        except BaseException:
            for (name, day), tokens in spent.items():
                unsaved = self._accounts[name].unsaved
                unsaved[day] = unsaved.get(day, 0) + tokens
            self._used = {**used, **self._used}
            raise
