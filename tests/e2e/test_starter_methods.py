"""The starter model, real weights, by one method of each kind, just as the plan proposes it on the processor here."""

from __future__ import annotations

import pytest
from support.every_method import trained


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("method", ["qlora", "full", "scratch", "dpo"])
def test_the_starter_model_learns_as_planned(starter_home, tmp_path, capsys, method):
    """LoRA is what the quickstart proposes."""
    trained(tmp_path, capsys, "starter", method)
