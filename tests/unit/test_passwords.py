"""How often a password may be tried, and that hashing cannot be piled up."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.core.errors import BadRequest, Overloaded, RateLimited
from hubbub.core.keys import checked_password
from hubbub.gateway.passwords import MOST_BUCKETS, MOST_WAITING, Attempts, Passwords
from hubbub.runtime.clock import VirtualClock
from support.keys import CHEAP


def tries(attempts: Attempts, user: str, address: str) -> int:
    """How many go through now."""
    for number in range(1000):
        try:
            attempts.take(user, address)
        except RateLimited:
            return number
    return 1000


def test_attempts_come_back_one_by_one() -> None:
    clock = VirtualClock()
    attempts = Attempts(clock, most=5, every_s=20.0)
    assert tries(attempts, "ann", "192.0.2.1") == 5
    clock.advance(19.0)
    with pytest.raises(RateLimited) as refused:
        attempts.take("ann", "192.0.2.1")
    assert refused.value.retry_after == pytest.approx(1.0)
    clock.advance(1.0)
    assert tries(attempts, "ann", "192.0.2.1") == 1
    clock.advance(1e6)
    assert tries(attempts, "ann", "192.0.2.1") == 5


def test_an_address_has_no_more_by_trying_other_users_and_a_user_is_not_shut_out_from_elsewhere() -> None:
    attempts = Attempts(VirtualClock(), most=5)
    assert sum(tries(attempts, f"user{number}", "192.0.2.1") for number in range(9)) == 5
    assert tries(attempts, "user0", "192.0.2.2") == 5
    assert tries(attempts, "ann", "2001:db8::1") == 5
    assert tries(attempts, "ann", "2001:db8::2") == 0
    assert tries(attempts, "ann", "2001:db8:0:1::1") == 5
    assert tries(attempts, "ann", "no address") == 5


def test_a_good_one_counts_for_nothing() -> None:
    attempts = Attempts(VirtualClock(), most=2)
    for _ in range(50):
        attempts.take("ann", "192.0.2.1")
        attempts.give_back("ann", "192.0.2.1")
    assert tries(attempts, "ann", "192.0.2.1") == 2


@pytest.mark.large
def test_what_is_remembered_of_strangers_is_bounded() -> None:
    attempts = Attempts(VirtualClock())
    for number in range(MOST_BUCKETS):
        attempts.take("x", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(attempts._buckets) == MOST_BUCKETS


async def test_hashes_wait_in_a_short_line() -> None:
    passwords = Passwords(CHEAP)
    hashed = await passwords.hash("correct horse battery")
    assert await passwords.verify(hashed, "correct horse battery")
    assert not await passwords.verify(hashed, "another")
    assert not await passwords.verify("", "another")
    assert not await passwords.verify("no hash", "another")
    said = await asyncio.gather(
        *(passwords.verify(hashed, "another") for _ in range(MOST_WAITING + 3)), return_exceptions=True
    )
    assert sum(isinstance(one, Overloaded) for one in said) == 3
    passwords.close()


@pytest.mark.parametrize("password", ["short", "a" * 1001, "aaaaaaaaaaaa", "Ann.Example"])
def test_passwords_that_are_none(password: str) -> None:
    with pytest.raises(BadRequest) as refused:
        checked_password(password, "ann.example")
    assert password not in refused.value.message
