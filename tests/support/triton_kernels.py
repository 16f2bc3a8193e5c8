"""One of Liger's kernels in Triton's interpreter, against PyTorch: `python triton_kernels.py KERNEL` prints the largest
difference of values and gradients. TRITON_INTERPRET=1 must be set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter


def pass_numbers_as_compiled() -> None:
    """Compiled kernels get numbers with a point as tensors, interpreted ones as Python's, which can't be cast."""
    honest = interpreter._implicit_cvt

    def converted(given: Any) -> Any:
        if isinstance(given, float):
            return tl.tensor(interpreter.TensorHandle(np.array([given], dtype=np.float32), tl.float32), tl.float32)
        return honest(given)

    interpreter._implicit_cvt = converted


def difference(found: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...],
               inputs: tuple[torch.Tensor, ...]) -> float:
    weights = [torch.randn_like(each) for each in wanted]
    sums = (sum((out * weight).sum() for out, weight in zip(side, weights, strict=True)) for side in (found, wanted))
    grads = [torch.autograd.grad(total, inputs, retain_graph=True) for total in sums]
    pairs = [*zip(found, wanted, strict=True), *zip(*grads, strict=True)]
    return max(float((one - other).abs().max().detach()) for one, other in pairs)


def rms_norm() -> float:
    from liger_kernel.ops import rms_norm as kernels

    kernels.rsqrt = lambda x: 1 / tl.sqrt(x)  # the card's own library can't be interpreted
    x, weight = torch.randn(5, 48, requires_grad=True), torch.rand(48, requires_grad=True)
    wanted = weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))  # arXiv 1910.07467, eq. 4
    found = kernels.LigerRMSNormFunction.apply(x, weight, 1e-6, 0.0, "llama", False)
    return difference((found,), (wanted,), (x, weight))


def swiglu() -> float:
    from liger_kernel.ops.swiglu import LigerSiLUMulFunction

    gate, up = torch.randn(5, 48, requires_grad=True), torch.randn(5, 48, requires_grad=True)
    wanted = gate * torch.sigmoid(gate) * up  # arXiv 2002.05202, eq. 6
    # Its backward pass writes where its inputs lay, and so does RoPE's forward pass.
    return difference((LigerSiLUMulFunction.apply(gate * 1, up * 1),), (wanted,), (gate, up))


def rope() -> float:
    from liger_kernel.ops.rope import LigerRopeFunction
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    query, key = (torch.randn(2, heads, 6, 16, requires_grad=True) for heads in (4, 2))
    angles = torch.randn(1, 6, 8).repeat(2, 1, 2)
    cos, sin = angles.cos(), angles.sin()
    found = LigerRopeFunction.apply(query * 1, key * 1, cos, sin)
    return difference(found, apply_rotary_pos_emb(query, key, cos, sin), (query, key))


def head_loss() -> float:
    from slmstudio.worker.kernels import head_loss

    hidden, weight = torch.randn(9, 24, requires_grad=True), torch.randn(57, 24, requires_grad=True)
    targets = torch.randint(0, 57, (9,))
    wanted = torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    return difference((head_loss.liger_loss(hidden, weight, targets),), (wanted,), (hidden, weight))


if __name__ == "__main__":
    torch.manual_seed(0)
    pass_numbers_as_compiled()
    print(globals()[sys.argv[1]]())
