"""How llama.cpp's KV cache is laid out, and what is said where it cannot be."""

from __future__ import annotations

import pytest

from hubbub.core.errors import ConfigError
from hubbub.engines.llamacpp_layout import RESERVE_BYTES, KvShape, Layout, Wishes, arguments, lay_out, read_shape
from support.openvino_process import bundled_model

GIB = 1 << 30
SMALL = KvShape(window=2048, values=1000, weight_bytes=0)


def test_each_chat_has_its_whole_window_where_that_fits() -> None:
    layout = lay_out(SMALL, Wishes(chats=10), free=RESERVE_BYTES + GIB)
    assert layout == Layout(slots=10, window=2048, kv_tokens=20_480, unified=False)
    assert arguments(layout) == ["--parallel", "10", "--ctx-size", "20480", "--no-kv-unified"]


def test_chats_share_a_pool_where_it_does_not() -> None:
    layout = lay_out(SMALL, Wishes(chats=200), free=RESERVE_BYTES + GIB)
    assert layout.unified
    assert layout.window == 2048
    assert layout.kv_tokens * 1000 * 2 <= GIB / 2
    assert arguments(layout)[-3:] == ["--kv-unified", "--kv-unified-per-slot", "2048"]


def test_a_split_cache_divides_the_window() -> None:
    layout = lay_out(SMALL, Wishes(chats=4, kv_tokens=2000, kv_layout="split"), free=0)
    assert layout == Layout(slots=4, window=500, kv_tokens=4 * 512, unified=False)


def test_quantized_keys_and_values_hold_more() -> None:
    free = RESERVE_BYTES + GIB // 2
    exact = lay_out(SMALL, Wishes(chats=200, kv_layout="unified"), free)
    rounded = lay_out(SMALL, Wishes(chats=200, kv_layout="unified", kv_type="q8_0"), free)
    assert rounded.kv_tokens > 1.8 * exact.kv_tokens


def test_fewer_chats_by_default_where_memory_is_short() -> None:
    assert lay_out(SMALL, Wishes(), RESERVE_BYTES + 20_000_000).slots == 19
    assert lay_out(SMALL, Wishes(), RESERVE_BYTES + 4 * GIB).slots == 64


@pytest.mark.parametrize(
    ("wishes", "param"),
    [(Wishes(chats=257), "chats"), (Wishes(chats=9, kv_tokens=2000), "chats"), (Wishes(kv_tokens=100), "kv_tokens")],
)
def test_what_cannot_be_names_the_option(wishes: Wishes, param: str) -> None:
    with pytest.raises(ConfigError) as refused:
        lay_out(SMALL, wishes, free=2 * GIB)
    assert refused.value.param == param


def test_the_shape_of_the_bundled_model() -> None:
    shape = read_shape(bundled_model())
    assert (shape.window, shape.values) == (8192, 30 * 3 * 2 * 64)
