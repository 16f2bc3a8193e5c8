"""How much memory a run needs, computed before anything is loaded. A range, because a formula is no measurement.

The formulas count the tensors that PyTorch keeps, layer by layer, for decoders of Llama's shape as transformers 5 runs
them. They were compared with what autograd really saves (Llama, Qwen2, Phi-3; fp32 and bf16; with and without
checkpointing), which a test repeats, and with the peak of whole training steps of SmolLM2-135M on the CPU, which lay
between 0.89 and 1.15 times the sum. Mixture-of-experts, state-space and seeing models are only roughly right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slmstudio.core.model import scratch
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig

MB = 2**20
HEAD_CHUNK = 32 * 2**20
"""Logits that the head's loss holds at once (worker/kernels/head_loss.py)."""
_OVERHEAD = {"cuda": (500 * MB, 800 * MB, 1100 * MB), "cpu": (450 * MB, 600 * MB, 900 * MB)}
"""Beside the tensors, least, likely and most. CUDA: context, libraries' kernels and cuBLAS' workspaces, 0.3 to 0.6 GB
by driver and card, and what the allocator rounds up. CPU: Python with torch, transformers and TRL took 484 MB."""
_LOW, _HIGH = 0.9, 1.2
"""Measured peaks lay within these factors of the sum of the tensors; the allocator's fragments are part of that."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a run needs at its peak.

    Attributes:
        weights: of the base model, in the format they are held in.
        adapter: of the LoRA adapter; 0 for full fine-tuning.
        gradients: of what learns.
        optimizer: the optimizer's state.
        activations: what the forward pass keeps for the backward pass.
        logits: what the loss holds of the vocabulary's scores.
        overhead: the libraries and the device's context, likely.
        low, high: range of the total, overhead included.
        trainable_parameters: how many values learn.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    overhead: int
    low: int
    high: int
    trainable_parameters: int

    @property
    def total(self) -> int:
        """The likely total; it lies between `low` and `high`."""
        return (self.weights + self.adapter + self.gradients + self.optimizer + self.activations + self.logits
                + self.overhead)


def estimate(facts: ModelFacts, config: RunConfig, device: str) -> MemoryEstimate:
    """Estimate the peak of a run.

    As worker/training holds things: LoRA keeps the frozen base in `config.precision` and the adapter in fp32; full
    fine-tuning keeps fp32 weights and computes in `config.precision`, with a copy of the weights in that format.

    Args:
        facts: the base model.
        config: the run; `micro_batch_size * max_length` tokens are in memory at once.
        device: "cuda" or "cpu".
    """
    if config.method == "scratch":
        facts = scratch.facts_of(facts, config.scratch_size)
    lora = config.has_adapter
    compute = 4 if config.precision == "fp32" else 2
    adapter = adapter_parameters(facts, config) if lora else 0
    learning = adapter or facts.parameters
    if facts.quantization:
        weights = facts.disk_bytes  # bitsandbytes keeps in memory what it keeps on disk
    elif config.method == "qlora":
        weights = four_bit_bytes(facts, compute)
    else:
        weights = facts.parameters * (compute if lora else 4 + (2 if compute == 2 else 0))
    if config.objective in ("dpo", "kto") and not lora:
        weights += 4 * facts.parameters  # the reference model, which stays as the base was
    gradients, optimizer = 4 * learning, _optimizer_bytes(facts, config, learning)
    activations, logits = _activation_bytes(facts, config, compute), _logit_bytes(facts, config, compute)
    before = weights + 4 * adapter + gradients + optimizer
    # PyTorch's default (foreach) AdamW on CUDA makes temporaries as large as what learns (documentation of
    # torch.optim.AdamW, "foreach"), when the activations are gone already.
    step = 4 * learning if device == "cuda" and config.optimizer == "adamw_torch" else 0
    least, likely, most = _OVERHEAD[device]
    return MemoryEstimate(
        weights=weights, adapter=4 * adapter, gradients=gradients, optimizer=optimizer, activations=activations,
        logits=logits, overhead=likely, low=int(_LOW * (before + activations + logits)) + least,
        high=int(_HIGH * (before + max(activations + logits, step))) + most, trainable_parameters=learning)


def four_bit_bytes(facts: ModelFacts, compute: int) -> int:
    """A base in NF4 with double quantization: 4 bits a weight of the linear layers, and 0.127 bits for the constants of
    each 64 weights (Dettmers et al. 2023, arXiv 2305.14314, section 3). Embeddings, head and norms stay as they are."""
    linear = facts.layers * sum(inputs * outputs for inputs, outputs in linear_layers(facts).values())
    linear = min(linear, facts.parameters)
    return int(linear * 4.127 / 8) + (facts.parameters - linear) * compute


def linear_layers(facts: ModelFacts) -> dict[str, tuple[int, int]]:
    """The linear layers of one decoder layer: name in transformers, and (inputs, outputs)."""
    hidden, inner = facts.hidden_size, facts.intermediate_size
    queries, keys = facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    if facts.model_type == "phi3":
        return {"qkv_proj": (hidden, queries + 2 * keys), "o_proj": (queries, hidden),
                "gate_up_proj": (hidden, 2 * inner), "down_proj": (inner, hidden)}
    if facts.model_type in ("gpt2", "gpt_neox", "falcon", "bloom", "phi", "opt", "starcoder2"):
        # One matrix in, one out: their names differ, the sizes are alike.
        return {"qkv": (hidden, queries + 2 * keys), "dense": (queries, hidden), "fc_in": (hidden, inner),
                "fc_out": (inner, hidden)}
    return {"q_proj": (hidden, queries), "k_proj": (hidden, keys), "v_proj": (hidden, keys),
            "o_proj": (queries, hidden), "gate_proj": (hidden, inner), "up_proj": (hidden, inner),
            "down_proj": (inner, hidden)}


def adapter_parameters(facts: ModelFacts, config: RunConfig) -> int:
    """Values of a LoRA adapter: rank * (inputs + outputs) for each target (Hu et al. 2021, arXiv 2106.09685, 4.1)."""
    return facts.layers * sum(config.lora_rank * (inputs + outputs) for inputs, outputs in _targets(facts, config))


def _targets(facts: ModelFacts, config: RunConfig) -> Iterable[tuple[int, int]]:
    """Sizes of the layers that get an adapter. Names that are not known count as all of them: rather too much."""
    layers = linear_layers(facts)
    names = [config.target_modules] if isinstance(config.target_modules, str) else config.target_modules
    chosen = [size for name, size in layers.items() if name in {wanted.rsplit(".", 1)[-1] for wanted in names}]
    return chosen or layers.values()


def _optimizer_bytes(facts: ModelFacts, config: RunConfig, learning: int) -> int:
    """AdamW keeps two moments in fp32 (Loshchilov & Hutter 2017, arXiv 1711.05101); Adafactor a row and a column of
    each matrix (Shazeer & Stern 2018, arXiv 1804.04235); SGD without momentum nothing."""
    if config.optimizer in ("adamw_8bit", "paged_adamw_8bit"):
        return 2 * learning + learning // 128  # and a constant for each block of 256 (Dettmers 2021, arXiv 2110.02861)
    if "adamw" in config.optimizer:
        return 8 * learning
    if config.optimizer == "adafactor":
        narrow = config.lora_rank if config.has_adapter else facts.hidden_size
        return 4 * (2 * learning // narrow)
    return 0


def _activation_bytes(facts: ModelFacts, config: RunConfig, compute: int) -> int:
    """What is kept between forward and backward pass.

    After Korthikanti et al. 2022 (arXiv 2205.05198), whose count is for GPT with dropout, counted anew for Llama's
    layers. With checkpointing each layer keeps its input only (the residual, in the weights' format; fp32 in full
    fine-tuning), and one layer at a time is whole.
    """
    tokens = config.micro_batch_size * config.max_length * sequences(config)
    layer = _layer_bytes(facts, config, compute) * tokens
    if not config.gradient_checkpointing:
        return facts.layers * layer
    residual = compute if config.has_adapter else 4
    return facts.layers * tokens * facts.hidden_size * residual + layer


def sequences(config: RunConfig) -> int:
    """Sequences that one row of the micro-batch makes: the better and the worse answer go together."""
    return 2 if config.objective in ("dpo", "orpo") else 1


def _layer_bytes(facts: ModelFacts, config: RunConfig, compute: int) -> int:
    """Bytes that one layer keeps for one token.

    Kept are: queries, keys, values (repeated to all heads) and the attention's output; the gate, its activation, the
    other branch and their product; the normed inputs of attention and MLP; the residuals before both norms in fp32;
    the attention mask in the compute format (SDPA turns the boolean mask into numbers in each layer). Eager attention
    keeps the probabilities of all heads besides. Learning norms keep their input before the scaling. LoRA's layers keep
    what the base's would keep and their projection to rank r (kernels/fast_lora.py); with dropout or on a quantized
    base PEFT's own layers run, which cast the input of each target to fp32.
    """
    hidden, inner, attention = facts.hidden_size, facts.intermediate_size, facts.heads * facts.head_dim
    size = 4 * attention * compute + 2 * hidden * 4
    if config.attention != "flash_attention_2" and not config.packing:
        size += config.max_length * compute
    if config.attention == "eager":
        size += facts.heads * config.max_length * (4 + (compute if compute == 2 else 0))
    size += 4 * inner * compute + 2 * hidden * compute
    if not config.has_adapter:
        return size + 2 * hidden * 4
    inputs = [inputs for inputs, _ in _targets(facts, config)]
    size += 4 * config.lora_rank * len(inputs)
    if config.lora_dropout or config.use_dora or config.method == "qlora" or facts.quantization:
        size += sum(inputs) * 5  # the input in fp32, and which of it was dropped
    return size


def _logit_bytes(facts: ModelFacts, config: RunConfig, compute: int) -> int:
    """The head's loss works through the positions in chunks, of which it holds the product, its fp32 copy, the
    exponentials and the gradient; full fine-tuning adds up the head's gradient in fp32 and scales it."""
    tokens = config.micro_batch_size * config.max_length * sequences(config)
    if config.is_preference:  # TRL's loss holds the scores of all answers' tokens and their logarithms, in fp32
        return tokens * facts.vocabulary_size * (compute + 8)
    scores = min(tokens * facts.vocabulary_size, HEAD_CHUNK)
    chunk = scores * (8 if compute == 4 else 2 + 4 + 4 + 2)
    return chunk + (8 * facts.vocabulary_size * facts.hidden_size if not config.has_adapter else 0)
