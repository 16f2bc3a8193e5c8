"""How many layers go onto the card."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slmstudio.core.chat import gpu_layers
from slmstudio.core.chat.gpu_layers import Shape, choose
from slmstudio.core.hardware.machine import Gpu, read_gpus
from slmstudio.core.model.gguf.header import Header

GB = 2**30
# Qwen2.5 1.5B as Q4_K_M: 28 layers, 2 key-value heads of 128.
QWEN = Shape(int(0.92 * GB), 28, 28 * 2 * 256, 151936, 12, 1536)
# Llama 3 8B as Q8_0: 32 layers, 8 key-value heads of 128.
LLAMA = Shape(int(7.95 * GB), 32, 32 * 2 * 1024, 128256, 32, 4096)
CARD = Gpu(0, "NVIDIA GeForce RTX 3060", 12 * GB, int(11.2 * GB), (8, 6))


def pick(shape=QWEN, context=4096, gpus=(CARD,), supported=True, training=False):
    return choose(shape, context, gpus, supported=supported, training=training)


def test_everything_where_it_fits() -> None:
    found = pick()
    assert (found.layers, found.all_layers) == (29, 29)
    assert found.reason.startswith("On the RTX 3060: needs about 1.") and "11.2 GB free" in found.reason


def test_part_where_part_fits_and_never_more_than_fits() -> None:
    before = 34
    for free in (9.5, 8, 6, 4, 3, 2, 1, 0.3):
        found = pick(LLAMA, gpus=(replace(CARD, memory_free=int(free * GB)),))
        assert 0 <= found.layers <= before
        before = found.layers
        used = found.layers / 33 * (LLAMA.file_bytes + gpu_layers.cache_bytes(LLAMA, 4096))
        if found.layers:
            assert used + gpu_layers.compute_bytes(LLAMA, 4096) + gpu_layers.RESERVE <= free * GB
            assert found.layers == 33 or f"{found.layers} of 33 layers" in found.reason
    assert before == 0 and "On the processor" in found.reason


def test_a_longer_context_leaves_room_for_fewer_layers() -> None:
    card = (replace(CARD, memory_free=6 * GB),)
    assert pick(LLAMA, 8192, card).layers < pick(LLAMA, 2048, card).layers


def test_two_cards_take_more_than_one() -> None:
    card = replace(CARD, memory_free=5 * GB)
    assert pick(LLAMA, gpus=(card, replace(card, index=1))).layers > pick(LLAMA, gpus=(card,)).layers


@pytest.mark.parametrize(("changes", "words"), [
    ({"gpus": ()}, "no NVIDIA GPU"), ({"supported": False}, "without GPU support"),
    ({"training": True}, "a run is training"), ({"gpus": (replace(CARD, memory_free=None),)}, "doesn't say")])
def test_on_the_processor_with_the_reason(changes, words) -> None:
    found = pick(**changes)
    assert found.layers == 0 and words in found.reason


def test_the_free_memory_is_what_nvml_says(fake_nvml) -> None:
    gpus, _ = read_gpus()
    assert pick(LLAMA, gpus=gpus).layers == 33
    fake_nvml.set(memory_used=8 * GB)
    gpus, _ = read_gpus()
    assert 0 < pick(LLAMA, gpus=gpus).layers < 33


def header(shapes, **values):
    from collections import Counter

    return Header({"general.architecture": "llama", **{f"llama.{key}": value for key, value in values.items()}},
                  {"tokenizer.ggml.tokens": 1000}, {}, Counter(), {}, {}, shapes, Counter(), 5000)


def test_the_shape_comes_from_the_header() -> None:
    values = {"block_count": 2, "attention.head_count": 4, "embedding_length": 64}
    shapes = {f"blk.{layer}.attn_{name}.weight": (64, 32) for layer in range(2) for name in "kv"}
    assert gpu_layers.shape_of(header(shapes, **values)) == Shape(5000, 2, 4 * 32, 1000, 4, 64)
    fused = gpu_layers.shape_of(header({}, **values, **{"attention.head_count_kv": 2}))
    assert fused.cached == 2 * 2 * 32
    assert gpu_layers.shape_of(header({}, **values)).cached == 2 * 2 * 64
