"""The page's files: served with a strict policy, cached by name, and nothing beside them."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from hubbub.gateway.page import NOT_BUILT, PageFiles
from support.serving import Served, served

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("built")
    web = base / "web"
    (web / "assets").mkdir(parents=True)
    (web / "index.html").write_text("<!doctype html><title>Hubbub</title>")
    (web / "favicon.svg").write_text("<svg/>")
    (web / "assets" / "index-a1b2.js").write_text("export const a = 1;\n" * 200)
    (web / "assets" / "index-a1b2.js.gz").write_bytes(gzip.compress(b"export const a = 1;\n" * 200))
    (web / "notes.py").write_text("secret")
    (base / "beside.txt").write_text("secret")
    (web / "link.txt").symlink_to(base / "beside.txt")
    return web


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(folder: Path) -> AsyncIterator[Served]:
    async with served(page=PageFiles(folder)) as started:
        yield started


@pytest.mark.parametrize("path", ["/", "/chat/conv_1", "/wall", "/plan", "/corpus/a/b", "/engine", "/keys", "/sign-in"])
async def test_every_screen_is_the_one_page(house: Served, path: str) -> None:
    async with house.http.get(house.url + path) as response:
        assert response.status == 200
        assert "<title>Hubbub</title>" in await response.text()
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache"
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
        assert "unsafe" not in policy
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        tag = response.headers["ETag"]
    async with house.http.get(house.url + path, headers={"If-None-Match": tag}) as again:
        assert again.status == 304


async def test_a_hashed_name_is_kept_for_ever_and_sent_compressed(house: Served) -> None:
    for encoding in ("gzip", "identity"):
        headers = {"Accept-Encoding": encoding}
        async with house.http.get(f"{house.url}/assets/index-a1b2.js", headers=headers) as response:
            assert (await response.text()).startswith("export const a")
            assert response.headers.get("Content-Encoding", "identity") == encoding
            assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    async with house.http.head(f"{house.url}/favicon.svg") as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "image/svg+xml")


@pytest.mark.parametrize(
    "path",
    [
        "/beside.txt",
        "/link.txt",
        "/notes.py",
        "/assets",
        "/assets/none.js",
        "/assets/..%2findex.html",
        "/assets/%2e%2e/%2e%2e/beside.txt",
        "/..%2fbeside.txt",
        "/%00.js",
        "/assets/index-a1b2.js/x.js",
        "/" + "a" * 1000 + ".js",
        "/v1/none",
    ],
)
async def test_nothing_else_is_there(house: Served, path: str) -> None:
    status, said = await house.call("GET", path)
    assert status == 404
    assert said["error"]["code"] == "not_found"


async def test_what_is_not_built_says_how_to(tmp_path: Path) -> None:
    async with served(page=PageFiles(tmp_path / "none")) as house:
        async with house.http.get(house.url) as response:
            assert (response.status, await response.text()) == (404, NOT_BUILT)
            assert response.headers["Content-Type"].startswith("text/plain")
        (tmp_path / "none").mkdir()
        (tmp_path / "none" / "index.html").write_text("built meanwhile")
        async with house.http.get(house.url) as response:
            assert await response.text() == "built meanwhile"
