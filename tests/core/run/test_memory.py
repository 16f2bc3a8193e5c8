"""The memory estimate: known parameter counts, the direction of every lever, and plausible totals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory.formula import MemoryEstimate, adapter_parameters, estimate

GB = 2**30


def model(parameters: int, layers: int, hidden: int, inner: int, heads: int, kv_heads: int, vocabulary: int,
          model_type: str = "llama") -> ModelFacts:
    return ModelFacts(path=Path("m"), name="m", family="", architecture="", parameters=parameters, context_length=8192,
                      vocabulary_size=vocabulary, layers=layers, hidden_size=hidden, intermediate_size=inner,
                      heads=heads,
                      kv_heads=kv_heads, head_dim=hidden // heads, tied_embeddings=False, dtype="bf16", licence=None,
                      disk_bytes=2 * parameters, has_chat_template=True, quantization=None, model_type=model_type)


SMOLLM = model(134_515_008, 30, 576, 1536, 9, 3, 49_152)
QWEN = model(1_543_714_304, 28, 1536, 8960, 12, 2, 151_936, "qwen2")
PHI3 = model(3_821_079_552, 32, 3072, 8192, 32, 32, 32_064, "phi3")
LLAMA2 = model(6_738_415_616, 32, 4096, 11_008, 32, 32, 32_000)


def config(**changes: object) -> RunConfig:
    base = RunConfig(name="n", model="m", train_file="t", micro_batch_size=4, max_length=1024, precision="bf16")
    return replace(base, **changes)  # type: ignore[arg-type]


def total(facts: ModelFacts, device: str = "cuda", **changes: object) -> int:
    return estimate(facts, config(**changes), device).total


@pytest.mark.parametrize(("facts", "rank", "targets", "count"), [
    # As PEFT prints them for these models.
    (LLAMA2, 8, ["q_proj", "v_proj"], 4_194_304), (LLAMA2, 8, "all-linear", 19_988_480),
    (LLAMA2, 16, "all-linear", 39_976_960), (QWEN, 16, "all-linear", 18_464_768), (SMOLLM, 16, "all-linear", 4_884_480),
    (PHI3, 16, "all-linear", 25_165_824), (PHI3, 8, ["qkv_proj"], 3_145_728)])
def test_adapters_have_their_known_size(facts: ModelFacts, rank: int, targets: str | list[str], count: int) -> None:
    assert adapter_parameters(facts, config(lora_rank=rank, target_modules=targets)) == count


def test_weights_gradients_and_moments() -> None:
    full = estimate(QWEN, config(method="full", precision="fp32"), "cpu")
    assert (full.weights, full.gradients, full.optimizer) == tuple(k * QWEN.parameters for k in (4, 4, 8))
    assert full.adapter == 0 and full.trainable_parameters == QWEN.parameters
    lora = estimate(QWEN, config(), "cuda")
    assert (lora.weights, lora.adapter) == (2 * QWEN.parameters, 4 * 18_464_768)
    assert (lora.gradients, lora.optimizer) == (lora.adapter, 2 * lora.adapter)


def test_plausible_totals() -> None:
    assert 15 * GB < total(QWEN) < 25 * GB
    assert total(QWEN, micro_batch_size=1, gradient_checkpointing=True) < 6 * GB
    assert 24 * GB < total(QWEN, method="full", precision="fp32", gradient_checkpointing=True) < 32 * GB
    assert 13 * GB < total(LLAMA2, micro_batch_size=1, gradient_checkpointing=True) < 18 * GB
    packed = replace(LLAMA2, quantization="bitsandbytes 4-bit", disk_bytes=4 * GB)
    assert total(packed, micro_batch_size=1, gradient_checkpointing=True) < 8 * GB


def test_the_range_holds_the_likely_total() -> None:
    for device in ("cuda", "cpu"):
        for method in ("lora", "full"):
            found = estimate(QWEN, config(method=method), device)
            assert found.low < found.total < found.high < 1.6 * found.low


@pytest.mark.parametrize("facts", [SMOLLM, QWEN, PHI3, LLAMA2])
@pytest.mark.parametrize(("more", "less"), [
    ({"max_length": 2048}, {"max_length": 1024}), ({"micro_batch_size": 8}, {}), ({}, {"gradient_checkpointing": True}),
    ({"lora_rank": 64}, {}), ({}, {"target_modules": ["q_proj", "qkv_proj"]}), ({"precision": "fp32"}, {}),
    ({"method": "full"}, {}), ({"method": "full"}, {"method": "full", "optimizer": "sgd"}),
    ({"method": "full"}, {"method": "full", "optimizer": "adafactor"}), ({"attention": "eager"}, {}),
    ({"lora_dropout": 0.1}, {}), ({}, {"attention": "flash_attention_2"})])
def test_every_lever_pulls_its_way(facts: ModelFacts, more: dict[str, object], less: dict[str, object]) -> None:
    for device in ("cuda",) if "flash" in str(less) else ("cuda", "cpu"):
        greater, smaller = (estimate(facts, config(**changes), device) for changes in (more, less))
        assert greater.total > smaller.total and greater.low > smaller.low and greater.high > smaller.high


@given(st.integers(8, 100_000), st.integers(1, 64), st.sampled_from(["lora", "full"]),
       st.sampled_from(["fp32", "bf16"]),
       st.booleans())
def test_more_tokens_never_need_less(length: int, batch: int, method: str, precision: str, checkpointing: bool) -> None:
    def found(length: int, batch: int) -> MemoryEstimate:
        return estimate(QWEN, config(max_length=length, micro_batch_size=batch, method=method, precision=precision,
                                     gradient_checkpointing=checkpointing, packing=True), "cuda")

    here = found(length, batch)
    assert found(length + 1, batch).total >= here.total
    assert found(length, batch + 1).total >= here.total


def test_what_is_told_is_the_largest_phase() -> None:
    """Full fine-tuning of few tokens needs most while the optimizer works, of many in the backward pass."""
    few = estimate(QWEN, config(method="full", precision="fp32", max_length=64, micro_batch_size=1), "cuda")
    many = estimate(QWEN, config(method="full", precision="fp32"), "cuda")
    assert (few.phase, few.activations, few.optimizer) == ("step", 0, 12 * QWEN.parameters)
    assert many.phase in ("forward", "backward") and many.activations > 0
    assert few.total == sum(few.parts().values())


def test_gradients_of_earlier_micro_batches_are_there_all_along() -> None:
    once, twice = (estimate(QWEN, config(gradient_accumulation_steps=n), "cuda") for n in (1, 2))
    assert once.gradients == 0 and twice.gradients == 4 * twice.trainable_parameters


def test_the_verdict() -> None:
    found = estimate(QWEN, config(), "cuda")
    enough = -(-found.high * 5 // 4)
    assert [found.verdict(free) for free in (enough, found.high, found.low, found.low - 1)] == [
        "fits", "tight", "tight", "no"]
