"""Answers are the same whether the padding of a batch is read or not."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from transformers import AutoModelForCausalLM

from slmstudio.worker.answering.rows import Ask
from slmstudio.worker.answering.torch_model import TorchModel
from slmstudio.worker.kernels import ragged_attention


def test_parts_attend_as_the_whole_does():
    torch.manual_seed(0)
    padding = [0, 3, 200, 210, 400, 430, 440]
    key, value = torch.randn(7, 2, 500, 16), torch.randn(7, 2, 500, 16)
    query = torch.randn(7, 6, 1, 16)
    mask = torch.ones(7, 1, 1, 500, dtype=torch.bool)
    for row, count in enumerate(padding):
        mask[row, ..., :count] = False
    module = SimpleNamespace(num_key_value_groups=3, is_causal=True)
    whole, _ = ragged_attention._attend(module, query, key, value, mask, scaling=0.25)
    parts = ragged_attention.parts_of(padding)
    assert [start for _, start in parts] == [0, 200, 400]
    # What lies before a part's first place isn't looked at: there it may be anything.
    for rows, start in parts:
        key[rows, :, :start] = float("nan")
    with ragged_attention.reading(parts):
        found, _ = ragged_attention._attend(module, query, key, value, mask, scaling=0.25)
    torch.testing.assert_close(found, whole)


def test_rows_of_very_different_lengths_answer_as_they_do_alone(tiny_model):
    model = TorchModel(AutoModelForCausalLM.from_pretrained(tiny_model).eval(), tiny_model, 2**30)
    assert model.model.config._attn_implementation == ragged_attention.NAME
    words = model.encode("The office is open on Monday. ")
    asks = [Ask((words * 40)[:length], most=12) for length in (250, 240, 150, 90, 20, 9)]
    together = model.run(asks, lambda share: None)
    alone = [model.run([ask], lambda share: None)[0] for ask in asks]
    assert [reply.ids for reply in together] == [reply.ids for reply in alone]


def test_other_kinds_of_attention_stay_as_they_are(tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation="eager")
    assert not ragged_attention.use(model) and model.config._attn_implementation == "eager"
