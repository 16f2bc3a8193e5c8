"""A tokenizer of another model, or one that has lost a part, is refused, however well it reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import crafted_models, family_models
from support.model_files import llama_tensors, safetensors

from slmstudio.core.errors import UserError
from slmstudio.core.model.vetting import tokenizer
from slmstudio.core.model.vetting.vet import accept, read_vetted, vet


@pytest.fixture(autouse=True)
def _home(studio_home: Path) -> None:
    """What is remembered of a vetting stays with the test."""


def failed(folder: Path) -> list[str]:
    return [check.name for check in vet(folder).checks if not check.passed]


@pytest.mark.parametrize(("family", "other"), [("llama3", "phi3"), ("qwen2", "mistral"), ("phi3", "tinyllama")])
def test_the_tokenizer_of_another_family(families: Path, tmp_path: Path, family: str, other: str) -> None:
    folder = Path(shutil.copytree(families / family, tmp_path / "m"))
    shutil.copy(families / other / "tokenizer.json", folder)
    assert failed(folder) == ["match"]


def test_tokens_of_the_config_that_the_tokenizer_lacks(tmp_path: Path) -> None:
    folder = crafted_models.honest(tmp_path / "m", {"eos_token_id": [270, 271]})
    (problem,) = vet(folder).problems
    assert problem.message.startswith(
        "tokenizer.json seems to be another model's: it has 270 tokens, but the embeddings have 272 rows. "
        "eos_token_id in config.json is 270, 271, and tokenizer.json has no such token. Put the model's own")
    crafted_models.edit(folder, "config.json", eos_token_id=[258, 271], pad_token_id=270)
    assert vet(folder).passed, "one of them is there, and padding is never learned"


@pytest.mark.parametrize(("rows", "checks"), [(270 + 4095, []), (270 + 4096, ["match"])])
def test_many_more_rows_than_tokens(tmp_path: Path, rows: int, checks: list[str]) -> None:
    folder = crafted_models.honest(tmp_path / "m", {"vocab_size": rows},
                                   weights=safetensors(llama_tensors(vocabulary=rows)))
    assert failed(folder) == checks


def test_who_knows_better_says_so_once(tmp_path: Path) -> None:
    folder = crafted_models.honest(tmp_path / "m", {"eos_token_id": 271})
    assert vet(folder).is_acceptable
    with pytest.raises(UserError) as caught:
        read_vetted(folder)
    assert "models vet --accept-tokenizer" in caught.value.remedy
    accept(folder)
    moved = folder.rename(tmp_path / "moved")
    assert read_vetted(moved).layers == 2 and vet(moved).warnings[-1].endswith("You accepted it anyway.")
    crafted_models.edit(moved, "config.json", pad_token_id=5)
    assert failed(moved) == ["match"], "another config.json than the accepted one"


def test_what_would_fail_cannot_be_accepted(tmp_path: Path) -> None:
    assert not vet(crafted_models.honest(tmp_path / "m", {"eos_token_id": 271, "bos_token_id": 300})).is_acceptable


@pytest.mark.parametrize("family", family_models.FAMILIES)
def test_lost_merges(families: Path, tmp_path: Path, family: str) -> None:
    folder = Path(shutil.copytree(families / family, tmp_path / "m"))
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    del state["model"]["merges"][::12]
    (folder / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    assert failed(folder) == ["tokenizer"]
    assert "tokenizer.json is incomplete: its " in vet(folder).problems[0].message


def test_a_template_without_end_is_what_is_to_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "SECONDS", 1)
    folder = crafted_models.honest(tmp_path / "m", template=(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"))
    [check] = [check for check in vet(folder).checks if not check.passed]
    assert check.name == "template" and "tokenizer.json" not in check.sentence
