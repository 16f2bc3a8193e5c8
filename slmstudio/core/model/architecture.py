"""Model architectures: what people call them, which can be trained here, and which tensors the known ones must have.

transformers fills what is missing with random numbers and only logs it. Architectures that aren't known here aren't
refused on a guess: the worker asks transformers' own report of them (`worker.model.base_weights.need_all`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from slmstudio.core import paths
from slmstudio.core.i18n import noop, ntr, tr
from slmstudio.core.model.weights import Weights

_TABLE = json.loads((paths.resources() / "models" / "architectures.json").read_text(encoding="utf-8"))
LABELS: dict[str, str] = _TABLE["labels"]
"""What people call a family, by the `model_type` of config.json."""
_LLAMAS: dict[str, str] = _TABLE["llamas"]
"""Families with Llama's architecture, told apart by the model's name."""

CAUSAL = frozenset(_TABLE["causal"])
"""`model_type`s that transformers 5.24 loads as a causal language model without code from the model's folder: the keys
of its MODEL_FOR_CAUSAL_LM_MAPPING_NAMES. A test compares the two."""

UNTRAINABLE = {
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm"),
                    noop("{family} uses recurrent states instead of attention, which this program can't train yet. "
                         "Choose a model of another family.")),
    "bitnet": noop("The weights of {family} have only three values, which training here wouldn't keep. Choose a model "
                   "of another family.")}
"""By `model_type`: why this program can't train what transformers loads."""


def family_label(model_type: str, name: str) -> str:
    """What people call the family of a model, from config.json's `model_type` and the model's name."""
    if model_type == "llama":
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        return next((label for key, label in _LLAMAS.items() if key in plain), LABELS["llama"])
    return LABELS.get(model_type, model_type)


def class_names(config: dict[str, Any]) -> list[str]:
    """The classes that a config.json names as `architectures`."""
    named = config.get("architectures")
    return [name for name in named if isinstance(name, str)] if isinstance(named, list) else []


def why_no_language_model(config: dict[str, Any]) -> str | None:
    """Why a config.json doesn't describe a model that this program can train, or None when it does."""
    from slmstudio.core.model.json_files import printable

    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        return tr("config.json has no `model_type`, so the architecture is unknown.")
    if model_type not in CAUSAL:
        if config.get("auto_map"):
            return tr("The architecture {architecture} needs Python code from the model's folder. That code is never "
                      "run here (trust_remote_code stays off). Choose a model whose architecture transformers already "
                      "includes.", architecture=printable(model_type))
        return tr("The architecture {architecture} isn't a language model that this program can train. Choose a "
                  "text-generating model.", architecture=printable(model_type))
    if why := UNTRAINABLE.get(model_type):
        return tr(why, family=LABELS.get(model_type, model_type))
    names = class_names(config)
    if names and not any(part in name for name in names for part in ("CausalLM", "LMHead", "ConditionalGeneration")):
        return tr("config.json names the architecture {architecture}, which has no head to write text with. Choose a "
                  "text-generating model.", architecture=printable(names[0]))
    return None

_PADDED_ONLY = """
    bailing_hybrid bamba biogpt falcon falcon_h1 granitemoehybrid jamba kimi_linear lara_mini lfm2 lfm2_moe lfm3 llama4
    llama4_text minimax nemotron nemotron_h olmo_hybrid qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen3_5_text qwen3_next
    recurrent_gemma stablelm zamba zamba2 zaya
"""
PADDED_ONLY = frozenset(_PADDED_ONLY.split())
"""Architectures (`model_type`) that PyTorch's fused attention computes, but in which packed rows would run into one
another: layers that remember, or that don't ask transformers' attention interface or don't tell it where rows end. A
test compares them with transformers'."""

FP16_OVERFLOWS = frozenset("""
    gemma3 gemma3_text gemma3n gemma3n_text gemma4 gemma4_text gemma4_unified gemma4_unified_text glm4_moe
    glm4_moe_lite gpt_oss qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen3_5_text qwen3_moe
""".split())  # noqa: SIM905
"""Architectures (`model_type`) whose activations or gradients are larger than fp16 can hold (65,504; Gemma 3's reach
800,000), so that the loss or the gradient becomes NaN: those that Unsloth trains in fp32 on cards without bf16 (its
`FORCE_FLOAT32`)."""


Shape = tuple[int, ...]

class Usual(NamedTuple):
    """What transformers takes where a family's config.json leaves something out.

    Attributes:
        tied: whether the head shares the embeddings.
        kv_heads: 0: as many as `heads`.
        head_dim: 0: `hidden_size` divided by `heads`.
        pad_token_id: None: no token.
    """

    tied: bool
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    intermediate_size: int
    head_dim: int
    vocabulary_size: int
    pad_token_id: int | None = None

    def sizes(self) -> dict[str, int]:
        """By their names in `ModelFacts`."""
        return {name: value for name, value in self._asdict().items() if value and name not in ("tied", "pad_token_id")}


USUAL = {
    "llama": Usual(False, 4096, 32, 32, 0, 11_008, 0, 32_000),
    "mistral": Usual(False, 4096, 32, 32, 8, 14_336, 0, 32_000),
    "qwen2": Usual(False, 4096, 32, 32, 32, 22_016, 0, 151_936),
    "qwen3": Usual(False, 4096, 32, 32, 32, 22_016, 128, 151_936),
    "phi3": Usual(False, 3072, 32, 32, 0, 8_192, 0, 32_064, 32_000),
    "smollm3": Usual(True, 2048, 36, 16, 4, 11_008, 0, 128_256, 128_004),
    "gemma": Usual(True, 3072, 28, 16, 16, 24_576, 256, 256_000),
    "gemma2": Usual(True, 2304, 26, 8, 4, 9_216, 256, 256_000),
    "gemma3_text": Usual(True, 2304, 26, 8, 4, 9_216, 256, 262_208),
}
"""The known families, by config.json's `model_type`."""
_AROUND = re.compile(r"^(?:model\.|language_model\.)+")
_LAYER = re.compile(r"\blayers\.(\d+)\.")
SHOWN = 6


