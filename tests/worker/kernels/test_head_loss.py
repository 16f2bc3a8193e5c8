"""The loss of the head equals PyTorch's own, value and gradients."""

import pytest
import torch
from torch.nn import functional

from slmstudio.worker.kernels import head_loss as module
from slmstudio.worker.kernels.head_loss import head_loss


@pytest.mark.parametrize("chunk", [10**9, 7 * 501])
def test_value_and_gradients_equal_cross_entropy(chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", chunk)
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
