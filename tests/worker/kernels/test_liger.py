"""Liger's Triton kernels compute what the formulae say, in Triton's interpreter: no card is needed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from slmstudio.worker.kernels import head_loss

KERNELS = ("rms_norm", "swiglu", "rope", "head_loss")


@pytest.mark.skipif(not all(map(importlib.util.find_spec, ("triton", "liger_kernel"))),
                    reason="needs the extra “gpu” (triton, liger-kernel)")
@pytest.mark.parametrize("kernel", KERNELS)
def test_values_and_gradients(kernel):
    """In a process of its own: Triton decides as it is imported whether it interprets."""
    script = Path(__file__).parents[2] / "support" / "triton_kernels.py"
    done = subprocess.run([sys.executable, str(script), kernel], env={**os.environ, "TRITON_INTERPRET": "1"},
                          capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) < 1e-5


def test_our_own_head_loss_serves_the_processor():
    head_loss.use_liger(True)
    try:
        assert not head_loss.liger_serves(torch.zeros(3, 4))
    finally:
        head_loss.use_liger(False)
