"""Quantization types: what each one is, how large a file it makes, and which suits a machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slmstudio.core import formats, paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import join_sentences, noop, ntr, tr
from slmstudio.core.units import format_bytes

if TYPE_CHECKING:
    from slmstudio.core.model.facts import ModelFacts

BITS_PER_WEIGHT = {"F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_1": 6.0, "Q5_K": 5.5,
                   "Q5_0": 5.5, "Q4_K": 4.5, "Q4_0": 4.5, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "Q3_K": 3.4375, "Q2_K": 2.625}
"""Size of llama.cpp's block formats: bytes of a block times eight, divided by its weights (ggml-common.h)."""

FALLBACK = {"Q6_K": "Q8_0", "Q5_K": "Q5_1", "Q4_K": "Q5_0", "Q3_K": "Q4_0", "Q2_K": "Q4_0", "IQ4_XS": "IQ4_NL"}
"""What llama.cpp uses instead where a row isn't a multiple of 256 weights (tensor_type_fallback in llama-quant.cpp)."""

ROW_MULTIPLE = 256
METADATA_BYTES_PER_TOKEN = 48
"""Tokens, merges and scores in the file's header: 36 to 60 bytes a token in Llama 3, Qwen2 and SmolLM2."""


@dataclass(frozen=True)
class QuantType:
    """One choice in the export dialogue.

    Attributes:
        name: llama.cpp's name.
        ftype: llama.cpp's `llama_ftype`.
        bits_per_weight: of an 8B model, embeddings included (Llama 3.1 8B, llama.cpp tools/quantize/README.md).
        english: one sentence that says when to take it.
        block: the block format of most weights.
        down: the block format of `down_share` of the feed-forward down projections.
        head: the block format of the output layer; tied embeddings share it.
    """

    name: str
    ftype: int
    bits_per_weight: float
    english: str
    block: str
    down: str
    down_share: float
    head: str

    @property
    def description(self) -> str:
        """When to take it, in a sentence of the language that is spoken."""
        return tr(self.english)

    @property
    def quantized(self) -> bool:
        """Whether weights are rounded to fewer than 16 bits."""
        return self.bits_per_weight < 16

    def falls_back(self, row: int) -> bool:
        """Whether rows of `row` weights don't fit this type's blocks."""
        return self.block in FALLBACK and row % ROW_MULTIPLE != 0

    def estimate_bytes(self, model: ModelFacts) -> int:
        """Size of the file for a model, within about 5%."""
        embeddings = model.vocabulary_size * model.hidden_size
        down = model.layers * model.hidden_size * model.intermediate_size
        heads = 1 if model.tied_embeddings else 2
        rest = max(0, model.parameters - heads * embeddings - down)
        hidden, wide = model.hidden_size, model.intermediate_size
        bits = rest * _bits(self.block, hidden) + embeddings * _bits(self.head, hidden)
        bits += (heads - 1) * embeddings * _bits(self.block, hidden)
        bits += down * (self.down_share * _bits(self.down, wide) + (1 - self.down_share) * _bits(self.block, wide))
        return int(bits / 8) + METADATA_BYTES_PER_TOKEN * model.vocabulary_size


def _bits(block: str, row: int) -> float:
    return BITS_PER_WEIGHT[FALLBACK.get(block, block) if row % ROW_MULTIPLE else block]


QUANT_TYPES = tuple(QuantType(**each) for each in json.loads(
    (paths.resources() / "models" / "quantization_types.json").read_text(encoding="utf-8")))
DEFAULT_TYPES = ("Q4_K_M",)
"""What is made where nobody chooses."""


@dataclass(frozen=True)
class OtherFormat:
    """What a run can become besides a GGUF of the whole model.

    Attributes:
        ending: of its name in the exports folder, behind the run's name.
        english: what it is, in a sentence.
        needs_adapter: a run that trained every weight has none.
    """

    name: str
    ending: str
    english: str
    needs_adapter: bool

    @property
    def description(self) -> str:
        return tr(self.english)


MERGED = OtherFormat("MERGED", "-merged",
                     noop("A Hugging Face folder with the adapter merged in, for vLLM and further training."), False)
ADAPTER = OtherFormat("ADAPTER", "-adapter",
                      noop("The adapter alone, a few megabytes, for vLLM and PEFT on top of the base."), True)
LORA = OtherFormat("LORA", paths.LORA_ENDING,
                   noop("The adapter alone, for llama.cpp and Ollama. Its strength can be changed in Chat."), True)
OTHER_FORMATS = (MERGED, ADAPTER, LORA)


def choose(names: Iterable[str]) -> tuple[list[QuantType], list[OtherFormat]]:
    """The types, largest first, and the other formats of these names, each once.

    Raises:
        UserError: some are neither; all of them are named.
    """
    wanted = dict.fromkeys(name.upper() for name in names)
    types = [kind for kind in QUANT_TYPES if kind.name in wanted]
    others = [kind for kind in OTHER_FORMATS if kind.name in wanted]
    known = [kind.name for kind in QUANT_TYPES] + [kind.name for kind in OTHER_FORMATS]
    if unknown := [name for name in wanted if name not in known]:
        raise UserError(ntr("{names} isn't a quantization type.", "{names} aren't quantization types.", len(unknown),
                            names=", ".join(unknown)), "", tr("Choose from {names}.", names=", ".join(known)))
    return sorted(types, key=lambda kind: -kind.bits_per_weight), others


