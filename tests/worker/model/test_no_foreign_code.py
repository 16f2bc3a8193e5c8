"""Code in a model's folder is never run, although its settings name it: transformers is shown such a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import crafted_models
from transformers import AutoConfig, PreTrainedTokenizerFast

from slmstudio.core.model.vetting.vet import read_vetted
from slmstudio.worker.model import base_weights


@pytest.fixture
def named(tiny_model: Path, tmp_path: Path) -> Path:
    """A whole model whose settings name Python files for everything, and these make the canary."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    code = f"import os\nos.mkdir({str(tmp_path / crafted_models.CANARY)!r})\n"
    (folder / "foreign.py").write_text(code)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(code)
    crafted_models.edit(folder, "config.json", trust_remote_code=True, auto_map={
        "AutoConfig": "foreign.Config", "AutoModelForCausalLM": "foreign.Model", "AutoTokenizer": "foreign.Tokenizer"})
    crafted_models.edit(folder, "tokenizer_config.json", tokenizer_class="ForeignTokenizer", trust_remote_code=True,
                        auto_map={"AutoTokenizer": ["foreign.Tokenizer", "foreign.Tokenizer"]})
    crafted_models.edit(folder, "generation_config.json", custom_generate="foreign", trust_remote_code=True)
    return folder


def test_vetting_lets_it_pass_and_nothing_of_it_is_run(named: Path, tmp_path: Path) -> None:
    assert read_vetted(named).family == "Llama"
    assert type(base_weights.load(named)).__module__.startswith("transformers.")
    config = AutoConfig.from_pretrained(named, trust_remote_code=False, local_files_only=True)
    assert type(config).__name__ == "LlamaConfig"
    assert len(PreTrainedTokenizerFast.from_pretrained(named, local_files_only=True)) > 3
    assert not (tmp_path / crafted_models.CANARY).exists()
