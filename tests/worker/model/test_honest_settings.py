"""What transformers itself writes into config.json is within the limits that vetting sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from slmstudio.core.errors import Problem
from slmstudio.core.model import folder_entries, model_settings
from slmstudio.core.model.architecture import CAUSAL

BROKEN = {"gemma4_assistant"}
"""Architectures whose own default configuration transformers refuses."""


@pytest.mark.filterwarnings("ignore")
def test_the_default_of_every_architecture(tmp_path: Path) -> None:
    said: dict[str, list[Problem | str]] = {}
    for kind in sorted(CAUSAL - BROKEN):
        (tmp_path / "config.json").write_text(AutoConfig.for_model(kind).to_json_string(use_diff=False))
        problems: list[Problem] = []
        warnings: list[str] = []
        folder_entries.check_references(tmp_path, frozenset(["config.json"]), problems, warnings)
        model_settings.check_numbers(json.loads((tmp_path / "config.json").read_text()), problems)
        if problems or warnings:
            said[kind] = [*problems, *warnings]
    assert said == {}
