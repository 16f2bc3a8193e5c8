"""`models vet` in a terminal: what was looked at, and whether the model can be used."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from support import crafted_models

from slmstudio.cli import commands


@pytest.fixture(autouse=True)
def _home(studio_home: Path) -> None:
    """What is remembered of a vetting stays with the test."""


def test_a_model_that_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = crafted_models.honest(tmp_path / "m")
    (folder / "optimizer.pt").write_bytes(pickle.dumps({}))
    assert commands.main(["models", "vet", str(folder)]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert len(lines) == 10 and all(line.startswith("✓ ") for line in lines)
    assert said.err.startswith("warning: The folder also contains Python pickles") and "optimizer.pt" in said.err


def test_a_model_that_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = crafted_models.honest(tmp_path / "m", {"configuration_files": ["config.4.0.0.json"], "rope_theta": 0})
    assert commands.main(["models", "vet", str(folder)]) == 2
    said = capsys.readouterr()
    refused = [line for line in said.out.splitlines() if line.startswith("✗ ")]
    assert len(refused) == 2 and "configuration_files" in refused[0] and "rope_theta" in refused[1]
    assert [line.split()[1] for line in said.err.splitlines()] == ["configuration_files", "rope_theta"]


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = crafted_models.honest(tmp_path / "m", template=None)
    assert commands.main(["models", "vet", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["passed"], found["problems"], len(found["warnings"])) == (True, [], 1)
    assert found["checks"][0] == {"name": "files", "passed": True, "sentence":
                                  "The folder contains 4 files, and none of them leads out of the folder."}
    assert commands.main(["models", "vet", str(tmp_path / "nowhere"), "--json"]) == 2
    assert "doesn't exist" in json.loads(capsys.readouterr().out.splitlines()[-1])["problems"][0]["message"]


def test_a_plan_is_made_of_vetted_models_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, rows = crafted_models.honest(tmp_path / "m", {"eos_token_id": 9_999}), tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Q", "output": "A"}\n')
    assert commands.main(["plan", "--model", str(folder), "--data", str(rows), "--out", str(tmp_path / "r.json")]) == 2
    assert "eos_token_id is 9,999" in capsys.readouterr().err


def test_a_tokenizer_of_another_model_is_refused_until_it_is_accepted(tmp_path: Path,
                                                                      capsys: pytest.CaptureFixture[str]) -> None:
    folder, rows = crafted_models.honest(tmp_path / "m", {"eos_token_id": 271}), tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Q", "output": "A"}\n' * 20)
    plan = ["plan", "--model", str(folder), "--data", str(rows), "--out", str(tmp_path / "r.json")]
    assert commands.main(plan) == commands.main(["models", "vet", str(folder)]) == 2
    assert capsys.readouterr().err.count("--accept-tokenizer") == 2
    assert commands.main(["models", "vet", "--accept-tokenizer", str(folder)]) == 0 == commands.main(plan)
