"""Figures of the answers' comparison: where a mixture of experts rounds to another expert."""

from __future__ import annotations

import numpy as np
import pytest

from slmstudio.worker.parity.parity import _Sums


@pytest.mark.parametrize(("experts", "wrong", "passes", "rerouted"), [
    (True, 2, True, 2), (False, 1, False, 0), (True, 3, False, 2), (True, 0, True, 0)])
def test_few_positions_with_another_expert_are_left_out(experts, wrong, passes, rerouted) -> None:
    random = np.random.default_rng(0)
    sums = _Sums()
    for position in range(100):
        ours = random.standard_normal(512, np.float32)
        sums.add(ours, ours + (0.3 if position < wrong else 1e-3) * random.standard_normal(512, np.float32))
    nmse, found = sums.nmse(experts)
    assert (nmse < 1e-4, found) == (passes, rerouted)
