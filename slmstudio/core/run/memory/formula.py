"""How much memory a run needs, computed before anything is loaded. It is a range, since a formula isn't a measurement.

A step has phases that hold different things: at the end of the forward pass all activations are there; after the
backward pass they are gone and the gradients are there; the optimizer makes temporaries then. What counts is the
largest of them, not the sum of everything. docs/decisions/0025 says what the figures were compared with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from slmstudio.core.hardware.guidance import EVENING
from slmstudio.core.model import scratch
from slmstudio.core.model.architecture import PADDED_ONLY
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory import layers
from slmstudio.core.run.memory.layers import compute_bytes, tokens_at_once

# -- Whether a run suits a machine: memory with a margin, and time. Whatever shows it, in the window or the terminal,
# asks here.

FITS, TIGHT, NO = "fits", "tight", "no"
ENOUGH, LITTLE_ROOM, TOO_LITTLE, SLOW, UNKNOWN = "enough", "little_room", "too_little", "slow", "unknown"
COMFORTABLE = 0.8
"""Share of the free memory up to which a run fits without a doubt: other programs take some, and estimates err."""


@dataclass(frozen=True)
class Judgement:
    """
    Attributes:
        level: `FITS`, `TIGHT` (it may work, or work slowly) or `NO`.
        reason: `ENOUGH` of everything; `LITTLE_ROOM` or `TOO_LITTLE` memory; `SLOW`, more than an evening; `UNKNOWN`,
            since nobody says how much memory is free.
    """

    level: str
    reason: str

    @property
    def fits(self) -> bool:
        return self.level == FITS


def judge(low: int, high: int, free: int | None, seconds: float | None = None) -> Judgement:
    """Judge a run.

    Args:
        low, high: bytes that it needs at its peak, at least and at most.
        free: bytes that are free where it computes; None if nobody says.
        seconds: how long it takes at least; None if nobody knows.
    """
    if free is None:
        return Judgement(TIGHT, UNKNOWN)
    if low > free:
        return Judgement(NO, TOO_LITTLE)
    if seconds is not None and seconds > EVENING:
        return Judgement(TIGHT, SLOW)
    return Judgement(FITS, ENOUGH) if high <= COMFORTABLE * free else Judgement(TIGHT, LITTLE_ROOM)


MB = 2**20
HEAD_CHUNK, HEAD_ROWS = {"cpu": 6 * 2**20, "cuda": 64 * 2**20}, 64
"""Logits that the head's loss holds at once, and the least positions (worker/kernels/head_loss.py)."""
CONTEXT = {"cuda": (400 * MB, 600 * MB, 900 * MB), "cpu": (500 * MB, 600 * MB, 750 * MB)}
"""Beside the tensors, least, likely and most. CUDA: the context, the libraries' kernels and cuBLAS' workspaces, 0.3 to
0.6 GB by driver and card. CPU: Python with torch, transformers and TRL."""
STAYS = 32 * 2**20
"""Below this size the C library (glibc's M_MMAP_THRESHOLD, at most) gives nothing back that a process frees: what the
backward pass took is still held when the next step's forward pass comes to the head's large tensors."""
FRAGMENTS = {"cuda": 0.04, "cpu": 0.02}
"""The likely share of what comes and goes within a step that the allocator can't reuse. CUDA: nine steps with rows of
other lengths each, of five layouts, replayed through the rules of PyTorch's caching allocator
(c10/cuda/CUDACachingAllocator.cpp) with the least limit at which they run. With expandable segments, as workers have
them on Linux, 0.7 to 1.3%, and 17% (0.15 GB) where activations are recomputed and little comes and goes; without, as on
Windows, 0.6 to 2% and 42% (0.37 GB). Not yet seen on a card."""
LOW, HIGH = 0.92, 1.10
"""The tensors' range about their likely sum. On a card, weights, adapter and the optimizer's state are known to the
byte; what a process holds isn't."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a run needs at its peak, by what holds them in that moment.

    Attributes:
        weights: of the base model, in the format they are held in, and their copies in another.
        adapter: of the LoRA adapter; 0 for full fine-tuning.
        gradients: of what learns.
        optimizer: the optimizer's state, and what it makes besides while it works.
        activations: what the forward pass keeps for the backward pass, and what that makes besides.
        logits: what the loss holds of the vocabulary's scores.
        fragmentation: what the allocator holds and can't use.
        overhead: the libraries and the device's context, likely.
        low, high: range of the total, overhead included.
        phase: when that is: "forward", "backward", "step" (of the optimizer), "saving" or "loading".
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    fragmentation: int
    overhead: int
    low: int
    high: int
    trainable_parameters: int
    phase: str

    @property
    def total(self) -> int:
        """The likely total; it lies between `low` and `high`."""
        return sum(self.parts().values())

    def verdict(self, free: int) -> str:
        """The level of `judgement.judge` where `free` bytes may be filled, whatever time it takes."""
        return judge(self.low, self.high, free).level

    def parts(self) -> dict[str, int]:
        """Bytes by part, in the order in which they are shown."""
        return {name: getattr(self, name) for name in PARTS}


PARTS = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "fragmentation", "overhead")


@dataclass(frozen=True)
class _Phase:
    """Bytes that one phase holds beside weights, adapter and the optimizer's state."""

    copies: float = 0.0
    gradients: float = 0.0
    temporaries: float = 0.0
    activations: float = 0.0
    logits: float = 0.0

    @property
    def total(self) -> float:
        return self.copies + self.gradients + self.temporaries + self.activations + self.logits


