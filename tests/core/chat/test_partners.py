"""What is opened for a place or a name that was typed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from slmstudio.core import llama
from slmstudio.core.chat import assistant, partners
from slmstudio.core.errors import UserError
from slmstudio.core.model import library
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig


@pytest.fixture
def run(studio_home: Path) -> Path:
    return folder.create(RunConfig(name="helpdesk", model="gone", train_file="rows.jsonl")).folder


def test_files_and_folders_are_taken_as_they_are(studio_home: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    assert [partners.of_text(str(path)) for path in (file, tmp_path)] == [[file], [tmp_path]]


def test_a_run_needs_a_result_or_a_checkpoint(run: Path) -> None:
    with pytest.raises(UserError, match="helpdesk has no result yet"):
        partners.of_text("helpdesk")
    (run / folder.CHECKPOINTS / "step-000020").mkdir(parents=True)
    assert partners.of_text("helpdesk") == [run]
    with pytest.raises(UserError, match="no result"):
        partners.of_run(run)  # as the window opens it


@pytest.mark.parametrize("name", [folder.ADAPTER, folder.MODEL])
def test_a_run_may_be_called_like_what_a_run_leaves(run: Path, tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.setattr(llama, "trouble", lambda: None)
    monkeypatch.chdir(tmp_path)
    folder.rename(run, name)
    (run / folder.ADAPTER).mkdir()
    export = run / folder.EXPORTS / "helpdesk-Q8_0.gguf"
    export.parent.mkdir()
    export.write_bytes(b"GGUF")
    assert partners.of_text(name) == partners.of_text(str(run)) == [export]
    assert partners.of_text(str(run / folder.ADAPTER)) == [run], "these weights, and not an export"


def test_starter_is_the_starter_model_whatever_a_run_is_called(run: Path, tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "starter-model.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setattr(library, "starter_gguf", lambda: file)
    monkeypatch.chdir(tmp_path)
    folder.rename(run, library.STARTER)
    (run / folder.ADAPTER).mkdir()
    assert partners.of_text(library.STARTER) == [file]
    assert partners.of_text(run.name) == [run]


def test_the_server_takes_a_file_or_the_newest_export(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be served as it is") as caught:
        partners.file_to_serve("helpdesk")
    assert f"export {run} --type Q8_0" in caught.value.remedy
    with pytest.raises(UserError, match="There's no run “helpdsk”"):
        partners.file_to_serve("helpdsk")
    (run / folder.EXPORTS).mkdir()
    for seconds, name in enumerate(("helpdesk-F16.gguf", "helpdesk-Q8_0.gguf", "helpdesk-lora.gguf")):
        (run / folder.EXPORTS / name).write_bytes(b"GGUF")
        os.utime(run / folder.EXPORTS / name, (seconds, seconds))
    newest = run / folder.EXPORTS / "helpdesk-Q8_0.gguf"
    assert partners.file_to_serve("helpdesk") == partners.file_to_serve(str(newest)) == newest


def test_a_kept_rival_of_the_base_answers_instead_of_an_export(run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(llama, "trouble", lambda: None)
    (run / folder.ADAPTER).mkdir()
    (run / folder.EXPORTS).mkdir()
    export = run / folder.EXPORTS / "helpdesk-Q8_0.gguf"
    export.write_bytes(b"GGUF")
    base = tmp_path / "base"
    base.mkdir()
    kept = {"rival": "prompt", "system": "Be brief.", "context": None, "model": {"model": str(base)}}
    (run / assistant.ASSISTANT).write_text(json.dumps(kept))
    assert partners.of_text("helpdesk") == [run] and assistant.of_model(export) is None
    assert partners.assistant_of("helpdesk").load_options() == {"assistant": str(run), "model": str(base)}
    with pytest.raises(UserError, match="The base model base can't be served"):
        partners.file_to_serve("helpdesk")
    (base / "base.gguf").write_bytes(b"GGUF")
    assert partners.file_to_serve("helpdesk") == base / "base.gguf"

    (run / assistant.ASSISTANT).write_text(json.dumps({**kept, "rival": "tuned_retrieval", "model": None}))
    assert partners.of_text("helpdesk") == [export] and assistant.of_model(export).rival == "tuned_retrieval"
    assert partners.file_to_serve("helpdesk") == export
