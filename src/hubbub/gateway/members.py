"""Users, their sign-ins and their keys: what may be done with them, whatever the route that asks.

Every change is in the key store before it is known here, and known here before it is answered.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from base64 import b32encode
from dataclasses import replace

from hubbub.core.errors import BadRequest, Conflict, Forbidden, NotFound, RateLimited, Unauthorized
from hubbub.core.keys import (
    HINT_CHARACTERS,
    RANDOM_BYTES,
    Key,
    KeyId,
    Scope,
    Session,
    User,
    checked_label,
    checked_password,
    checked_user,
    checked_weight,
    digest_of,
    key_text,
)
from hubbub.core.quota import Limits
from hubbub.core.types import UserId
from hubbub.gateway.keyring import LOCAL, Caller, KeyRing
from hubbub.gateway.passwords import Attempts, Passwords
from hubbub.ports import Clock, KeyStore

log = logging.getLogger(__name__)

DAY_S = 86_400.0
WRONG = "this is not the name and password of a user here"
SETUP = "setup"
"""Whose attempts those with the setup code are: no user is called so, see ``checked_user``."""


class Members:
    """``session_days``: how long a browser stays signed in. ``keys_each``: keys of one user that open something."""

    def __init__(
        self,
        store: KeyStore,
        ring: KeyRing,
        clock: Clock,
        passwords: Passwords,
        *,
        session_days: float = 30.0,
        keys_each: int = 100,
    ) -> None:
        self.session_s = session_days * DAY_S
        self.setup_code = "-".join(b32encode(secrets.token_bytes(10)).decode()[at : at + 4] for at in range(0, 16, 4))
        self._store, self._ring, self._clock, self._passwords = store, ring, clock, passwords
        self._attempts = Attempts(clock)
        self._keys_each = keys_each
        self._changing = asyncio.Lock()

    def close(self) -> None:
        self._passwords.close()

    @property
    def first_start(self) -> bool:
        """Whether nobody can sign in yet."""
        return not any(user.password or user.subject for user in self._ring.members.values())

    # Signing in ----------------------------------------------------------------------------------------------------

    async def sign_in(self, name: str, password: str, address: str) -> tuple[str, User]:
        """The token of a new session. Raises Unauthorized, RateLimited, Overloaded."""
        self._attempts.take(name, address)
        user = self._ring.members.get(UserId(name))
        good = await self._passwords.verify(user.password if user is not None else "", password)
        if user is None or not good:
            log.warning("a sign-in from %s failed", address, extra={"action": "sign_in"})
            raise Unauthorized(WRONG)
        self._attempts.give_back(name, address)
        return await self.begin(user), user

    async def first(self, name: str, password: str, code: str, address: str) -> tuple[str, User]:
        """Make the first user, an admin. Raises Conflict once there is one, Unauthorized for another setup code."""
        self._attempts.take(f"\0{SETUP}", address)
        async with self._changing:
            if not self.first_start:
                raise Conflict("somebody can sign in already; ask an admin for a user")
            given = code.strip().upper().replace("-", "").encode()
            if not hmac.compare_digest(given, self.setup_code.replace("-", "").encode()):
                log.warning("a wrong setup code from %s", address, extra={"action": "sign_in"})
                raise Unauthorized("this is not the setup code that `hubbub serve` printed when it started")
            user = await self._saved(checked_user(name), password, admin=True)
        self._attempts.give_back(f"\0{SETUP}", address)
        return await self.begin(user), user

    async def begin(self, user: User) -> str:
        """A new session of a user who is who they say."""
        token, now = secrets.token_urlsafe(RANDOM_BYTES), self._clock.wall()
        await self._store.add_session(Session(digest_of(token), user.id, now, now + self.session_s))
        await self._ring.refresh()
        return token

    async def sign_out(self, caller: Caller) -> None:
        if caller.session:
            await self._store.end_sessions(caller.user, only=caller.session)
            await self._ring.refresh()

    async def change_password(self, caller: Caller, old: str, new: str, address: str) -> None:
        """Ends all other sessions of the user. Raises Unauthorized, Forbidden, BadRequest, RateLimited."""
        if not caller.session:
            raise Forbidden("a password is changed by who has signed in with it; an admin can set another")
        self._attempts.take(caller.user, address)
        if not await self._passwords.verify(self._user(caller.user).password, old):
            raise BadRequest("this is not your password now", param="old")
        self._attempts.give_back(caller.user, address)
        hashed = await self._passwords.hash(checked_password(new, caller.user))
        await self._store.save_user(replace(self._user(caller.user), password=hashed))
        await self._store.end_sessions(caller.user, but=caller.session)
        await self._ring.refresh()

    # Users ---------------------------------------------------------------------------------------------------------

    def users(self) -> list[User]:
        return sorted(self._ring.members.values(), key=lambda user: user.id)

    async def add_user(self, name: str, password: str | None, *, admin: bool, weight: float) -> User:
        """Without a password: who signs in by the identity provider, or has keys alone. Raises Conflict, BadRequest."""
        async with self._changing:
            found = checked_user(name)
            if found in self._ring.members:
                raise Conflict(f"there is a user {name!r} already", param="name")
            return await self._saved(found, password, admin=admin, weight=weight)

    async def change_user(self, name: str, password: str | None, admin: bool | None, weight: float | None) -> User:
        """A new password ends all sessions of the user. Raises NotFound, Conflict for the last admin, BadRequest."""
        async with self._changing:
            user = self._user(UserId(name))
            if admin is False:
                self._keep_an_admin(user)
            changed = replace(
                user,
                admin=user.admin if admin is None else admin,
                weight=user.weight if weight is None else checked_weight(weight),
            )
            if password is not None:
                changed = replace(changed, password=await self._passwords.hash(checked_password(password, name)))
            await self._store.save_user(changed)
            if password is not None:
                await self._store.end_sessions(user.id)
            await self._ring.refresh()
            return changed

    async def delete_user(self, caller: Caller, name: str) -> None:
        """With all keys and sessions; what was said stays, unseen. Raises NotFound, Conflict for the last admin and for
        oneself."""
        async with self._changing:
            user = self._user(UserId(name))
            if user.id == caller.user:
                raise Conflict("nobody deletes themselves; another admin can", param="name")
            self._keep_an_admin(user)
            await self._store.delete_user(user.id)
            await self._ring.refresh()

    async def by_subject(self, subject: str, name: str, *, admins: frozenset[str], make: bool) -> User:
        """The user whom the identity provider calls ``subject``. One who was made without a password and has no key is
        taken by name; else, with ``make``, a new one. Whether it is an admin goes by its name here: what the provider
        calls somebody may change. Raises Forbidden, BadRequest."""
        async with self._changing:
            known = next((user for user in self._ring.members.values() if user.subject == subject), None)
            if known is None:
                found = self._ring.members.get(checked_user(name))
                free = found is not None and not (found.password or found.subject or self._has_keys(found.id))
                if (found is not None and not free) or (found is None and not make) or name == LOCAL:
                    raise Forbidden(f"{name!r} cannot come in by the identity provider yet; ask an admin")
                known = found or User(UserId(name), created_at=self._clock.wall())
            changed = replace(known, subject=subject, admin=known.admin or known.id.lower() in admins)
            if changed != known or changed.id not in self._ring.members:
                await self._store.save_user(changed)
                await self._ring.refresh()
            return changed

    # Keys ----------------------------------------------------------------------------------------------------------

    def keys(self, caller: Caller) -> list[Key]:
        """The caller's; an admin sees all."""
        admin = caller.allows(Scope.ADMIN)
        return [key for key in self._ring.all_keys() if admin or key.user == caller.user]

    async def add_key(
        self, caller: Caller, user: str, label: str, scopes: frozenset[Scope], limits: Limits, expires_at: float | None
    ) -> tuple[str, Key]:
        """The key itself, which is told this once. Raises Forbidden, BadRequest, RateLimited."""
        admin = caller.allows(Scope.ADMIN)
        if not caller.session and not admin:
            raise Forbidden("sign in to make a key: a key makes none, unless it is an admin's")
        owner = checked_user(user) if user else caller.user
        if not admin and owner != caller.user:
            raise Forbidden("only an admin makes keys of other users")
        if not all(caller.allows(scope) for scope in scopes):
            raise Forbidden("a key cannot do more than who makes it")
        now = self._clock.wall()
        mine = [key for key in self._ring.all_keys() if key.user == owner and not key.trouble(now)]
        if len(mine) >= self._keys_each:
            raise RateLimited(f"{owner} has {len(mine)} keys, this server gives {self._keys_each}: revoke one")
        text = key_text(secrets.token_bytes(RANDOM_BYTES))
        key = Key(
            id=KeyId("key_" + secrets.token_hex(6)),
            user=owner,
            digest=digest_of(text),
            hint=text[:HINT_CHARACTERS],
            scopes=scopes,
            created_at=now,
            label=checked_label(label),
            limits=limits,
            expires_at=expires_at,
        )
        await self._store.add(key)
        await self._ring.refresh()
        return text, key

    async def revoke(self, caller: Caller, key: str) -> Key:
        """Raises NotFound, Forbidden, Conflict for the key that was sent."""
        if not any(found.id == key for found in self.keys(caller)):
            raise NotFound(f"there is no key {key!r}", param="key_id")
        if not caller.session and not caller.allows(Scope.ADMIN):
            raise Forbidden("sign in to revoke a key: a key revokes none, unless it is an admin's")
        if caller.key is not None and caller.key.id == key:
            raise Conflict("this is the key that you ask with; revoke it with another, or in a session", param="key_id")
        revoked = await self._store.revoke(KeyId(key), self._clock.wall())
        await self._ring.refresh()
        return revoked

    # Within --------------------------------------------------------------------------------------------------------

    def _user(self, name: UserId) -> User:
        found = self._ring.members.get(name)
        if found is None:
            raise NotFound(f"there is no user {name!r}", param="name")
        return found

    def _has_keys(self, user: UserId) -> bool:
        return any(key.user == user for key in self._ring.all_keys())

    def _keep_an_admin(self, user: User) -> None:
        others = [other for other in self._ring.members.values() if other.admin and other.id != user.id]
        if user.admin and not others:
            raise Conflict(f"{user.id} is the only admin; make another one first", param="name")

    async def _saved(self, name: UserId, password: str | None, *, admin: bool, weight: float | None = None) -> User:
        hashed = "" if password is None else await self._passwords.hash(checked_password(password, name))
        known = self._ring.members.get(name, User(name))
        user = replace(
            known,
            admin=admin,
            password=hashed,
            weight=known.weight if weight is None else checked_weight(weight),
            created_at=self._clock.wall(),
        )
        await self._store.save_user(user)
        await self._ring.refresh()
        return user
