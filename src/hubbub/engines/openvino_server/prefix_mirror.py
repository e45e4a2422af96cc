"""How many tokens of a prompt the pipeline takes from its prefix cache, which it does itself and tells nobody.

OpenVINO GenAI has no call and no metric for prefix-cache hits. But what its block manager does is a function of what
it is given, so this does the same with hashes in place of blocks. Source of every rule: openvino.genai,
src/cpp/src/continuous_batching/cache/block_manager.hpp (named below in quotes) and scheduler.hpp, with
``dynamic_split_fuse``, one sequence a request, and no pre-emption by the pipeline, which the stepper prevents.

State, as there: a block is *unused* (never held anything), *held* (by one or more sequences) or *kept* (by none,
findable until it is overwritten). ``_found`` is "m_prefix_hash_to_cached_blocks", which knows held and kept blocks by
what they hold; ``_kept`` is "OverwritableBlocksHashStore"; ``_returned`` are the unused blocks that once held a
duplicate. A key stands for all tokens from the start of the sequence up to a position.

- A block can be found as soon as it is allocated; of a prompt under the key of its whole content, even while only a
  part is computed ("allocate"). Generated tokens count: the last block's key moves with each token ("append_slots").
- A prompt is looked up block by block; where a whole block is missing, the shortest part of it that is known is taken,
  and the search ends ("get_full_prefix_restore_plan"). At least one token is always computed.
- Overwritten first is the block that was allocated or found longest ago ("get_lru_block_to_overwrite"). Freeing it
  does not make it younger, nor does it when an unused block is taken.

Exact, as long as those versions do the same. That is checked: the pipeline does say how much of its cache is held, and
where the count here differs ``lost`` is set, and 0 is reported from then on, which is never above the truth.

Cost: a hash a token, and a dictionary move a decoding request and step: docs/engines.md has the numbers.
"""

from __future__ import annotations

import heapq
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate

from hubbub.engines.openvino_server.sizing import BLOCK_TOKENS

STALE_ENTRIES = 1024
"""Entries of ``_oldest`` that may be out of date before it is built anew."""


class _Full(Exception):
    """The pipeline would have to pre-empt somebody."""


class _Block:
    __slots__ = ("holders", "key", "touched")

    def __init__(self, touched: int) -> None:
        self.holders = 0
        self.key = 0
        self.touched = touched


class _Request:
    """``keys[i]``: of the first i + 1 tokens. ``done``: tokens whose keys and values are in the cache."""

    __slots__ = ("blocks", "decoding", "done", "gone", "keys", "prompt")

    def __init__(self, prompt: Sequence[int]) -> None:
        self.keys = array("q", accumulate(prompt, _next_key, initial=0))
        del self.keys[0]
        self.prompt = len(prompt)
        self.done = 0
        self.blocks: list[_Block] = []
        self.decoding = False
        self.gone = False


def _next_key(key: int, token: int) -> int:
    return hash((key, token))


