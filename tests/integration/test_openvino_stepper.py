"""The stepper on a real pipeline with a tiny model: admission, room, dropping, pre-emption, the prefix cache."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from hubbub.engines.openvino_server.protocol import Add, Out, Sampler
from hubbub.engines.openvino_server.sizing import BLOCK_TOKENS, Sizing
from hubbub.engines.openvino_server.stepper import Config, Stepper, load_pipeline
from hubbub.engines.openvino_server.tiny_gguf import Shape, write_tiny

TOKENS = 512


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


def build(model: Path, **changes: Any) -> Stepper:
    fields: dict[str, Any] = {
        "max_sequences": 8,
        "kv_blocks": 256,
        "kv_bytes_per_token": 1.0,
        "batched_tokens": 64,
        "threads": 1,
        "context_window": 2048,
        "kv_precision": "u8",
        "precision": "f32",
        "prefix_cache": True,
        "split_fuse": True,
        "performance_hint": "",
    }
    config = Config(str(model), Sizing(**{**fields, **changes}), [TOKENS - 1])
    return Stepper(load_pipeline(config), config)


def add(number: int, length: int, tokens: int, *, temperature: float = 0.0, seed: int = 0) -> Add:
    """A prompt that depends on ``seed`` and ``length`` alone."""
    prompt = random.Random(f"{seed} {length}").choices(range(TOKENS - 1), k=length)
    return Add(number, prompt, Sampler(tokens, temperature, 1.0, 0, seed, ignore_eos=True))


def run(stepper: Stepper) -> dict[int, Out]:
    """Step until idle; each request's tokens together, with its finish."""
    whole: dict[int, Out] = {}
    while not stepper.idle:
        for out in stepper.step():
            seen = whole.setdefault(out.id, Out(out.id, []))
            seen.tokens += out.tokens
            seen.finish, seen.error = out.finish, out.error
    return whole


def said(model: Path, request: Add, **changes: Any) -> list[int]:
    """What a fresh pipeline says to this request alone."""
    stepper = build(model, **changes)
    stepper.submit(request)
    return run(stepper)[request.id].tokens


def test_every_request_gets_its_tokens_and_one_finish(model: Path) -> None:
    stepper = build(model)
    for number in range(30):
        stepper.submit(add(number, 5 + number * 7, 3 + number % 5, seed=number))
    outs = run(stepper)
    assert {number: len(out.tokens) for number, out in outs.items()} == {n: 3 + n % 5 for n in range(30)}
    assert {out.finish for out in outs.values()} == {"length"}
    assert (stepper.gauges.running, stepper.gauges.waiting, stepper.gauges.kv_used) == (0, 0, 0.0)


def test_no_more_run_than_are_promised_a_place(model: Path) -> None:
    stepper = build(model, max_sequences=3)
    for number in range(7):
        stepper.submit(add(number, 10, 4, seed=number))
    most = 0
    while not stepper.idle:
        stepper.step()
        most = max(most, stepper.gauges.running)
        assert stepper.gauges.running <= 3
    assert most == 3


def test_greedy_is_the_same_alone_and_in_company(model: Path) -> None:
    alone = [said(model, add(number, 20, 12, seed=number)) for number in range(3)]
    stepper = build(model)
    for number in range(8):
        stepper.submit(add(number, 20, 12, seed=number))
    together = run(stepper)
    assert [together[number].tokens for number in range(3)] == alone


@pytest.mark.parametrize("more", [0, 3, 20, 40])
@pytest.mark.parametrize("lost", [False, True])
def test_those_who_continue_one_answer_at_once_do_not_read_each_other(model: Path, more: int, *, lost: bool) -> None:
    """The pipeline by itself has all of them write into the block in which the answer ended; 20 more end with it."""
    exact = {"kv_precision": "f32", "batched_tokens": 256}
    past, stepper = add(0, 40, 4), build(model, **exact)
    stepper.submit(past)
    history = past.prompt + run(stepper)[0].tokens
    asked = [
        Add(n, history + add(n, more, 12, seed=n).prompt, Sampler(12, 0.0, 1.0, 0, 0, ignore_eos=True))
        for n in range(1, 5)
    ]
    expected = {request.id: said(model, request, prefix_cache=False, **exact) for request in asked}
    if lost:
        stepper._mirror.lost = True  # type: ignore[union-attr]
    for request in asked:
        stepper.submit(request)
    together = run(stepper)
    assert {number: out.tokens for number, out in together.items()} == expected


def test_a_seed_repeats_what_was_said(model: Path) -> None:
    first, again, other = (said(model, add(1, 20, 16, temperature=1.0, seed=seed)) for seed in (5, 5, 6))
    assert first == again
    assert first != other


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_prompt_dropped_half_way_does_not_spoil_the_cache(model: Path, steps: int) -> None:
    """The pipeline by itself hands half-computed blocks to the next request with the same prompt."""
    request = add(1, 200, 12, seed=3)
    expected = said(model, request, batched_tokens=50)
    stepper = build(model, batched_tokens=50)
    stepper.submit(request)
    for _ in range(steps):
        stepper.step()
    stepper.drop(1)
    assert 1 not in run(stepper)
    stepper.submit(Add(2, request.prompt, request.sampler))
    assert run(stepper)[2].tokens == expected


