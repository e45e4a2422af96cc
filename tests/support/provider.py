"""A small OpenID provider on loopback: discovery, keys, codes with PKCE, tokens. Whoever comes is signed in as told."""

from __future__ import annotations

import hashlib
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey

CLIENT, SECRET = "hubbub", "canary-of-the-client-0123456789"


def a_key(name: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig", "alg": "ES256"})


@dataclass
class OpenIdProvider:
    """``claims``: of who signs in. ``spoil``: changes the claims of the next tokens. ``signer``: None is a shared
    secret, as an attacker would have it."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "7", "preferred_username": "ann"})
    spoil: dict[str, Any] = field(default_factory=dict)
    keys: list[ECKey] = field(default_factory=lambda: [a_key("one")])
    signer: ECKey | None = None
    algorithm: str = "ES256"
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self.discovery)
        app.router.add_get("/keys", self.published)
        app.router.add_get("/authorize", self.authorize)
        app.router.add_post("/token", self.token)
        return app

    async def discovery(self, _: web.Request) -> web.Response:
        ends = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return web.json_response({"issuer": self.url, **{name: self.url + path for name, path in ends.items()}})

    async def published(self, _: web.Request) -> web.Response:
        self.seen.append("keys")
        return web.json_response(KeySet(list(self.keys)).as_dict(private=False))

    async def authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        where = f"{asked['redirect_uri']}?code={code}&state={asked['state']}&session_state=x&iss={self.url}"
        return web.Response(status=302, headers={"Location": where})

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        asked = self.codes.pop(str(form["code"]), None)
        if asked is None or form["client_secret"] != SECRET or form["redirect_uri"] != asked["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        hashed = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        assert urlsafe_b64encode(hashed).rstrip(b"=").decode() == asked["code_challenge"]
        now = int(time.time())
        whole = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 60, "nonce": asked["nonce"]}
        claims = {name: value for name, value in {**whole, **self.claims, **self.spoil}.items() if value is not None}
        signer = self.signer or self.keys[-1]
        if self.algorithm == "HS256":
            shared = OctKey.import_key(SECRET)
            signed = jwt.encode({"alg": "HS256"}, claims, shared)
        else:
            signed = jwt.encode({"alg": self.algorithm, "kid": signer.kid or ""}, claims, signer)
        return web.json_response({"access_token": "x", "token_type": "Bearer", "id_token": signed})


@asynccontextmanager
async def provider() -> AsyncIterator[OpenIdProvider]:
    made = OpenIdProvider()
    runner = web.AppRunner(made.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
