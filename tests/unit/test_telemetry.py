"""What /metrics writes."""

from __future__ import annotations

from hubbub.runtime.telemetry import Telemetry, render


def test_a_counter_is_told_to_its_last_digit() -> None:
    seen = Telemetry()
    histograms = {
        "hubbub_ttft_seconds": seen.ttft,
        "hubbub_itl_seconds": seen.itl,
        "hubbub_request_seconds": seen.duration,
    }
    text = render({"hubbub_generated_tokens_total": [({"engine": "main"}, 1_234_567_891)]}, histograms)
    assert 'hubbub_generated_tokens_total{engine="main"} 1234567891\n' in text
