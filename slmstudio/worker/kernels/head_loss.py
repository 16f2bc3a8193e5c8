"""Cross entropy of a language-model head that touches the logits once.

The head of a small model is most of its arithmetic: 49,152 logits per position in SmolLM2. Autograd keeps
the logits, their log-softmax and their gradient; here each chunk's gradient is formed in place during the
forward pass and only the small products are kept. Method: "Cut Your Losses in Large-Vocabulary Language
Models" (arXiv 2411.09009) and Liger Kernel's fused linear cross entropy (arXiv 2410.10989).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# -- Liger's kernels, where a card and the extra `gpu` are there: its fused linear cross entropy in the place of our
# own head loss, and its others (RMSNorm, SwiGLU, RoPE) in the model.

_uses_liger = False


def use_liger(on: bool) -> None:
    """Whether head losses on a card are Liger's from now on."""
    global _uses_liger
    _uses_liger = on


def put_liger_into(model: Any) -> None:
    """Exchange the parts of a model, with or without an adapter, that Liger has kernels for.

    The trainers' own switch for this is deprecated: in its stead TRL proposes kernels that are downloaded.
    """
    from transformers.integrations.liger import apply_liger_kernel

    apply_liger_kernel(model, {"fused_linear_cross_entropy": False})


def liger_serves(hidden: torch.Tensor) -> bool:
    return _uses_liger and hidden.is_cuda and len(hidden) > 0


def liger_loss(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """As `head_loss.head_loss`: the sum over positions of the cross entropy of `hidden @ weight.T`."""
    from liger_kernel.ops.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyFunction

    # In their order: bias, weights of classes, the ignored target, z-loss, smoothing, reduction.
    found = LigerFusedLinearCrossEntropyFunction.apply(hidden, weight, targets, None, None, -100, 0.0, 0.0, "sum")
    loss: torch.Tensor = found[0] if isinstance(found, tuple) else found
    return loss


CHUNK_ELEMENTS = {"cpu": 6 * 2**20, "cuda": 64 * 2**20}
"""Logits held at once, by device: 24 MB in fp32, which a processor's cache may hold; on a card 256 MB, for each chunk
is some ten kernels and reads the whole weight."""
LEAST_ROWS = 64
"""Positions that are taken at once though their logits are more."""


def _rows_at_once(weight: torch.Tensor) -> int:
    return max(LEAST_ROWS, CHUNK_ELEMENTS[weight.device.type] // weight.shape[0])


def _for_products(weight: torch.Tensor) -> torch.Tensor:
    """The weight as autocast multiplies with it: cast once, and not again for each chunk (autocast keeps casts of
    parameters only, and not of their transposes)."""
    device = weight.device.type
    return weight.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else weight


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if needs_weight else None
        rows, matrix = _rows_at_once(weight), _for_products(weight)
        for start in range(0, hidden.shape[0], rows):
            part, wanted = hidden[start : start + rows], targets[start : start + rows, None]
            logits = (part @ matrix.T).float()
            likely, top = logits.gather(1, wanted), logits.amax(dim=1, keepdim=True)
            powers = logits.sub_(top).exp_()  # in the logits' memory
            total = powers.sum(dim=1, keepdim=True)
            loss += (total.log() + top - likely).sum()
            if not (needs_hidden or needs_weight):
                continue
            gradient = powers.div_(total)  # softmax
            gradient.scatter_add_(1, wanted, gradient.new_full(wanted.shape, -1.0))
            gradient = gradient.to(matrix.dtype)
            if grad_hidden is not None:
                grad_hidden[start : start + rows] = gradient @ matrix
            if grad_weight is not None:
                grad_weight += (gradient.T @ part).float()
            del logits, powers, gradient  # or they are still there when the next chunk's are made
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.weight_dtype = weight.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scaled_hidden = None if grad_hidden is None else grad_hidden * grad_output.to(grad_hidden.dtype)
        scaled_weight = None if grad_weight is None else (grad_weight * grad_output).to(ctx.weight_dtype)
        return scaled_hidden, scaled_weight, None


def head_loss(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Sum over positions of the cross entropy of `hidden @ weight.T` against `targets`, in fp32.

    Args:
        hidden: [positions, hidden size], the states before the head, learned positions only.
        weight: [vocabulary, hidden size].
        targets: [positions], token ids.

    Returns:
        A scalar, differentiable once with respect to `hidden` and `weight`.
    """
    if liger_serves(hidden):
        return liger_loss(hidden, weight, targets)
    return _HeadLoss.apply(hidden, weight, targets)  # type: ignore[no-any-return, no-untyped-call]


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        found, normalizers = [], []
        matrix = _for_products(weight)
        for part, wanted in _chunks(hidden, targets, weight):
            logits = (part @ matrix.T).float()
            normalizers.append(torch.logsumexp(logits, dim=1, keepdim=True))
            found.append((logits.gather(1, wanted) - normalizers[-1])[:, 0])
        ctx.save_for_backward(
            hidden, weight, targets, torch.cat(normalizers) if normalizers else hidden.new_zeros(0, 1))
        return torch.cat(found) if found else hidden.new_zeros(0, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        hidden, weight, targets, normalizer = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros(weight.shape, device=weight.device) if ctx.needs_input_grad[1] else None
        start, matrix = 0, _for_products(weight)
        for part, wanted in _chunks(hidden, targets, weight):
            rows = slice(start, start + part.shape[0])
            gradient = (part @ matrix.T).float().sub_(normalizer[rows]).exp_().neg_()
            gradient.scatter_add_(1, wanted, gradient.new_ones(wanted.shape))
            gradient = gradient.mul_(grad_output[rows, None]).to(matrix.dtype)
            if grad_hidden is not None:
                grad_hidden[rows] = gradient @ matrix
            if grad_weight is not None:
                grad_weight += (gradient.T @ part).float()
            start += part.shape[0]
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None


def _chunks(hidden: torch.Tensor, targets: torch.Tensor,
            weight: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rows = _rows_at_once(weight)
    for start in range(0, hidden.shape[0], rows):
        yield hidden[start : start + rows], targets[start : start + rows, None]


def token_log_probs(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Logarithm of the probability of each target, in fp32: what preference tuning compares.

    Args:
        hidden: [positions, hidden size].
        weight: [vocabulary, hidden size].
        targets: [positions], token ids.

    Returns:
        [positions], differentiable once with respect to `hidden` and `weight`.
    """
    return _TokenLogProbs.apply(hidden, weight, targets)  # type: ignore[no-any-return, no-untyped-call]


def in_one_piece(model: Any) -> Any:
    """Let the head of a model copy its few inputs before it works.

    Behind several prompts only the last places are wanted, which is a slice with gaps. PyTorch then expands the weight
    to one copy a row and multiplies them one by one, unless the weight learns (`should_fold` in ATen's LinearAlgebra):
    a base was fast, and the same base with an adapter in it, whose weights are frozen, wasn't. With Gemma 3's
    vocabulary of 262,144 tokens that was 10 s instead of 0.1 s for four prompts.

    Returns:
        The hook's handle.
    """
    return model.get_output_embeddings().register_forward_pre_hook(
        lambda module, given: (given[0].contiguous(), *given[1:]))


@contextmanager
def whole_inputs(model: Any) -> Iterator[None]:
    handle = in_one_piece(model)
    try:
        yield
    finally:
        handle.remove()
