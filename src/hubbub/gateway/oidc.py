"""Signing in by an identity provider: OpenID Connect, the authorization code flow with PKCE.

1. ``start`` sends the browser to the provider with a state, a nonce and the hash of a verifier. A cookie ties the state
   to that browser: somebody else's link cannot sign it in (login CSRF).
2. The provider sends the browser back with the state and a code. ``finish`` asks the provider for the ID token, with
   the verifier, and checks its signature by the provider's published keys, its issuer, audience, time and nonce.

What the provider says of itself is read once (discovery), its keys again when a token names one that is not known.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec

from hubbub.core.errors import EngineUnavailable, Forbidden, Unauthorized
from hubbub.gateway.config import OidcConfig, words
from hubbub.ports import Clock

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

T = TypeVar("T")

log = logging.getLogger(__name__)

PENDING_MOST, PENDING_S = 1000, 600.0
ASK_S = 10.0
MOST_BYTES = 1 << 20
LEEWAY_S = 60
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures with a published key. Not those with a shared secret, and never none."""


@dataclass(frozen=True, slots=True)
class Identity:
    """``subject``: issuer and subject, which never change. ``name``: what the configured claim says."""

    subject: str
    name: str


@dataclass(frozen=True, slots=True)
class _Pending:
    nonce: str
    verifier: str
    redirect: str
    at: float


class _Discovered(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str


class IdentityProvider:
    def __init__(self, config: OidcConfig, clock: Clock) -> None:
        self.name = config.name
        self.make_users = config.make_users
        self.admins = words(config.admins)
        self._config, self._clock = config, clock
        self._pending: dict[str, _Pending] = {}
        self._discovered: _Discovered | None = None
        self._keys: KeySet | None = None
        self._reading = asyncio.Lock()

    async def start(self, callback: str) -> tuple[str, str]:
        """Where to send the browser, and the state to keep in it. Raises EngineUnavailable."""
        found = await self._discover()
        now = self._clock.now()
        self._pending = {state: held for state, held in self._pending.items() if held.at > now - PENDING_S}
        while len(self._pending) >= PENDING_MOST:
            del self._pending[next(iter(self._pending))]
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        redirect = self._config.redirect or callback
        self._pending[state] = _Pending(nonce, verifier, redirect, now)
        query = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": redirect,
            "scope": self._config.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in found.authorization_endpoint else "?"
        return f"{found.authorization_endpoint}{joint}{urlencode(query)}", state

    async def finish(self, code: str, state: str, kept: str) -> Identity:
        """``kept``: the state that the browser held. Raises Unauthorized, EngineUnavailable."""
        pending = self._pending.pop(state, None)
        if pending is None or pending.at <= self._clock.now() - PENDING_S:
            raise Unauthorized("this sign-in has taken too long, or was finished already: begin anew")
        if not hmac.compare_digest(state.encode(), kept.encode()):
            raise Unauthorized("this sign-in was begun in another browser: begin anew")
        claims = await self._checked(await self._redeem(code, pending), pending.nonce)
        name = claims.get(self._config.claim)
        if not isinstance(name, str) or not name:
            raise Forbidden(f"the identity provider does not say {self._config.claim!r} of you; see oidc.claim")
        if self._config.claim == "email" and claims.get("email_verified") is False:
            raise Forbidden("the identity provider has not verified your e-mail address")
        return Identity(f"{claims['iss']} {claims['sub']}", name)

    # The provider ----------------------------------------------------------------------------------------------------

    async def _redeem(self, code: str, pending: _Pending) -> str:
        """The ID token for a code. Raises Unauthorized, EngineUnavailable."""
        found = await self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": pending.redirect,
            "client_id": self._config.client_id,
            "code_verifier": pending.verifier,
        }
        if self._config.client_secret:
            form["client_secret"] = self._config.client_secret
        status, said = await self._ask("POST", found.token_endpoint, form)
        if status != 200:
            log.warning("the identity provider refused a code with %d", status, extra={"action": "oidc"})
            raise Unauthorized("the identity provider did not confirm this sign-in: begin anew")
        return self._read(said, _Tokens).id_token

    async def _checked(self, token: str, nonce: str) -> dict[str, Any]:
        """Its claims. Raises Unauthorized."""
        from joserfc import jwt  # only where people sign in so: cryptography is long to load
        from joserfc.errors import JoseError

        issuer = (await self._discover()).issuer
        registry = jwt.JWTClaimsRegistry(
            now=lambda: int(self._clock.wall()),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": self._config.client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        for again in (False, True):
            try:
                found = jwt.decode(token, await self._published(again=again), algorithms=ALGORITHMS)
                registry.validate(found.claims)
            except (JoseError, ValueError) as fault:
                if again:
                    log.warning("an ID token is no good: %s", type(fault).__name__, extra={"action": "oidc"})
                    raise Unauthorized("what the identity provider says of you cannot be verified") from None
            else:
                self._authorized_party(found.claims)
                return found.claims
        raise AssertionError("the second look ends it")

    def _authorized_party(self, claims: dict[str, Any]) -> None:
        """Raises Unauthorized for a token that was made for another client, too, and not by us."""
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", self._config.client_id if not several else None) != self._config.client_id:
            raise Unauthorized("what the identity provider says of you is for another client")

    async def _discover(self) -> _Discovered:
        """Raises EngineUnavailable."""
        async with self._reading:
            if self._discovered is None:
                where = self._config.issuer.rstrip("/") + "/.well-known/openid-configuration"
                found = self._read((await self._ask("GET", where))[1], _Discovered)
                if found.issuer.rstrip("/") != self._config.issuer.rstrip("/"):
                    raise EngineUnavailable("the identity provider calls itself something else than oidc.issuer")
                self._discovered = found
            return self._discovered

    async def _published(self, *, again: bool) -> KeySet:
        """The provider's keys; ``again``: read anew, as it may have changed them. Raises EngineUnavailable."""
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        where = (await self._discover()).jwks_uri
        async with self._reading:
            if self._keys is None or again:
                said = (await self._ask("GET", where))[1]
                try:
                    self._keys = KeySet.import_key_set(msgspec.json.decode(said))
                except (JoseError, ValueError, TypeError, KeyError) as fault:
                    raise EngineUnavailable("the identity provider's keys cannot be read") from fault
            return self._keys

    async def _ask(self, method: str, where: str, form: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Raises EngineUnavailable."""
        try:
            async with (
                asyncio.timeout(ASK_S),
                aiohttp.ClientSession(headers={"Accept": "application/json"}) as http,
                http.request(method, where, data=form, allow_redirects=False) as response,
            ):
                return response.status, await response.content.read(MOST_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError) as fault:
            log.warning("the identity provider does not answer: %s", type(fault).__name__, extra={"action": "oidc"})
            raise EngineUnavailable("the identity provider does not answer", retry_after=5.0) from None

    @staticmethod
    def _read(said: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(said, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineUnavailable("the identity provider says nothing that can be read") from None
