"""Passwords: slow hashes off the event loop, and how often one may be tried.

argon2id makes each guess dear, to the server, too: hashes are made one at a time, and few may wait. Whether a user
exists, has a password, or gave a wrong one takes the same path and the same time: where there is no hash, a decoy is
checked. Attempts are token buckets by address, and by user and address together; a good one counts for nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from hubbub.core.errors import Overloaded, RateLimited
from hubbub.ports import Clock

MOST_WAITING = 16
MOST_BUCKETS = 20_000
BUSY_RETRY_S = 2.0


class Passwords:
    """``hasher``: argon2id with the parameters of RFC 9106 for little memory, unless another is given."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._thread = ThreadPoolExecutor(1, "passwords")
        self._waiting = 0
        self._decoy = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        """Raises Overloaded."""
        return str(await self._slowly(self._hasher.hash, password))

    async def verify(self, hashed: str, password: str) -> bool:
        """``hashed`` may be empty: that takes as long, and is no. Raises Overloaded."""
        return bool(await self._slowly(self._good, hashed or self._decoy, password)) and bool(hashed)

    def close(self) -> None:
        self._thread.shutdown()

    def _good(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (Argon2Error, InvalidHashError):
            return False

    async def _slowly(self, work: object, *arguments: str) -> object:
        if self._waiting >= MOST_WAITING:
            raise Overloaded("too many sign in at this moment", retry_after=BUSY_RETRY_S)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)  # type: ignore[arg-type]
        finally:
            self._waiting -= 1


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Attempts:
    """``most`` at once, and one more each ``every_s`` seconds."""

    def __init__(self, clock: Clock, most: int = 20, every_s: float = 20.0) -> None:
        self._clock = clock
        self._most, self._every_s = most, every_s
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def take(self, user: str, address: str) -> None:
        """One attempt. Raises RateLimited."""
        place = _network(address)
        found = [self._bucket(("", place)), self._bucket((user, place))]
        lacking = max(1.0 - bucket.left for bucket in found)
        if lacking > 0:
            raise RateLimited("too many attempts to sign in from here", retry_after=lacking * self._every_s)
        for bucket in found:
            bucket.left -= 1.0

    def give_back(self, user: str, address: str) -> None:
        """It was good."""
        place = _network(address)
        for key in (("", place), (user, place)):
            bucket = self._bucket(key)
            bucket.left = min(float(self._most), bucket.left + 1.0)

    def _bucket(self, key: tuple[str, str]) -> _Bucket:
        now = self._clock.now()
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = _Bucket(float(self._most), now)
        bucket.left = min(float(self._most), bucket.left + (now - bucket.at) / self._every_s)
        bucket.at = now
        self._buckets[key] = bucket  # the youngest stands last
        while len(self._buckets) > MOST_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        return bucket


def _network(address: str) -> str:
    """An IPv6 client has a whole /64 to choose addresses from."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if found.version == 6:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
