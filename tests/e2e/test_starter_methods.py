"""The first layers of the starter model, real weights, by one method of each kind, just as the plan proposes it on the
processor here; pairs in fp32, as bf16 rounds more than a few steps change their small loss. The quickstart trains all
of it, by LoRA on answers."""

from __future__ import annotations

import pytest
from support import starter
from support.every_method import trained


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "chosen", [("qlora", "objective=dpo", "precision=fp32"), ("full",), ("scratch",)], ids=" ".join)
def test_the_first_layers_of_the_starter_model_learn_as_planned(studio_home, tmp_path, capsys, chosen):
    trained(tmp_path, capsys, starter.shallow_model(), *chosen)