def estimate(facts: ModelFacts, config: RunConfig, device: str) -> MemoryEstimate:
    """Estimate the peak of a run.

    As worker/training holds things: LoRA keeps the frozen base in `config.precision` and the adapter in fp32; full
    fine-tuning keeps fp32 weights and computes in `config.precision`.

    Args:
        config: the run; `micro_batch_size * max_length` tokens are in memory at once, all of them learned.
        device: "cuda" or "cpu".
    """
    if config.method == "scratch":
        facts = scratch.facts_of(facts, config.scratch_size)
    if config.attention == "sdpa" and facts.model_type in PADDED_ONLY:
        config = replace(config, packing=False)  # as the worker does, whatever was asked for
    adapter = adapter_parameters(facts, config) if config.has_adapter else 0
    learning = adapter or facts.parameters
    weights, optimizer = _weight_bytes(facts, config), _optimizer_bytes(facts, config, learning)
    phases = _phases(facts, config, device, learning)
    name, peak = max(phases.items(), key=lambda item: item[1].total)
    held = weights + 4 * adapter + optimizer
    fragments = FRAGMENTS[device] * (peak.total + optimizer)
    least, likely, most = CONTEXT[device]
    exact = held if device == "cuda" else 0.0
    rest = held + peak.total - exact
    return MemoryEstimate(
        weights=int(weights + peak.copies), adapter=4 * adapter, gradients=int(peak.gradients),
        optimizer=int(optimizer + peak.temporaries), activations=int(peak.activations), logits=int(peak.logits),
        fragmentation=int(fragments), overhead=likely, low=int(exact + LOW * rest) + least,
        high=int(exact + HIGH * (rest + fragments)) + most, trainable_parameters=learning, phase=name)


def four_bit_bytes(facts: ModelFacts, compute: int) -> int:
    """A base in NF4 with double quantization: 4 bits a weight of the linear layers, and 0.127 bits for the constants of
    each 64 weights (Dettmers et al. 2023, arXiv 2305.14314, section 3). Embeddings, head and norms stay as they are."""
    of_a_layer = sum(inputs * outputs for inputs, outputs in layers.linear_layers(facts).values())
    linear = min(facts.layers * of_a_layer, facts.parameters)
    return int(linear * 4.127 / 8) + (facts.parameters - linear) * compute


def adapter_parameters(facts: ModelFacts, config: RunConfig) -> int:
    """Values of a LoRA adapter: rank * (inputs + outputs) for each target (Hu et al. 2021, arXiv 2106.09685, 4.1)."""
    return facts.layers * sum(config.lora_rank * (inputs + outputs) for inputs, outputs in
                              layers.targets(facts, config))


def _weight_bytes(facts: ModelFacts, config: RunConfig) -> int:
    compute = compute_bytes(config)
    if facts.quantization:
        weights = facts.disk_bytes  # bitsandbytes keeps in memory what it keeps on disk
    elif config.method == "qlora":
        weights = four_bit_bytes(facts, compute)
    else:
        weights = facts.parameters * (compute if config.has_adapter else 4)
    if config.objective in ("dpo", "kto") and not config.has_adapter:
        weights += 4 * facts.parameters  # the reference model, which stays the same as the base
    return weights


