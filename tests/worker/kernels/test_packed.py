"""Packed rows have the losses and gradients that they have alone."""

from __future__ import annotations

import pytest
import torch
from support.small_models import LAYOUTS, OTHERS, build, examples, gradient_tolerance, gradients
from support.tiers import first_fast
from torch._subclasses.fake_tensor import FakeTensorMode

from slmstudio.worker.kernels import packed
from slmstudio.worker.training.batches import PackedCollator, PaddedCollator
from slmstudio.worker.training.options import compiled_graphs
from slmstudio.worker.training.trainer import per_row_losses, summed_loss, token_count

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-3}


def learn(model, batches):
    """Losses of the rows, and the gradients of their mean."""
    causal_lm, losses = model.get_base_model(), []
    for batch in batches:
        total, _ = summed_loss(causal_lm, batch)
        total.backward()
        losses += per_row_losses(causal_lm, batch)
    return losses, gradients(model)


def alone(family, dtype):
    """Each row by itself through transformers' own attention."""
    return learn(build(family, "sdpa", dtype), [PaddedCollator(0)([example]) for example in examples()])


@pytest.mark.parametrize(("dtype", "family", "collator"), LAYOUTS)
def test_as_alone(family, dtype, collator):
    expected, expected_gradients = alone(family, dtype)
    losses, found = learn(build(family, packed.NAME, dtype), [collator(examples())])
    assert losses == pytest.approx(expected, rel=TOLERANCE[dtype])
    assert (found - expected_gradients).norm() <= gradient_tolerance(family, dtype) * expected_gradients.norm()


@pytest.mark.parametrize("family", first_fast(OTHERS))
@pytest.mark.parametrize("collator", [PackedCollator(), PaddedCollator(0)])
def test_as_alone_in_families_with_other_layers(family, collator):
    expected, expected_gradients = alone(family, torch.float32)
    losses, found = learn(build(family, packed.NAME), [collator(examples())])
    assert losses == pytest.approx(expected, rel=1e-5)
    assert (found - expected_gradients).norm() <= 1e-5 * expected_gradients.norm()


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_with_gradient_checkpointing(family):
    _, expected = alone(family, torch.float32)
    model = build(family, packed.NAME)
    model.activation_checkpointing_enable()
    model.enable_input_require_grads()
    _, found = learn(model, [PackedCollator()(examples())])
    assert (found - expected).norm() <= 1e-5 * expected.norm()


def test_transformers_own_attention_keeps_packed_rows_apart_too():
    expected, _ = alone("llama", torch.float32)
    losses, _ = learn(build("llama", "sdpa"), [PackedCollator()(examples())])
    assert losses == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_attention_dropout_goes_through_pytorchs_attention(family):
    """Dropout of next to nothing, so that the result can be compared."""
    expected, _ = alone(family, torch.float32)
    model = build(family, packed.NAME)
    for layer in model.get_base_model().get_decoder().layers:
        layer.self_attn.attention_dropout = 1e-9
    losses, _ = learn(model, [PackedCollator()(examples())])
    assert losses == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_generation_is_as_with_sdpa(family):
    ids = torch.tensor([examples()[2]["input_ids"]])
    answers = [build(family, attention).eval().generate(input_ids=ids, max_new_tokens=8, do_sample=False)
               for attention in ("sdpa", packed.NAME)]
    assert torch.equal(*answers)


def test_one_row_by_itself():
    expected, _ = alone("llama", torch.float32)
    losses, _ = learn(build("llama", packed.NAME), [PackedCollator()([examples()[0]])])
    assert losses == pytest.approx(expected[:1], rel=1e-5)


def test_tokens_are_counted_without_padding():
    assert token_count(PackedCollator()(examples())) == token_count(PaddedCollator(0)(examples())) == 314


@pytest.mark.parametrize("flash", [False, True])
@pytest.mark.parametrize("rows", [None, [5, 3]], ids=["padded", "packed"])
def test_a_card_without_flash_attention_gets_a_key_for_each_query_head(flash, rows, monkeypatch):
    """PyTorch's memory-efficient kernel refuses shared heads, and what is left keeps all scores."""
    seen: list[tuple[int, int]] = []

    def attend(query, key, value, **options):
        seen.append((query.shape[1], key.shape[1]))
        return query.new_empty(*query.shape[:-1], value.shape[-1])

    def transformers_own(module, query, key, value, *rest, **options):
        assert hasattr(module, "num_key_value_groups") is flash  # else it repeats them once more, or lets PyTorch do it
        return attend(query, key, value).transpose(1, 2), None

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    monkeypatch.setattr(packed, "sdpa_attention_forward", transformers_own)
    monkeypatch.setattr(torch.backends.cuda, "SDPAParams", lambda *given: given)
    monkeypatch.setattr(torch.backends.cuda, "can_use_flash_attention", lambda given: flash)
    with FakeTensorMode():
        query, key, value = (torch.empty(1, heads, 8, 64, dtype=torch.float16, device="cuda") for heads in (4, 2, 2))
        module = torch.nn.Module()
        module.is_causal, module.num_key_value_groups = True, 2
        out, _ = packed._attention(module, query, key, value, None, row_lengths=rows and packed.RowLengths(rows))
    assert out.shape == (1, 8, 4, 64)
    assert seen == [(4, 2 if flash else 4)] * len(rows or [8])


def test_compiled_layers_are_compiled_once_whatever_the_rows(monkeypatch):
    """Their attention lies outside the graphs; in them, each list of lengths would be compiled again, until PyTorch
    gives up and runs them as they are."""
    torch._dynamo.reset()
    model = build("llama", packed.NAME)
    causal_lm = model.get_base_model()
    for layer in causal_lm.get_decoder().layers:
        layer.compile(dynamic=True, backend="eager")
    rows, graphs = examples(), []
    for count in (3, 4, 2, 5, 1, 6):
        loss, _ = summed_loss(causal_lm, PackedCollator()(rows[:count]))
        loss.backward()
        graphs.append(compiled_graphs())
    assert graphs[0] > 0 and graphs[1:] == [graphs[1]] * 5, graphs
    torch._dynamo.reset()
