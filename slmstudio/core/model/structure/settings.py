"""Settings of a model folder at which transformers would break down: kinds of values, and names that it must know.

Found by loading folders with one wrong value each; `worker.model.whole_model` says in transformers' words what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slmstudio.core.errors import Problem
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model.chat_template import SPECIAL
from slmstudio.core.model.json_files import printable, put_own
from slmstudio.core.model.weights import Weights

ACTIVATIONS = frozenset((
    "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh",
    "gelu_pytorch_tanh", "hardswish", "laplace", "leaky_relu", "linear", "mish", "prelu", "quick_gelu", "relu", "relu2",
    "relu6", "sigmoid", "silu", "sqrtsoftplus", "swish", "tanh", "xielu"))
"""transformers.activations.ACT2FN."""
_ACTIVATION = ("hidden_act", "hidden_activation")
_ROPE_NEEDS: dict[str, tuple[str, ...]] = {
    "default": (), "linear": ("factor",), "dynamic": ("factor",), "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"), "longrope": ("short_factor", "long_factor")}
"""transformers.modeling_rope_utils: kinds of scaled positions, and what each must be told."""
KNOWN_FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi3", "smollm3", "gemma", "gemma2", "gemma3_text")
"""Families whose other settings are known here: others may have kinds of layers and positions of their own."""
_LAYERS = ("full_attention", "sliding_attention", "chunked_attention", "linear_attention")
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
_WHOLE = ("I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "BOOL")


def check_config(config: Mapping[str, Any], problems: list[Problem]) -> None:
    """Look at config.json, with the text model's part on top; what is wrong goes to `problems`."""
    own = put_own("config.json")
    problems += [Problem(f"{said} {own}") for said in (*_kinds(config), *_rope(config))]


def check_tokenizer_config(config: Mapping[str, Any], problems: list[Problem]) -> None:
    """Look at tokenizer_config.json; what is wrong goes to `problems`."""
    own = put_own("tokenizer_config.json")
    problems += [Problem(f"{said} {own}") for said in _tokenizer(config)]


def check_weights(held: Weights, packed: bool, problems: list[Problem]) -> None:
    """Plain weights are fractions, and packed ones aren't."""
    kinds = {name: tensor.dtype for name, tensor in held.tensors.items() if name.endswith(".weight")}
    whole = [name for name, kind in kinds.items() if kind in _WHOLE]
    if whole and not packed:
        problems.append(Problem(ntr("{n:,} of the tensors contains whole numbers ({type}) where weights belong: "
                                    "{tensor}. Choose the model's original, unquantized version.",
                                    "{n:,} of the tensors contain whole numbers ({type}) where weights belong, such "
                                    "as {tensor}. Choose the model's original, unquantized version.", len(whole),
                                    type=kinds[whole[0]], tensor=printable(whole[0]))))
    elif packed and kinds and not whole:
        said = tr("config.json says that the weights are packed by bitsandbytes, but they are plain numbers.")
        problems.append(Problem(f"{said} {put_own('config.json')}"))


def _shown(value: Any) -> str:
    return printable(repr(value) if isinstance(value, str) else str(value), 40)


def _kinds(config: Mapping[str, Any]) -> Iterator[str]:
    known = config.get("model_type") in KNOWN_FAMILIES
    for key in _ACTIVATION:
        if (value := config.get(key)) is not None and not (isinstance(value, str) and value in ACTIVATIONS):
            yield tr("{key} in config.json is {value}, which isn't a supported activation function.",
                     key=key, value=_shown(value))
    for key in _TOKENS:
        value = config.get(key)
        if isinstance(value, list) and not all(type(item) is int for item in value):
            yield tr("{key} in config.json is {value}; it must be a token's id, or a list of them.", key=key,
                     value=_shown(value))
    if (labels := config.get("num_labels")) is not None and type(labels) is not int:
        yield tr("{key} in config.json is {value}; it must be a whole number.", key="num_labels", value=_shown(labels))
    for key in ("id2label", "label2id", "quantization_config"):
        if (value := config.get(key)) is not None and not isinstance(value, dict):
            yield tr("{key} in config.json is {value}; it must be a table.", key=key, value=_shown(value))
    for key in ("rms_norm_eps", "layer_norm_eps") if known else ():
        if type(value := config.get(key)) is int:
            yield tr("{key} in config.json is {value}; it must be written as a fraction, such as 1e-05.", key=key,
                     value=value)
    layers = config.get("layer_types")
    if known and layers is not None:
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
            if kind is None or config.get("model_type") not in KNOWN_FAMILIES:
                continue
            if kind == "su":  # as Phi-3's first files call it
                kind = "longrope"
            if not isinstance(kind, str) or kind not in _ROPE_NEEDS:
                yield tr("{key} in config.json has the kind {kind}, which isn't supported.", key=key,
                         kind=_shown(kind))
            elif missing := [name for name in _ROPE_NEEDS[kind] if name not in each]:
                yield tr("{key} in config.json doesn't say {missing}, which its kind {kind} needs.", key=key,
                         missing=", ".join(missing), kind=kind)


def _tokenizer(config: Mapping[str, Any]) -> Iterator[str]:
    for key in ("padding_side", "truncation_side"):
        if (value := config.get(key)) is not None and value not in ("left", "right"):
            yield tr('{key} in tokenizer_config.json is {value}; it must be "left" or "right".', key=key,
                     value=_shown(value))
    length = config.get("model_max_length")
    if length is not None and (type(length) not in (int, float) or length != length):
        yield tr("{key} in tokenizer_config.json is {value}; it must be a number.", key="model_max_length",
                 value=_shown(length))
    for key in SPECIAL:
        if (value := config.get(key)) is not None and not isinstance(value, (str, dict)):
            yield tr("{key} in tokenizer_config.json is {value}; it must be text.", key=key, value=_shown(value))
    for key in ("extra_special_tokens", "additional_special_tokens"):
        if (value := config.get(key)) is not None and not isinstance(value, (list, dict)):
            yield tr("{key} in tokenizer_config.json is {value}; it must be a list of tokens.", key=key,
                     value=_shown(value))
