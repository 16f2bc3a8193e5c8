"""Which tensors the known families' weight files must hold, by name and shape, as config.json asks for them.

transformers fills what is missing with random numbers and only logs it. Architectures that aren't known here aren't
refused on a guess: the worker asks transformers' own report of them (`worker.model.whole_model`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from slmstudio.core.i18n import ntr
from slmstudio.core.model.weights import Weights

Shape = tuple[int, ...]
TIED = {"llama": False, "mistral": False, "qwen2": False, "qwen3": False, "phi3": False, "smollm3": True,
        "gemma": True, "gemma2": True, "gemma3_text": True}
"""The known families by config.json's `model_type`, and whether the head shares the embeddings if config.json doesn't
say."""
_AROUND = re.compile(r"^(?:model\.|language_model\.)+")
_LAYER = re.compile(r"\blayers\.(\d+)\.")
SHOWN = 6


def missing_tensors(config: Mapping[str, Any], sizes: Mapping[str, int], held: Weights, packed: bool) -> str | None:
    """A sentence that sums up which tensors are missing or don't have the shape that config.json says.

    Args:
        config: config.json, with the text model's part on top.
        sizes: `hidden_size`, `layers`, `heads` and `vocabulary_size`, and, if config.json has them, `kv_heads`,
            `head_dim` and `intermediate_size`.
        packed: whether bitsandbytes packed the weights, which changes their shapes.

    Returns:
        None when all are there, and for architectures that aren't known here.
    """
    if config["model_type"] not in TIED:
        return None
    found = {_AROUND.sub("", name): tensor.shape for name, tensor in held.tensors.items() if "vision" not in name}
    wanted = needed(config, sizes)
    absent = [name for name in wanted if name not in found]
    other = [] if packed else [name for name, shape in wanted.items()
                               if name in found and shape is not None and found[name] != shape]
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


def needed(config: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Shape | None]:
    """The tensors of a known family by name, without what comes before `layers`, `embed_tokens` and `norm`; None for a
    shape that config.json doesn't determine."""
    kind, hidden, vocabulary = config["model_type"], sizes["hidden_size"], sizes["vocabulary_size"]
    wanted: dict[str, Shape | None] = {"embed_tokens.weight": (vocabulary, hidden), "norm.weight": (hidden,)}
    tie = config.get("tie_word_embeddings")
    if not (tie if isinstance(tie, bool) else TIED[kind]):
        wanted["lm_head.weight"] = (vocabulary, hidden)
    layer = {**_attention(config, kind, sizes), **_mlp(config, kind, sizes)}
    norms = ["input_layernorm", "post_attention_layernorm"]
    if kind in ("gemma2", "gemma3_text"):
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    layer |= {f"{norm}.weight": (hidden,) for norm in norms}
    return wanted | {f"layers.{number}.{name}": shape for number in range(sizes["layers"])
                     for name, shape in layer.items()}


def _attention(config: Mapping[str, Any], kind: str, sizes: Mapping[str, int]) -> dict[str, Shape | None]:
    hidden, heads, kv_heads = sizes["hidden_size"], sizes["heads"], sizes.get("kv_heads")
    size = sizes.get("head_dim") or (None if kind in ("qwen3", "gemma", "gemma2", "gemma3_text") else hidden // heads)
    query = heads * size if size else None
    key = kv_heads * size if size and kv_heads else None
    if kind == "phi3":
        rows = {"qkv_proj": query + 2 * key if query and key else None}
    else:
        rows = {"q_proj": query, "k_proj": key, "v_proj": key}
    wanted: dict[str, Shape | None] = {f"self_attn.{name}.weight": (height, hidden) if height else None
                                       for name, height in rows.items()}
    wanted["self_attn.o_proj.weight"] = (hidden, query) if query else None
    biased = kind == "qwen2" or (bool(config.get("attention_bias")) and kind not in ("mistral", "phi3"))
    if biased:
        wanted |= {f"self_attn.{name}.bias": (height,) if height else None for name, height in rows.items()}
        if kind != "qwen2":
            wanted["self_attn.o_proj.bias"] = (hidden,)
    if kind in ("qwen3", "gemma3_text"):
        wanted |= {f"self_attn.{name}.weight": (size,) if size else None for name in ("q_norm", "k_norm")}
    return wanted


def _mlp(config: Mapping[str, Any], kind: str, sizes: Mapping[str, int]) -> dict[str, Shape | None]:
    hidden, inner = sizes["hidden_size"], sizes.get("intermediate_size")
    if kind == "phi3":
        return {"mlp.gate_up_proj.weight": (2 * inner, hidden) if inner else None,
                "mlp.down_proj.weight": (hidden, inner) if inner else None}
    wanted: dict[str, Shape | None] = {f"mlp.{name}.weight": (inner, hidden) if inner else None
                                       for name in ("gate_proj", "up_proj")}
    wanted["mlp.down_proj.weight"] = (hidden, inner) if inner else None
    if config.get("mlp_bias") and kind in ("llama", "smollm3"):
        wanted |= {f"mlp.{name}.bias": (inner,) if inner else None for name in ("gate_proj", "up_proj")}
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
