"""How a run goes, for whoever looks: what judge and board know, put into one ``Live``."""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec

from hubbub.corpus.board import Board, Live
from hubbub.corpus.judge import Judge
from hubbub.corpus.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Flight:
    """Requests that are out, the most that may be, and items that wait for one before them."""

    out: int
    limit: int
    held: int


class Vista:
    def __init__(self, recipe: Recipe, judge: Judge, board: Board) -> None:
        self._recipe, self._judge, self._board = recipe, judge, board
        self._measured: tuple[int, dict[str, float | None]] = (0, {})

    @property
    def amount(self) -> int:
        """Accepted so far, in the target's unit."""
        totals = self._judge.totals
        return self._recipe.target.of(bytes=totals.bytes, tokens=totals.tokens, records=totals.records)

    def mark(self) -> None:
        """To be called about once a second: rates are taken between such marks."""
        totals = self._judge.totals
        self._board.mark(amount=self.amount, bytes=totals.bytes, records=totals.records)

    def live(self, state: str, note: str, flight: Flight) -> Live:
        totals, board, target = self._judge.totals, self._board, self._recipe.target
        amount = self.amount
        left = max(0, target.amount - amount)
        slow, fast = board.band("amount")
        rate = board.rate("amount")
        texts = totals.records + totals.rejected.total()
        return Live(
            at=time.time(),
            state=state,
            unit=target.unit,
            amount=amount,
            target=target.amount,
            bytes=totals.bytes,
            records=totals.records,
            items=self._judge.next_place,
            tokens_s=board.rate("answer_tokens"),
            bytes_s=board.rate("bytes"),
            records_s=board.rate("records"),
            accept_rate=totals.records / texts if texts else 0.0,
            near_duplicates=totals.rejected["near_duplicate"] / texts if texts else 0.0,
            in_flight=flight.out,
            limit=flight.limit,
            window=flight.held,
            eta_s=left / rate if rate else None,
            eta_low_s=left / fast if fast else None,
            eta_high_s=left / slow if slow else None,
            rejected=dict(totals.rejected),
            diversity=self._diversity(),
            faults={name[6:]: count for name, count in board.counts.items() if name.startswith("fault:")},
            note=note,
        )

    def _diversity(self) -> dict[str, float | None]:
        """Of the last whole epoch; it changes once an epoch, and is dear."""
        epoch = self._judge.next_place // self._recipe.epoch
        if epoch and epoch != self._measured[0]:
            self._measured = (epoch, msgspec.to_builtins(self._judge.diversity()))
        return self._measured[1]