def _optimizer_bytes(facts: ModelFacts, config: RunConfig, learning: int) -> int:
    """AdamW keeps two moments in fp32 (Loshchilov & Hutter 2017, arXiv 1711.05101); Adafactor a row and a column of
    each matrix (Shazeer & Stern 2018, arXiv 1804.04235); SGD without momentum nothing."""
    if config.optimizer in ("adamw_8bit", "paged_adamw_8bit"):
        return 2 * learning + learning // 128  # and a constant for each block of 256 (Dettmers 2021, arXiv 2110.02861)
    if "adamw" in config.optimizer:
        return 8 * learning
    if config.optimizer == "adafactor":
        narrow = max(1, config.lora_rank if config.has_adapter else facts.hidden_size)
        return 4 * (2 * learning // narrow)
    return 0


def _phases(facts: ModelFacts, config: RunConfig, device: str, learning: int) -> dict[str, _Phase]:
    """What the phases of a step hold. With accumulation the gradients of earlier micro-batches are there all along."""
    tokens, size = tokens_at_once(config), compute_bytes(config)
    one, gradients = layers.layer(facts, config, device), 4.0 * learning
    earlier = gradients if config.gradient_accumulation_steps > 1 else 0.0
    recompute = config.gradient_checkpointing
    each = one.checkpoint * tokens if recompute else one.kept * tokens + one.fixed
    whole = one.kept * tokens + one.fixed if recompute else 0.0
    ends = tokens * facts.hidden_size * _ends(config, device, size)
    copies = facts.layers * one.matrices
    kept = facts.layers * each + ends
    head, table = _head_loss(facts, config, tokens, size, device), 4.0 * facts.vocabulary_size * facts.hidden_size
    own_head = 0.0 if config.has_adapter else table
    behind = tokens * (one.backward if recompute else max(one.backward, one.last_norm))
    if config.method == "qlora" or facts.quantization:  # one layer's weight is unpacked to be multiplied with
        behind += size * max(inputs * outputs for inputs, outputs in layers.linear_layers(facts).values())
    phases = {
        "forward": _Phase(copies, earlier, 0.0, kept, head),
        "backward": _Phase(one.matrices if recompute else copies, max(earlier, own_head), 0.0,
                           kept + whole + behind, own_head),
        # The first layer's turn, which comes last: the gradients are there, the other layers' activations gone. The
        # embeddings' gradient comes after that, beside the one that it is added to.
        "end": _Phase(0.0, gradients, 0.0, max(
            one.matrices + (whole or each) + (one.backward + facts.hidden_size * size) * tokens, own_head)),
        "step": _Phase(0.0, gradients, _temporaries(facts, config, device, learning)),
    }
    if device == "cpu" and not config.has_adapter:
        phases["saving"] = _Phase(temporaries=4.0 * facts.parameters)
    if device == "cpu" and tokens * facts.intermediate_size * size <= STAYS:
        phases["forward"] = _Phase(copies, earlier, 0.0, kept + whole + behind, head)
    phases["backward"] = max(phases["backward"], phases.pop("end"), key=lambda phase: phase.total)
    return phases


def _ends(config: RunConfig, device: str, size: int) -> int:
    """Bytes a token and hidden value that a model keeps once: the embeddings' output, the final norm's input and
    output, the head's input and its gradient."""
    if not config.has_adapter:
        return 4 + 4 + 4 + 4 + 4
    return (size if device == "cpu" else 4) + 4 * size


def _temporaries(facts: ModelFacts, config: RunConfig, device: str, learning: int) -> float:
    """What the optimizer makes while it works. PyTorch's default (foreach) AdamW on CUDA makes temporaries as large as
    what learns (documentation of torch.optim.AdamW, "foreach"); otherwise two of the largest tensor."""
    if device == "cuda" and config.optimizer == "adamw_torch":
        return 4.0 * learning
    largest = max(inputs * outputs for inputs, outputs in layers.linear_layers(facts).values())
    largest = max(largest, facts.vocabulary_size * facts.hidden_size)
    if config.has_adapter:
        largest = config.lora_rank * max(max(sizes) for sizes in layers.targets(facts, config))
    return 8.0 * largest


def _head_loss(facts: ModelFacts, config: RunConfig, tokens: int, size: int, device: str) -> float:
    """The head's loss works through the positions in chunks, and holds a chunk's scores in fp32, and in `precision`
    before and after that; that of preferences their exponentials too. Full fine-tuning adds up the head's gradient in
    fp32."""
    vocabulary = facts.vocabulary_size
    if config.objective == "orpo":  # TRL's loss holds the scores of all tokens and their logarithms, in fp32
        return float(tokens * vocabulary * (size + 8))
    scores = float(min(tokens * vocabulary, max(HEAD_CHUNK[device], HEAD_ROWS * vocabulary)))
    chunk = scores * (8 if config.is_preference else 4 if size == 4 else 6)
    if config.has_adapter:
        return chunk
    table = float(vocabulary * facts.hidden_size)
    if size == 4:
        return 4 * table + max(chunk, 4 * scores + 4 * table)
    # Under autocast the head's copy too, then the gradient's, and their product before and after it is made fp32.
    return 6 * table + max(chunk, 6 * scores + 2 * table, 4 * scores + 6 * table)
