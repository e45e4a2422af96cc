"""The page: files that were built from /web into this package, and what browsers are told to let it do.

Whoever can reach the server can load the page: it holds nothing of anybody. Its routes are no part of the interface,
so that they stand here and not in the route table. A name with a hash in it (all of ``assets/``) never changes; the
rest is asked for anew each time and mostly answered with 304. A file with ``.gz`` beside it is sent in that form to
whoever takes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from hubbub.core.errors import NotFound

FOLDER = Path(__file__).parent.parent / "web"
"""Where ``make web`` and the wheel put the page."""
INDEX = "index.html"
ASSETS = "assets"
SCREENS = (
    "chat",
    "wall",
    "plan",
    "corpus",
    "engine",
    "keys",
    "users",
    "import",
    "settings",
    "sign-in",
)
"""First parts of the addresses that the page itself understands."""
NOT_BUILT = "The page is not built here. In the sources: make web. The interface is there: /v1, /openapi.json.\n"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "font-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
"""Named here, since a system's own table may know them wrong or not at all. No other files are served."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageFiles:
    """Looks at the folder at each request: what is built while the server runs is served by it."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder.resolve()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """After all other routes: what they do not know may be a file."""
        router.add_get("/", self._index)
        for screen in SCREENS:
            router.add_get(f"/{screen}", self._index)
            router.add_get(f"/{screen}/{{rest:.*}}", self._index)
        router.add_get(f"/{ASSETS}/{{name:.+}}", self._asset)
        router.add_get("/{name:[^/]+}", self._file)

    async def _index(self, request: web.Request) -> web.StreamResponse:
        path = self._folder / INDEX
        if not path.is_file():
            return web.Response(text=NOT_BUILT, status=404, headers={**HEADERS, "Cache-Control": ASK_AGAIN})
        return self._answer(path, ASK_AGAIN)

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        return self._answer(self._found(request, self._folder / ASSETS), FOR_EVER)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._answer(self._found(request, self._folder), ASK_AGAIN)

    def _found(self, request: web.Request, folder: Path) -> Path:
        """Raises NotFound: not there, not a kind that is served, or not in the folder."""
        with contextlib.suppress(OSError, ValueError):  # a name that no file can have
            path = (folder / request.match_info["name"]).resolve()
            if path.suffix in TYPES and path.is_relative_to(folder) and path.is_file():
                return path
        raise NotFound(f"there is no route {request.method} {request.path}; see /openapi.json")

    def _answer(self, path: Path, caching: str) -> web.FileResponse:
        headers = {**HEADERS, "Cache-Control": caching, "Content-Type": TYPES[path.suffix]}
        return web.FileResponse(path, headers=headers)
