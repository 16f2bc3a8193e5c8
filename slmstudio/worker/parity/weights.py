"""Whether a GGUF holds the weights that were trained: every token's embedding, samples of every layer, the settings.

Logits tell about what occurs in the rows that were run. Two tokens that have changed places, or an adapter that is lost
in the rounding of a quantized file, are seen here only.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.core.i18n import tr
from slmstudio.worker.model.base_weights import Array
from slmstudio.worker.model.gguf_tensors import GgufTensors
from slmstudio.worker.parity.reference import Layer, Reference, Table, layer_inputs

COLUMNS = 256
"""How many values of every embedding are compared: one block of the largest format."""
ROWS_AT_A_TIME = 2048
MOST_ERROR = {"F32": 1e-6, "F16": 1e-5, "BF16": 1e-4, "Q8_0": 1e-3, "Q6_K": 0.01, "Q5_1": 0.02, "Q5_0": 0.02,
              "Q5_K": 0.02, "Q4_1": 0.06, "Q4_0": 0.06, "Q4_K": 0.06, "IQ4_NL": 0.06, "IQ4_XS": 0.06, "Q3_K": 0.2}
LOW_BITS = 0.45
"""Largest Σ(a - b)² / Σa² of a row that is still rounding. Two rows that aren't alike have about 2."""
ROUNDING = {"F32": 0.0, "F16": 0.0, "BF16": 2.7e-6, "Q8_0": 2.9e-5, "Q6_K": 3.2e-4, "Q5_K": 1.3e-3, "Q5_1": 1.4e-3,
            "Q5_0": 1.8e-3, "Q4_K": 5.1e-3, "Q4_1": 6.1e-3, "Q4_0": 7.4e-3, "IQ4_NL": 5.9e-3, "IQ4_XS": 5.9e-3,
            "Q3_K": 0.023}
"""Σ(a - b)² / Σa² of normally distributed values; tests hold it against ggml's own. F16 keeps what LoRA learns."""
LOW_ROUNDING = 0.088
"""For the types with fewer bits: Q2_K's."""
PLAIN = frozenset({"qwen2", "qwen3", "phi3", "gemma", "gemma2", "gemma3", "olmo2", "hunyuan-dense", "lfm2", "exaone4",
                   "nemotron", "starcoder2", "qwen3moe"})
"""Architectures whose queries and keys llama.cpp stores in the order of the base's."""
REORDERED = frozenset({"llama", "smollm3", "granite"})
_LEAST_LEARNED = 1e-12


def compare_weights(reference: Reference, gguf: Path, metadata: dict[str, str], tokens: Any) -> dict[str, Any]:
    """
    Args:
        metadata: the GGUF's key-value pairs, as text.
        tokens: `LlamaVocab.text`, for examples.

    Returns:
        `{"settings_differ": [words], "tokens_compared", "tokens_wrong", "tokens_wrong_example", "layers_compared",
        "layers_wrong": [names], "adapter_strength": None if nothing was learned by an adapter,
        "adapter_strength_error": its standard error, "adapter_change": by which share of their size the weights were
        changed, "adapter_rounding": by which share the file's types round them}`.
    """
    architecture = metadata.get("general.architecture", "")
    found = {"settings_differ": _compare_settings(reference.settings, metadata, architecture)}
    tensors = GgufTensors(gguf)
    compared, wrong = 0, set()
    for name, table in reference.tables.items():
        count, differing = _compare_table(tensors, name, table)
        compared = max(compared, count)
        wrong.update(differing)
    found |= {"tokens_compared": compared, "tokens_wrong": len(wrong),
              "tokens_wrong_example": tokens(min(wrong)) if wrong else None}
    return found | _compare_layers(reference, tensors, metadata, architecture)


def _compare_settings(settings: dict[str, float], metadata: dict[str, str], architecture: str) -> list[str]:
    """In words, what the file says otherwise. What it doesn't say is left to the logits."""
    different = []
    for key, value in settings.items():
        said = metadata.get(f"{architecture}.{key}")
        if said is None:
            continue
        try:
            equal = math.isclose(float(said), value, rel_tol=1e-4, abs_tol=5e-7)  # six decimals
        except ValueError:  # a list, one number a layer
            continue
        if not equal:
            different.append(tr("{setting} {found} instead of {value:g}", setting=key, found=said, value=value))
    return different


def _compare_table(tensors: GgufTensors, name: str, table: Table) -> tuple[int, list[int]]:
    """How many rows were compared, and which of them differ. A file without the tensor has lost all of them."""
    count, width = table.shape
    if name not in tensors.types:
        return count, list(range(count))
    rows = min(count, tensors.row_count(name, width))
    columns = min(COLUMNS, width)
    limit = MOST_ERROR.get(tensors.types[name], LOW_BITS)
    wrong: list[int] = []
    for start in range(0, rows, ROWS_AT_A_TIME):
        stop = min(rows, start + ROWS_AT_A_TIME)
        ours = table.rows(start, stop)[:, :columns]
        theirs = tensors.range(name, width, start, stop, columns)
        # Rows of tokens that were never trained may be next to nothing: F16 keeps no more than 6e-8 of them.
        power = np.maximum(np.square(ours).sum(1), columns * 1e-12)
        wrong += (start + np.flatnonzero(~(np.square(ours - theirs).sum(1) <= limit * power))).tolist()
    return count, [*wrong, *range(rows, count)]


