"""Where a GGUF model computes: on which device, how many of its layers there, and with which cache, attention and
batch. Chat, the server, evaluations, judges and the proof of an export all ask `choose`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slmstudio.core import program
from slmstudio.core.chat.devices import Device
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import join_sentences, noop, tr
from slmstudio.core.model.gguf.header import TENSOR_TYPES, Header, read_header
from slmstudio.core.units import format_bytes

MB = 2**20
RESERVE, SHARED_RESERVE = 512 * MB, 2048 * MB
"""Left free on each card: CUDA's own context took 0.3 to 0.5 GB by driver and card, and the screen needs some. And on
one that shares its memory with everything else that runs."""
MICRO_BATCH = 512
"""Tokens that llama.cpp computes at once while it reads a prompt."""
BATCHES = (128, 256, 512, 1024, 2048)
ORDER = ("cuda", "vulkan", "metal")
"""Which kind of device is taken first, where there are several."""
CACHE_TYPES = {"f16": 2.0, "q8_0": 34 / 32}
"""Bytes of a value of the cache."""
NAMES = {"auto": noop("Automatic"), "cpu": noop("Processor"), "vulkan": noop("Vulkan"), "cuda": noop("CUDA")}
"""The choices as a person reads them; whoever shows them translates them."""
REDUCED = (0.75, 0.5, 0.0)
"""Shares of the layers that are tried where a card refuses what its free memory promised."""


@dataclass(frozen=True)
class Shape:
    """What of a model decides how much memory it takes.

    Attributes:
        cached: values that the cache keeps of a token, in all layers together.
        vocabulary, heads, width: size of the vocabulary, attention heads, size of a hidden state.
        head_size: of a key; 0 if it isn't known.
        blocks: bytes of the layers; output: of what comes behind them. The embeddings stay with the processor.
    """

    file_bytes: int
    layers: int
    cached: int
    vocabulary: int
    heads: int
    width: int
    head_size: int = 0
    blocks: int = 0
    output: int = 0


@dataclass(frozen=True)
class Wish:
    """What a user has chosen; None and "auto" leave it to `choose`."""

    device: str = "auto"
    layers: int | None = None
    cache_type: str | None = None
    flash_attention: bool | None = None
    batch: int | None = None

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Wish:
        """Of a command to a worker, or of a job's request."""
        return cls(message.get("device") or "auto", message.get("gpu_layers"), message.get("cache_type"),
                   message.get("flash_attention"), message.get("batch"))


@dataclass(frozen=True)
class Placement:
    """What was decided.

    Attributes:
        kind: of the devices; "cpu" if no layer is on a card.
        devices: the cards that take layers; split: how many each takes.
        layers: on cards, as llama.cpp counts them: one more than the model's decoder layers is everything.
        reason: a sentence on where it computes.
        why: sentences on the cache's type, flash attention and the batch, by field.
    """

    all_layers: int
    reason: str
    kind: str = "cpu"
    devices: tuple[Device, ...] = ()
    split: tuple[int, ...] = ()
    cache_type: str = "f16"
    flash_attention: bool = False
    batch: int = MICRO_BATCH
    why: Mapping[str, str] = field(default_factory=dict)

    @property
    def layers(self) -> int:
        return sum(self.split)

    @property
    def name(self) -> str:
        return ", ".join(device.name for device in self.devices)

    def reduced(self, share: float) -> Placement:
        """The same with a share of the layers, since the card refused them all."""
        split, cards = tuple(int(count * share) for count in self.split), _names(self.devices)
        if all(split):
            return replace(self, split=split, reason=tr(
                "{count} of {all} layers on the {cards}, the rest on the processor: it couldn't take more.",
                count=sum(split), all=self.all_layers, cards=cards))
        return replace(self, kind="cpu", devices=(), split=(), flash_attention=self.cache_type != "f16",
                       reason=tr("On the processor: the {cards} couldn't take the model.", cards=cards))

    def to_dict(self) -> dict[str, Any]:
        """As messages of workers and `--json` have it."""
        return {"device": self.kind, "device_name": self.name, "layers_on_device": self.layers,
                "layers": self.all_layers, "reason": self.reason, "cache_type": self.cache_type,
                "flash_attention": self.flash_attention, "batch": self.batch, "why": dict(self.why)}


