"""What a held-out row asks, where a chat can ask it; and which of the models in Chat is which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.held_out_rows import asked, hold_out

from slmstudio.core.chat import partners
from slmstudio.core.chat.partners import HeldOutQuestion
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

ROW = asked("राशन कार्ड कैसे बनाएँ?", "फ़ॉर्म 3 भरें।", "आप सहायक हैं।")


@pytest.fixture
def run(studio_home: Path, tmp_path: Path) -> Path:
    return folder.create(RunConfig(name="desk", model=str(tmp_path / "base"), train_file="rows.jsonl")).folder


def test_the_first_question_of_each_row_that_a_chat_can_ask(run):
    longer = replace(asked("And where?", "At window 2."), messages=(
        *asked("Where do I pay?", "Here.").messages, *asked("And how?", "In cash.").messages))
    hold_out(run, [ROW, ROW, longer, replace(ROW, messages=(), text="Only text."), replace(ROW, desirable=False)])
    assert partners.questions(run) == [
        HeldOutQuestion("राशन कार्ड कैसे बनाएँ?", "फ़ॉर्म 3 भरें।", "आप सहायक हैं।"),
        HeldOutQuestion("Where do I pay?", "Here.")]


@pytest.mark.parametrize("kept", [None, b"", b"no gzip"])
def test_a_run_without_such_rows_has_none(run, kept):
    if kept is not None:
        (run / "data").mkdir()
        (run / "data" / "eval.jsonl.gz").write_bytes(kept)
    assert partners.questions(run) == []


@pytest.mark.parametrize(("names", "roles"), [
    (["run", "base"], ["tuned", "before"]), (["export", "base"], ["tuned", "before"]),
    (["run", "base/base-Q8_0.gguf"], ["tuned", "before"]), (["base", "run"], ["before", "tuned"]),
    (["run", "other"], ["", ""]), (["run"], [""]), (["base", "other"], ["", ""]),
    (["run", "export", "base"], ["tuned", "tuned", "before"])])
def test_which_is_tuned_and_which_was_before(run, tmp_path, names, roles):
    places = {"run": run, "export": run / "exports" / "desk-Q8_0.gguf"}
    found = partners.origins([places.get(name, tmp_path / name) for name in names])
    assert [each.role for each in found] == roles
    assert [each.run for each in found] == [run if name in places else None for name in names]
