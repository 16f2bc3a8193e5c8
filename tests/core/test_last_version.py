"""A home folder that the last version wrote opens and says the same: runs, an evaluation, a proof, a chat, settings.

support/home_of_0.1.0.tar.xz is of a model with 100,000 weights: a run of four steps that was evaluated and exported, a
run that was cancelled, a conversation in two languages. "@HOME@" in its files stands for the folder.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from slmstudio.core import settings
from slmstudio.core.chat.conversation import read_chats
from slmstudio.core.export import proof
from slmstudio.core.report import page
from slmstudio.core.report.gather import Facts, gather
from slmstudio.core.run import checkpoints, folder

ARCHIVE = Path(__file__).parents[1] / "support" / "home_of_0.1.0.tar.xz"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(home, filter="data")
    for file in (*home.rglob("*.json"), *home.rglob("*.jsonl")):
        if folder.CHECKPOINTS not in file.parts:  # these are sealed
            file.write_text(file.read_text("utf-8").replace("@HOME@", home.as_posix()), "utf-8")
    monkeypatch.setenv("SLMSTUDIO_HOME", str(home))
    return home


@pytest.fixture
def finished(home: Path) -> Facts:
    return gather(next((home / "runs").glob("*helpdesk*")))


def test_runs_have_their_states_and_figures(home: Path, finished: Facts) -> None:
    runs = {run.config.name: run for run in folder.all_runs()}
    assert {name: run.state for name, run in runs.items()} == {"helpdesk": "finished", "interrupted": "cancelled"}
    assert finished.gaps == [] and len(finished.history.series["train_loss"]) == 4
    assert [round(finished.outcome["result"][f"eval_loss_{when}"], 3) for when in ("before", "after")] == [6.021, 5.901]
    assert finished.rows is not None and sum(side.rows for side in finished.rows.sides.values()) == 41
    assert [each.global_step for each in finished.kept] == [2, 4]
    assert [checkpoints.damage(each.path) for each in finished.kept] == [None, None]


def test_its_evaluation_and_its_proof_say_what_they_said(finished: Facts) -> None:
    [evaluation] = finished.evaluations
    [compared] = evaluation.main_comparisons
    assert (evaluation.state, evaluation.gap, len(evaluation.models)) == ("finished", "", 2)
    assert compared["metric"] == "chrf"
    [export] = finished.exports
    told = proof.read(export.path)
    assert told["passed"] and told["checks"] == export.parity["checks"] and told["positions"] == 590


def test_its_report_is_written_and_has_no_gap(finished: Facts, tmp_path: Path) -> None:
    report = page.write_report(finished.run.folder, tmp_path / "report.html").read_text("utf-8")
    assert "helpdesk" in report


def test_its_conversation_and_settings_open(home: Path) -> None:
    [(_, conversation)], faults = read_chats(home / "chats")
    assert faults == [] and conversation.lanes[0].turns[-1].content == "सात दिन में।"
    found, trouble = settings.load()
    assert trouble is None and (found.language, found.theme, found.currency) == ("hi", "dark", "INR")
