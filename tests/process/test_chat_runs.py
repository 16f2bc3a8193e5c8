"""`slmstudio chat` with runs, finished or not: with a worker that only plays one, and with a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import evaluated_runs, gguf_models

from slmstudio.cli import commands
from slmstudio.core.chat.conversation import Conversation
from slmstudio.core.run import checkpoints, folder
from slmstudio.core.run.config import RunConfig

QUESTION = "Where do I report a broken street light?"


@pytest.fixture
def run(studio_home: Path, tiny_model: Path) -> Path:
    return evaluated_runs.ended_run("helpdesk", tiny_model)


def unfinished(model: Path, **fields: Any) -> Path:
    return folder.create(RunConfig(name="cut off", model=str(model), train_file="rows.jsonl", **fields)).folder


def last_json(text: str) -> dict[str, Any]:
    return dict(json.loads(text.splitlines()[-1]))


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert commands.main(["chat", *words, "--prompt", "x", "--json"]) == 2
    error = last_json(capsys.readouterr().out)["error"]
    return " ".join((error["what"], error["why"], error["remedy"]))


@pytest.mark.parametrize("named", ["helpdesk", "folder", "adapter"])
def test_a_run_is_named_in_each_way(run: Path, play, capsys, named: str) -> None:
    play("")
    (run / "exports").mkdir()
    export = run / "exports" / "helpdesk-Q8_0.gguf"
    export.write_bytes(b"GGUF")
    typed = {"folder": str(run), "adapter": str(run / "adapter")}.get(named, named)
    assert commands.main(["chat", typed, "--prompt", QUESTION, "--json"]) == 0
    said = last_json(capsys.readouterr().out)
    assert said["model"] == str(run if named == "adapter" else export) and QUESTION in said["reply"]
    assert "base" not in said


def test_its_base_answers_beside_it(run: Path, tiny_model: Path, play, capsys, monkeypatch, tmp_path: Path) -> None:
    play("")
    typed = iter([QUESTION, "/regenerate", f"/save {tmp_path / 'talk'}", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    assert commands.main(["chat", "helpdesk", "--base"]) == 0
    said = capsys.readouterr()
    assert said.out.count("[helpdesk]") == said.out.count("[tiny]") == 2 and said.out.count(QUESTION) == 4
    assert "helpdesk: On the RTX 3060" in said.err
    lanes = Conversation.read(tmp_path / "talk.json").lanes
    assert [lane.model for lane in lanes] == [str(run), str(tiny_model)]
    assert [len(lane.tree.siblings(lane.turns[1])) for lane in lanes] == [2, 2]
    assert commands.main(["chat", "helpdesk", "--base", "--prompt", QUESTION, "--json"]) == 0
    assert last_json(capsys.readouterr().out)["base"]["model"] == str(tiny_model)


def test_what_cannot_be_talked_to_is_told_with_a_remedy(run: Path, tiny_model: Path, capsys, monkeypatch) -> None:
    cut = unfinished(tiny_model)
    said = refused(capsys, str(cut))
    assert "cut off has no result yet." in said and f"train {cut}" in said
    assert "neither a run nor a model called “helpdsk”" in (said := refused(capsys, "helpdsk"))
    assert "Did you mean: helpdesk?" in said and said.endswith("runs")
    assert "--gpu-layers is for GGUF files" in (said := refused(capsys, "helpdesk", "--gpu-layers", "3"))
    assert f"export {run}" in said
    assert "no base model that can answer too" in refused(capsys, str(tiny_model), "--base")


@pytest.mark.full
@pytest.mark.timeout(180)
def test_a_real_run_and_one_that_was_cut_off(run: Path, tiny_model: Path, capsys) -> None:
    gguf_models.adapter_on(tiny_model, run / "adapter", lora_alpha=64)
    ask = ["--prompt", QUESTION, "--temperature", "0", "--max-tokens", "12", "--context", "256", "--json"]
    assert commands.main(["chat", "helpdesk", *ask, "--base"]) == 0
    tuned = last_json(capsys.readouterr().out)
    assert tuned["completion_tokens"] and tuned["context_length"] == 256
    assert tuned["reply"] != tuned["base"]["reply"]
    cut = unfinished(tiny_model)
    for step in (20, 40):
        with checkpoints.writing(cut / folder.CHECKPOINTS, step, None) as place:
            gguf_models.adapter_on(tiny_model, place, lora_alpha=64)
    (cut / folder.CHECKPOINTS / "step-000040" / "adapter_config.json").write_text("{}")
    assert commands.main(["chat", "cut off", *ask]) == 0
    said = capsys.readouterr()
    assert "so this is its checkpoint of step 20." in said.err
    assert last_json(said.out)["reply"] == tuned["reply"]
