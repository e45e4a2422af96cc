"""Prefix-cache hits as they are reported, against those the pipeline really has.

With ``max_num_batched_tokens`` equal to a KV block, a request alone takes ceil((prompt - cached) / block) steps to its
first token. Where the prompt is made to have that many tokens left that one more or less would show, steps count hits.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from hubbub.engines.openvino_server.protocol import Add, Sampler
from hubbub.engines.openvino_server.sizing import BLOCK_TOKENS, Sizing
from hubbub.engines.openvino_server.stepper import Config, Stepper, load_pipeline
from hubbub.engines.openvino_server.tiny_gguf import Shape, write_tiny

TOKENS = 512
BLOCK = BLOCK_TOKENS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    tokenizer: dict[str, Any] = {
        "add_tokenizer_model": "gpt2",
        "add_tokenizer_pre": "qwen2",
        "add_token_list": [f"t{i}" for i in range(TOKENS - 1)] + ["<|im_end|>"],
        "add_token_types": [1] * (TOKENS - 1) + [3],
        "add_token_merges": ["t 1"],
        "add_eos_token_id": TOKENS - 1,
        "add_bos_token_id": TOKENS - 1,
    }
    write_tiny(path, Shape("qwen3", TOKENS, context=2048), tokenizer)
    return path


class Chat:
    """One pipeline and the requests sent to it so far."""

    def __init__(self, model: Path, *, kv_blocks: int = 256, **changes: Any) -> None:
        fields: dict[str, Any] = {
            "max_sequences": 8,
            "kv_blocks": kv_blocks,
            "kv_bytes_per_token": 1.0,
            "batched_tokens": BLOCK,
            "threads": 1,
            "context_window": 2048,
            "kv_precision": "u8",
            "precision": "f32",
            "prefix_cache": True,
            "split_fuse": True,
            "performance_hint": "",
        }
        config = Config(str(model), Sizing(**{**fields, **changes}), [TOKENS - 1])
        self.stepper = Stepper(load_pipeline(config), config)
        self.stepper.warm_up()
        self.count = 0

    def submit(self, prompt: list[int], tokens: int = 1) -> int:
        self.count += 1
        self.stepper.submit(Add(self.count, prompt, Sampler(tokens, 0.0, 1.0, 0, 0, ignore_eos=True)))
        return self.count

    def alone(self, prompt: list[int], tokens: int = 1) -> tuple[int, list[int]]:
        """Cached tokens as reported, and the answer. Asserts that the pipeline computed as many as are left."""
        number, steps, said, cached = self.submit(prompt, tokens), 0, list[int](), 0
        while not self.stepper.idle:
            steps += not said
            for out in self.stepper.step():
                assert out.id == number
                said += out.tokens
                cached += out.cached
        assert steps == -(-(len(prompt) - cached) // BLOCK)
        return cached, said

    def run(self) -> dict[int, int]:
        """Cached tokens of all requests in flight."""
        seen: dict[int, int] = {}
        while not self.stepper.idle:
            for out in self.stepper.step():
                seen[out.id] = seen.get(out.id, 0) + out.cached
        return seen


def words(count: int, seed: int = 0) -> list[int]:
    return random.Random(f"words {seed}").choices(range(1, TOKENS - 1), k=count)


@pytest.mark.parametrize("length", [1, 5, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 7])
def test_the_same_prompt_again_computes_one_token(model: Path, length: int) -> None:
    chat = Chat(model)
    assert chat.alone(words(length))[0] == 0
    assert chat.alone(words(length))[0] == length - 1


@pytest.mark.parametrize("rest", [1, BLOCK, BLOCK + 1])
def test_a_system_prompt_is_shared_by_whole_blocks_and_the_part_that_was_said(model: Path, rest: int) -> None:
    chat, system = Chat(model), words(3 * BLOCK)
    chat.alone(system + words(40, seed=1))
    assert chat.alone(system + words(rest, seed=2))[0] == 3 * BLOCK


def test_a_system_prompt_that_ends_within_a_block(model: Path) -> None:
    chat, system = Chat(model), words(2 * BLOCK + 10)
    chat.alone(system + words(40, seed=1))
    assert chat.alone(system + words(40, seed=2))[0] == 2 * BLOCK


@pytest.mark.parametrize("length", [2 * BLOCK - 3, 2 * BLOCK, 2 * BLOCK + 11])
@pytest.mark.parametrize("tokens", [1, 20, 40])
def test_the_second_turn_finds_the_first_answer(model: Path, length: int, tokens: int) -> None:
    chat, first = Chat(model), words(length)
    answer = chat.alone(first, tokens)[1]
    cached = chat.alone([*first, *answer, *words(BLOCK, seed=3)])[0]
    # The last token of an answer is never computed, so it is not in the cache.
    assert cached == length + tokens - 1


def test_a_prompt_that_differs_early_finds_nothing(model: Path) -> None:
    chat, first = Chat(model), words(4 * BLOCK)
    chat.alone(first)
    assert chat.alone([first[0] ^ 1, *first[1:]])[0] == 0
    assert chat.alone([*first[: BLOCK + 3], 500, *first[BLOCK + 4 :]])[0] == BLOCK


def test_what_is_not_used_longest_is_overwritten(model: Path) -> None:
    chat = Chat(model, kv_blocks=16)
    for seed in range(3):
        chat.alone(words(5 * BLOCK, seed))
    assert chat.alone(words(5 * BLOCK, 1))[0] == 5 * BLOCK - 1
    chat.alone(words(5 * BLOCK, 3))
    assert chat.alone(words(5 * BLOCK, 1))[0] == 5 * BLOCK - 1, "it was asked for after the others"
    assert chat.alone(words(5 * BLOCK, 0))[0] < 5 * BLOCK - 1


def test_what_was_cancelled_is_found(model: Path) -> None:
    chat, prompt = Chat(model), words(2 * BLOCK + 5)
    number = chat.submit(prompt, 500)
    said: list[int] = []
    while len(said) < 10:
        said += [token for out in chat.stepper.step() for token in out.tokens]
    chat.stepper.drop(number)
    chat.run()
    assert chat.alone([*prompt, *said, *words(BLOCK, seed=1)])[0] == len(prompt) + 9


def test_two_at_once_share_what_the_first_has_begun(model: Path) -> None:
    chat, prompt = Chat(model), words(3 * BLOCK)
    one = chat.submit(prompt, 4)
    while chat.stepper.gauges.steps < 2:
        chat.stepper.step()
    two = chat.submit(prompt, 4)
    assert chat.run() == {one: 0, two: 2 * BLOCK}
    assert chat.alone(prompt)[0] == 3 * BLOCK - 1


def test_nothing_is_claimed_where_there_is_no_cache(model: Path) -> None:
    chat = Chat(model, prefix_cache=False)
    for _ in range(2):
        number = chat.submit(words(100))
        assert chat.run() == {number: 0}


@pytest.mark.parametrize(("seed", "kv_blocks"), [(1, 24), (2, 40), (3, 300)])
def test_whatever_came_before(model: Path, seed: int, kv_blocks: int) -> None:
    """Bursts of related prompts, cut short at random, and after each one request alone that counts its steps."""
    dice, chat, past, hits = random.Random(seed), Chat(model, kv_blocks=kv_blocks), [words(100)], 0
    for _ in range(40):
        base = dice.choice(past)
        prompt = (base[: dice.randrange(1, len(base) + 1)] + words(dice.randrange(60), dice.randrange(1000)))[:250]
        burst: list[int] = []
        for _ in range(dice.choice([0, 0, 2, 4])):
            burst.append(chat.submit(prompt[: dice.randrange(1, len(prompt) + 1)], dice.randrange(1, 40)))
            for _ in range(dice.randrange(4)):
                chat.stepper.step()
            if dice.random() < 0.3:
                chat.stepper.drop(dice.choice(burst))
        chat.run()
        cached, said = chat.alone(prompt, dice.randrange(1, 60))
        hits += cached > 0
        past.append(prompt + said)
    assert hits > 20