def test_a_drop_frees_place_and_room(model: Path) -> None:
    stepper = build(model, max_sequences=1)
    stepper.submit(add(1, 10, 500))
    stepper.submit(add(2, 10, 3, seed=1))
    stepper.step()
    stepper.step()
    assert stepper.gauges.waiting == 1
    stepper.drop(1)
    outs = run(stepper)
    assert set(outs) == {2}
    assert len(outs[2].tokens) == 3
    assert stepper.gauges.kv_used == 0.0


def test_dropping_one_that_waits_and_one_that_is_unknown(model: Path) -> None:
    stepper = build(model, max_sequences=1)
    stepper.submit(add(1, 10, 3))
    stepper.submit(add(2, 10, 3))
    stepper.drop(2)
    stepper.drop(77)
    assert set(run(stepper)) == {1}


def test_when_room_runs_out_the_youngest_waits_and_goes_on_where_it_was(model: Path) -> None:
    requests = [add(number, 30, 300, seed=number) for number in range(4)]
    expected = {request.id: said(model, request) for request in requests}
    # Each needs 11 blocks in the end; all four start, three cannot finish together.
    stepper = build(model, kv_blocks=26)
    for request in requests:
        stepper.submit(request)
    outs = run(stepper)
    assert stepper.gauges.preempted > 0
    assert {number: out.finish for number, out in outs.items()} == dict.fromkeys(range(4), "length")
    assert {number: len(out.tokens) for number, out in outs.items()} == dict.fromkeys(range(4), 300)
    same = sum(outs[number].tokens == tokens for number, tokens in expected.items())
    assert same >= 2, "the oldest never left; u8 keys and values may move a token of the others"


def test_one_request_may_fill_the_whole_cache(model: Path) -> None:
    stepper = build(model, kv_blocks=8)
    stepper.submit(add(1, 100, 8 * BLOCK_TOKENS - 100))
    outs = run(stepper)
    assert len(outs[1].tokens) == 8 * BLOCK_TOKENS - 100


def test_many_requests_with_random_drops_leave_nothing_behind(model: Path) -> None:
    dice = random.Random(1)
    stepper = build(model, kv_blocks=64, max_sequences=16)
    finished: set[int] = set()
    dropped: set[int] = set()
    number = 0
    for _ in range(300):
        while dice.random() < 0.4:
            stepper.submit(add(number, dice.choice([10, 40, 150]), dice.randrange(1, 60), seed=dice.randrange(4)))
            number += 1
        if number and dice.random() < 0.3:
            victim = dice.randrange(number)
            if victim not in finished:
                stepper.drop(victim)
                dropped.add(victim)
        if not stepper.idle:
            finished |= {out.id for out in stepper.step() if out.finish}
    finished |= set(run(stepper))
    assert finished | dropped == set(range(number))
    assert stepper.gauges.kv_used == 0.0


@pytest.mark.parametrize(("seed", "kv_blocks", "batched"), [(0, 400, 256), (1, 40, 48), (2, 24, 16)])
def test_whatever_is_asked_at_once_each_says_what_it_says_alone(
    model: Path, seed: int, kv_blocks: int, batched: int
) -> None:
    """Related prompts in bursts, some cut short, in a cache that is now and then full. One may differ: by rounding,
    where two tokens are as likely as each other (1 in 23,000 seen)."""
    dice, exact = random.Random(seed), {"kv_precision": "f32", "max_sequences": 12}
    stepper = build(model, kv_blocks=kv_blocks, batched_tokens=batched, **exact)
    past = [add(0, length, 1, seed=seed).prompt for length in (31, 70)]
    asked: dict[int, Add] = {}
    heard: dict[int, list[int]] = {}
    ended: set[int] = set()
    for turn in range(60):
        for _ in range(dice.choice([0, 1, 1, 3, 6]) if turn < 50 else 0):
            base = dice.choice(past[-12:])
            kept = dice.choice([len(base), len(base), dice.randrange(1, len(base) + 1)])
            more = add(0, dice.choice([0, 1, 3, 10, 20, 32, 50]), 1, seed=dice.randrange(10_000)).prompt
            sampler = Sampler(dice.choice([1, 2, 5, 17, 40]), 0.0, 1.0, 0, 0, ignore_eos=True)
            request = Add(len(asked), (base[:kept] + more)[:220], sampler)
            asked[request.id] = request
            stepper.submit(request)
        if asked and dice.random() < 0.2:
            stepper.drop(dice.randrange(len(asked)))
        for _ in range(dice.randrange(1, 6) if turn < 59 else 1000):
            for out in [] if stepper.idle else stepper.step():
                heard.setdefault(out.id, []).extend(out.tokens)
                if out.finish:
                    ended.add(out.id)
                    past.append(asked[out.id].prompt + heard[out.id])
    alone = build(model, prefix_cache=False, batched_tokens=256, **exact)
    for number in ended:
        alone.submit(asked[number])
    said_alone = run(alone)
    wrong = [number for number in ended if heard[number] != said_alone[number].tokens]
    assert len(ended) > 50
    assert len(wrong) <= 1, f"{len(wrong)} of {len(ended)} say something else in company"
