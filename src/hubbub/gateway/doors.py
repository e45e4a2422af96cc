"""The doors: which hosts and pages a request may come from, and who it is.

A web page of any site can make a browser send requests to a loopback port. Two things keep it out where no key does:

Host
    A page of evil.example whose name is made to resolve to 127.0.0.1 (DNS rebinding) is, to the browser, at its own
    server, and may read the answers. Its requests still say ``Host: evil.example``, which is refused.
Origin
    A page may send requests elsewhere without being able to read the answers (CSRF). Browsers then add its ``Origin``,
    which is refused on everything but GET, HEAD and OPTIONS.

Browsers always send the first, and the second where it counts; programs that send neither are not what this is about.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web

from hubbub.core.errors import WrongHost, WrongOrigin
from hubbub.core.keys import Scope
from hubbub.gateway.keyring import ANYBODY, NOBODY, Caller, KeyRing

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
ANY = "*"
EXPOSED = (
    "x-request-id, x-should-retry, retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
    "x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
PREFLIGHT_SECONDS = "600"


@dataclass(frozen=True, slots=True)
class Doors:
    """``keys`` None: everybody is the one local user. ``hosts``: names the server has beside loopback's.

    ``open_network``: the server can be reached from other machines, so that its names may be addresses, too.
    ``origins``: pages of other sites that may ask, as ``https://host:port``, or ``*``.
    """

    keys: KeyRing | None = None
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    open_network: bool = False
    any_host: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        # A key is proof enough of where a request comes from: no page of another site can know it.
        object.__setattr__(self, "any_host", self.open_network and self.keys is not None and not self.hosts)

    def caller(self, request: web.Request, scopes: tuple[Scope, ...]) -> Caller:
        """Who asks for a route that needs one of ``scopes``; none: anybody. Raises Unauthorized or Forbidden."""
        if self.keys is None:
            return ANYBODY
        authorization = request.headers.get("Authorization")
        if authorization is None and not scopes:
            return NOBODY
        return self.keys.caller(authorization)

    def check(self, request: web.Request) -> None:
        """Raises WrongHost or WrongOrigin."""
        host = request.headers.get("Host")
        if host is not None and not self.any_host and not self._ours(host):
            raise WrongHost(
                f"this server is not {host[:100]!r}; use localhost, or name that host in the setting server.hosts"
            )
        origin = request.headers.get("Origin")
        if origin is None or request.method in SAFE or self.shares(origin):
            return
        if not _same(origin, host or ""):
            raise WrongOrigin(
                f"pages of {origin[:100]!r} may not ask here; name it in the setting gateway.cors_origins to let them"
            )

    def shares(self, origin: str) -> bool:
        """Whether pages of ``origin`` may read answers."""
        return ANY in self.origins or origin.lower() in self.origins

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser that asks whether a page may ask; None if it did not, or may not."""
        origin = request.headers.get("Origin")
        wanted = request.headers.get("Access-Control-Request-Method")
        if request.method != "OPTIONS" or wanted is None or origin is None or not self.shares(origin):
            return None
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
                "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", "authorization"),
                "Access-Control-Max-Age": PREFLIGHT_SECONDS,
            },
        )

    def cors(self, request: web.Request) -> Mapping[str, str]:
        """What an answer says to the browser of a page of another site."""
        if not self.origins:
            return {}
        origin = request.headers.get("Origin")
        if origin is None or not self.shares(origin):
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": EXPOSED,
        }

    def _ours(self, host: str) -> bool:
        name = host_name(host)
        if name is None:
            return False
        if is_loopback(name) or name in self.hosts:
            return True
        return self.open_network and _address(name) is not None


def host_name(host: str) -> str | None:
    """The name of a ``Host`` header without its port, in lower case; None for what is none."""
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018 - raises ValueError for a port that is none
    except ValueError:
        return None
    if parts.netloc != host or "@" in host or not parts.hostname:
        return None
    return parts.hostname.rstrip(".")


def is_loopback(name: str) -> bool:
    """Whether a host name or address means this machine only."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _same(origin: str, host: str) -> bool:
    """Whether the page came from this server: same name and port, whatever the scheme (a proxy may speak TLS)."""
    scheme, found, place = origin.lower().partition("://")
    return bool(found) and scheme in ("http", "https") and place == host.lower()
