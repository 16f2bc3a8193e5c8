"""The user's own blind votes on the answers of an evaluation."""

from __future__ import annotations

import shutil

import pytest
from support import evaluated_runs

from slmstudio.core import files, paths
from slmstudio.core.evaluation import ballots, item_edits
from slmstudio.core.evaluation.scoring import row_scores
from slmstudio.core.votes import store
from slmstudio.core.votes.store import ALL_BAD, ALL_GOOD, BEST
from slmstudio.core.votes.tally import preference_rows, tallies


@pytest.fixture(autouse=True)
def votes(studio_home):
    """An empty place for them."""


def test_votes_are_counted_and_a_judge_is_held_against_them(tmp_path):
    job = evaluated_runs.write(tmp_path, count=24).folder
    rows = row_scores(job)
    left = ballots.ballots(rows, "tuned", "base", {}, seed=1)
    assert {ballot.row.id for ballot in left} == {row.id for row in rows if row.answers["tuned"] != row.answers["base"]}
    assert {ballot.shown for ballot in left} == {("tuned", "base"), ("base", "tuned")}, "sides are drawn"
    assert ballots.summary(job, "tuned", "base")["votes"] == 0
    for ballot in left[:10]:
        ballots.add(job, ballot.row, "tuned", "base", BEST, "tuned")
    for ballot, verdict in zip(left[10:12], (ALL_GOOD, ALL_BAD), strict=True):
        ballots.add(job, ballot.row, "tuned", "base", verdict)
    ballots.add(job, left[0].row, "base", "tuned", BEST, "base")  # a second thought, named the other way round
    found = ballots.summary(job, "tuned", "base")
    assert (found["votes"], found["wins_of"], found["wins_with"], found["ties"]) == (12, 9, 1, 2)
    assert found["sentence"].startswith("In your own blind votes, tuned is better") and found["agreement"] is None
    assert len(ballots.ballots(rows, "tuned", "base", ballots.read(job, "tuned", "base"), 2)) == len(left) - 12
    lines = [{"id": ballot.row.id, "order": order, "a": "tuned", "b": "base", "winner": "a"}
             for ballot in left for order in ("ab", "ba")]
    files.write_atomically(job / ballots.JUDGE, b"".join(map(files.dump_line, lines)))
    agreed = ballots.summary(job, "tuned", "base")["agreement"]
    assert (agreed["votes"], agreed["agreed"]) == (12, 9)
    turned = ballots.summary(job, "base", "tuned")
    assert (turned["agreement"]["agreed"], turned["wins_of"]) == (9, 1), "whichever is named first"


def test_a_vote_on_a_row_that_was_removed_counts_no_more_until_it_is_back(tmp_path):
    job = evaluated_runs.write(tmp_path, count=8).folder
    rows = row_scores(job)
    for item in (2, 3):
        ballots.add(job, rows[item], "tuned", "base", BEST, "tuned")
    edit = item_edits.remove(job, 3)
    assert ballots.read(job, "tuned", "base") == {2: "tuned"}
    assert ballots.summary(job, "tuned", "base")["votes"] == 1
    item_edits.undo(edit)
    assert ballots.read(job, "tuned", "base") == {2: "tuned", 3: "tuned"}


def test_a_vote_that_was_taken_back_counts_no_more_and_can_be_cast_again(tmp_path):
    job = evaluated_runs.write(tmp_path, count=8).folder
    rows = row_scores(job)
    ballots.add(job, rows[2], "tuned", "base", BEST, "tuned")
    ballots.add(job, rows[3], "tuned", "base", BEST, "base")
    ballots.take_back(job, rows[3], "base", "tuned")
    assert ballots.read(job, "tuned", "base") == {2: "tuned"}
    ballots.add(job, rows[3], "tuned", "base", ALL_BAD)
    assert ballots.read(job, "tuned", "base") == {2: "tuned", 3: ""}
    assert len(paths.votes_file().read_bytes().splitlines()) == 4, "what was written stays"
    assert len(store.read()[0]) == 2


def test_votes_of_chat_and_of_evaluations_are_one_store(tmp_path, tiny_model):
    """They are tallied and made into pairs alike, each model known by its bytes; a moved evaluation keeps its votes."""
    run = evaluated_runs.ended_run("helpdesk", tiny_model)
    (run / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    models = [{"name": "base", "model": str(tiny_model), "adapter": None, "gguf": None},
              {"name": "tuned", "model": str(tiny_model), "adapter": str(run / "adapter"), "gguf": None}]
    job = evaluated_runs.write(run, count=8, models=models)
    rows = row_scores(job.folder)
    ballots.add(job.folder, rows[1], "tuned", "base", BEST, "tuned")
    (found,) = store.read()[0]
    assert found.answers[0].model.name == run.name and found.answers[1].model.name == tiny_model.name
    assert store.of_chat() == []
    (tally,) = tallies([found])
    assert tally.wins == [1, 0]
    pairs, _ = preference_rows([found])
    assert rows[1].answers["tuned"] in str(pairs[0]["chosen"])
    moved = tmp_path / "elsewhere" / run.name
    shutil.copytree(run, moved)
    assert ballots.read(moved / "jobs" / job.folder.name, "tuned", "base") == {1: "tuned"}


def test_without_votes_no_row_is_read(tmp_path):
    """The rows of a large evaluation take seconds to read, and its scores are shown again and again."""
    job = evaluated_runs.write(tmp_path, count=8).folder
    for name in (ballots.ITEMS, ballots.JUDGE):
        (job / name).unlink(missing_ok=True)
        (job / name).mkdir()  # can't be read
    assert ballots.read(job, "tuned", "base") == {}
    assert ballots.summary(job, "tuned", "base")["votes"] == 0
