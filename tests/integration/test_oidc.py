"""Signing in by an identity provider: the real flow, and everything that must not sign anybody in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp
import pytest

from hubbub.core.keys import User
from hubbub.core.types import UserId
from hubbub.gateway.config import OidcConfig
from hubbub.gateway.oidc import IdentityProvider
from hubbub.runtime.clock import SystemClock, VirtualClock
from support.keys import Locked, a_key, locked
from support.provider import CLIENT, SECRET, OpenIdProvider, provider
from support.provider import a_key as a_signing_key


@dataclass
class Way:
    """One server with its provider, and a browser that follows by itself only when it is told to."""

    door: Locked
    idp: OpenIdProvider
    http: aiohttp.ClientSession

    async def go(self, where: str) -> str:
        """Where a page sends the browser."""
        async with self.http.get(where, allow_redirects=False) as response:
            assert response.status in (302, 303), await response.text()
            return response.headers["Location"]

    async def to_callback(self) -> str:
        """Through the provider, to where it sends the browser back."""
        return await self.go(await self.go(f"{self.door.house.url}/auth/oidc/start"))

    async def signed_in(self) -> str:
        """Where the whole way ends: the page, or why not."""
        return unquote(await self.go(await self.to_callback()))

    async def session(self) -> Any:
        async with self.http.get(f"{self.door.house.url}/v1/session") as response:
            return await response.json()


@asynccontextmanager
async def way(*keys: Any, **config: Any) -> AsyncIterator[Way]:
    async with provider() as idp:
        settings = OidcConfig(idp.url, CLIENT, SECRET, **{"make_users": True, **config})
        known = IdentityProvider(settings, SystemClock())
        async with (
            locked(*keys, provider=known) as door,
            aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
        ):
            yield Way(door, idp, http)


async def test_the_whole_way() -> None:
    async with way(name="Example", admins="Ann") as found:
        before = await found.session()
        assert (before["mode"], before["oidc"], before["signed_in"]) == ("first_start", {"name": "Example"}, False)
        assert await found.signed_in() == "/"
        after = await found.session()
        assert (after["mode"], after["user"], after["admin"]) == ("password", "ann", True)
        (user,) = await found.door.store.users()
        assert (user.subject, user.password) == (f"{found.idp.url} 7", "")
        found.idp.claims["preferred_username"] = "renamed"
        assert await found.signed_in() == "/"
        assert (await found.session())["user"] == "ann"


async def test_the_provider_changes_its_keys() -> None:
    async with way() as found:
        assert await found.signed_in() == "/"
        found.idp.keys = [a_signing_key("two")]
        assert await found.signed_in() == "/"
        assert found.idp.seen == ["keys", "keys"]


@pytest.mark.parametrize(
    "spoil",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": [CLIENT, "another"]},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
    ],
)
async def test_a_token_that_is_not_for_here_signs_nobody_in(spoil: dict[str, Any]) -> None:
    async with way() as found:
        found.idp.spoil = spoil
        assert (await found.signed_in()).startswith("/sign-in?trouble=what the identity provider says of you")
        assert not (await found.session())["signed_in"]
        assert await found.door.store.users() == ()


async def test_a_signature_that_is_none_of_the_providers() -> None:
    async with way() as found:
        found.idp.signer = a_signing_key("one")  # by that name, another key
        assert "cannot be verified" in await found.signed_in()
        found.idp.algorithm, found.idp.signer = "HS256", None
        assert "cannot be verified" in await found.signed_in()
        assert not (await found.session())["signed_in"]


async def test_a_link_of_somebody_else_signs_nobody_in() -> None:
    async with way() as found:
        theirs = await found.to_callback()
        async with aiohttp.ClientSession() as victim, victim.get(theirs, allow_redirects=False) as response:
            assert "begun in another browser" in unquote(response.headers["Location"])
            assert "Set-Cookie" not in response.headers
        assert "finished already" in unquote(await found.go(theirs))  # a state holds once
        mine = await found.to_callback()
        assert await found.go(mine) == "/"
        assert "finished already" in unquote(await found.go(mine))
        state = parse_qs(urlsplit(await found.to_callback()).query)["state"][0]
        callback = f"{found.door.house.url}/auth/oidc/callback?state={state}&code=wrong"
        assert "did not confirm" in unquote(await found.go(callback))
        assert "did not sign you in" in unquote(await found.go(f"{found.door.house.url}/auth/oidc/callback?error=x"))


async def test_who_may_come_in() -> None:
    async with way(a_key("ann"), make_users=False) as found:
        assert "cannot come in by the identity provider yet" in await found.signed_in()  # ann has a key
        found.idp.claims = {"sub": "8", "preferred_username": "bob"}
        assert "cannot come in" in await found.signed_in()  # nobody made him
        await found.door.members.add_user("bob", None, admin=False, weight=2.0)
        assert await found.signed_in() == "/"
        assert (await found.session())["user"] == "bob"
        found.idp.claims = {"sub": "9", "preferred_username": "bob"}
        assert "cannot come in" in await found.signed_in()  # another of that name
    async with way() as found:
        for name in ("local", "a b", "", None):
            found.idp.claims = {"sub": "10", "preferred_username": name}
            assert (await found.signed_in()).startswith("/sign-in?trouble=")
        assert await found.door.store.users() == ()


async def test_a_name_that_the_provider_changes_makes_nobody_an_admin() -> None:
    async with way(admins="root") as found:
        found.idp.claims = {"sub": "7", "preferred_username": "eve"}
        assert await found.signed_in() == "/"
        found.idp.claims["preferred_username"] = "root"
        assert await found.signed_in() == "/"
        assert (await found.session())["admin"] is False


async def test_an_address_that_is_not_verified_names_nobody() -> None:
    async with way(claim="email") as found:
        found.idp.claims = {"sub": "7", "email": "ann@example.com", "email_verified": False}
        assert "not verified" in await found.signed_in()
        found.idp.claims["email_verified"] = True
        assert await found.signed_in() == "/"
        assert await found.door.store.users() == (
            User(
                UserId("ann@example.com"),
                subject=f"{found.idp.url} 7",
                created_at=(await found.door.store.users())[0].created_at,
            ),
        )


async def test_a_provider_that_is_away_or_another() -> None:
    async with way() as found:
        gone = IdentityProvider(OidcConfig("http://127.0.0.1:9", CLIENT), SystemClock())
    async with (
        locked(provider=gone) as door,
        door.house.http.get(f"{door.house.url}/auth/oidc/start", allow_redirects=False) as response,
    ):
        assert "does not answer" in unquote(response.headers["Location"])
    async with way() as found:
        found.idp.url = "https://another.example"
        assert "calls itself something else" in unquote(await found.go(f"{found.door.house.url}/auth/oidc/start"))


async def test_a_sign_in_that_takes_too_long() -> None:
    clock = VirtualClock()
    async with provider() as idp:
        known = IdentityProvider(OidcConfig(idp.url, CLIENT, SECRET), clock)
        _, state = await known.start("http://127.0.0.1/auth/oidc/callback")
        clock.advance(601)
        with pytest.raises(Exception, match="too long"):
            await known.finish("code", state, state)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"issuer": "http://id.example", "client_id": "x"}, "https://"),
        ({"issuer": "https://id.example"}, "client_id"),
        ({"scopes": "email"}, "openid"),
    ],
)
def test_settings_that_cannot_be(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        OidcConfig(**config)
    assert SECRET not in repr(OidcConfig("https://x", "y", SECRET))
