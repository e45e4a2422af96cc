"""/v1/chats: titles, search, styles, forks."""

from __future__ import annotations

from typing import Any

from support.serving import MODEL, Served, served


def said(text: str, role: str = "user") -> Any:
    return {"type": "message", "role": role, "content": text}


async def made(house: Served, title: str = "", *words: str, **more: Any) -> dict[str, Any]:
    status, chat = await house.post("/chats", {"title": title, "items": [said(word) for word in words], **more})
    assert status == 200
    found: dict[str, Any] = chat
    return found


async def listed(house: Served, query: str = "") -> dict[str, Any]:
    status, page = await house.call("GET", f"/v1/chats?{query}")
    assert status == 200
    found: dict[str, Any] = page
    return found


async def texts(house: Served, chat: str) -> list[str]:
    _, page = await house.call("GET", f"/v1/chats/{chat}/items?order=asc")
    return [item["content"][0]["text"] for item in page["data"]]


async def test_a_chat_is_a_conversation_with_a_title() -> None:
    async with served() as house:
        chat = await made(house, "Whales", "Tell me", metadata={"k": "v"})
        assert (chat["title"], chat["preview"], chat["items"], chat["busy"]) == ("Whales", "Tell me", 1, False)
        assert (await house.client.conversations.retrieve(chat["id"])).metadata == {"k": "v"}
        response = await house.client.responses.create(model=MODEL, input="More", conversation=chat["id"])
        status, now = await house.call("GET", f"/v1/chats/{chat['id']}")
        assert status == 200
        assert now["items"] == 3
        assert now["updated_at"] > chat["updated_at"]
        assert now["preview"][:20] == " ".join(response.output_text.split())[:20]
        status, gone = await house.call("DELETE", f"/v1/chats/{chat['id']}")
        assert (status, gone["deleted"]) == (200, True)
        assert (await house.call("GET", f"/v1/chats/{chat['id']}"))[0] == 404


async def test_a_chat_takes_its_title_from_the_first_question() -> None:
    async with served() as house:
        chat = await house.client.conversations.create()
        await house.client.responses.create(model=MODEL, input="Tell me\nof whales.", conversation=chat.id)
        assert (await listed(house))["data"][0]["title"] == "Tell me of whales."


async def test_chats_are_listed_by_last_change_searched_and_paged() -> None:
    async with served() as house:
        ids = [(await made(house, f"Chat {n}", "Корова" if n % 2 else "whale"))["id"] for n in range(5)]
        first = await listed(house, "limit=2")
        assert [chat["id"] for chat in first["data"]] == [ids[4], ids[3]]
        assert first["has_more"]
        second = await listed(house, f"limit=3&after={first['last_id']}")
        assert [chat["id"] for chat in second["data"]] == [ids[2], ids[1], ids[0]]
        assert not second["has_more"]
        assert [c["id"] for c in (await listed(house, "order=asc"))["data"]] == ids
        assert [c["id"] for c in (await listed(house, "search=корова"))["data"]] == [ids[3], ids[1]]
        assert [c["id"] for c in (await listed(house, "search=chat 4"))["data"]] == [ids[4]]
        status, error = await house.call("GET", "/v1/chats?after=conv_none")
        assert (status, error["error"]["param"]) == (404, "after")


async def test_title_style_and_metadata_change_by_themselves() -> None:
    async with served() as house:
        chat = await made(house, "Old", "One", style={"system_prompt": "Be brief.", "temperature": 0.1})
        url = f"/v1/chats/{chat['id']}"
        _, renamed = await house.call("PATCH", url, json={"title": "New"})
        assert (renamed["title"], renamed["style"]) == ("New", chat["style"])
        _, restyled = await house.call("PATCH", url, json={"style": {"temperature": None, "max_tokens": 3}})
        assert restyled["style"] == {
            "system_prompt": "Be brief.",
            "model": None,
            "temperature": None,
            "top_p": None,
            "max_tokens": 3,
            "adapter": None,
        }
        assert restyled["title"] == "New"
        _, marked = await house.call("PATCH", url, json={"metadata": {"a": "b"}})
        assert (marked["metadata"], marked["style"]["max_tokens"]) == ({"a": "b"}, 3)

        short = await house.client.responses.create(input="More", conversation=chat["id"])
        assert short.status == "incomplete"
        assert short.usage is not None
        assert short.usage.output_tokens == 3


async def test_a_fork_shares_the_beginning_and_goes_its_own_way() -> None:
    async with served() as house:
        chat = await made(house, "Tree", "One", "Two", "Three")
        _, page = await house.call("GET", f"/v1/chats/{chat['id']}/items?order=asc")
        at = page["data"][1]["id"]
        status, fork = await house.post(f"/chats/{chat['id']}/fork", {"at": at, "title": "Branch"})
        assert status == 200
        assert (fork["title"], fork["items"], fork["forked_from"]) == ("Branch", 2, chat["id"])
        _, whole = await house.post(f"/chats/{chat['id']}/fork")
        assert (whole["title"], whole["items"]) == ("Tree", 3)
        await house.client.conversations.items.create(fork["id"], items=[said("Other")])
        assert await texts(house, chat["id"]) == ["One", "Two", "Three"]
        assert await texts(house, fork["id"]) == ["One", "Two", "Other"]
        status, error = await house.post(f"/chats/{chat['id']}/fork", {"at": "msg_none"})
        assert (status, error["error"]["param"]) == (404, "at")


async def test_what_is_wrong_is_named() -> None:
    async with served() as house:
        chat = await made(house)
        url = f"/v1/chats/{chat['id']}"
        for body, param in (
            ({"title": 3}, "title"),
            ({"title": "x" * 201}, "title"),
            ({"style": {"temperature": 3}}, "style.temperature"),
            ({"style": {"color": "red"}}, "style.color"),
            ({"owner": "me"}, "owner"),
        ):
            status, error = await house.call("PATCH", url, json=body)
            assert (status, error["error"]["param"]) == (400, param)
