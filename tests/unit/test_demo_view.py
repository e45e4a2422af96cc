from __future__ import annotations

import re
from collections import deque

import pytest

from hubbub.bench.board import Board, Fate, Phase, Talk, Turn
from hubbub.bench.report import Plan
from hubbub.cli.demo_view import DemoView, size, span, sparkline
from hubbub.cli.vitals import Vitals


@pytest.fixture
def view() -> DemoView:
    board = Board(Plan("http://localhost", chats=3, turns=2))
    board.talks = [Talk(n, [Turn(f"[bold]question {n}"), Turn("why?")]) for n in range(3)]
    speaking, done, waiting = board.talks
    speaking.phase, done.phase, waiting.phase = Phase.RUNNING, Phase.DONE, Phase.WAITING
    board.said(speaking, "[red]an answer\nof two lines")
    for turn in done.turns:
        board.settle(turn, Fate.OK)
    board.ttft.add(0.25)
    board.began = 0.0
    return DemoView(board, Vitals("http://localhost"), "three chats")


def test_the_picture_shows_what_goes_on_and_fetches_nothing(view: DemoView) -> None:
    view.tick()
    picture = view.picture().replace("&#160;", " ")
    for words in ("three chats", "of 6 turns", "running", "[bold]question 0", "[red]an answer of two lines"):
        assert words in picture
    assert re.search(r"2[45]\d ms", picture)  # 250 ms, to the histogram's one per cent
    assert "url(http" not in picture


def test_a_line_tells_the_same(view: DemoView) -> None:
    assert "turns 2/6  running 1  waiting 1  done 1" in view.line()


def test_nothing_is_promised_before_there_is_a_rate(view: DemoView) -> None:
    assert view.eta() is None


def test_a_first_count_of_tokens_is_no_step_back(view: DemoView, monkeypatch: pytest.MonkeyPatch) -> None:
    for second, tokens in enumerate((0.0, 90.0, 60.0)):
        monkeypatch.setattr("time.perf_counter", lambda second=second: 10.0 * second)
        monkeypatch.setattr(view.board, "tokens", lambda tokens=tokens: tokens)
        view.tick()
    assert list(view.rates) == [9.0, 0.0]


def test_words_for_people() -> None:
    assert [span(None), span(0.0123), span(2.34)] == ["-", "12 ms", "2.3 s"]
    assert [size(None), size(82 << 20), size(3 << 29)] == ["-", "82 MiB", "1.50 GiB"]
    assert sparkline(deque([0.0, 5.0, 10.0])) == "▁▅█"
    assert sparkline(deque()) == ""
