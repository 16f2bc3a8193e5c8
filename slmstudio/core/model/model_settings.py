"""Values in a model folder's settings: numbers within reason and within what the weights hold, and the kinds of values
and names that transformers must know.

Found by loading folders with one wrong value each; `worker.model.base_weights` says in transformers' words what is
left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from slmstudio.core.errors import Problem
from slmstudio.core.i18n import noop, ntr, tr
from slmstudio.core.model.architecture import USUAL
from slmstudio.core.model.chat_template import SPECIAL
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
ACTIVATIONS = frozenset((
    "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh",
    "gelu_pytorch_tanh", "hardswish", "laplace", "leaky_relu", "linear", "mish", "prelu", "quick_gelu", "relu", "relu2",
    "relu6", "sigmoid", "silu", "sqrtsoftplus", "swish", "tanh", "xielu"))
"""transformers.activations.ACT2FN."""
_ROPE_NEEDS: dict[str, tuple[str, ...]] = {
    "default": (), "linear": ("factor",), "dynamic": ("factor",), "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"), "longrope": ("short_factor", "long_factor")}
"""transformers.modeling_rope_utils: kinds of scaled positions, and what each must be told."""
_LAYERS = ("full_attention", "sliding_attention", "chunked_attention", "linear_attention")
_INTEGERS = ("I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "BOOL")
Kind = tuple[tuple[str, ...], Callable[[Any], bool], str]
"""Keys, whether a value of theirs is right, and what is said where it isn't."""
_CONFIG: tuple[Kind, ...] = (
    (("hidden_act", "hidden_activation"), lambda value: isinstance(value, str) and value in ACTIVATIONS,
     noop("{key} in config.json is {value}, which isn't a supported activation function.")),
    (TOKENS, lambda value: not isinstance(value, list) or all(type(item) is int for item in value),
     noop("{key} in config.json is {value}; it must be a token's id, or a list of them.")),
    (("num_labels",), lambda value: type(value) is int,
     noop("{key} in config.json is {value}; it must be a whole number.")),
    (("id2label", "label2id", "quantization_config"), lambda value: isinstance(value, dict),
     noop("{key} in config.json is {value}; it must be a table.")),
)
_KNOWN_FAMILY: tuple[Kind, ...] = (
    (("rms_norm_eps", "layer_norm_eps"), lambda value: type(value) is not int,
     noop("{key} in config.json is {value}; it must be written as a fraction, such as 1e-05.")),
)
_TOKENIZER: tuple[Kind, ...] = (
    (("padding_side", "truncation_side"), lambda value: value in ("left", "right"),
     noop('{key} in tokenizer_config.json is {value}; it must be "left" or "right".')),
    (("model_max_length",), lambda value: type(value) in (int, float) and value == value,
     noop("{key} in tokenizer_config.json is {value}; it must be a number.")),
    (SPECIAL, lambda value: isinstance(value, (str, dict)),
     noop("{key} in tokenizer_config.json is {value}; it must be text.")),
    (("extra_special_tokens", "additional_special_tokens"), lambda value: isinstance(value, (list, dict)),
     noop("{key} in tokenizer_config.json is {value}; it must be a list of tokens.")),
)


def check_numbers(config: Mapping[str, Any], problems: list[Problem]) -> None:
    """Look at each value of a model's config.json, at any depth; what is wrong goes to `problems`."""
    for parents, key, value in islice(walk(config), MAX_VALUES):  # `entries.check_references` refuses what has more
        if not isinstance(value, (dict, list)) and (sentence := _wrong(parents, key, value)):
            problems.append(_problem(sentence))
        if len(problems) > 20:
            return


def check_kinds(config: Mapping[str, Any], problems: list[Problem]) -> None:
    """Look at config.json, with the text model's part on top; what is wrong goes to `problems`."""
    known = config.get("model_type") in USUAL
    sentences = [*_kinds(config, _CONFIG), *(_kinds(config, _KNOWN_FAMILY) if known else ()),
                 *(_layer_types(config) if known else ()), *_rope(config)]
    problems += map(_problem, sentences)


def check_tokenizer_config(config: Mapping[str, Any], problems: list[Problem]) -> None:
    """Look at tokenizer_config.json; what is wrong goes to `problems`."""
    problems += [_problem(sentence, "tokenizer_config.json") for sentence in _kinds(config, _TOKENIZER)]