ON_PROCESSOR = Placement(0, "")


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
    embeddings, output = _bytes(header, "token_embd.weight"), _bytes(header, "output.weight")
    return Shape(header.file_bytes, layers, cached, header.lengths.get("tokenizer.ggml.tokens", 0), heads, width,
                 number("attention.key_length") or width // heads, header.file_bytes - embeddings - output,
                 output or embeddings)


def _bytes(header: Header, tensor: str) -> int:
    sizes = {label: (block, size) for label, block, size in TENSOR_TYPES.values()}
    block, size = sizes.get(header.types.get(tensor, ""), (1, 0))
    return math.prod(header.shapes.get(tensor, (0,))) // block * size


def cache_bytes(shape: Shape, context_length: int, cache_type: str = "f16") -> int:
    """Keys and values of all layers for a whole context, as llama.cpp keeps them."""
    return int(shape.cached * context_length * CACHE_TYPES[cache_type])


def compute_bytes(shape: Shape, context_length: int, batch: int = MICRO_BATCH, flash_attention: bool = False) -> int:
    """What llama.cpp computes in: the logits of one micro-batch, its attention scores unless flash attention keeps
    them small, and a few of its activations."""
    scores = 0 if flash_attention else shape.heads * context_length
    return batch * 4 * (shape.vocabulary + scores + 8 * shape.width)


def choose(shape: Shape, context_length: int, devices: Sequence[Device], wish: Wish, *, ram_free: int,
           busy: Sequence[str] = (), missing: Sequence[str] = ()) -> Placement:
    """Choose by the memory that is free now.

    Args:
        context_length: tokens of all contexts that the model is to be loaded with.
        ram_free: bytes; a card that shares the machine's memory can't have more.
        busy: names of the cards on which a run trains.
        missing: sentences on backends that couldn't be loaded.

    Raises:
        UserError: the device that the user has chosen isn't there.
    """
    chosen = wish.device != "auto"
    kinds = {device.kind for device in devices}
    if chosen and wish.device not in {"cpu", *kinds}:
        raise not_there(wish.device, missing)
    kind = wish.device if chosen else next((each for each in ORDER if each in kinds), "cpu")
    cards = [device for device in devices if device.kind == kind != "cpu"]
    cards = [card for card in cards if not card.integrated] or cards
    known = [card for card in cards if card.free or chosen]
    idle = list(known)
    for name in () if chosen else busy:  # of several cards with one name, the first
        idle = [card for card in idle if card is not next((each for each in idle if each.name == name), None)]
    if wish.device == "cpu" or wish.layers == 0:
        reason = tr("On the processor, as you chose.")
    elif not cards:
        reason = join_sentences(tr("On the processor: llama.cpp found no graphics card."), *missing)
    elif not known:
        reason = tr("On the processor: the driver of the {cards} doesn't say how much memory is free.",
                    cards=_names(cards))
    elif not idle:
        reason = tr("On the processor: a run is training on the {cards}.", cards=_names(cards))
    else:
        tried = [_on_cards(shape, context_length, idle, replace(wish, cache_type=cache), ram_free)
                 for cache in CACHE_TYPES if wish.cache_type == cache or (not wish.cache_type and (
                     cache == "f16" or shape.head_size % 32 == 0))]
        # A cache of half the size, in blocks of 32 values, is proposed where the whole model fits only with it.
        found = next((each for each in tried if each.layers == each.all_layers), tried[0])
        return _with_reasons(found, wish, found is not tried[0])
    return _with_reasons(Placement(shape.layers + 1, reason), wish, False)


def not_there(device: str, missing: Sequence[str] = ()) -> UserError:
    """A device that was asked for isn't there."""
    return UserError(tr("The chat engine can't compute with {device} here.", device=tr(NAMES.get(device, device))),
                     join_sentences(*missing) or tr("It has no such backend, or the driver shows it no card."),
                     tr("Choose Automatic or Processor (--device auto, --device cpu). To see what is missing, run: "
                        "{command}", command=program.command("doctor")))


