"""``hubbub keys ...``: who may come in. Works beside a running server, which hears of a change within a second."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from hubbub.core.quota import LIMIT_MOST

if TYPE_CHECKING:
    from hubbub.core.keys import Key
    from hubbub.ports import KeyStore

Told = TypeVar("Told")

app = typer.Typer(help="Who may come in.", no_args_is_help=True)

Data = Annotated[str | None, typer.Option(help="Folder of the database and the logs [hubbub-data].")]
Config = Annotated[Path | None, typer.Option(help="Settings file [hubbub.toml, if it is there].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="The key's id (key_...), or its label if no other key has the same.")]

SPANS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
COLUMNS = ("id", "key", "user", "label", "scopes", "state", "created", "used", "expires")


def _limit(help: str) -> Any:
    return typer.Option(min=0, max=LIMIT_MOST, help=help)


@app.command()
def create(
    user: Annotated[str, typer.Option(help="Whose key it is; keys of one user see the same chats.")] = "local",
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    scopes: Annotated[
        str, typer.Option(help="Of chat, bulk, read, admin; comma-separated. chat and bulk hold read.")
    ] = "chat,bulk",
    expires: Annotated[str | None, typer.Option(help="When it ends to open: 12h, 30d, 8w [never].")] = None,
    requests_per_minute: Annotated[int | None, _limit("0: any number [quota's].")] = None,
    tokens_per_minute: Annotated[int | None, _limit("Input and output; 0: any [quota's].")] = None,
    tokens_per_day: Annotated[int | None, _limit("Input and output; 0: any [quota's].")] = None,
    parallel_chats: Annotated[int | None, _limit("Answered at once; 0: any [quota's].")] = None,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make a key. It is printed once, here, and never again: only its hash is kept."""
    import secrets
    import time

    from hubbub.core import keys
    from hubbub.core.quota import Limits

    now = time.time()
    text = keys.key_text(secrets.token_bytes(keys.RANDOM_BYTES))
    key = keys.Key(
        id=keys.KeyId(f"key_{secrets.token_hex(6)}"),
        user=keys.checked_user(user),
        digest=keys.digest_of(text),
        hint=text[: keys.HINT_CHARACTERS],
        scopes=keys.checked_scopes(word.strip() for word in scopes.split(",") if word.strip()),
        created_at=now,
        label=keys.checked_label(label),
        limits=Limits(requests_per_minute, tokens_per_minute, tokens_per_day, parallel_chats),
        expires_at=None if expires is None else now + _seconds(expires),
    )
    _asked(data, config, lambda store: store.add(key), make=True)
    if as_json:
        typer.echo(json.dumps({"secret": text, **_told(key, now)}))
        return
    typer.echo(text)
    typer.echo(f"{key.id} of user {key.user}. The key is above: keep it, it is not shown again.", err=True)