def _compare_layers(reference: Reference, tensors: GgufTensors, metadata: dict[str, str],
                    architecture: str) -> dict[str, Any]:
    """Let the file's weights answer the inputs that the trained layers have answered.

    strength = Σ ⟨file - base, change⟩ / v over Σ |change|² / v, over all rows of all layers, where change = tuned -
    base and v is the row's mean square of file - tuned: 1 where the file holds what was learned, 0 if it holds
    nothing of it. Weighted least squares: rounding isn't part of the change, so it averages out, and rows that are
    rounded coarsely count for less. The standard error allows for errors of any size, alike within a row (White 1980).
    """
    wrong: list[str] = []
    compared = 0
    strength = Strength()
    names = _gguf_names(reference.layers, architecture)
    for base_name, name in names.items():
        layer = reference.layers[base_name]
        if tensors.row_count(name, layer.width) != layer.height if name in tensors.types else True:
            wrong.append(base_name)
            compared += 1
            continue
        order = _order(name, layer, metadata, architecture)
        if order is None:
            continue
        compared += 1
        answers = layer_inputs(layer.width) @ tensors.rows(name, layer.width, order).T
        error = float(np.square(answers - layer.tuned).sum() / np.square(layer.tuned).sum())
        if not error <= MOST_ERROR.get(tensors.types[name], LOW_BITS):
            wrong.append(base_name)
        strength.add(layer, answers, ROUNDING.get(tensors.types[name], LOW_ROUNDING))
    total = sum(float(np.vdot(layer.base, layer.base)) for layer in reference.layers.values())
    known = strength.learned > _LEAST_LEARNED * max(total, _LEAST_LEARNED)
    return {"layers_compared": compared, "layers_wrong": wrong,
            "adapter_strength": strength.value() if known else None,
            "adapter_strength_error": strength.error() if known else None, **strength.sizes()}


class Strength:
    """How much of what was learned a file holds, layer by layer."""

    def __init__(self) -> None:
        self.learned = 0.0
        self._tuned = self._rounded = 0.0
        self._product = self._weight = self._spread = 0.0

    def add(self, layer: Layer, answers: Array, rounding: float = 0.0) -> None:
        """
        Args:
            answers: float32 (inputs, rows), of the file's weights.
            rounding: Σ(a - b)² / Σa² that the tensor's type makes.
        """
        power = float(np.vdot(layer.tuned, layer.tuned))
        self._tuned += power
        self._rounded += rounding * power
        change, error = layer.tuned - layer.base, answers - layer.tuned
        least = _LEAST_LEARNED * float(np.square(layer.tuned).mean()) + 1e-30
        variance = np.square(error).mean(0) + least
        off = (error * change).sum(0) / variance
        weight = float((np.square(change).sum(0) / variance).sum())
        self.learned += float(np.vdot(change, change))
        self._weight += weight
        self._product += weight + float(off.sum())
        self._spread += float(np.square(off).sum())

    def sizes(self) -> dict[str, float]:
        """How large what was learned is, and how large the rounding, each as a share of the weights' own size."""
        tuned = max(self._tuned, 1e-30)
        return {"adapter_change": math.sqrt(self.learned / tuned), "adapter_rounding": math.sqrt(self._rounded / tuned)}

    def value(self) -> float:
        return self._product / self._weight

    def error(self) -> float:
        return math.sqrt(self._spread) / self._weight


def _gguf_names(layers: dict[str, Layer], architecture: str) -> dict[str, str]:
    """The GGUF's name of every layer's weight that llama.cpp stores under one; of other architectures none."""
    import gguf

    if architecture not in PLAIN | REORDERED:
        return {}
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    blocks = 1 + max((int(part) for name in layers for part in name.split(".") if part.isdecimal()), default=0)
    known = gguf.get_tensor_name_map(kind, blocks)
    # In a model that also sees, the language model's names have a longer prefix.
    found = {name: known.get_name(name.replace("language_model.", ""), try_suffixes=(".weight",)) for name in layers}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _order(name: str, layer: Layer, metadata: dict[str, str], architecture: str) -> list[int] | None:
    """Where the GGUF has the layer's rows.

    The converter turns each head of Llama's queries and keys from two halves into pairs (LlamaModel.permute): row t·h +
    j of a head, t in {0, 1}, h half its rows, becomes row 2·j + t.
    """
    if architecture in PLAIN or not name.endswith(("attn_q.weight", "attn_k.weight")):
        return layer.rows
    key = f"{architecture}.attention.head_count" + ("_kv" if name.endswith("attn_k.weight") else "")
    heads = int(metadata.get(key, 0))
    if heads == 0 or layer.height % heads:
        return None
    size = layer.height // heads
    order = []
    for row in layer.rows:
        head, inside = divmod(row, size)
        half, place = divmod(inside, size // 2)
        order.append(head * size + 2 * place + half)
    return order
