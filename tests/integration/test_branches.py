"""Branches within one chat: asking again from an item, what stands beside it, switching."""

from __future__ import annotations

from typing import Any

from support.serving import ENDLESS, MODEL, Served, served


async def made(house: Served, *texts: str) -> str:
    """A chat that was asked these, each answered."""
    chat = str((await house.post("/chats", {}))[1]["id"])
    for text in texts:
        await asked(house, chat, input=text)
    return chat


async def asked(house: Served, chat: str, **more: Any) -> dict[str, Any]:
    status, said = await house.post("/responses", {"model": MODEL, "conversation": chat, **more})
    assert (status, said.get("status")) == (200, "completed"), said
    found: dict[str, Any] = said
    return found


async def items(house: Served, chat: str) -> list[dict[str, Any]]:
    status, page = await house.call("GET", f"/v1/chats/{chat}/items?order=asc&branches=true&limit=1000")
    assert status == 200
    found: list[dict[str, Any]] = page["data"]
    return found


def texts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["content"][0]["text"] for row in rows]


async def test_a_question_is_edited_and_both_branches_are_there() -> None:
    async with served() as house:
        chat = await made(house, "One", "Two", "Three")
        before = await items(house, chat)
        assert all(row["siblings"] == [row["id"]] for row in before)
        await asked(house, chat, input="Other", after=before[1]["id"])
        now = await items(house, chat)
        assert texts(now)[:3] == ["One", texts(before)[1], "Other"]
        assert len(now) == 4
        assert now[2]["siblings"] == [before[2]["id"], now[2]["id"]]
        assert now[3]["siblings"] == [now[3]["id"]]
        status, chat_now = await house.post(f"/chats/{chat}/branch", {"item": before[2]["id"]})
        assert (status, chat_now["items"]) == (200, 6)
        back = await items(house, chat)
        assert texts(back) == texts(before)
        assert back[2]["siblings"] == [before[2]["id"], now[2]["id"]]
        assert "siblings" not in (await house.call("GET", f"/v1/chats/{chat}/items"))[1]["data"][0]
        # The model was asked with the new branch alone.
        _, said = await house.post("/responses/input_tokens", {"conversation": chat, "input": "x"})
        assert said["input_tokens"] > 0


async def test_a_chat_is_read_page_by_page_either_way() -> None:
    async with served() as house:
        chat = await made(house, "One", "Two", "Three")
        whole = await items(house, chat)
        for order, wanted in (("asc", whole), ("desc", whole[::-1])):
            found: list[dict[str, Any]] = []
            for more in (True, True, False):
                after = f"&after={found[-1]['id']}" if found else ""
                path = f"/v1/chats/{chat}/items?order={order}&branches=true&limit=2{after}"
                _, page = await house.call("GET", path)
                assert (page["has_more"], page["last_id"]) == (more, page["data"][-1]["id"])
                found += page["data"]
            assert found == wanted
        _, none = await house.call("GET", f"/v1/chats/{chat}/items?branches=true&after={whole[-1]['id']}&order=asc")
        assert (none["data"], none["has_more"]) == ([], False)
        empty = str((await house.post("/chats", {}))[1]["id"])
        assert await items(house, empty) == []


async def test_an_answer_is_made_again_and_the_latest_is_shown() -> None:
    async with served() as house:
        chat = await made(house, "One")
        question, first = await items(house, chat)
        second = await asked(house, chat, after=question["id"])
        third = await asked(house, chat, after=question["id"], input=[])
        ids = [first["id"], second["output"][0]["id"], third["output"][0]["id"]]
        shown = await items(house, chat)
        assert [row["id"] for row in shown] == [question["id"], ids[2]]
        assert shown[1]["siblings"] == ids
        for wanted in ids:
            await house.post(f"/chats/{chat}/branch", {"item": wanted})
            assert [row["id"] for row in await items(house, chat)] == [question["id"], wanted]
        # Gone on with an older one: the branch grows, its end is the latest below the question.
        await house.post(f"/chats/{chat}/branch", {"item": ids[0]})
        await asked(house, chat, input="Go on")
        longer = await items(house, chat)
        await house.post(f"/chats/{chat}/branch", {"item": ids[1]})
        await house.post(f"/chats/{chat}/branch", {"item": question["id"]})
        assert await items(house, chat) == longer


async def test_the_first_question_is_edited() -> None:
    async with served() as house:
        chat = await made(house, "One", "Two")
        first = (await items(house, chat))[0]
        await asked(house, chat, input="Uno", after="")
        now = await items(house, chat)
        assert texts(now)[0] == "Uno"
        assert now[0]["siblings"] == [first["id"], now[0]["id"]]


async def test_a_branch_outlives_its_answer_and_goes_with_its_chat() -> None:
    async with served() as house:
        chat = await made(house, "One")
        question, answer = await items(house, chat)
        await asked(house, chat, after=question["id"])
        for stored in (await house.store.answers("local", query())).rows:  # type: ignore[arg-type]
            await house.call("DELETE", f"/v1/responses/{stored.id}")
        await house.post(f"/chats/{chat}/branch", {"item": answer["id"]})
        assert [row["id"] for row in await items(house, chat)] == [question["id"], answer["id"]]
        fork = (await house.post(f"/chats/{chat}/fork"))[1]["id"]
        assert all(len(row["siblings"]) == 1 for row in await items(house, fork))
        await house.call("DELETE", f"/v1/chats/{chat}")
        assert (await house.store.counts())["nodes"] == 2
        await house.call("DELETE", f"/v1/chats/{fork}")
        assert (await house.store.counts())["nodes"] == 0


def query() -> Any:
    from hubbub.core.types import AnswerKind
    from hubbub.ports import AnswerQuery

    return AnswerQuery(AnswerKind.RESPONSE)


async def test_what_is_wrong_is_named() -> None:
    async with served(voice=ENDLESS) as house:
        _, chat = await house.post("/chats", {"items": [{"role": "user", "content": "One"}]})
        url, item = f"/chats/{chat['id']}/branch", (await items(house, chat["id"]))[0]["id"]
        ask = {"model": MODEL, "conversation": chat["id"], "background": True}
        for path, body, status, param in (
            (url, {"item": "msg_none"}, 404, "item"),
            (url, {}, 400, "item"),
            ("/responses", {**ask, "input": "x", "after": "msg_none"}, 404, "after"),
            ("/responses", {**ask, "after": ""}, 400, "input"),
            ("/responses", {"model": MODEL, "input": "x", "after": item}, 400, "after"),
        ):
            got, error = await house.post(path, body)
            assert (got, error["error"]["param"]) == (status, param)
        _, running = await house.post("/responses", {**ask, "after": item})
        assert (await house.post(url, {"item": item}))[0] == 409
        await house.call("POST", f"/v1/responses/{running['id']}/cancel")
