"""The doors: which hosts and pages a request may come from, and who it is.

A web page of any site can make a browser send requests to a loopback port. Two things keep it out where no key does:

Host
    A page of evil.example whose name is made to resolve to 127.0.0.1 (DNS rebinding) is, to the browser, at its own
    server, and may read the answers. Its requests still say ``Host: evil.example``, which is refused.
Origin
    A page may send requests elsewhere without being able to read the answers (CSRF). Browsers then add its ``Origin``,
    which is refused on everything but GET, HEAD and OPTIONS.

Browsers always send the first, and the second where it counts; programs that send neither are not what this is about.

Who has signed in is known by a cookie, which a browser adds by itself. It is ``SameSite=Strict``, and a request that
changes something with it has to come from this server's very own page: also another port of the same name is refused,
and also a site that may ask with a key.
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
from hubbub.gateway.members import Members
from hubbub.gateway.oidc import IdentityProvider

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
ANY = "*"
EXPOSED = (
    "x-request-id, x-should-retry, retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
    "x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
PREFLIGHT_SECONDS = "600"
COOKIE = "hubbub_session"


@dataclass(frozen=True, slots=True)
class Doors:
    """``keys`` None: everybody is the one local user. ``hosts``: names the server has beside loopback's.

    ``open_network``: the server can be reached from other machines, so that its names may be addresses, too.
    ``origins``: pages of other sites that may ask, as ``https://host:port``, or ``*``. ``proxies``: addresses of
    proxies that are believed what they say of a client. ``members``: who may sign in, on a server with ``keys``;
    ``provider``: by whom they may, beside a password.
    """

    keys: KeyRing | None = None
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    open_network: bool = False
    proxies: frozenset[str] = frozenset()
    members: Members | None = None
    provider: IdentityProvider | None = None
    any_host: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        # A key is proof enough of where a request comes from: no page of another site can know it.
        object.__setattr__(self, "any_host", self.open_network and self.keys is not None and not self.hosts)

    def caller(self, request: web.Request, scopes: tuple[Scope, ...]) -> Caller:
        """Who asks for a route that needs one of ``scopes``; none: anybody. Raises Unauthorized or Forbidden."""
        if self.keys is None:
            return ANYBODY
        authorization = request.headers.get("Authorization")
        if authorization is None:
            found = self.signed_in(request.cookies.get(COOKIE, ""))
            if found is not None:
                _own_page(request)
                return found
            if not scopes:
                return NOBODY
        return self.keys.caller(authorization)

    def signed_in(self, token: str) -> Caller | None:
        """Whose session it is."""
        return self.keys.signed_in(token) if token and self.keys is not None else None

    def client(self, request: web.Request) -> str:
        """The address a request comes from."""
        remote = request.remote or ""
        if remote not in self.proxies:
            return remote
        hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",")]
        return next((hop for hop in reversed(hops) if hop and hop not in self.proxies), remote)

    def secure(self, request: web.Request) -> bool:
        """Whether it came by TLS, as far as a proxy that is believed tells."""
        told = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
        return request.secure or (told == "https" and (request.remote or "") in self.proxies)

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


def _own_page(request: web.Request) -> None:
    """Raises WrongOrigin for a change that comes with a session, and not from this server's own page."""
    if request.method in SAFE:
        return
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "same-origin")
    host = request.headers.get("Host", "")  # HTTP/1.0 need not say it
    if site not in ("same-origin", "none") or (origin is not None and not _same(origin, host)):
        raise WrongOrigin("only this server's own page may change something in a session; use a key elsewhere")


def _same(origin: str, host: str) -> bool:
    """Whether the page came from this server: same name and port, whatever the scheme (a proxy may speak TLS)."""
    scheme, found, place = origin.lower().partition("://")
    return bool(found) and scheme in ("http", "https") and place == host.lower()
