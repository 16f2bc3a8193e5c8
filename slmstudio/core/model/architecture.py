"""Which tensors the known families' weight files must hold, by name and shape, as config.json asks for them.

transformers fills what is missing with random numbers and only logs it. Architectures that aren't known here aren't
refused on a guess: the worker asks transformers' own report of them (`worker.model.whole_model`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from slmstudio.core.i18n import ntr
from slmstudio.core.model.weights import Weights

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
