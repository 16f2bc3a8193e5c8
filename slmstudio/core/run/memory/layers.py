"""What one decoder layer keeps for the backward pass, in bytes a token, and what its backward pass takes besides.

Counted tensor by tensor as transformers 5.24, PEFT 0.21 and our kernels run them, for decoders of Llama's shape with
gated MLPs (docs/decisions/0025). With hidden size h, MLP size f, queries a and keys k wide, and c bytes a number:

- kernels/fast_layers.py (LoRA on the processor) keeps both residuals, queries, keys, values, the attention's output,
  gate and up: c (2 h + 2 a + 2 k + 2 f); and what further norms read, which Qwen 3 and Gemma 3 have.
- The stock layer keeps each norm's input in fp32 (2 x 4 h), and gate, its activation, up and their product (4 f c).
- Where norms learn, they keep their input before the scaling too. Under autocast each linear layer keeps its input in
  `precision` for itself.
- PEFT's own LoRA layers (QLoRA, dropout, DoRA) keep the input of each target in fp32 for themselves on the processor.
  On a card they run under autocast: the layers of a base in 4 bits share their input as it is, others keep a copy in
  `precision`, and A and B are copied too (peft/tuners/lora: layer.py, Linear.forward; bnb.py, Linear4bit.forward).

Mixture-of-experts and state-space models are only roughly right.
"""

from __future__ import annotations

from dataclasses import dataclass

from slmstudio.core.hardware import guidance
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.curves import sequences

JOINED = ("llama", "mistral", "qwen2", "qwen3", "phi3", "gemma3", "gemma3_text")
"""Families whose layers kernels/fast_layers.py replaces on the processor."""
FOUR_NORMS = ("gemma2", "gemma3", "gemma3_text", "gemma3n_text")
QUERY_NORMS = ("qwen3", "qwen3_moe", "gemma3", "gemma3_text", "gemma3n_text", "olmo2", "olmo3")
PLAIN_MLP = ("gpt2", "gpt_neox", "falcon", "bloom", "phi", "opt", "starcoder2")
"""Two linear layers with an activation between them, not a gated MLP."""


@dataclass(frozen=True)
class Layer:
    """
    Attributes:
        kept: bytes a token that one layer keeps; `fixed`: bytes whatever the length.
        checkpoint: bytes a token that it keeps when its activations are recomputed: its input.
        backward: bytes a token that its backward pass takes beside what is kept; `last_norm`: that of the norm after
            the last layer, when no layer's activations are gone yet.
        matrices: bytes of the weights' copies in the compute format, under autocast.
    """

    kept: float
    fixed: float
    checkpoint: float
    backward: float
    last_norm: float
    matrices: float


def compute_bytes(config: RunConfig) -> int:
    """Bytes of a number in `precision`."""
    return 4 if config.precision == "fp32" else 2


def tokens_at_once(config: RunConfig) -> int:
    """Tokens of a micro-batch whose rows are all as long as allowed."""
    return config.micro_batch_size * config.max_length * sequences(config)


def has_mask(config: RunConfig, device: str) -> bool:
    """Whether each layer gets a mask of length by length for each row: rows of unlike length, not packed. A run's own
    attention for the processor needs none (kernels/packed.py)."""
    if config.packing or config.attention == "flash_attention_2" or tokens_at_once(config) == config.max_length:
        return False
    return device == "cuda" or config.is_preference


def linear_layers(facts: ModelFacts) -> dict[str, tuple[int, int]]:
    """The linear layers of one decoder layer: name in transformers, and (inputs, outputs)."""
    hidden, inner = facts.hidden_size, facts.intermediate_size
    queries, keys = facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    if facts.model_type == "phi3":
        return {"qkv_proj": (hidden, queries + 2 * keys), "o_proj": (queries, hidden),
                "gate_up_proj": (hidden, 2 * inner), "down_proj": (inner, hidden)}
    if facts.model_type in PLAIN_MLP:
        # One matrix in, one out: their names differ, the sizes are alike.
        return {"qkv": (hidden, queries + 2 * keys), "dense": (queries, hidden), "fc_in": (hidden, inner),
                "fc_out": (inner, hidden)}
    return {"q_proj": (hidden, queries), "k_proj": (hidden, keys), "v_proj": (hidden, keys),
            "o_proj": (queries, hidden), "gate_proj": (hidden, inner), "up_proj": (hidden, inner),
            "down_proj": (inner, hidden)}


