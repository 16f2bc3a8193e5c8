"""Where a GGUF model computes, and how many of its layers there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slmstudio.core.chat import placement
from slmstudio.core.chat.devices import Device
from slmstudio.core.chat.placement import Shape, Wish, choose
from slmstudio.core.errors import UserError
from slmstudio.core.model.gguf.header import Header

GB = 2**30
MB = 2**20
# Qwen2.5 1.5B as Q4_K_M: 28 layers, 2 key-value heads of 128.
QWEN = Shape(int(0.92 * GB), 28, 28 * 2 * 256, 151936, 12, 1536, 128, int(0.75 * GB), 182 * MB)
# Llama 3 8B as Q4_K_M: 32 layers, 8 key-value heads of 128.
LLAMA = Shape(int(4.58 * GB), 32, 32 * 2 * 1024, 128256, 32, 4096, 128, int(3.9 * GB), 411 * MB)
CPU = Device("cpu", "AMD Ryzen 5", 30 * GB, 32 * GB)


def card(free: float, total: float, kind: str = "cuda", **changes) -> Device:
    return replace(Device(kind, "NVIDIA GeForce RTX 3060", int(free * GB), int(total * GB)), **changes)


def pick(*cards, shape=LLAMA, context=4096, ram=16.0, wish=Wish(), **options):  # noqa: B008
    return choose(shape, context, [CPU, *cards], wish, ram_free=int(ram * GB), **options)


RADEON = card(7.5, 8, "vulkan", name="AMD Radeon RX 6600")
IRIS = card(15, 16, "vulkan", name="Intel Iris Xe", integrated=True)
ALL = range(33, 34)


@pytest.mark.parametrize(("cards", "options", "kind", "layers"), [
    ([card(7.5, 8)], {}, "cuda", ALL),
    ([RADEON], {}, "vulkan", ALL),
    ([card(3.6, 4)], {}, "cuda", range(14, 26)),
    ([card(3.6, 4)], {"shape": QWEN}, "cuda", range(29, 30)),
    ([card(0.9, 8)], {}, "cpu", range(1)),
    ([card(0, 8)], {}, "cpu", range(1)),
    ([card(0, 8), RADEON], {"wish": Wish("cuda")}, "cuda", ALL),
    ([], {}, "cpu", range(1)),
    ([IRIS], {}, "vulkan", ALL),
    ([IRIS], {"ram": 5.0}, "vulkan", range(10, 25)),
    ([IRIS, RADEON], {"ram": 64.0}, "vulkan", ALL),
    ([card(7.5, 8, "vulkan"), card(7.5, 8)], {}, "cuda", ALL),
    ([card(7.5, 8)], {"wish": Wish(layers=12)}, "cuda", range(12, 13)),
    ([card(7.5, 8)], {"wish": Wish(layers=99)}, "cuda", ALL),
    ([card(3.6, 4), card(3.6, 4, index=2)], {}, "cuda", ALL),
    ([card(7.5, 8)], {"busy": ["NVIDIA GeForce RTX 3060"]}, "cpu", range(1)),
    ([card(7.5, 8), card(7.5, 8, index=2)], {"busy": ["NVIDIA GeForce RTX 3060"]}, "cuda", ALL),
    ([RADEON], {"busy": ["NVIDIA GeForce RTX 3060"]}, "vulkan", ALL),
])
def test_the_device_and_its_layers(cards, options, kind, layers) -> None:
    found = pick(*cards, **options)
    assert (found.kind, found.all_layers) == (kind, options.get("shape", LLAMA).layers + 1)
    assert found.layers in layers and found.reason
    assert all(found.split) and len(found.split) == len(found.devices)
    assert not any(device.integrated for device in found.devices) or RADEON not in cards
    assert set(found.why) == {"cache_type", "flash_attention", "batch"}


def test_never_more_than_fits() -> None:
    before = 33
    for free in (9.5, 8, 6, 4, 3, 2, 1, 0.3):
        found = pick(card(free, 12))
        assert found.layers <= before
        before = found.layers
        if found.layers:
            layers = (found.layers - 1) / 32 * (LLAMA.blocks + placement.cache_bytes(LLAMA, 4096, found.cache_type))
            needed = layers + LLAMA.output + placement.compute_bytes(LLAMA, 4096, flash_attention=True)
            assert needed + placement.RESERVE <= free * GB
    assert before == 0
    assert pick(card(4, 6), context=8192).layers < pick(card(4, 6), context=2048).layers


def test_one_card_is_enough_where_it_is_and_two_share_by_their_room() -> None:
    small, large = card(5, 8), card(7.5, 8, index=2)
    assert pick(small, large).devices == (large,)
    both = pick(card(3.6, 4), card(2.9, 4, index=2))
    assert both.layers == sum(both.split) == 33 and both.split[0] > both.split[1] > 5


def test_a_smaller_cache_is_proposed_where_the_whole_model_fits_only_with_it() -> None:
    room = next(free for free in (each / 20 for each in range(80, 200))
                if pick(card(free, 12), context=16384).layers == 33)
    found = pick(card(room, 12), context=16384)
    assert (found.cache_type, found.flash_attention) == ("q8_0", True)
    assert pick(card(room, 12), context=16384, shape=replace(LLAMA, head_size=80)).layers < 33
    assert pick(card(room, 12), context=16384, wish=Wish(cache_type="f16")).layers < 33
    assert pick(card(12, 12), context=16384).cache_type == "f16"
    chosen = pick(wish=Wish(flash_attention=True, batch=128))
    assert (chosen.flash_attention, chosen.batch, chosen.why["batch"]) == (True, 128, "As you chose.")


@pytest.mark.parametrize(("cards", "options", "words"), [
    ([], {}, "found no graphics card"), ([], {"missing": ["The driver is too old."]}, "driver is too old"),
    ([card(7.5, 8)], {"busy": ["NVIDIA GeForce RTX 3060"]}, "a run is training on the RTX 3060"),
    ([card(0, 8)], {}, "doesn't say"), ([card(0.9, 8)], {}, "and the RTX 3060 has 922 MB free"),
    ([card(3.6, 4)], {}, "of 33 layers on the RTX 3060"), ([card(7.5, 8)], {}, "On the RTX 3060: needs about 5."),
    ([card(7.5, 8)], {"wish": Wish("cpu")}, "as you chose")])
def test_the_reason(cards, options, words) -> None:
    assert words in pick(*cards, **options).reason


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="The driver is too old"):
        pick(card(7.5, 8), wish=Wish("vulkan"), missing=["The driver is too old."])
    with pytest.raises(UserError, match="tpu"):
        pick(wish=Wish.of({"device": "tpu"}))


def test_a_card_that_refuses_gets_fewer_layers_and_then_none() -> None:
    found = pick(card(3.6, 4), card(2.9, 4, index=2))
    less = [found.reduced(share) for share in placement.REDUCED]
    assert 33 > less[0].layers > less[1].layers > less[2].layers == 0
    assert (less[2].kind, less[2].devices) == ("cpu", ()) and len({each.reason for each in less}) == 3


def header(shapes, **values):
    from collections import Counter

    return Header({"general.architecture": "llama", **{f"llama.{key}": value for key, value in values.items()}},
                  {"tokenizer.ggml.tokens": 1000}, {}, Counter(), {}, dict.fromkeys(shapes, "Q8_0"), shapes, Counter(),
                  5000)


def test_the_shape_comes_from_the_header() -> None:
    values = {"block_count": 2, "attention.head_count": 4, "embedding_length": 64}
    shapes = {f"blk.{layer}.attn_{name}.weight": (64, 32) for layer in range(2) for name in "kv"}
    assert placement.shape_of(header(shapes, **values)) == Shape(5000, 2, 4 * 32, 1000, 4, 64, 16, 5000)
    tied = placement.shape_of(header({"token_embd.weight": (64, 1000)}, **values))
    assert (5000 - tied.blocks, tied.output) == (64 * 1000 // 32 * 34,) * 2
    fused = placement.shape_of(header({}, **values, **{"attention.head_count_kv": 2}))
    assert fused.cached == 2 * 2 * 32
    assert placement.shape_of(header({}, **values)).cached == 2 * 2 * 64
