"""Sizes of small models that are trained from scratch, in the architecture and with the tokenizer of a known one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slmstudio.core.model.facts import ModelFacts

HEAD = 64
"""Width of an attention head, as in Llama, Qwen2 and SmolLM2."""
WIDTHS = {"10M": 256, "20M": 320, "30M": 384, "60M": 512, "100M": 640, "150M": 768}
"""Hidden size by name, at most. Deep and thin serves small models best (MobileLLM, arXiv 2402.14905, section 2.2)."""
OF_THE_BASE_ALONE = ("rope_scaling", "rope_parameters", "layer_types", "max_window_layers", "no_rope_layers")
"""Values of config.json that belong to the base's depth and context; a new small model has the defaults."""
LEAST_LAYERS = 8
"""Fewer learn little beyond single words; a large vocabulary, which takes parameters, makes layers narrower first."""


def sizes(scratch_size: str, vocabulary: int) -> dict[str, Any]:
    """The values of config.json that give about this many parameters, the embeddings (shared with the head) included.

    A large vocabulary takes its share first: the widest layers are chosen of which `LEAST_LAYERS` still fit beside the
    embeddings. The smallest sizes with the largest vocabularies come out larger than their name says.

    Args:
        scratch_size: a key of `WIDTHS`.
        vocabulary: rows of the embedding table.
    """
    wanted = int(scratch_size[:-1]) * 1_000_000
    for hidden in range(WIDTHS[scratch_size], 127, -HEAD):
        shape = _shape(hidden)
        layers = round((wanted - hidden * vocabulary) / layer_parameters(shape))
        if layers >= LEAST_LAYERS:
            break
    return {**shape, "num_hidden_layers": max(2, layers)}


def _shape(hidden: int) -> dict[str, Any]:
    heads = hidden // HEAD
    return {
        "hidden_size": hidden,
        "intermediate_size": -(-8 * hidden // 3 // 64) * 64,  # SwiGLU's 8/3 (Touvron et al. 2023, arXiv 2302.13971)
        "num_attention_heads": heads,
        "num_key_value_heads": next(n for n in (3, 2, 1) if heads % n == 0) if heads > 2 else 1,
        "head_dim": HEAD,
        "tie_word_embeddings": True,
    }


def layer_parameters(shape: dict[str, Any]) -> int:
    """Parameters of one decoder layer: attention, SwiGLU's three matrices, two norms."""
    hidden, inner = int(shape["hidden_size"]), int(shape["intermediate_size"])
    return 2 * hidden * hidden + 2 * hidden * int(shape["num_key_value_heads"]) * HEAD + 3 * hidden * inner + 2 * hidden


def facts_of(base: ModelFacts, scratch_size: str) -> ModelFacts:
    """What the new model will be: the base's facts with the new sizes."""
    new = sizes(scratch_size, base.vocabulary_size)
    hidden, inner, layers = new["hidden_size"], new["intermediate_size"], new["num_hidden_layers"]
    count = hidden * base.vocabulary_size + layers * layer_parameters(new) + hidden
    return replace(base, parameters=count, layers=layers, hidden_size=hidden, intermediate_size=inner,
                   heads=new["num_attention_heads"], kv_heads=new["num_key_value_heads"], head_dim=HEAD,
                   tied_embeddings=True, dtype="fp32", disk_bytes=4 * count, quantization=None)
