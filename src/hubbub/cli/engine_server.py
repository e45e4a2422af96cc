"""``hubbub engine ...`` of a server that runs: what it says of its engines, and what it is told to do with them."""

from __future__ import annotations

import http.client
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hubbub.settings import Settings

ANSWER_S = 10.0

Address = Annotated[
    str | None, typer.Option("--server", help="Where the server runs [http://127.0.0.1 and the port of the settings].")
]
KeyFile = Annotated[str | None, typer.Option(help="File with a key of scope admin, where one is needed; -: stdin.")]
Config = Annotated[Path | None, typer.Option("--config", help="Settings file [hubbub.toml, if it is there].")]


class RunningServer:
    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._key = key

    @classmethod
    def find(cls, url: str | None, key_file: str | None, config: Path | None) -> RunningServer:
        """By ``url``, else where the settings have it listen. Raises ConfigError, BadRequest."""
        from hubbub.core.errors import BadRequest
        from hubbub.settings import load

        if url is not None and not url.startswith(("http://", "https://")):
            raise BadRequest(f"--server {url!r}: it must begin with http:// or https://", param="server")
        return cls(url or _address(load({}, file=config).settings), read_key(key_file))

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON that ``path`` answers; a POST where there is a body.

        Raises EngineUnavailable when nobody answers, HubbubError with the server's own words when it refuses.
        """
        from hubbub.core.errors import EngineUnavailable, HubbubError

        headers = {"Content-Type": "application/json", **self.headers}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers)  # noqa: S310 - checked in find
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            raise HubbubError(f"{self.url} says: {refusal_words(refusal)}") from None
        except (OSError, http.client.HTTPException, ValueError) as fault:
            reason = getattr(fault, "reason", fault)
            raise EngineUnavailable(
                f"no Hubbub answers at {self.url} ({reason}); start it with `hubbub serve`, or name it with --server"
            ) from None


def read_key(path: str | None) -> str:
    """Raises ConfigError."""
    from hubbub.core.errors import ConfigError
    from hubbub.user_path import user_path

    if path is None:
        return ""
    if path == "-":
        return sys.stdin.readline().strip()
    try:
        return user_path(path, "--key-file").read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--key-file: {path} cannot be read: {error}") from None


def drain(
    name: Annotated[str, typer.Argument(help="The engine, as `hubbub engine list` shows it.")],
    undo: Annotated[bool, typer.Option("--undo", help="Give it work again.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has ended what it runs.")] = False,
    server: Address = None,
    key_file: KeyFile = None,
    config: Config = None,
) -> None:
    """Give an engine of a running server nothing new; what it runs, it ends. Forgotten when the server stops."""
    import time
    from urllib.parse import quote

    running = RunningServer.find(server, key_file, config)
    path = f"/v1/engines/{quote(name, safe='')}"
    told = running.ask(f"{path}/drain", {"undo": undo})
    if undo:
        typer.echo(f"{name} is given work again")
        return
    while wait and told["running"]:
        time.sleep(0.2)
        told = running.ask(path)
    left = f"; {told['running']} requests still run there" if told["running"] else " and runs nothing"
    typer.echo(f"{name} is given nothing new{left}")


def restart(
    name: Annotated[str, typer.Argument(help="The engine, as `hubbub engine list` shows it.")],
    force: Annotated[
        bool, typer.Option("--force", help="Without waiting for what it runs: that goes on after.")
    ] = False,
    server: Address = None,
    key_file: KeyFile = None,
    config: Config = None,
) -> None:
    """Restart an engine of a running server when it has ended its work, and give it nothing new until then."""
    from urllib.parse import quote

    running = RunningServer.find(server, key_file, config)
    told = running.ask(f"/v1/engines/{quote(name, safe='')}/restart", {"force": force})
    left = f" once {told['running']} requests have ended" if told["running"] and not force else ""
    typer.echo(f"{name} is being restarted{left}; `hubbub engine list` shows when it is back")


def _address(settings: Settings) -> str:
    host = settings.server.host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}"


def refusal_words(refusal: urllib.error.HTTPError) -> str:
    """The message of an error body of ours, else the status."""
    try:
        return str(json.load(refusal)["error"]["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"{refusal.code} {refusal.reason}"
