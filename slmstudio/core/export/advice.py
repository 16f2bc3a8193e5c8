"""Which quantization type suits a machine: what a file needs while it is used, and a proposal with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from slmstudio.core.export.types import QUANT_TYPES, QuantType, Shape
from slmstudio.core.i18n import noop, tr
from slmstudio.core.units import format_bytes

GB = 10**9
CHAT_CONTEXT = 4096
_BATCH = 512  # llama.cpp reads a prompt in parts of this many tokens
_CACHE_BYTES = 2  # the cache of keys and values is F16
PROCESSOR_BANDWIDTH = 20 * GB
"""Bytes a second that a laptop's processor reads from memory; each token reads the whole file once."""
FLUENT = 10.0
"""Tokens a second at which an answer comes as fast as one reads."""
USUAL = "Q4_K_M"


class ChatShape(Shape, Protocol):
    """What the memory of a chat depends on; `core.model.facts.ModelFacts` has it."""

    @property
    def kv_heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...


@dataclass(frozen=True)
class Target:
    """A machine on which the file is to be used.

    Attributes:
        key: for programs.
        budget: bytes that a model may take; the rest is the system's and other programs'.
        on_processor: whether the processor does the work, so that the file's size decides the speed.
    """

    key: str
    english_name: str
    budget: int
    on_processor: bool

    @property
    def name(self) -> str:
        return tr(self.english_name)


TARGETS = (
    Target("laptop-8", noop("8 GB laptop, CPU"), 6 * GB, True),
    Target("laptop-16", noop("16 GB laptop, CPU"), 11 * GB, True),
    Target("gpu-8", noop("GPU with 8 GB"), 7 * GB, False),
    Target("gpu-12", noop("GPU with 12 GB"), 11 * GB, False),
    Target("gpu-24", noop("GPU with 24 GB"), 22 * GB, False),
)


@dataclass(frozen=True)
class Proposal:
    """Attributes:
        type: None if nothing fits.
        reason: in a sentence or two.
    """

    type: QuantType | None
    reason: str


def memory_bytes(kind: QuantType, model: ChatShape) -> int:
    """What llama.cpp takes for a chat: the file, keys and values of `CHAT_CONTEXT` tokens, and the buffer for a batch's
    logits (its "CPU compute buffer": 512 tokens, the whole vocabulary, 4 bytes)."""
    cache = 2 * model.layers * model.kv_heads * model.head_dim * _CACHE_BYTES * CHAT_CONTEXT
    return kind.estimate_bytes(model) + cache + _BATCH * model.vocabulary_size * 4


def propose(model: ChatShape, target: Target) -> Proposal:
    """The type to take for a machine: the best that fits; on a processor the best that is fluent too."""
    ladder = [kind for kind in QUANT_TYPES if kind.quantized]
    fitting = [kind for kind in ladder if memory_bytes(kind, model) <= target.budget]
    if not fitting:
        smallest = ladder[-1]
        return Proposal(None,
                        tr("Even {type} needs {need}, but only about {budget} is free for a model.",
                           type=smallest.name, need=format_bytes(memory_bytes(smallest, model)),
                           budget=format_bytes(target.budget)))
    best = fitting[0]
    if target.on_processor:
        best = next((kind for kind in fitting if _speed(kind, model) >= FLUENT or kind.name == USUAL), fitting[0])
    why = tr("{type} needs about {need} of the {budget} that is free for a model.", type=best.name,
             need=format_bytes(memory_bytes(best, model)), budget=format_bytes(target.budget))
    larger = ladder[:ladder.index(best)]
    if best is not fitting[0]:
        rest = tr("Larger types fit too, but would answer more slowly than you read.")
    elif larger:
        rest = tr("{type} wouldn't fit.", type=larger[-1].name)
    else:
        rest = tr("It loses next to nothing.")
    return Proposal(best, f"{why} {rest}")


def _speed(kind: QuantType, model: ChatShape) -> float:
    """Tokens a second on a laptop's processor, at most: memory bandwidth by file size."""
    return PROCESSOR_BANDWIDTH / kind.estimate_bytes(model)
