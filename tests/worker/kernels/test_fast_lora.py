"""The fused LoRA layer computes what PEFT's own does."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from slmstudio.worker.kernels import joined_linear


def pair(dtype, **lora):
    """The same model twice with the same random adapter: PEFT's own and fused."""
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Linear(24, 40), torch.nn.SiLU(), torch.nn.Linear(40, 8, bias=False)).to(dtype)
    model = get_peft_model(plain, LoraConfig(r=4, lora_alpha=8, target_modules=["0", "2"], **lora))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model, copy.deepcopy(model)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_value_and_gradients_equal_pefts(dtype, tolerance):
    stock, fused = pair(dtype)
    assert joined_linear.apply(fused) == 2
    x = torch.randn(3, 5, 24, dtype=dtype)
    results = []
    for model in (stock, fused):
        given = x.clone().requires_grad_()
        out = model(given)
        out.float().pow(2).mean().backward()
        results.append([out, given.grad, *(p.grad for p in model.parameters() if p.requires_grad)])
    for expected, found in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * expected.abs().max().item())


@pytest.mark.parametrize("lora", [{"lora_dropout": 0.1}, {"use_dora": True}])
def test_what_it_does_not_cover_stays_pefts(lora):
    _, model = pair(torch.float32, **lora)
    assert joined_linear.apply(model) == 0


def test_a_disabled_adapter_is_disabled():
    _, model = pair(torch.float32)
    joined_linear.apply(model)
    x = torch.randn(2, 24)
    with model.disable_adapter():
        without = model(x)
    torch.testing.assert_close(without, model.get_base_model()[2].base_layer(
        torch.nn.functional.silu(model.get_base_model()[0].base_layer(x))))
