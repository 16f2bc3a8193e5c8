"""What a file needs on a machine, and which type is proposed for it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from support.gguf_models import quant_type

from slmstudio.core import formats
from slmstudio.core.export import types
from slmstudio.core.export.types import QUANT_TYPES


@dataclass(frozen=True)
class Shape:
    parameters: int
    vocabulary_size: int
    layers: int
    hidden_size: int
    intermediate_size: int
    kv_heads: int
    head_dim: int
    tied_embeddings: bool = False


LLAMA3_8B = Shape(8_030_000_000, 128256, 32, 4096, 14336, 8, 128)
QWEN2_1B5 = Shape(1_544_000_000, 151936, 28, 1536, 8960, 2, 128, True)
SMOL_135M = Shape(134_500_000, 49152, 30, 576, 1536, 3, 64, True)
FALCON_40B = Shape(40_000_000_000, 65024, 60, 8192, 32768, 8, 128)
TARGETS = {target.key: target for target in types.TARGETS}


@pytest.mark.parametrize("model, target, expected", [
    (LLAMA3_8B, "laptop-16", "Q4_K_M"), (LLAMA3_8B, "gpu-24", "Q8_0"), (LLAMA3_8B, "gpu-12", "Q8_0"),
    (LLAMA3_8B, "gpu-8", "Q5_K_M"), (LLAMA3_8B, "laptop-8", "Q4_K_M"), (QWEN2_1B5, "laptop-8", "Q8_0"),
    (SMOL_135M, "laptop-8", "Q8_0")])
def test_proposes(model, target: str, expected: str) -> None:
    proposal = types.propose(model, TARGETS[target])
    assert proposal.type is not None and proposal.type.name == expected, proposal
    assert types.memory_bytes(proposal.type, model) <= TARGETS[target].budget
    assert proposal.reason.startswith(expected) and proposal.reason.endswith(".")


@pytest.mark.parametrize("kept, target, expected", [
    ({"Q8_0": (1.0, 0.98), "Q4_K_M": (0.97, 0.9), "Q2_K": (0.4, 0.2)}, "gpu-24", "Q4_K_M"),
    ({"Q8_0": (1.0, 0.98), "Q4_K_M": (0.97, 0.6)}, "gpu-24", "Q8_0"),
    ({"Q3_K_M": (0.7, 0.6), "Q2_K": (0.8, 0.6)}, "gpu-24", "Q2_K"),
    ({"F16": (1.0, 1.0)}, "gpu-24", "Q8_0")], ids=["keeps enough", "too few rows to be sure", "none keeps enough",
                                                   "nothing that fits was measured"])
def test_the_smallest_that_keeps_what_was_learned_is_proposed(kept, target: str, expected: str) -> None:
    proposal = types.propose(LLAMA3_8B, TARGETS[target], kept)
    assert proposal.type is not None and proposal.type.name == expected, proposal


def test_the_type_that_the_base_came_in_is_not_proposed(tmp_path) -> None:
    assert types.came_in(tmp_path) == ""
    state = {**formats.stamp("import"), "gguf": "m.gguf", "sha256": "0", "quantization": "Q8_0"}
    (tmp_path / "source.json").write_text(json.dumps(state), encoding="utf-8")
    for target in types.TARGETS:
        found = types.propose(SMOL_135M, target, base_type=types.came_in(tmp_path))
        assert found.type is not None and found.type.name != "Q8_0" and types.why_not("Q8_0") in found.reason
    assert types.why_not("Q8_0") not in types.propose(SMOL_135M, target).reason


def test_says_when_nothing_fits() -> None:
    proposal = types.propose(FALCON_40B, TARGETS["gpu-8"])
    assert proposal.type is None and "Even Q2_K" in proposal.reason


def test_memory_grows_with_bits() -> None:
    needs = [types.memory_bytes(kind, LLAMA3_8B) for kind in QUANT_TYPES]
    assert needs == sorted(needs, reverse=True)
    small = quant_type("Q4_K_M")
    cache = needs[QUANT_TYPES.index(small)] - small.estimate_bytes(LLAMA3_8B) - 512 * LLAMA3_8B.vocabulary_size * 4
    assert cache == 2 * 32 * 8 * 128 * 2 * 4096  # llama.cpp prints 512 MiB for 4,096 tokens
