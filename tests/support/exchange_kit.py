"""Exports and notes in the shapes of real ones, with words of our own."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from hubbub.core.types import UserId
from hubbub.exchange.importing import Importer, Report
from hubbub.runtime.clock import SystemClock
from hubbub.runtime.hub import random_id
from hubbub.store.memory import MemoryStore

ANN = UserId("ann")
CHAT = "6894cf4c-25a4-8331-94e3-72c2ef9c1067"


def message(uid: str, role: str, *parts: Any, at: float | None = 1_700_000_000.5, **more: Any) -> dict[str, Any]:
    """A message as ChatGPT has it. ``more`` goes on top."""
    content = {"content_type": "text", "parts": list(parts)}
    return {
        "id": uid,
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": at,
        "update_time": None,
        "content": content,
        "status": "finished_successfully",
        "end_turn": True,
        "weight": 1.0,
        "metadata": {},
        "recipient": "all",
        "channel": None,
        **more,
    }


def conversation(*given: tuple[str, str | None, dict[str, Any] | None], **more: Any) -> dict[str, Any]:
    """A conversation of nodes (id, parent, message), whose last one is shown."""
    mapping: dict[str, Any] = {
        key: {"id": key, "message": said, "parent": parent, "children": []} for key, parent, said in given
    }
    for key, parent, _ in given:
        if parent in mapping:
            mapping[parent]["children"].append(key)
    return {
        "title": "Of whales",
        "create_time": 1_700_000_000.5,
        "update_time": 1_700_000_900.25,
        "mapping": mapping,
        "moderation_results": [],
        "current_node": given[-1][0] if given else None,
        "plugin_ids": None,
        "conversation_id": CHAT,
        "conversation_template_id": None,
        "gizmo_id": None,
        "is_archived": False,
        "safe_urls": [],
        "default_model_slug": "gpt-4o",
        "id": CHAT,
        **more,
    }


def branching() -> dict[str, Any]:
    """A question, two answers to it, and a question below the second."""
    return conversation(
        ("root", None, None),
        ("sys", "root", message("sys", "system", "", at=None)),
        ("q1", "sys", message("q1", "user", "Why do whales sing?")),
        ("a1", "q1", message("a1", "assistant", "To be heard.", at=1_700_000_010.0)),
        ("a2", "q1", message("a2", "assistant", "To find each other.", at=1_700_000_020.0)),
        ("q2", "a2", message("q2", "user", "And *at night*?", at=1_700_000_030.0)),
    )


def export(*chats: dict[str, Any]) -> bytes:
    return json.dumps(list(chats)).encode()


def packed(files: dict[str, bytes]) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


async def bring(store: MemoryStore, data: bytes, name: str = "conversations.json", **more: Any) -> Report:
    report = Report()
    importer = Importer(store, SystemClock(), random_id, more.pop("busy", lambda user, chat: False), **more)
    await importer.bring(ANN, name, BytesIO(data), report)
    return report


# Notes of the Nexus importer, one for each form it has had ----------------------------------------------------------

NOTE_1_0 = """\
---
nexus: nexus-ai-chat-importer
provider: chatgpt
aliases: "Whales"
conversation_id: f81f15f5-5595-4ac1-a84a-509e670513b8
create_time: 07/22/2024 at 1:18 AM
update_time: 07/22/2024 at 1:19 AM
---

# Title: Whales

Created: 07/22/2024 at 1:18 AM
Last Updated: 07/22/2024 at 1:19 AM


### User, on 07/22/2024 at 1:18 AM;
> Why do whales sing?
> \n> In short.
<!-- UID: aaa28c2c-cc89-4441-b40e-fde950dc91b0 -->


#### ChatGPT, on 07/22/2024 at 1:19 AM;
>> To be heard.
>> > quoted
<!-- UID: aaa2b0f8-6b29-4a4c-b2a5-5ce4f0b0b7d7 -->

---


