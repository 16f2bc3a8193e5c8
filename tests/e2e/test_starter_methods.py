"""The starter model, real weights, by one method of each kind, just as the plan proposes it on the processor here."""

from __future__ import annotations

import pytest
from support.every_method import trained


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("chosen", [("qlora", "objective=dpo"), ("full",), ("scratch",)], ids=" ".join)
def test_the_starter_model_learns_as_planned(starter_home, tmp_path, capsys, chosen):
    """LoRA on answers is what the quickstart proposes."""
    trained(tmp_path, capsys, "starter", *chosen)
