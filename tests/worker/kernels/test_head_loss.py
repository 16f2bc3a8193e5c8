"""The loss of the head equals PyTorch's own, value and gradients."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from slmstudio.worker.kernels import head_loss as module
from slmstudio.worker.kernels.head_loss import head_loss, token_log_probs


@pytest.mark.parametrize("chunk", [10**9, 7 * 501])
def test_value_and_gradients_equal_cross_entropy(chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", {"cpu": chunk})
    monkeypatch.setattr(module, "LEAST_ROWS", 1)
    torch.manual_seed(0)
    hidden = torch.randn(33, 16, requires_grad=True)
    weight = torch.randn(501, 16, requires_grad=True)
    targets = torch.randint(0, 501, (33,))

    expected = functional.cross_entropy(hidden @ weight.T, targets, reduction="sum") / 33
    expected_gradients = torch.autograd.grad(expected, (hidden, weight))
    loss = head_loss(hidden, weight, targets) / 33
    gradients = torch.autograd.grad(loss, (hidden, weight))

    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients, expected_gradients)


def test_a_frozen_head_gets_no_gradient():
    hidden = torch.randn(5, 8, requires_grad=True)
    weight = torch.randn(11, 8)
    head_loss(hidden, weight, torch.tensor([0, 1, 2, 3, 10])).backward()
    assert hidden.grad is not None and weight.grad is None


def test_no_learned_position_is_zero_loss():
    hidden = torch.zeros(0, 8, requires_grad=True)
    loss = head_loss(hidden, torch.randn(11, 8), torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0


class Casts(TorchDispatchMode):
    """Counts how often an fp32 tensor of a shape is cast."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.shape, self.count = shape, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and args[0].dtype == torch.float32:
            self.count += tuple(args[0].shape) in (self.shape, self.shape[::-1])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("work", [head_loss, lambda *given: token_log_probs(*given).sum()], ids=["sum", "log probs"])
def test_under_autocast_the_weight_is_cast_once(work, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", {"cpu": 2 * 101})
    monkeypatch.setattr(module, "LEAST_ROWS", 1)
    weight = torch.randn(101, 16, requires_grad=True)
    with Casts((101, 16)) as casts, torch.autocast("cpu", torch.bfloat16):
        work(torch.randn(12, 16, requires_grad=True), weight, torch.randint(0, 101, (12,)))
    assert casts.count == 1


def test_a_card_takes_more_rows_at_once():
    """With Qwen 2.5's vocabulary a card has some hundred rows in each chunk, and the processor the least."""
    rows = [module._rows_at_once(SimpleNamespace(device=torch.device(device), shape=(151_936, 896)))
            for device in ("cpu", "cuda")]
    assert rows == [module.LEAST_ROWS, 441]
