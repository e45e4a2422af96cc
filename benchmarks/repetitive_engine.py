"""An engine with much to say of some things and little of others, as a model has: for measuring what steering does.

Each answer is made of sentences of one pool, drawn by the request's seed. How large the pool is hangs on what the
prompt of a worked recipe asks for (``POOLS``): a dozen sentences, so that nearly every answer has been said before, or
tens of thousands. Lists are answered as numbered lists, Russian in Russian. Costs next to nothing, like
instant_engine.py, whose server it is.

``python -m benchmarks.repetitive_engine``: the first line on stdout is ``{"port": N}``.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from benchmarks.instant_engine import MODEL, Engine, http, sentences

POOLS = {
    "a surprising fact about it": 6,
    "its history": 60,
    "why it matters to people": 2000,
    "Mood: angry": 12,
    "Mood: worried": 60,
    "Mood: dreamy": 600,
    "Тон: сердито": 12,
    "Тон: тревожно": 60,
    "Тон: мечтательно": 600,
}
"""Sentences that there are, by words of the prompt; of all else there are ``MANY``."""
MANY = 30_000
SENTENCES = 4
"""Of an article."""
PHRASES = 10
"""Of a list."""
SYLLABLES = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
NOUNS = (
    "answer city memory train letter window book road music garden evening sea school time snow voice house forest "
    "bridge street bread market lamp picture mirror island ship star grass stone water winter summer river story cloud"
)
VERBS = "sees remembers writes seeks opens keeps hears builds loses finds loves knows changes draws carries"


def english(count: int, seed: int) -> list[str]:
    """Sentences about people, of four to eight things, none of which is likely to be there twice."""
    rng, nouns, verbs = random.Random(seed), NOUNS.split(), VERBS.split()
    names = ["".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))).capitalize() for _ in range(5000)]
    made = []
    for _ in range(count):
        things = ", the ".join(rng.sample(nouns, rng.randint(3, 7)))
        made.append(f"{rng.choice(names)} {rng.choice(verbs)} the {things} and {rng.choice(names)}.")
    return made


class Repetitive(Engine):
    english: list[str]
    russian: list[str]

    def answer(self, body: bytes) -> bytes:
        Engine.asked += 1
        asked = json.loads(body)
        text = self.said(asked["messages"][-1]["content"], random.Random(asked.get("seed", 0)))
        message = {"role": "assistant", "content": text}
        tokens = len(text) // 5
        answer = {
            "id": "x",
            "object": "chat.completion",
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 50, "completion_tokens": tokens, "total_tokens": tokens + 50},
        }
        return http(b"200 OK", json.dumps(answer, ensure_ascii=False).encode())

    def said(self, prompt: str, rng: random.Random) -> str:
        words = next((words for words in POOLS if words in prompt), "")
        all_sentences = self.russian if "Составь" in prompt else self.english
        size = POOLS.get(words, MANY)
        start = sum(map(ord, words)) % (MANY - size + 1)
        if "umbered list" in prompt or "нумерованный" in prompt:
            picked = [all_sentences[start + rng.randrange(size)] for _ in range(PHRASES)]
            return "\n".join(f"{number}. {phrase}" for number, phrase in enumerate(picked, 1))
        places = sorted(rng.randrange(size) for _ in range(SENTENCES))  # whoever repeats himself keeps to the order
        return " ".join(all_sentences[start + place] for place in places)


async def serve() -> None:
    Repetitive.english, Repetitive.russian = english(MANY, 7), sentences(MANY, 7)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Repetitive([], 0, 0.0, good=True), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