def check_weights(model_type: str, sizes: Mapping[str, int], held: Weights, packed: bool, problems: list[Problem]
                  ) -> None:
    """Hold what config.json says against the weights; what is wrong goes to `problems`.

    Args:
        sizes: by their names in `ModelFacts`.
        packed: whether bitsandbytes packed the weights: then they are whole numbers, else fractions.
    """
    _check_packing(held, packed, problems)
    problems += map(_problem, (*_heads(model_type, sizes), *_promises(sizes, held)))


def _problem(sentence: str, file: str = "config.json") -> Problem:
    return Problem(f"{sentence} {put_own(file)}")


def _shown(value: Any) -> str:
    return printable(repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool)
                     else str(value), 40)


def _check_packing(held: Weights, packed: bool, problems: list[Problem]) -> None:
    kinds = {name: tensor.dtype for name, tensor in held.tensors.items() if name.endswith(".weight")}
    whole = [name for name, kind in kinds.items() if kind in _INTEGERS]
    if whole and not packed:
        problems.append(Problem(ntr("{n:,} of the tensors contains whole numbers ({type}) where weights belong: "
                                    "{tensor}. Choose the model's original, unquantized version.",
                                    "{n:,} of the tensors contain whole numbers ({type}) where weights belong, such "
                                    "as {tensor}. Choose the model's original, unquantized version.", len(whole),
                                    type=kinds[whole[0]], tensor=printable(whole[0]))))
    elif packed and kinds and not whole:
        problems.append(_problem(tr("config.json says that the weights are packed by bitsandbytes, but they are plain "
                                    "numbers.")))


def _heads(model_type: str, sizes: Mapping[str, int]) -> Iterator[str]:
    """The heads must share the hidden size and the heads of keys and values evenly, where the family does so."""
    hidden, heads, kv_heads = sizes["hidden_size"], sizes["heads"], sizes.get("kv_heads")
    if model_type in ("llama", "mistral", "qwen2", "phi3", "smollm3") and not sizes.get("head_dim") and hidden % heads:
        yield tr("config.json doesn't add up: {heads:,} heads can't share a hidden size of {hidden:,}.", heads=heads,
                 hidden=hidden)
    if kv_heads and heads % kv_heads and "mamba" not in model_type:
        yield tr("config.json doesn't add up: {heads:,} heads can't share {kv_heads:,} heads of keys and values.",
                 heads=heads, kv_heads=kv_heads)


def _promises(sizes: Mapping[str, int], held: Weights) -> Iterator[str]:
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
            yield tr(sentence, needed=needed, held=have)
    if positions and sizes["context_length"] > 2 * positions:
        yield tr("config.json promises {promised:,} positions, but the weights contain {held:,}.",
                 promised=sizes["context_length"], held=positions)


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


def _kinds(config: Mapping[str, Any], kinds: tuple[Kind, ...]) -> Iterator[str]:
    for keys, is_right, sentence in kinds:
        for key in keys:
            if (value := config.get(key)) is not None and not is_right(value):
                yield tr(sentence, key=key, value=_shown(value))


def _layer_types(config: Mapping[str, Any]) -> Iterator[str]:
    layers = config.get("layer_types")
    if layers is None:
        return
    if not isinstance(layers, list) or not all(item in _LAYERS for item in layers):
        yield tr("layer_types in config.json is {value}, with kinds of layers that aren't supported.",
                 value=_shown(layers))
    elif len(layers) != config.get("num_hidden_layers"):
        yield tr("layer_types in config.json names {layers:,} layers, but num_hidden_layers is {value}.",
                 layers=len(layers), value=_shown(config.get("num_hidden_layers")))


def _rope(config: Mapping[str, Any]) -> Iterator[str]:
    """`rope_scaling` of older files, `rope_parameters` of newer; Gemma 3 has one for each kind of layer."""
    for key in ("rope_scaling", "rope_parameters"):
        value = config.get(key)
        if value is None:
            continue
        if not isinstance(value, dict):
            yield tr("{key} in config.json is {value}; it must be a table.", key=key, value=_shown(value))
            continue
        for each in (value, *(item for item in value.values() if isinstance(item, dict))):
            kind = each.get("rope_type", each.get("type"))
            if kind is None or config.get("model_type") not in USUAL:
                continue
            if kind == "su":  # as Phi-3's first files call it
                kind = "longrope"
            if not isinstance(kind, str) or kind not in _ROPE_NEEDS:
                yield tr("{key} in config.json has the kind {kind}, which isn't supported.", key=key,
                         kind=_shown(kind))
            elif missing := [name for name in _ROPE_NEEDS[kind] if name not in each]:
                yield tr("{key} in config.json doesn't say {missing}, which its kind {kind} needs.", key=key,
                         missing=", ".join(missing), kind=kind)
