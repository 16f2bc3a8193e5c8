"""How many layers of a GGUF model the graphics card takes: all if they fit, else part, else none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core.hardware.machine import Gpu
from slmstudio.core.i18n import tr
from slmstudio.core.model.gguf.header import Header, read_header
from slmstudio.core.units import format_bytes

MB = 2**20
RESERVE = 512 * MB
"""Left free on each card: CUDA's own context took 0.3 to 0.5 GB by driver and card, and the screen needs some."""
MICRO_BATCH = 512
"""Tokens that llama.cpp computes at once while it reads a prompt."""
CACHE_BYTES = 2
"""A value of the cache, as f16."""


@dataclass(frozen=True)
class Shape:
    """What of a model decides how much memory it takes.

    Attributes:
        cached: values that the cache keeps of a token, in all layers together.
        vocabulary, heads, width: size of the vocabulary, attention heads, size of a hidden state.
    """

    file_bytes: int
    layers: int
    cached: int
    vocabulary: int
    heads: int
    width: int


@dataclass(frozen=True)
class GpuLayers:
    """What goes onto the card.

    Attributes:
        layers: as llama.cpp counts them: one more than the model's decoder layers is everything.
        all_layers: everything.
        reason: a sentence for the model's line.
    """

    layers: int
    all_layers: int
    reason: str


def read_shape(path: Path) -> Shape:
    """Raises UserError: the file isn't a complete GGUF file."""
    return shape_of(read_header(path, lambda values, lengths, tensors: None))


def shape_of(header: Header) -> Shape:
    """Take the sizes from a header. What it doesn't say is taken as for multi-head attention, which is never less."""
    architecture = header.values.get("general.architecture")

    def number(key: str) -> int:
        value = header.values.get(f"{architecture}.{key}")
        return value if type(value) is int and value > 0 else 0

    layers, heads, width = number("block_count"), number("attention.head_count") or 1, number("embedding_length")
    cached = 0
    for layer in range(layers):
        for name in ("attn_k", "attn_v"):
            shape = header.shapes.get(f"blk.{layer}.{name}.weight")
            key_heads = number("attention.head_count_kv") or heads
            cached += shape[1] if shape is not None and len(shape) == 2 else width * key_heads // heads
    return Shape(header.file_bytes, layers, cached, header.lengths.get("tokenizer.ggml.tokens", 0), heads, width)


def choose(shape: Shape, context_length: int, gpus: Sequence[Gpu], *, supported: bool, training: bool) -> GpuLayers:
    """Choose by free memory.

    Args:
        context_length: tokens that the model is to be loaded with.
        supported: whether this build of llama.cpp can use a card at all.
        training: a run is in progress; it needs the card, so chat stays on the processor.
    """
    everything = shape.layers + 1
    free = {gpu: max(0, gpu.memory_free - RESERVE) for gpu in gpus if gpu.memory_free is not None}
    if not free:
        return GpuLayers(0, everything, tr("On the processor: there is no NVIDIA GPU.") if not gpus else
                         tr("On the processor: the NVIDIA driver doesn't say how much memory is free."))
    if not supported:
        return GpuLayers(0, everything, tr("On the processor: this llama.cpp was built without GPU support."))
    if training:
        return GpuLayers(0, everything, tr("On the processor: a run is training on this machine."))
    compute = compute_bytes(shape, context_length)
    each = (shape.file_bytes + cache_bytes(shape, context_length)) / everything
    # Each card holds a compute buffer of its own.
    fits = sum(int(max(0, room - compute) / each) for room in free.values())
    cards = ", ".join(gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ") for gpu in free)
    needed = format_bytes(each * everything + compute)
    available = format_bytes(sum(gpu.memory_free or 0 for gpu in free))
    if fits >= everything:
        return GpuLayers(everything, everything, tr("On the {cards}: needs about {needed}, {free} free.", cards=cards,
                                                    needed=needed, free=available))
    if fits > 0:
        return GpuLayers(fits, everything,
                         tr("{count} of {all} layers on the {cards}, the rest on the processor: needs about {needed}, "
                            "{free} free.", count=fits, all=everything, cards=cards, needed=needed, free=available))
    return GpuLayers(0, everything, tr("On the processor: needs about {needed}, and the {cards} has {free} free.",
                                       needed=needed, cards=cards, free=available))


def cache_bytes(shape: Shape, context_length: int) -> int:
    """Keys and values of all layers for a whole context, as llama.cpp keeps them."""
    return shape.cached * context_length * CACHE_BYTES


def compute_bytes(shape: Shape, context_length: int) -> int:
    """What llama.cpp computes in: the logits and attention scores of one micro-batch and a few of its activations."""
    return MICRO_BATCH * 4 * (shape.vocabulary + shape.heads * context_length + 8 * shape.width)
