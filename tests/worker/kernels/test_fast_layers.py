"""The fast decoder layers compute what the stock ones do, and step aside where they can't."""

from __future__ import annotations

import pytest
import torch
from support.small_models import FAMILIES, LAYOUTS, OTHERS, build, examples, gradients

from slmstudio.worker.kernels import fast_layers, joined_linear, packed
from slmstudio.worker.training.batches import PackedCollator, PaddedCollator
from slmstudio.worker.training.trainer import per_row_losses, summed_loss


def learn(model, collator):
    causal_lm, batch = model.get_base_model(), collator(examples())
    total, count = summed_loss(causal_lm, batch)
    (total / count).backward()
    return per_row_losses(causal_lm, batch), gradients(model)


def assert_equal(found, expected, tolerance=1e-5, apart=1e-5):
    assert found[0] == pytest.approx(expected[0], rel=tolerance)
    assert (found[1] - expected[1]).norm() <= apart * expected[1].norm()


@pytest.mark.parametrize(("dtype", "family", "collator"), LAYOUTS)
def test_losses_and_gradients(family, dtype, collator):
    expected = learn(build(family, dtype=dtype), PaddedCollator(0))
    model = build(family, packed.NAME, dtype)
    assert fast_layers.apply(model) == 3
    found = learn(model, collator)
    if dtype == torch.float32:
        assert_equal(found, expected)
        return
    assert found[0] == pytest.approx(expected[0], rel=1e-3)
    exact = learn(build(family, dtype=dtype).float(), PaddedCollator(0))[1]  # both round, each in its own order
    assert (found[1] - exact).norm() <= 1.5 * (expected[1] - exact).norm()


@pytest.mark.parametrize("family", OTHERS)
def test_layers_of_another_kind_keep_their_own_way(family):
    expected = learn(build(family), PaddedCollator(0))
    model = build(family, packed.NAME)
    joined_linear.apply(model)
    assert fast_layers.apply(model) == 0
    assert_equal(learn(model, PackedCollator()), expected)


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["up_proj", "o_proj"], ["down_proj"]])
def test_adapters_on_some_layers(targets):
    expected = learn(build("llama", target_modules=targets), PaddedCollator(0))
    model = build("llama", packed.NAME, target_modules=targets)
    assert fast_layers.apply(model) == 3
    assert_equal(learn(model, PackedCollator()), expected)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_gradient_checkpointing(family):
    expected = learn(build(family), PaddedCollator(0))
    model = build(family, packed.NAME)
    fast_layers.apply(model)
    model.activation_checkpointing_enable()
    model.enable_input_require_grads()
    assert_equal(learn(model, PackedCollator()), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_generation_is_as_before(family):
    ids = torch.tensor([examples()[2]["input_ids"]])
    models = [build(family).eval(), build(family, packed.NAME).eval()]
    fast_layers.apply(models[1])
    answers = [model.generate(input_ids=ids, max_new_tokens=8, do_sample=False) for model in models]
    assert torch.equal(*answers)


def test_whole_logits_are_as_before():
    batch = PaddedCollator(0)(examples())
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    expected, model = build("llama")(**inputs).logits, build("llama", packed.NAME)
    fast_layers.apply(model)
    torch.testing.assert_close(model(**inputs).logits[0], expected[0], rtol=1e-4, atol=1e-5)


def test_a_disabled_adapter_is_disabled():
    expected, _ = learn_without(build("llama"))
    model = build("llama", packed.NAME)
    fast_layers.apply(model)
    assert learn_without(model)[0] == pytest.approx(expected, rel=1e-5)


def learn_without(model):
    with model.disable_adapter(), torch.no_grad():
        return per_row_losses(model.get_base_model(), PaddedCollator(0)(examples())), None


@pytest.mark.parametrize("lora", [{"lora_dropout": 0.1}, {"use_dora": True}])
def test_what_is_not_covered_keeps_its_layers_and_gets_the_norm(lora):
    expected = learn(build("llama", **lora).eval(), PaddedCollator(0))
    model = build("llama", packed.NAME, **lora).eval()
    assert fast_layers.apply(model) == 0
    assert_equal(learn(model, PackedCollator()), expected)


def test_a_learning_norm_gets_its_gradient():
    def learned(fast):
        model = build("llama", packed.NAME)
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.requires_grad_(True)
        if fast:
            assert fast_layers.apply(model) == 0
        return learn(model, PackedCollator())

    assert_equal(learned(True), learned(False))


def test_a_merged_adapter_still_gives_its_answers():
    model = build("llama", packed.NAME)
    fast_layers.apply(model)
    before = per_row_losses(model.get_base_model(), PackedCollator()(examples()))
    merged = model.merge_and_unload()
    assert per_row_losses(merged, PackedCollator()(examples())) == pytest.approx(before, rel=1e-4)


def test_weights_stay_the_weights():
    """Joined weights are the same values under the same names, and fast_lora may come first."""
    model, untouched = build("qwen2", packed.NAME), build("qwen2")
    joined_linear.apply(model)
    fast_layers.apply(model)
    for (name, found), (_, expected) in zip(model.named_parameters(), untouched.named_parameters(), strict=True):
        assert torch.equal(found, expected), name
