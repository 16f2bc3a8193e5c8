"""By every method and for every objective a model learns on any processor, just as the plan proposes it."""

from __future__ import annotations

import pytest
from support import starter
from support.every_method import trained

METHODS = ("lora", "qlora", "dora", "rslora", "full", "scratch", "text", "pretrain", "dpo", "orpo", "kto")
BOTH = ("lora", "full", "scratch")
"""The others take turns: of adapters, of texts and of preferences, some learn with bf16 and some without."""
CASES = [(method, bf16) for place, method in enumerate(METHODS) for bf16 in (True, False)
         if method in BOTH or bf16 == bool(place % 2)]
SMALLER = {"scratch": ["scratch_size=10M"]}
"""What isn't left to the plan: a model of 30M parameters takes minutes where bf16 is computed the slow way."""


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("method", "bf16"), CASES, ids=[f"{method}-{'bf16' if bf16 else 'no-bf16'}"
                                                         for method, bf16 in CASES])
def test_a_model_learns_as_planned_on_any_processor(studio_home, tiny_model, tmp_path, capsys, processor, monkeypatch,
                                                    method, bf16):
    """On a processor with bf16 arithmetic and on one without, whichever is here: what a processor lacks is computed the
    slow way, so the model is tiny. For plain text by LoRA not even the method is set: the rows say it."""
    processor(bf16)
    if not bf16:  # for PyTorch and oneDNN in the worker, which ask the processor itself
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    planned = trained(tmp_path, capsys, tiny_model, method, *SMALLER.get(method, []))
    assert (planned["device"], planned["precision"]) == ("auto", "bf16" if bf16 else "fp32")


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "chosen", [("qlora", "objective=dpo", "precision=fp32"), ("full",), ("scratch",)], ids=" ".join)
def test_the_first_layers_of_the_starter_model_learn_as_planned(studio_home, tmp_path, capsys, chosen):
    """Real weights, by one method of each kind; pairs in fp32, as bf16 rounds more than a few steps change their small
    loss. The quickstart trains all of it, by LoRA on answers."""
    trained(tmp_path, capsys, starter.shallow_model(), *chosen)
