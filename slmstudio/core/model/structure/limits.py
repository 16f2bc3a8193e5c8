"""Numbers in config.json: of the right kind, within reason, and no more than the weights hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

from slmstudio.core.errors import Problem
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.json_files import MAX_VALUES, printable, put_own, walk
from slmstudio.core.model.weights import Weights

EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts")
"""Where a configuration says how many experts there are."""
WHOLE = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model"), (1, 65_536)),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"), (1, 1_048_576)),
    "moe_intermediate_size": (0, 1_048_576),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), (1, 1_000)),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_key_value_heads", "num_kv_heads"), (1, 4_096)),
    "head_dim": (1, 8_192),
    "vocab_size": (1, 4_000_000),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length",
                     "max_seq_len", "original_max_position_embeddings"), (1, 16_777_216)),
    **dict.fromkeys(EXPERT_COUNTS, (0, 65_536)),
}
"""Whole numbers by their keys: the least and the most."""
REAL = {
    **dict.fromkeys(("rope_theta", "rope_local_base_freq"), (1.0, 1e12)),
    **dict.fromkeys(("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps"), (0.0, 1.0)),
    "initializer_range": (0.0, 100.0),
    **dict.fromkeys(("attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop"), (0.0, 1.0)),
    "partial_rotary_factor": (1e-6, 1.0),
}
ROPE = {"factor": (1e-3, 1e6), "low_freq_factor": (0.0, 1e6), "high_freq_factor": (0.0, 1e6), "beta_fast": (0.0, 1e6),
        "beta_slow": (0.0, 1e6), "attention_factor": (0.0, 1e6)}
"""Values below `rope_scaling` or `rope_parameters`, whose names mean something else elsewhere."""
FLAGS = ("tie_word_embeddings", "attention_bias", "mlp_bias", "use_cache")
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
DTYPES = ("float32", "float16", "bfloat16", "float64", "float", "half", "auto")
MAX_WHOLE = 2**63
"""No number of a configuration is larger."""
INFINITE = ("time_step_limit",)
"""Keys whose value may be infinite: Mamba's, and its relatives'."""
SLACK = 4
"""How many times what the weights hold a configuration may ask for: some sizes in it aren't used by every layer."""


def check(config: Mapping[str, Any], problems: list[Problem]) -> None:
    """Look at each value of a model's config.json, at any depth; what is wrong goes to `problems`."""
    for parents, key, value in islice(walk(config), MAX_VALUES):  # `external_references` refuses what has more
        if not isinstance(value, (dict, list)) and (sentence := _wrong(parents, key, value)):
            problems.append(_problem(sentence))
        if len(problems) > 20:
            return


def _problem(sentence: str) -> Problem:
    return Problem(f"{sentence} {put_own('config.json')}")


def check_heads(model_type: str, sizes: Mapping[str, int], problems: list[Problem]) -> None:
    """The heads must share the hidden size and the heads of keys and values evenly, where the family does so."""
    hidden, heads, kv_heads = sizes["hidden_size"], sizes["heads"], sizes.get("kv_heads")
    if model_type in ("llama", "mistral", "qwen2", "phi3", "smollm3") and not sizes.get("head_dim") and hidden % heads:
        problems.append(_problem(tr("config.json doesn't add up: {heads:,} heads can't share a hidden size of "
                                    "{hidden:,}.", heads=heads, hidden=hidden)))
    if kv_heads and heads % kv_heads and "mamba" not in model_type:
        problems.append(_problem(tr("config.json doesn't add up: {heads:,} heads can't share {kv_heads:,} heads of "
                                    "keys and values.", heads=heads, kv_heads=kv_heads)))


def check_promise(sizes: Mapping[str, int], held: Weights, problems: list[Problem]) -> None:
    """config.json may not make the program reserve memory for far more than the weights hold.

    The tensors of known families are compared one by one (`architecture.missing_tensors`); this is for the others.
    """
    hidden, layers = sizes["hidden_size"], sizes["layers"]
    positions = max((tensor.shape[0] for name, tensor in held.tensors.items()
                     if name.endswith(("wpe.weight", "embed_positions.weight")) and len(tensor.shape) == 2), default=0)
    have = held.parameters(tied=False)
    for needed, sentence in (
        (sizes["vocabulary_size"] * hidden,
         noop("config.json promises a vocabulary of {needed:,} parameters, but all the weights together contain only "
              "{held:,}.")),
        (layers * hidden * (hidden + sizes.get("intermediate_size", 0)),
         noop("config.json promises layers of {needed:,} parameters, but all the weights together contain only "
              "{held:,}.")),
    ):
        if needed > SLACK * have:
            problems.append(_problem(tr(sentence, needed=needed, held=have)))
    if positions and sizes["context_length"] > 2 * positions:
        problems.append(_problem(tr("config.json promises {promised:,} positions, but the weights contain {held:,}.",
                                    promised=sizes["context_length"], held=positions)))


def _wrong(parents: tuple[str, ...], key: str, value: Any) -> str:
    if value is None:
        return ""
    where = printable(".".join(dict.fromkeys((*parents, key))))
    if type(value) is float and not math.isfinite(value) and key not in INFINITE and key != "__float__":
        return tr("{key} in config.json is {value}, which isn't a number.", key=where, value=value)
    if type(value) is int and abs(value) >= MAX_WHOLE:
        return tr("{key} in config.json is a number of {digits:,} digits.", key=where, digits=len(str(abs(value))))
    if key in WHOLE:
        least, most = WHOLE[key]
        # Parts of a model that read no text may leave something out by a zero.
        return _outside(where, value, least if parents in ((), ("text_config",)) else 0, most, whole=True)
    below_rope = any(parent in ("rope_scaling", "rope_parameters") for parent in parents)
    if key in REAL or (below_rope and key in ROPE):
        return _outside(where, value, *(REAL.get(key) or ROPE[key]), whole=False)
    if key in TOKENS and (type(value) is not int or not -1 <= value < WHOLE["vocab_size"][1]):
        return tr("{key} in config.json is {value}, which isn't a token's id.", key=where, value=_shown(value))
    if key in FLAGS and type(value) is not bool:
        return tr("{key} in config.json is {value}; it must be true or false.", key=where, value=_shown(value))
    if key in ("dtype", "torch_dtype") and value not in DTYPES:
        return tr("{key} in config.json is {value}, which isn't a number format that models have.", key=where,
                  value=_shown(value))
    return ""


def _outside(where: str, value: Any, least: float, most: float, whole: bool) -> str:
    if type(value) is not int and (whole or type(value) is not float):
        return (tr("{key} in config.json is {value}; it must be a whole number.", key=where, value=_shown(value))
                if whole else tr("{key} in config.json is {value}; it must be a number.", key=where,
                                 value=_shown(value)))
    return "" if least <= value <= most else tr(
        "{key} in config.json is {value:,}; it must be between {least:,} and {most:,}.", key=where, value=value,
        least=least, most=most)


def _shown(value: Any) -> str:
    return printable(repr(value) if isinstance(value, str) else str(value).lower(), 40)