def targets(facts: ModelFacts, config: RunConfig) -> list[tuple[int, int]]:
    """Sizes of the layers that get an adapter. Names that aren't known count as all of them: rather too much."""
    layers = linear_layers(facts)
    names = [config.target_modules] if isinstance(config.target_modules, str) else config.target_modules
    chosen = [size for name, size in layers.items() if name in {wanted.rsplit(".", 1)[-1] for wanted in names}]
    return chosen or list(layers.values())


def is_joined(facts: ModelFacts, config: RunConfig, device: str) -> bool:
    """Whether kernels/fast_layers.py runs: plain LoRA on the processor."""
    return (device == "cpu" and config.method == "lora" and facts.model_type in JOINED and not facts.quantization
            and not config.lora_dropout and not config.use_dora)


def layer(facts: ModelFacts, config: RunConfig, device: str) -> Layer:
    """What one decoder layer of this run keeps and takes."""
    size, hidden, inner = compute_bytes(config), facts.hidden_size, facts.intermediate_size
    if is_joined(facts, config, device):
        return _joined(facts, config, device)
    learning, plain = not config.has_adapter, _is_plain(facts, config)
    stream = 4 if learning else size
    kept = _attention(facts, config, device) + _norms(facts, config, device) + _mlp(facts, config)
    kept += _inputs(facts, config, device)
    if config.has_adapter:
        kept += config.lora_rank * len(targets(facts, config)) * (size if plain or device == "cuda" else 4)
    linear = sum(inputs * outputs for inputs, outputs in linear_layers(facts).values())
    fixed = 0.0
    if (plain or device == "cuda") and config.has_adapter and size == 2:
        fixed = 2.0 * config.lora_rank * sum(inputs + outputs for inputs, outputs in targets(facts, config))
    if config.has_adapter and config.use_dora and config.lora_dropout:
        # What was dropped is multiplied with the base's weights again, in a copy (peft/tuners/lora/dora.py).
        fixed += float((size if device == "cuda" else 4) * sum(inputs * outputs for inputs, outputs in
                                                               targets(facts, config)))
    short = device == "cpu" and config.has_adapter and facts.model_type in JOINED
    behind = float((2 * inner + hidden) * size)
    if config.attention == "eager":
        behind = max(behind, 8.0 * facts.heads * config.max_length)  # the gradients of scores and probabilities
    return Layer(kept, fixed, hidden * stream, behind + hidden * stream,
                 hidden * (3 * size if short else 20), 2.0 * linear if learning and size == 2 else 0.0)


def _is_plain(facts: ModelFacts, config: RunConfig) -> bool:
    """Whether kernels/fast_lora.py takes the place of PEFT's layers."""
    return (config.method == "lora" and not facts.quantization and not config.lora_dropout
            and not config.use_dora)


def _joined(facts: ModelFacts, config: RunConfig, device: str) -> Layer:
    """kernels/fast_layers.py. Its adapters' matrices are laid together in the compute format: B is as high as all
    outputs and as wide as all ranks of the layers that read the same input."""
    size, hidden, inner, rank = compute_bytes(config), facts.hidden_size, facts.intermediate_size, config.lora_rank
    queries, keys = facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    count = len(targets(facts, config))
    rotation = facts.head_dim * (1 if config.packing or config.micro_batch_size == 1 else 3)
    kept: float = size * (2 * hidden + queries + 2 * inner + count * rank + rotation) + 8
    if facts.model_type in FOUR_NORMS:
        kept += size * 2 * hidden
    if facts.model_type in QUERY_NORMS:
        kept += size * (queries + keys)
    kept += _attention(facts, config, device)
    kept -= size * queries  # the attention's output is counted in both
    fixed = size * rank * (2 * hidden + queries + inner + 3 * (queries + 2 * keys) + 4 * inner + 2 * hidden)
    backward = size * (4 * inner + 3 * hidden)
    return Layer(kept, fixed, hidden * size, backward, 3.0 * hidden * size, 0.0)