GB = 10**9
CHAT_CONTEXT = 4096
_BATCH = 512  # llama.cpp reads a prompt in parts of this many tokens
_CACHE_BYTES = 2  # the cache of keys and values is F16
PROCESSOR_BANDWIDTH = 20 * GB
"""Bytes a second that a laptop's processor reads from memory; each token reads the whole file once."""
FLUENT = 10.0
"""Tokens a second at which an answer comes as fast as one reads."""
USUAL = "Q4_K_M"
KEPT_SHARE, SURE_SHARE = 0.95, 0.8
"""Share of the gain over the base from which a type keeps what was learned, and below which its interval must not
reach: the smallest of several types looks better than it is where few rows were asked."""


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


def memory_bytes(kind: QuantType, model: ModelFacts) -> int:
    """What llama.cpp takes for a chat: the file, keys and values of `CHAT_CONTEXT` tokens, and the buffer for a batch's
    logits (its "CPU compute buffer": 512 tokens, the whole vocabulary, 4 bytes)."""
    cache = 2 * model.layers * model.kv_heads * model.head_dim * _CACHE_BYTES * CHAT_CONTEXT
    return kind.estimate_bytes(model) + cache + _BATCH * model.vocabulary_size * 4


def came_in(model: Path) -> str:
    """The quantization type of the GGUF file that a model folder was made from, or "". Its weights lie on that type's
    steps, so an adapter's small changes would be rounded back to where they were (docs/serving.md)."""
    from slmstudio.core.model.hub.place import SOURCE

    return str((formats.read("import", model / SOURCE) or {}).get("quantization") or "")


def why_not(base_type: str) -> str:
    """Why a base model's own type isn't proposed, in a sentence."""
    return tr("The base model came as {type}; exporting to that type again would round away most of what was learned.",
              type=base_type)


def propose(model: ModelFacts, target: Target, kept: Mapping[str, tuple[float, float]] | None = None,
            base_type: str = "") -> Proposal:
    """The type to take for a machine. Of types whose answers were measured, the smallest that fits and keeps what was
    learned; else the best that fits, on a processor the best that is fluent too.

    Args:
        kept: by the type's name, the share of the gain over the base that it keeps, and the lower bound of that.
        base_type: as `came_in` has it; it isn't proposed.
    """
    ladder = [kind for kind in QUANT_TYPES if kind.quantized and kind.name != base_type]
    fitting = [kind for kind in ladder if memory_bytes(kind, model) <= target.budget]
    if not fitting:
        smallest = ladder[-1]
        return Proposal(None,
                        tr("Even {type} needs {need}, but only about {budget} is free for a model.",
                           type=smallest.name, need=format_bytes(memory_bytes(smallest, model)),
                           budget=format_bytes(target.budget)))
    if measured := [kind for kind in fitting if kind.name in (kept or {})]:
        return _measured(measured, kept or {}, model)
    best = fitting[0]
    if target.on_processor:
        usual = next(kind for kind in QUANT_TYPES if kind.name == USUAL).estimate_bytes(model)
        best = next((kind for kind in fitting if _speed(kind, model) >= FLUENT or kind.estimate_bytes(model) <= usual),
                    fitting[0])
    why = tr("{type} needs about {need} of the {budget} that is free for a model.", type=best.name,
             need=format_bytes(memory_bytes(best, model)), budget=format_bytes(target.budget))
    larger = ladder[:ladder.index(best)]
    if best is not fitting[0]:
        rest = tr("Larger types fit too, but would answer more slowly than you read.")
    elif larger:
        rest = tr("{type} wouldn't fit.", type=larger[-1].name)
    else:
        rest = tr("It loses next to nothing.")
    note = (why_not(base_type),) if base_type in {kind.name for kind in QUANT_TYPES if kind.quantized} else ()
    return Proposal(best, join_sentences(why, rest, *note))


def _measured(fitting: list[QuantType], kept: Mapping[str, tuple[float, float]], model: ModelFacts) -> Proposal:
    enough = [kind for kind in fitting if kept[kind.name][0] >= KEPT_SHARE and kept[kind.name][1] >= SURE_SHARE]
    best = enough[-1] if enough else max(fitting, key=lambda kind: kept[kind.name][0])
    values = {"type": best.name, "share": kept[best.name][0], "size": format_bytes(best.estimate_bytes(model))}
    return Proposal(best, tr("{type} keeps {share:.0%} of the gain over the base on your test rows, in {size}: the "
                             "smallest that was measured to lose little.", **values) if enough else
                    tr("{type} keeps {share:.0%} of the gain over the base on your test rows, the most of those that "
                       "were measured.", **values))


def _speed(kind: QuantType, model: ModelFacts) -> float:
    """Tokens a second on a laptop's processor, at most: memory bandwidth by file size."""
    return PROCESSOR_BANDWIDTH / kind.estimate_bytes(model)