"""

NOTE_1_2 = """\
---
nexus: nexus-ai-chat-importer
plugin_version: "1.2.0"
provider: chatgpt
aliases: "Clear the cache"
conversation_id: 68b6fc84-15d4-832c-9240-d61610a71372
create_time: 09/02/2025 at 9:17 AM
update_time: 09/02/2025 at 9:56 AM
---

# Title: Clear the cache

Created: 09/02/2025 at 9:17 AM
Last Updated: 09/02/2025 at 9:56 AM
Chat URL: https://chat.openai.com/c/68b6fc84-15d4-832c-9240-d61610a71372


>[!nexus_user] **User** - 09/02/2025 at 9:17 AM
> clear the cache on linux

>[!nexus_attachment] **shot.png** (image/png) - 12.5 KB
> ![[Nexus/Attachments/chatgpt/shot.png]]
<!-- UID: 387e9b35-054f-49fb-a573-089155dff82a -->




>[!nexus_agent] **Assistant** - 09/02/2025 at 9:17 AM
> Do this:
> \n> ---
> \n> 1. **Close it**
>    ```bash
>    rm -rf ~/.cache/it
>    ```
<!-- UID: 860d0c9e-cb87-4293-ad71-4c8fd2201a9b -->

---


"""

NOTE_1_3 = """\
---
nexus: nexus-ai-chat-importer
plugin_version: "1.3.0"
provider: claude
aliases: Workspace
conversation_id: 173c6a8d-e3fa-443d-af19-453a6985ccd2
create_time: 2025-09-11T21:25:35.000Z
update_time: 2025-09-11T21:34:53.000Z
---

# Title: Workspace

Created: 09/11/2025 at 4:25:35 PM
Last Updated: 09/11/2025 at 4:34:53 PM
Chat URL: https://claude.ai/chat/173c6a8d-e3fa-443d-af19-453a6985ccd2


>[!nexus_user] **User** - 09/11/2025 at 4:25:37 PM
> Make me a front page
>>[!nexus_attachment] **image.png** (image/png)
>> ⚠️ Not included in archive. [Open original conversation](https://claude.ai/chat/173c6a8d-e3fa-443d-af19-453a6985ccd2)

>>[!nexus_attachment] **notes.txt** (text/plain)
>> ⚠️ Not included in archive.
<!-- UID: 85a3cade-9200-42e8-ab0e-57b2ba8b9f1e -->
>[!nexus_agent] **Assistant** - 09/11/2025 at 4:25:50 PM
> Here:
>>[!nexus_artifact] **Front page** v1
>> 🎨 [[Nexus/Attachments/claude/artifacts/x/front_v1|View Artifact]]
<!-- UID: 0f3f1c2e-0a53-4d0e-9e8a-6c1d0e3a9b11 -->

---"""

NOTE_1_6 = """\
---
nexus: nexus-ai-chat-importer
plugin_version: "1.6.3"
provider: perplexity
aliases: 'Киты: почему поют'
conversation_id: 3f6d1b52-thread
create_time: 2026-01-15T11:30:22.000Z
update_time: 2026-01-15T11:45:10.000Z
mode: "CONCISE"
models:
  - "sonar"
---
# Title: Киты: почему поют

Created: 15.01.2026 at 14:30:22
Last Updated: 15.01.2026 at 14:45:10
Chat URL: https://www.perplexity.ai/search/3f6d1b52-thread


>[!nexus_user] **User** - 15.01.2026 at 14:30:22
> Почему киты поют?
<!-- UID: 7a1c-user -->
>[!nexus_agent] **Assistant · sonar** - 15.01.2026 at 14:30:23
> Чтобы их слышали.
>
>> цитата
>
> $$x^2$$
<!-- UID: 7a1c -->

---

## Related Queries
- Как далеко слышно кита?"""

NOTES: Sequence[str] = (NOTE_1_0, NOTE_1_2, NOTE_1_3, NOTE_1_6)
