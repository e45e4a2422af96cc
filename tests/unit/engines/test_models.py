"""Which model a name means; the hub is a real HTTP server on loopback that speaks the hub's API."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from gguf import GGUFWriter

from hubbub.core.errors import ConfigError
from hubbub.engines.gguf_check import check_gguf
from hubbub.engines.model_hub import HubAccess, choose_file
from hubbub.engines.models import DEFAULT_REPO, ModelKind, ModelSource, ResolvedModel, resolve_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_gguf(path: Path, name: str = "tiny") -> Path:
    writer = GGUFWriter(path, "qwen3")
    writer.add_name(name)
    writer.add_token_list(["a", "b", "я"])
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class FakeHub:
    """The parts of the hub's API that a download needs. ``asked`` are the paths of all requests."""

    def __init__(self, files: dict[str, bytes], repo: str) -> None:
        self.files = files
        self.repo = repo
        self.asked: list[str] = []

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/models/{repo:[^/]+/[^/]+}{rest:(/.*)?}", self.info)
        app.router.add_route("*", "/{repo:[^/]+/[^/]+}/resolve/{revision}/{file:.+}", self.file)
        return app

    async def info(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.match_info["repo"] != self.repo:
            return web.json_response({"error": "not found"}, status=404, headers={"X-Error-Code": "RepoNotFound"})
        siblings = [{"rfilename": name} for name in self.files]
        return web.json_response({"id": self.repo, "modelId": self.repo, "sha": COMMIT, "siblings": siblings})

    async def file(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        data = self.files.get(request.match_info["file"])
        if data is None:
            return web.Response(status=404, headers={"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{len(data):064x}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(len(data))})
        start = request.http_range.start or 0
        return web.Response(status=206 if start else 200, body=data[start:], headers=headers)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[tuple[FakeHub, HubAccess]]:
    model = write_gguf(tmp_path / "made.gguf").read_bytes()
    fake = FakeHub(
        {"Qwen3-0.6B-Q8_0.gguf": model, "Qwen3-0.6B-Q4_K_M.gguf": model, "mmproj-F16.gguf": b"", "README.md": b"hi"},
        DEFAULT_REPO,
    )
    runner = web.AppRunner(fake.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield fake, HubAccess(f"http://127.0.0.1:{runner.addresses[0][1]}", tmp_path / "cache")
    await runner.cleanup()


@pytest.fixture
def silent_hub(tmp_path: Path) -> Iterator[HubAccess]:
    """A hub that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield HubAccess(f"http://127.0.0.1:{listener.getsockname()[1]}", tmp_path / "cache", answer_s=0.2)


@pytest.fixture
def refused_hub(tmp_path: Path) -> HubAccess:
    return HubAccess("http://127.0.0.1:9", tmp_path / "cache")


async def resolve(spec: str, access: HubAccess) -> ResolvedModel:
    return await asyncio.to_thread(resolve_model, spec, access)


# The hub --------------------------------------------------------------------------------------------------------------


@pytest.mark.large
async def test_the_default_is_downloaded_once_then_taken_from_the_cache(hub: tuple[FakeHub, HubAccess]) -> None:
    fake, access = hub
    first = await resolve("", access)
    assert (first.source, first.kind, first.name) == (ModelSource.HUB, ModelKind.GGUF, DEFAULT_REPO)
    assert first.path.name == "Qwen3-0.6B-Q8_0.gguf"
    assert first.path.read_bytes() == fake.files["Qwen3-0.6B-Q8_0.gguf"]
    assert "downloaded" in first.why
    asked = len(fake.asked)
    second = await resolve("", access)
    assert (second.source, second.path) == (ModelSource.CACHE, first.path)
    assert len(fake.asked) == asked


async def test_a_quantization_or_a_file_can_be_named(hub: tuple[FakeHub, HubAccess]) -> None:
    _, access = hub
    assert (await resolve(f"{DEFAULT_REPO}:q4_k_m", access)).path.name == "Qwen3-0.6B-Q4_K_M.gguf"
    assert (await resolve(f"{DEFAULT_REPO}:Qwen3-0.6B-Q8_0.gguf", access)).path.name == "Qwen3-0.6B-Q8_0.gguf"


async def test_a_file_that_is_not_there_is_told_with_those_that_are(hub: tuple[FakeHub, HubAccess]) -> None:
    with pytest.raises(ConfigError, match=r"no file 'Q2_K'; it has Qwen3-0\.6B-Q4_K_M\.gguf"):
        await resolve(f"{DEFAULT_REPO}:Q2_K", hub[1])


async def test_a_name_that_is_not_there(hub: tuple[FakeHub, HubAccess]) -> None:
    with pytest.raises(ConfigError, match="there is no model 'nobody/nothing'"):
        await resolve("nobody/nothing", hub[1])


async def test_a_repository_without_gguf_says_where_one_may_be(hub: tuple[FakeHub, HubAccess]) -> None:
    fake, access = hub
    fake.files = {"model.safetensors": b""}
    with pytest.raises(ConfigError, match=f"{DEFAULT_REPO}-GGUF"):
        await resolve(DEFAULT_REPO, access)


async def test_a_broken_download_is_noticed(hub: tuple[FakeHub, HubAccess]) -> None:
    fake, access = hub
    fake.files = {"m-Q8_0.gguf": fake.files["Qwen3-0.6B-Q8_0.gguf"][:-100]}
    with pytest.raises(ConfigError, match="cut off"):
        await resolve(DEFAULT_REPO, access)


def test_without_a_hub_the_default_is_the_bundled_model(refused_hub: HubAccess) -> None:
    model = resolve_model("", refused_hub)
    assert (model.source, model.name) == (ModelSource.BUNDLED, "smollm2")
    assert "does not answer" in model.why
    assert "\n" not in model.why


@pytest.mark.large
def test_a_silent_hub_is_not_waited_for(silent_hub: HubAccess) -> None:
    assert resolve_model("", silent_hub).source is ModelSource.BUNDLED


def test_a_name_without_a_hub_says_the_way_out(refused_hub: HubAccess) -> None:
    with pytest.raises(ConfigError, match="not in the local cache") as caught:
        resolve_model("Qwen/Qwen3-4B-GGUF", refused_hub)
    assert "smollm2" in caught.value.message


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (["m-Q4_K_M.gguf", "m-Q8_0.gguf"], "", "m-Q8_0.gguf"),
        (["m.Q4_0.gguf", "m.Q4_K_M.gguf"], "", "m.Q4_K_M.gguf"),
        (["strange.gguf", "README.md"], "", "strange.gguf"),
        (["a.gguf", "b.gguf"], "", None),
        (["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"], "", None),
        (["m-IQ4_0.gguf"], "Q4_0", None),
        (["Q4_0/m-Q4_0.gguf"], "Q4_0", "Q4_0/m-Q4_0.gguf"),
    ],
)
def test_the_choice_among_files(names: list[str], wanted: str, chosen: str | None) -> None:
    assert choose_file(names, wanted) == chosen


# Local ----------------------------------------------------------------------------------------------------------------


def test_the_bundled_model(refused_hub: HubAccess) -> None:
    model = resolve_model("smollm2", refused_hub)
    assert check_gguf(model.path).architecture == "llama"


def test_a_local_file(tmp_path: Path, refused_hub: HubAccess) -> None:
    model = resolve_model(str(write_gguf(tmp_path / "mine.gguf")), refused_hub)
    assert (model.name, model.source, model.kind) == ("mine", ModelSource.FILE, ModelKind.GGUF)
    assert "qwen3" in model.why


def test_local_folders(tmp_path: Path, refused_hub: HubAccess) -> None:
    def folder(name: str, *files: str) -> str:
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
        return str(tmp_path / name)

    ir = resolve_model(folder("ir", "openvino_model.xml", "openvino_model.bin"), refused_hub)
    assert (ir.kind, ir.name, ir.path) == (ModelKind.OPENVINO, "ir", tmp_path / "ir")
    hf = resolve_model(folder("hf", "config.json", "model.safetensors"), refused_hub)
    assert hf.kind is ModelKind.HUGGING_FACE
    one = folder("one")
    write_gguf(tmp_path / "one" / "only.gguf")
    assert resolve_model(one, refused_hub).name == "only"
    with pytest.raises(ConfigError, match="without its weights"):
        resolve_model(folder("half", "openvino_model.xml"), refused_hub)
    with pytest.raises(ConfigError, match=r"several GGUF files; name one: .*\.gguf"):
        resolve_model(folder("two", "a.gguf", "b.gguf"), refused_hub)
    with pytest.raises(ConfigError, match="has no model"):
        resolve_model(folder("empty", "notes.txt"), refused_hub)


@pytest.mark.parametrize("spec", ["./no/such.gguf", "models/no.gguf", "/no/such/folder", "just-a-word", "../x/y"])
def test_a_path_that_is_not_there(spec: str, refused_hub: HubAccess) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        resolve_model(spec, refused_hub)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!doctype html><html>", "web page"),
        (b"PK\x03\x04zip", "begins with"),
        (b"GGUF\x03\0\0\0", "cut off inside its header"),
        (b"GGUF\x09\0\0\0" + b"\0" * 16, "GGUF version 9"),
    ],
)
def test_what_is_no_gguf_file(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=words):
        check_gguf(path)


def test_a_file_cut_anywhere_is_noticed(tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "whole.gguf").read_bytes()
    cut = tmp_path / "cut.gguf"
    for length in range(8, len(whole), 7):
        cut.write_bytes(whole[:length])
        with pytest.raises(ConfigError, match=r"cut off|not a GGUF file"):
            check_gguf(cut)
    assert check_gguf(tmp_path / "whole.gguf").tensors == 1