@app.command("list")
def list_(
    user: Annotated[str | None, typer.Option(help="Of this user only.")] = None,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Every key, without the keys."""
    import time

    now = time.time()
    found = [key for key in _asked(data, config, lambda store: store.keys()) if user in (None, key.user)]
    if as_json:
        typer.echo(json.dumps([_told(key, now) for key in found]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, box=None)
    for key in found:
        told = _told(key, now)
        table.add_row(*(_word(told[name]) for name in COLUMNS))
    Console().print(table)


@app.command()
def show(name: Name, as_json: AsJson = False, data: Data = None, config: Config = None) -> None:
    """One key: its limits and what it used today, too."""
    import time

    from hubbub.core.quota import day_of

    now = time.time()

    async def question(store: KeyStore) -> dict[str, Any]:
        key = _named(await store.keys(), name)
        spent = await store.spent(day_of(now))
        return {**_told(key, now), "tokens_today": spent.get(key.id, 0)}

    told = _asked(data, config, question)
    if as_json:
        typer.echo(json.dumps(told))
        return
    for field, value in told.items():
        typer.echo(f"{field:20} {_word(value)}")


@app.command()
def revoke(name: Name, data: Data = None, config: Config = None) -> None:
    """End a key for good. A running server refuses it within a second."""
    import time

    async def question(store: KeyStore) -> Key:
        return await store.revoke(_named(await store.keys(), name).id, time.time())

    key = _asked(data, config, question)
    typer.echo(f"revoked {key.id} of user {key.user}")


@app.command()
def users(as_json: AsJson = False, data: Data = None, config: Config = None) -> None:
    """Every user with the share of the machine it has against others."""
    found = _asked(data, config, lambda store: store.users())
    if as_json:
        typer.echo(json.dumps([{"user": user.id, "weight": user.weight} for user in found]))
        return
    for user in found:
        typer.echo(f"{user.id:20} {user.weight:g}")


@app.command()
def weight(
    user: Annotated[str, typer.Argument(help="The user's name.")],
    share: Annotated[float, typer.Argument(help="2: twice as much as a user with 1, when both want all.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Give a user more or less of the machine. Holds from when that user next comes back from being idle."""
    from hubbub.core.keys import User, checked_user, checked_weight

    name, weight = checked_user(user), checked_weight(share)

    async def change(store: KeyStore) -> None:
        found = next((known for known in await store.users() if known.id == name), User(name))
        await store.save_user(replace(found, weight=weight))

    _asked(data, config, change, make=True)
    typer.echo(f"{name} has the weight {weight:g}")


def _told(key: Key, now: float) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "id": key.id,
        "key": f"{key.hint}…",
        "user": key.user,
        "label": key.label,
        "scopes": ",".join(sorted(key.scopes)),
        "state": key.trouble(now) or "good",
        "created": _when(key.created_at),
        "used": _when(key.used_at),
        "expires": _when(key.expires_at),
        "revoked": _when(key.revoked_at),
        **asdict(key.limits),
    }


def _when(at: float | None) -> str | None:
    """UTC, to the minute."""
    from datetime import UTC, datetime

    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _word(value: Any) -> str:
    return "-" if value is None or value == "" else str(value)


def _seconds(text: str) -> float:
    """``30d`` as seconds. Raises BadRequest."""
    from hubbub.core.errors import BadRequest
    from hubbub.core.keys import LIFE_MOST_S

    read = re.fullmatch(r"(\d{1,9})([mhdw])", text.strip())
    seconds = int(read[1]) * SPANS[read[2]] if read else 0.0
    if not 0 < seconds <= LIFE_MOST_S:
        most = f"at most {LIFE_MOST_S // 86_400}d"
        raise BadRequest(f"--expires {text!r}: give a number and m, h, d or w, as in 30d, {most}", param="expires")
    return seconds


def _named(keys: tuple[Key, ...], name: str) -> Key:
    """Raises NotFound, or Conflict for a label that several keys have."""
    from hubbub.core.errors import Conflict, NotFound

    found = [key for key in keys if key.id == name] or [key for key in keys if name and key.label == name]
    if not found:
        raise NotFound(f"there is no key {name!r}; `hubbub keys list` shows those there are", param="key")
    if len(found) > 1:
        raise Conflict(
            f"{len(found)} keys have the label {name!r}; name one by its id: {', '.join(k.id for k in found)}"
        )
    return found[0]


def _asked(
    data: str | None, config: Path | None, question: Callable[[KeyStore], Awaitable[Told]], *, make: bool = False
) -> Told:
    return asyncio.run(_ask(data, config, question, make=make))


async def _ask(
    data: str | None, config: Path | None, question: Callable[[KeyStore], Awaitable[Told]], *, make: bool
) -> Told:
    """What the key store of the configured data folder answers. Raises ConfigError where there is none."""
    from hubbub.core.errors import ConfigError
    from hubbub.settings import data_folder, load
    from hubbub.store.keys_sqlite import FILE, SqliteKeyStore

    settings = load({"server.data": data}, file=config).settings
    path = (data_folder(settings) if make else Path(settings.server.data)) / FILE
    if not make and not path.is_file():
        raise ConfigError(f"there are no keys in {path.parent} yet: make one with `hubbub keys create`, or name --data")
    store = await SqliteKeyStore.open(path)
    try:
        return await question(store)
    finally:
        await store.close()
