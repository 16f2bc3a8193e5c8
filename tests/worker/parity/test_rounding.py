"""What a quantized file keeps of a small change, where the base's own weights came out of that type."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from core.export.test_proof import WEIGHTS, failed
from gguf import quants

from slmstudio.core.export.proof import weight_checks
from slmstudio.worker.model import gguf_tensors
from slmstudio.worker.parity.reference import Layer, layer_inputs
from slmstudio.worker.parity.weights import LOW_ROUNDING, ROUNDING, Strength

ROWS, WIDTH = 64, 1024


def rounded(weights: np.ndarray, kind: str) -> np.ndarray:
    """What is left of weights in a file of that type."""
    number = gguf.GGMLQuantizationType[kind]
    data = np.frombuffer(gguf_tensors.quantize(int(number), weights), np.uint8).reshape(len(weights), -1)
    return quants.dequantize(data, number).astype(np.float32)


def check_of(kind: str, change: float, unpacked: bool = True, of_another: bool = False) -> dict[str, str]:
    """What the adapter's check says of a file of that type.

    Args:
        change: size of what was learned against the base's weights.
        unpacked: whether the base was made from a Q4_K file.
    """
    random = np.random.default_rng(0)
    base, learned, other = (random.standard_normal((ROWS, WIDTH)).astype(np.float32) for _ in range(3))
    if unpacked:
        base = rounded(base, "Q4_K")
    tuned, inputs = base + change * learned, layer_inputs(WIDTH)
    file = rounded(base + change * other if of_another else tuned, kind)
    strength = Strength()
    strength.add(Layer(WIDTH, ROWS, list(range(ROWS)), inputs @ base.T, inputs @ tuned.T), inputs @ file.T,
                 ROUNDING[kind])
    return failed(weight_checks({**WEIGHTS, "adapter_strength": strength.value(),
                                 "adapter_strength_error": strength.error(), **strength.sizes()}))


def test_a_small_change_of_an_unpacked_base_is_swallowed_and_said_so() -> None:
    said = check_of("Q4_K", 0.01)["adapter"]
    assert said.startswith("Only ") and "by which this type rounds them" in said and "0.96% of their size" in said
    assert check_of("F16", 0.01) == check_of("Q8_0", 0.01) == {}


def test_another_adapter_is_still_called_one() -> None:
    assert "it was made from another adapter" in check_of("Q4_K", 0.3, of_another=True)["adapter"]
    assert "it was made from another adapter" in check_of("F16", 0.01, of_another=True)["adapter"]


@pytest.mark.parametrize("kind", [*ROUNDING, "Q2_K"])
def test_the_sizes_of_rounding_are_those_of_ggml(kind: str) -> None:
    weights = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32)
    error = np.square(rounded(weights, kind) - weights).sum() / np.square(weights).sum()
    assert error == pytest.approx(ROUNDING.get(kind, LOW_ROUNDING), rel=0.05, abs=1e-7)