def missing_tensors(config: Mapping[str, Any], sizes: Mapping[str, int], held: Weights, packed: bool) -> str | None:
    """A sentence that sums up which tensors are missing or don't have the shape that config.json says.

    Args:
        config: config.json, with the text model's part on top.
        sizes: as `Usual.sizes` names them: config.json's, and the usual ones that it leaves out.
        packed: whether bitsandbytes packed the weights, which changes their shapes.

    Returns:
        None when all are there, and for architectures that aren't known here.
    """
    if config["model_type"] not in USUAL:
        return None
    found = {_AROUND.sub("", name): tensor.shape for name, tensor in held.tensors.items() if "vision" not in name}
    wanted = needed(config, sizes)
    absent = [name for name in wanted if name not in found]
    other = [] if packed else [name for name, shape in wanted.items()
                               if name in found and found[name] != shape]
    said = []
    if absent:
        said.append(ntr("{n:,} of the {needed:,} tensors that the model needs is missing from its weights: {names}. "
                        "Random numbers would be used instead.",
                        "{n:,} of the {needed:,} tensors that the model needs are missing from its weights: {names}. "
                        "Random numbers would be used instead.",
                        len(absent), needed=len(wanted), names=summed_up(absent)))
    if other:
        said.append(ntr("{n:,} of the {needed:,} tensors doesn't have the shape that config.json says: {names}.",
                        "{n:,} of the {needed:,} tensors don't have the shape that config.json says: {names}.",
                        len(other), needed=len(wanted), names=summed_up(other)))
    return " ".join(said) or None


def needed(config: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Shape]:
    """The tensors of a known family by name, without what comes before `layers`, `embed_tokens` and `norm`."""
    kind, hidden, vocabulary = config["model_type"], sizes["hidden_size"], sizes["vocabulary_size"]
    wanted: dict[str, Shape] = {"embed_tokens.weight": (vocabulary, hidden), "norm.weight": (hidden,)}
    tie = config.get("tie_word_embeddings")
    if not (tie if isinstance(tie, bool) else USUAL[kind].tied):
        wanted["lm_head.weight"] = (vocabulary, hidden)
    layer = {**_attention(config, kind, sizes), **_mlp(config, kind, sizes)}
    norms = ["input_layernorm", "post_attention_layernorm"]
    if kind in ("gemma2", "gemma3_text"):
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    layer |= {f"{norm}.weight": (hidden,) for norm in norms}
    return wanted | {f"layers.{number}.{name}": shape for number in range(sizes["layers"])
                     for name, shape in layer.items()}


def _attention(config: Mapping[str, Any], kind: str, sizes: Mapping[str, int]) -> dict[str, Shape]:
    hidden, heads = sizes["hidden_size"], sizes["heads"]
    size = sizes.get("head_dim") or hidden // heads
    query, key = heads * size, (sizes.get("kv_heads") or heads) * size
    rows = {"qkv_proj": query + 2 * key} if kind == "phi3" else {"q_proj": query, "k_proj": key, "v_proj": key}
    wanted: dict[str, Shape] = {f"self_attn.{name}.weight": (height, hidden) for name, height in rows.items()}
    wanted["self_attn.o_proj.weight"] = (hidden, query)
    biased = kind == "qwen2" or (bool(config.get("attention_bias")) and kind not in ("mistral", "phi3"))
    if biased:
        wanted |= {f"self_attn.{name}.bias": (height,) for name, height in rows.items()}
        if kind != "qwen2":
            wanted["self_attn.o_proj.bias"] = (hidden,)
    if kind in ("qwen3", "gemma3_text"):
        wanted |= {f"self_attn.{name}.weight": (size,) for name in ("q_norm", "k_norm")}
    return wanted


def _mlp(config: Mapping[str, Any], kind: str, sizes: Mapping[str, int]) -> dict[str, Shape]:
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    if kind == "phi3":
        return {"mlp.gate_up_proj.weight": (2 * inner, hidden), "mlp.down_proj.weight": (hidden, inner)}
    wanted: dict[str, Shape] = {f"mlp.{name}.weight": (inner, hidden) for name in ("gate_proj", "up_proj")}
    wanted["mlp.down_proj.weight"] = (hidden, inner)
    if config.get("mlp_bias") and kind in ("llama", "smollm3"):
        wanted |= {f"mlp.{name}.bias": (inner,) for name in ("gate_proj", "up_proj")}
        wanted["mlp.down_proj.bias"] = (hidden,)
    return wanted


def summed_up(names: list[str]) -> str:
    """Names of tensors, with all layers taken together.

    >>> summed_up(["lm_head.weight", "layers.0.mlp.up_proj.weight", "layers.1.mlp.up_proj.weight"])
    'lm_head.weight, layers.*.mlp.up_proj.weight (2 layers)'
    """
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(_LAYER.sub("layers.*.", name), []).append(name)
    counts = Counter({kind: len(each) for kind, each in kinds.items()})
    shown = [ntr("{name} ({n:,} layer)", "{name} ({n:,} layers)", count, name=kind) if count > 1 else kinds[kind][0]
             for kind, count in list(counts.items())[:SHOWN]]
    more = len(counts) - len(shown)
    listed = ", ".join(shown)
    if more <= 0:
        return listed
    return ntr("{names} and {n:,} more kind", "{names} and {n:,} more kinds", more, names=listed)
