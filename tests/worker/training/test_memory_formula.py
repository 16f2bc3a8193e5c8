"""The memory estimate against what autograd really keeps between forward and backward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory import adapter_parameters, estimate
from slmstudio.worker.kernels import fast_lora

ROWS, LENGTH = 2, 192
SIZES = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 256}
FACTS = {"layers": 3, "hidden_size": 256, "intermediate_size": 704, "heads": 4, "kv_heads": 2, "head_dim": 64,
         "vocabulary_size": 512}


def build(family: str, method: str, precision: str, checkpointing: bool) -> Any:
    """A model as worker/training/train.py holds it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, **SIZES, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    model = model.to(torch.bfloat16 if precision == "bf16" else torch.float32)
    if method == "lora":
        model = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear"))
        assert fast_lora.apply(model) > 0
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if method == "lora":
            model.enable_input_require_grads()
    return model.train()


def kept_bytes(model: Any) -> int:
    """Bytes that the forward pass of the decoder leaves for the backward pass, parameters not counted."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    ids = torch.randint(3, 500, (ROWS, LENGTH))
    mask = torch.ones_like(ids)
    mask[0, -5:] = 0  # a batch with padding takes the longer way
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = base.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    assert hidden.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("method", "precision"), [("lora", "fp32"), ("lora", "bf16"), ("full", "fp32")])
@pytest.mark.parametrize("family", ["llama", "qwen2", "phi3"])
def test_activations_and_adapters(family: str, method: str, precision: str, checkpointing: bool) -> None:
    torch.manual_seed(0)
    model = build(family, method, precision, checkpointing)
    kept = kept_bytes(model)
    facts = ModelFacts(path=Path("m"), name="m", family="", architecture="", parameters=model.num_parameters(),
                       context_length=256, tied_embeddings=False, dtype=precision, licence=None, disk_bytes=0,
                       has_chat_template=True, quantization=None, model_type=family, **FACTS)
    config = RunConfig(name="n", model="m", train_file="t", micro_batch_size=ROWS, max_length=LENGTH,
                       precision=precision,
                       method=method, lora_rank=8)
    whole = estimate(facts, config, "cpu").activations
    config.gradient_checkpointing = checkpointing
    # With checkpointing one layer at a time is whole again, in the backward pass only.
    expected = estimate(facts, config, "cpu").activations - (whole // facts.layers if checkpointing else 0)
    outside = 3 * ROWS * LENGTH * facts.hidden_size * 4  # embeddings and final norm, which a model has once
    assert 0.8 * expected <= kept <= 1.1 * expected + outside
    if method == "lora":
        trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        assert adapter_parameters(facts, config) == trainable
