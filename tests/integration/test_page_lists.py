"""What the page's lists need: pins, titles, states, snippets; saved styles; one question to many chats."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from hubbub.core.types import UserId
from hubbub.ports import ChatQuery
from hubbub.store import rows
from hubbub.store.config import StoreConfig
from hubbub.store.migrations import MIGRATIONS, migrate
from hubbub.store.open import open_store
from support.serving import ENDLESS, MODEL, Served, served
from support.store_kit import ANN, a_chat, nodes


async def chats(house: Served, query: str = "") -> list[dict[str, Any]]:
    status, page = await house.call("GET", f"/v1/chats?{query}")
    assert status == 200
    found: list[dict[str, Any]] = page["data"]
    return found


async def test_pins_titles_and_snippets() -> None:
    async with served() as house:
        text = "word " * 100 + "the Whale sings " + "word " * 100
        said = [{"role": "user", "content": "# Tell me\nof " + "whales " * 20}, {"role": "user", "content": text}]
        _, chat = await house.post("/chats", {"items": said})
        assert chat["title"].startswith("Tell me of whales")
        assert chat["title"].endswith("whales…")
        _, later = await house.post("/chats", {"title": "Later"})
        _, pinned = await house.call("PATCH", f"/v1/chats/{chat['id']}", json={"pinned": True})
        assert (pinned["pinned"], pinned["updated_at"]) == (True, chat["updated_at"])
        assert [row["id"] for row in await chats(house)] == [later["id"], chat["id"]]
        assert [row["id"] for row in await chats(house, "pinned_first=true")] == [chat["id"], later["id"]]
        (hit,) = await chats(house, "search=sings whale")
        assert "the Whale sings word" in hit["snippet"]
        assert len(hit["snippet"]) <= 160
        assert hit["snippet_item"].startswith("msg_")
        url = f"/v1/chats/{chat['id']}"
        assert (await house.call("PATCH", url, json={"title": "Mine"}))[1]["title"] == "Mine"
        await house.client.responses.create(
            model=MODEL, input="Other", conversation=chat["id"], extra_body={"after": ""}
        )
        assert (await house.call("GET", url))[1]["title"] == "Mine"
        assert (await house.call("PATCH", url, json={"title": ""}))[1]["title"] == "Other"
        await house.client.responses.create(
            model=MODEL, input="Third", conversation=chat["id"], extra_body={"after": ""}
        )
        assert (await house.call("GET", url))[1]["title"] == "Third"


async def test_a_chat_says_what_it_does_and_how_full_it_is() -> None:
    async with served(voice=ENDLESS) as house:
        _, chat = await house.post("/chats", {})
        url = f"/v1/chats/{chat['id']}"
        assert (chat["state"], chat["last_response"], chat["context_tokens"]) == ("idle", None, None)
        ask = {"model": MODEL, "input": "x", "background": True, "conversation": chat["id"]}
        _, running = await house.post("/responses", ask)
        while (now := (await house.call("GET", url))[1])["state"] == "waiting":
            pass
        assert (now["state"], now["busy"], now["context_tokens"]) == ("running", True, None)
        assert now["last_response"] == {"id": running["id"], "status": "in_progress"}
        _, ended = await house.call("POST", f"/v1/responses/{running['id']}/cancel")
        _, now = await house.call("GET", url)
        assert (now["state"], now["context_tokens"]) == ("idle", ended["usage"]["total_tokens"])
        assert now["last_response"] == {"id": running["id"], "status": "cancelled"}


async def test_styles_are_kept_changed_and_deleted() -> None:
    async with served() as house:
        status, kept = await house.call("PUT", "/v1/styles/Кратко", json={"system_prompt": "Be brief.", "top_p": 0.5})
        assert (status, kept["name"], kept["style"]["top_p"]) == (200, "Кратко", 0.5)
        await house.call("PUT", "/v1/styles/Кратко", json={"max_tokens": 9})
        _, page = await house.call("GET", "/v1/styles")
        assert [(row["name"], row["style"]["max_tokens"], row["style"]["top_p"]) for row in page["data"]] == [
            ("Кратко", 9, None)
        ]
        assert (await house.call("PUT", "/v1/styles/" + "x" * 101, json={}))[0] == 400
        assert (await house.call("PUT", "/v1/styles/x", json={"adapter": "none"}))[1]["error"][
            "param"
        ] == "style.adapter"
        assert (await house.call("DELETE", "/v1/styles/Кратко"))[1]["deleted"] is True
        assert (await house.call("DELETE", "/v1/styles/Кратко"))[0] == 404


async def test_one_question_goes_to_many_chats() -> None:
    async with served() as house:
        values = [{"animal": f"whale {n}"} for n in range(60)]
        body = {"template": "Of {{animal}} and {{ animal }}", "values": values, "style": {"max_tokens": 3}}
        status, said = await house.post("/chats/broadcast", body)
        assert (status, len(said["accepted"]), said["refused"]) == (200, 60, [])
        for place, one in enumerate(said["accepted"][:3]):
            _, chat = await house.call("GET", f"/v1/chats/{one['chat']}")
            assert (chat["title"], chat["style"]["max_tokens"]) == (f"Of whale {place} and whale {place}", 3)
            assert chat["last_response"]["id"] == one["response"]
        ids = [one["chat"] for one in said["accepted"][:2]]
        for chat_id in ids:
            while (await house.call("GET", f"/v1/chats/{chat_id}"))[1]["busy"]:
                pass
        _, again = await house.post("/chats/broadcast", {"template": "More", "chats": [*ids, "conv_none"]})
        assert [one["chat"] for one in again["accepted"]] == ids
        assert [(one["chat"], one["error"]["code"]) for one in again["refused"]] == [("conv_none", "not_found")]
        for wrong, param in (
            ({"template": "{{a}}", "new": 2}, "template"),
            ({"template": "{{a}}", "values": [{"b": "x"}]}, "values[0]"),
            ({"template": "x"}, "chats"),
            ({"template": "x", "new": 2, "values": [{}]}, "values"),
            ({"template": "x", "new": 1, "chats": ["a"]}, "new"),
            ({"template": "x", "chats": ["a", "a"]}, "chats"),
            ({"template": "x", "new": 1001}, "new"),
        ):
            status, error = await house.post("/chats/broadcast", wrong)
            assert (status, error["error"]["param"]) == (400, param)


async def test_a_store_of_an_older_version_is_searched(tmp_path: Path) -> None:
    path = tmp_path / "hubbub.db"
    (node,) = nodes("An old whale")
    chat = a_chat("conv_1", [node], title="Old")
    with sqlite3.connect(path, isolation_level=None) as old:
        migrate(old, MIGRATIONS[:2])
        row = (node.hash, None, 1, ANN, rows.digest(node.item), rows.node_doc(node))
        old.execute("INSERT INTO nodes (hash, parent, depth, user, digest, doc) VALUES (?, ?, ?, ?, ?, ?)", row)
        old.execute("INSERT INTO node_texts VALUES (1, ?, ?)", (ANN, rows.fold(node.item.text)))
        doc = rows.chat_doc(chat).replace(',"pinned":false,"named":false', "")
        old.execute("INSERT INTO chats VALUES (?, ?, 1.0, 2.0, 1, 'old', ?)", (chat.id, ANN, doc))
    old.close()
    store = await open_store(StoreConfig(path=str(path)))
    (found,) = (await store.chats(UserId("ann"), ChatQuery(search="whale old"))).rows
    assert (found.id, found.pinned, found.named) == (chat.id, False, True)
    assert await store.verify() == ()
    await store.close()
