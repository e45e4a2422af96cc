"""What can be set about the HTTP side and its doors."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Raises ValueError for a value that makes no sense."""

    max_body_bytes: int = field(default=8 * MIB, metadata={"help": "largest request body taken, in bytes"})
    ping_seconds: float = field(
        default=15.0, metadata={"help": "a stream that said nothing for so long sends a comment, in seconds"}
    )
    cors_origins: str = field(
        default="",
        metadata={"help": "sites whose pages may ask, as https://name:port, comma-separated; * with keys: all"},
    )

    def __post_init__(self) -> None:
        if self.max_body_bytes < 1024:
            raise ValueError(f"max_body_bytes is {self.max_body_bytes}; give at least 1024")
        for origin in self.origins - {"*"}:
            if not re.fullmatch(r"https?://[^/\s]+", origin):
                raise ValueError(f"cors_origins has {origin!r}; write it as https://name or http://name:port")
        if self.ping_seconds <= 0:
            raise ValueError(f"ping_seconds is {self.ping_seconds}; give a time above 0")

    @property
    def origins(self) -> frozenset[str]:
        return words(self.cors_origins)


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """Without ``issuer`` nobody comes in so. Raises ValueError."""

    issuer: str = field(default="", metadata={"help": "address of the identity provider; empty: none"})
    client_id: str = field(default="", metadata={"help": "what the provider calls this server"})
    client_secret: str = field(
        default="", repr=False, metadata={"help": "its secret there; empty for a public client", "secret": True}
    )
    name: str = field(default="Single sign-on", metadata={"help": "what the button says"})
    scopes: str = field(default="openid profile email", metadata={"help": "what is asked for, openid among it"})
    claim: str = field(
        default="preferred_username", metadata={"help": "the claim that names a user: preferred_username, email, sub"}
    )
    make_users: bool = field(
        default=False, metadata={"help": "let in everybody whom the provider knows; else only whom an admin has made"}
    )
    admins: str = field(default="", metadata={"help": "users who are admins when they come in so, comma-separated"})
    redirect: str = field(
        default="", metadata={"help": "https://NAME/auth/oidc/callback; empty: by the host that the browser asked"}
    )

    def __post_init__(self) -> None:
        if self.issuer and not self.issuer.startswith(
            ("https://", "http://127.0.0.1", "http://localhost", "http://[::1]")
        ):
            raise ValueError(f"issuer is {self.issuer!r}; it has to begin with https://")
        if self.issuer and not self.client_id:
            raise ValueError("client_id is missing: issuer is given")
        if "openid" not in self.scopes.split():
            raise ValueError("scopes has to have openid among it")


def words(text: str) -> frozenset[str]:
    """A comma-separated setting, in lower case."""
    return frozenset(word.strip().lower() for word in text.split(",") if word.strip())