def folder_without_vulkan() -> UserError:
    """A model folder is to compute by Vulkan."""
    return not_there("vulkan", [tr("The folder of a model or a run is computed by PyTorch, which has no Vulkan.")])


def left_card(card: str, why: str) -> UserError:
    """A card has failed while the model answered, which is on the processor now."""
    return UserError(tr("The {card} stopped computing, so the model is on the processor now.", card=card), why,
                     tr("Ask again. If it happens often, update the graphics driver, or choose Processor as the device "
                        "for chat (--device cpu)."))


def _on_cards(shape: Shape, context_length: int, cards: list[Device], wish: Wish, ram_free: int) -> Placement:
    everything, cache = shape.layers + 1, wish.cache_type or "f16"
    compute = compute_bytes(shape, context_length, wish.batch or MICRO_BATCH, wish.flash_attention is not False)
    layers_bytes = shape.blocks + cache_bytes(shape, context_length, cache)
    each = max(1.0, layers_bytes / max(1, shape.layers))
    # Each card holds a compute buffer of its own; one that doesn't say what is free is tried with everything.
    rooms = [math.inf if not card.free else (min(card.free, ram_free) - SHARED_RESERVE if card.integrated else
                                             card.free - RESERVE) - compute for card in cards]
    most = max(rooms)
    if most >= layers_bytes + shape.output:  # one card alone is faster than two that wait for each other
        cards, rooms = [cards[rooms.index(most)]], [most]
    rooms[-1] -= shape.output
    fits = [int(min(max(0, room / each), shape.layers)) for room in rooms]
    on_cards = min(shape.layers, sum(fits)) if wish.layers is None else min(wish.layers, everything) - 1
    needed = format_bytes(layers_bytes + shape.output + compute)
    free = format_bytes(sum(card.free for card in cards))
    if wish.layers is None and not on_cards:
        return Placement(everything, tr("On the processor: needs about {needed}, and the {cards} has {free} free.",
                                        needed=needed, cards=_names(cards), free=free))
    used = {card: fit for card, fit in zip(cards, fits, strict=True) if fit} or {cards[0]: 1}
    split, whole = list[int](), sum(used.values())
    for fit in used.values():
        split.append(min(math.ceil(on_cards * fit / whole), on_cards - sum(split)))
    split[-1] += 1  # what comes behind the last layer
    names = _names(used)
    if on_cards == shape.layers:
        reason = tr("On the {cards}: needs about {needed}, {free} free.", cards=names, needed=needed, free=free)
    else:
        reason = tr("{count} of {all} layers on the {cards}, the rest on the processor: needs about {needed}, "
                    "{free} free.", count=on_cards + 1, all=everything, cards=names, needed=needed, free=free)
    return Placement(everything, reason, cards[0].kind, tuple(used), tuple(split), cache)


def _with_reasons(found: Placement, wish: Wish, for_room: bool) -> Placement:
    """Cache, attention and batch, each with its reason."""
    cache, flash = wish.cache_type or found.cache_type, wish.flash_attention
    if flash is None:
        flash = bool(found.layers) or cache != "f16"
    why = {"cache_type": tr("Half the size of f16, so that the whole model fits on the card.") if for_room else
           tr("As exact as the model computes."),
           "flash_attention": tr("A smaller cache needs it.") if cache != "f16" else
           tr("Takes less of the card's memory.") if flash else tr("The processor draws tokens faster without it."),
           "batch": tr("What llama.cpp reads at once. More is faster on a card, and takes more of its memory.")}
    return replace(found, cache_type=cache, flash_attention=flash, batch=wish.batch or MICRO_BATCH, why={
        name: reason if getattr(wish, name) is None else tr("As you chose.") for name, reason in why.items()})


def _names(cards: Iterable[Device]) -> str:
    return ", ".join(card.name.removeprefix("NVIDIA ").removeprefix("GeForce ") for card in cards)