class PrefixMirror:
    """Told of every request, cancel, step, token and end of one pipeline, in the order in which they happen there.

    ``blocks``: of the whole KV cache. ``batched_tokens``: the pipeline's ``max_num_batched_tokens``.
    """

    def __init__(self, blocks: int, batched_tokens: int) -> None:
        self.lost = False
        self._total = blocks
        self._budget = batched_tokens
        self._requests: dict[int, _Request] = {}
        self._fresh: list[_Request] = []
        self._leaving: list[int] = []
        self._unused = blocks
        self._returned: deque[_Block] = deque()
        self._kept: dict[int, _Block] = {}
        self._found: dict[int, _Block] = {}
        self._oldest: list[tuple[int, _Block]] = []
        self._now = blocks
        self._last: tuple[Sequence[int], _Request] | None = None

    @property
    def held(self) -> int:
        """Blocks held by requests."""
        return self._total - self._unused - len(self._returned) - len(self._kept)

    def add(self, number: int, prompt: Sequence[int]) -> int:
        """A request enters the pipeline. Tokens of its prompt that are not computed again."""
        if self.lost:
            return 0
        request = self._requests[number] = self._read(prompt)
        self._last = None
        for length in self._plan(request):
            request.blocks.append(self._restore(request.keys[length - 1]))
            request.done = length - 1 if length == request.prompt else length
        self._fresh.append(request)
        return request.done

    def would_share(self, prompt: Sequence[int]) -> bool:
        """Whether a request with this prompt would begin in a half-full block that another holds."""
        request = self._read(prompt)
        lengths = self._plan(request)
        if not lengths or lengths[-1] % BLOCK_TOKENS == 0:
            return False
        return request.keys[lengths[-1] - 1] not in self._kept

    def cancel(self, number: int) -> None:
        """It computes no more and is freed at the end of the next step."""
        if not self.lost:
            self._requests[number].gone = True
            self._leaving.append(number)

    def step(self, held_share: float) -> None:
        """A step was made; ``held_share``: 0 to 1, of the cache, as the pipeline says. Then come ``said`` and ``end``,
        and ``step_ends`` before any cancel."""
        if self.lost:
            return
        try:
            self._clear_fresh()
            self._fill(self._decode())
        except _Full:
            self._lose()
            return
        if round(held_share * self._total) != self.held:
            self._lose()

    def said(self, number: int, tokens: Iterable[int]) -> None:
        if not self.lost:
            keys = self._requests[number].keys
            for token in tokens:
                keys.append(hash((keys[-1], token)))

    def end(self, number: int) -> None:
        if not self.lost:
            for block in self._requests.pop(number).blocks:
                self._free(block)

    def step_ends(self) -> None:
        """Frees what was cancelled before the step."""
        for number in self._leaving:
            self.end(number)
        self._leaving.clear()

    def _read(self, prompt: Sequence[int]) -> _Request:
        """Who is asked about is mostly let in next: its tokens are hashed once."""
        if self._last is None or self._last[0] is not prompt:
            self._last = prompt, _Request(prompt)
        return self._last[1]

    def _lose(self) -> None:
        self.lost = True
        for held in (self._requests, self._fresh, self._leaving, self._returned, self._kept, self._found, self._oldest):
            held.clear()

    def _plan(self, request: _Request) -> list[int]:
        """Lengths of the known prefixes, a block each."""
        lengths: list[int] = []
        for start in range(0, request.prompt, BLOCK_TOKENS):
            end = min(start + BLOCK_TOKENS, request.prompt)
            if self._knows(request.keys[end - 1]):
                lengths.append(end)
                continue
            part = next((at for at in range(start + 1, end) if self._knows(request.keys[at - 1])), None)
            return lengths if part is None else [*lengths, part]
        return lengths

    def _knows(self, key: int) -> bool:
        return key in self._kept or key in self._found

    def _restore(self, key: int) -> _Block:
        block = self._kept.pop(key, None) or self._found[key]
        block.holders += 1
        self._touch(block)
        return block

    def _touch(self, block: _Block) -> None:
        block.touched = self._now
        self._now += 1

    def _clear_fresh(self) -> None:
        """A wholly known prompt gives back the block of its last token where that is the block's only one
        ("free_empty_physical_blocks")."""
        for request in self._fresh:
            while len(request.blocks) > -(-request.done // BLOCK_TOKENS):
                self._free(request.blocks.pop())
        self._fresh.clear()

    def _decode(self) -> int:
        """One token for each request that is past its prompt ("append_slots"). What is left of the budget."""
        left, found = self._budget, self._found
        for request in self._requests.values():
            if not request.decoding or request.gone or not left:
                continue
            request.done = done = request.done + 1
            left -= 1
            blocks = request.blocks
            if done > len(blocks) * BLOCK_TOKENS:
                self._allocate(request, 1)
                continue
            last, key = blocks[-1], request.keys[done - 1]
            if last.holders > 1:
                blocks[-1] = self._take(key)
                self._free(last)
                continue
            found.pop(last.key, None)
            last.key = key
            found[key] = last
        return left

    def _fill(self, left: int) -> None:
        """As much of each prompt as the budget has left, oldest first."""
        for request in self._requests.values():
            if not left:
                return
            if request.decoding or request.gone:
                continue
            spare = -request.done % BLOCK_TOKENS
            room = spare + (self._unused + len(self._returned) + len(self._kept)) * BLOCK_TOKENS
            count = min(left, request.prompt - request.done, room)
            if count > spare:
                self._allocate(request, -(-(count - spare) // BLOCK_TOKENS))
            left -= count
            request.done += count
            request.decoding = request.done == request.prompt

    def _allocate(self, request: _Request, count: int) -> None:
        blocks, keys = request.blocks, request.keys
        if blocks:
            last, key = blocks[-1], keys[len(blocks) * BLOCK_TOKENS - 1]
            if last.key != key:
                self._found.pop(last.key, None)
                last.key = key
                self._found[key] = last
        for _ in range(count):
            end = min((len(blocks) + 1) * BLOCK_TOKENS, len(keys))
            blocks.append(self._take(keys[end - 1]))

    def _take(self, key: int) -> _Block:
        if self._unused:
            block = _Block(self._total - self._unused)
            self._unused -= 1
        elif self._returned:
            block = self._returned.popleft()
        else:
            block = self._overwrite()
        block.holders += 1
        block.key = key
        self._found[key] = block
        return block

    def _overwrite(self) -> _Block:
        while self._oldest:
            touched, block = heapq.heappop(self._oldest)
            if block.touched == touched and self._kept.get(block.key) is block:
                del self._kept[block.key]
                self._found.pop(block.key, None)
                self._touch(block)
                return block
        raise _Full

    def _free(self, block: _Block) -> None:
        block.holders -= 1
        if block.holders:
            return
        twin = self._kept.get(block.key)
        if twin is not None:
            self._returned.append(twin)
            if self._found.get(twin.key) is twin:
                self._found[twin.key] = block
        self._kept[block.key] = block
        if len(self._oldest) > 2 * len(self._kept) + STALE_ENTRIES:
            self._oldest = [(kept.touched, kept) for kept in self._kept.values() if kept is not block]
            heapq.heapify(self._oldest)
        heapq.heappush(self._oldest, (block.touched, block))
