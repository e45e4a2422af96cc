"""``hubbub chats import`` and ``export``: the data folder itself, and by way of a server."""

from __future__ import annotations

import asyncio
import json
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hubbub.cli.main import app
from support.exchange_kit import NOTE_1_2, NOTE_1_3, NOTE_1_6, branching, export, packed
from support.serving import served


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hubbub(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["chats", *arguments])


def vault(folder: Path) -> dict[str, bytes]:
    files = {
        "Nexus/a.md": NOTE_1_2.encode(),
        "Nexus/ё/b.md": NOTE_1_3.encode(),
        "c.md": NOTE_1_6.replace("\n", "\r\n").encode(),
    }
    others = {"diary.md": b"# Today", ".obsidian/hidden.md": NOTE_1_6.encode(), "pic.png": b"x"}
    for name, data in (files | others).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return files


def held(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_vault_goes_in_and_comes_out_as_it_was(house: Path) -> None:
    files = vault(house / "vault")
    result = hubbub("import", "vault")
    assert result.exit_code == 0, result.output
    assert "3 new chats, 0 that went on, 0 as they were; 6 messages added" in result.output
    assert "passed over, without chats: 1 .png, 1 other notes" in result.output
    assert hubbub("export", "--format", "nexus", "--to", "out").exit_code == 0
    assert held(house / "out") == files
    before = held(house / "vault")
    result = hubbub("export", "--format", "nexus", "--to", "vault")
    assert "0 files written, 3 were so already" in result.stderr
    assert held(house / "vault") == before


def test_what_is_anothers_is_left_alone(house: Path) -> None:
    vault(house / "vault")
    assert hubbub("import", "vault").exit_code == 0
    out = house / "out"
    out.mkdir()
    (out / "c.md").write_bytes(b"mine")
    (out / "conversations.json").write_bytes(export(branching()))
    (out / "Nexus").symlink_to(house / "vault")
    assert "leads out" in str(hubbub("export", "--format", "nexus", "--to", "out").exception)
    (out / "Nexus").unlink()
    assert hubbub("export", "--format", "nexus", "--to", "out").exit_code == 0
    assert hubbub("export", "--to", "out").exit_code == 0
    assert hubbub("export", "--to", "out").exit_code == 0
    found = held(out)
    assert (found["c.md"], found["conversations.json"]) == (b"mine", export(branching()))
    assert found["c (1).md"] == NOTE_1_6.replace("\n", "\r\n").encode()
    assert len(json.loads(found["conversations (1).json"])) == 3
    assert len(found) == 6


def test_problems_are_told_and_end_with_1(house: Path) -> None:
    (house / "x.zip").write_bytes(packed({"conversations.json": export(branching())[:-20], "../up.md": b"x"}))
    result = hubbub("import", "x.zip")
    assert result.exit_code == 1
    assert "problem: conversations.json: chat 1, at byte 1: the file ends amid this chat" in result.output
    assert "problem: ../up.md: its name leads out of the archive" in result.output
    assert hubbub("import", "nowhere").exit_code == 2


def test_to_stdout_and_of_one_user(house: Path) -> None:
    (house / "conversations.json").write_bytes(export(branching()))
    result = hubbub("import", "conversations.json", "--user", "ann", "--json")
    report = json.loads(result.stdout)
    assert (report["created"], report["problems"]) == (1, [])
    assert json.loads(hubbub("export", "--to", "-").stdout) == []
    (chat,) = json.loads(hubbub("export", "--to", "-", "--user", "ann").stdout)
    assert chat["title"] == "Of whales"
    result = hubbub("export", "--to", "-", "--user", "ann", "--format", "markdown", "--chat", report["chats"][0])
    with zipfile.ZipFile(BytesIO(result.stdout_bytes)) as archive:
        assert archive.namelist() == ["chatgpt/2023/11/Of whales.md"]


async def test_by_way_of_a_server(house: Path) -> None:
    files = vault(house / "vault")
    (house / "conversations.json").write_bytes(export(branching()))
    async with served() as server:
        result = await asyncio.to_thread(
            hubbub, "import", "vault", "conversations.json", "--server", server.url, "--json"
        )
        report = json.loads(result.stdout)
        assert (report["created"], report["items"], report["problem_count"]) == (4, 10, 0)
        result = await asyncio.to_thread(hubbub, "export", "--server", server.url, "--to", "out", "--format", "nexus")
        assert result.exit_code == 0, result.output
        found = held(house / "out")
        assert {name: found[name] for name in files} == files
        result = await asyncio.to_thread(
            hubbub, "export", "--server", server.url, "--to", "one", "--chat", report["chats"][-1]
        )
        assert list(held(house / "one")) == ["Of whales.json"]