def repeats_heads(facts: ModelFacts, config: RunConfig, device: str) -> bool:
    """Whether keys and values are repeated to all heads on a card, since only FlashAttention takes shared ones: it
    takes neither fp32 nor masks, fp16 is for cards that are too old for it, and Windows has none (kernels/packed.py).
    """
    return (device == "cuda" and facts.kv_heads < facts.heads and config.attention == "sdpa"
            and (config.precision != "bf16" or has_mask(config, device) or not guidance.FLASH))


def _attention(facts: ModelFacts, config: RunConfig, device: str) -> float:
    """Queries, keys, values and the output. With a mask keys and values are repeated to all heads, and the mask is
    turned into numbers in each layer. Eager attention keeps the probabilities of all heads besides."""
    size = compute_bytes(config)
    queries, keys = facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    masked = has_mask(config, device)
    eager = config.attention == "eager"
    repeated = masked or eager or repeats_heads(facts, config, device)
    own = device == "cpu" and not repeated  # kernels/packed.py keeps nothing but its inputs
    output = 0 if own and config.has_adapter and not _is_plain(facts, config) else queries
    kept = size * (queries + output + 2 * (queries if repeated else keys)) + (0 if own else 4 * facts.heads)
    if facts.model_type == "phi3" and not is_joined(facts, config, device):
        kept += size * (queries + keys)  # the values are a slice of what the rotation has made a copy of
    if eager:
        kept += facts.heads * config.max_length * (4 + (size if size == 2 else 0))
    elif masked:
        kept += config.max_length * size
    return kept


def _norms(facts: ModelFacts, config: RunConfig, device: str) -> float:
    """The norms' inputs, and before the scaling again where they learn."""
    learning = not config.has_adapter
    count = 4 if facts.model_type in FOUR_NORMS else 2
    width = count * facts.hidden_size
    if facts.model_type in QUERY_NORMS:
        width += (facts.heads + facts.kv_heads) * facts.head_dim
    if learning:
        return 8 * width
    short = device == "cpu" and facts.model_type in JOINED  # fast_layers.py's norm keeps its input as it is
    return width * (compute_bytes(config) if short else 4)


def _mlp(facts: ModelFacts, config: RunConfig) -> float:
    """Gate, its activation and the other branch; without a gate the first layer's output alone."""
    branches = 1 if facts.model_type in PLAIN_MLP else 3
    return branches * facts.intermediate_size * compute_bytes(config)


def _inputs(facts: ModelFacts, config: RunConfig, device: str) -> float:
    """The inputs of the linear layers that learn, or that have an adapter."""
    size, sizes = compute_bytes(config), list(linear_layers(facts).values())
    own = sum(inputs for inputs, _ in sizes)
    queries = facts.heads * facts.head_dim  # the input of the output projection, which the attention keeps anyway
    shared = 2 * facts.hidden_size + facts.intermediate_size
    if not config.has_adapter:
        return size * (own - queries) if size == 2 else size * shared
    if _is_plain(facts, config):
        return size * shared
    wanted = sum(inputs for inputs, _ in targets(facts, config))
    four_bits = config.method == "qlora" or facts.quantization is not None
    copied = size == 2 and (device == "cpu" or not four_bits)
    kept = wanted * (4 if device == "cpu" else size) if copied else shared * size
    if config.lora_dropout:  # the rest, and which of it was dropped
        kept = (kept if copied or device == "cpu" else 0) + wanted * (1 if copied else 1 + size)
    if config.use_dora:
        kept += sum(outputs for _, outputs in targets(facts, config)) * (4 + size if device == "cpu" else 2 * size)
    return kept
