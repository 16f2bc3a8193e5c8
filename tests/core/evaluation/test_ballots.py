"""The user's own blind votes on the answers of an evaluation."""

from __future__ import annotations

from support import evaluated_runs

from slmstudio.core import files
from slmstudio.core.evaluation import ballots, item_edits
from slmstudio.core.evaluation.scoring import row_scores


def test_votes_are_counted_and_a_judge_is_held_against_them(tmp_path):
    job = evaluated_runs.write(tmp_path, count=24).folder
    rows = row_scores(job)
    left = ballots.ballots(rows, "tuned", "base", {}, seed=1)
    assert {ballot.row.id for ballot in left} == {row.id for row in rows if row.answers["tuned"] != row.answers["base"]}
    assert {ballot.shown for ballot in left} == {("tuned", "base"), ("base", "tuned")}, "sides are drawn"
    assert ballots.summary(job, "tuned", "base")["votes"] == 0
    for number, ballot in enumerate(left[:12]):
        ballots.add(job, ballot.row.id, "tuned", "base", "tuned" if number < 10 else "")
    ballots.add(job, left[0].row.id, "base", "tuned", "base")  # a second thought, named the other way round
    found = ballots.summary(job, "tuned", "base")
    assert (found["votes"], found["wins_of"], found["wins_with"], found["ties"]) == (12, 9, 1, 2)
    assert found["sentence"].startswith("In your own blind votes tuned is better") and found["agreement"] is None
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
    for item in (2, 3):
        ballots.add(job, item, "tuned", "base", "tuned")
    edit = item_edits.remove(job, 3)
    assert ballots.read(job, "tuned", "base") == {2: "tuned"}
    assert ballots.summary(job, "tuned", "base")["votes"] == 1
    item_edits.undo(edit)
    assert ballots.read(job, "tuned", "base") == {2: "tuned", 3: "tuned"}


def test_a_vote_that_was_taken_back_counts_no_more_and_can_be_cast_again(tmp_path):
    job = evaluated_runs.write(tmp_path, count=8).folder
    ballots.add(job, 2, "tuned", "base", "tuned")
    ballots.add(job, 3, "tuned", "base", "base")
    ballots.take_back(job, 3, "base", "tuned")
    assert ballots.read(job, "tuned", "base") == {2: "tuned"}
    ballots.add(job, 3, "tuned", "base", "")
    assert ballots.read(job, "tuned", "base") == {2: "tuned", 3: ""}
    assert len((job / ballots.FILE).read_bytes().splitlines()) == 4, "what was written stays"


def test_without_votes_no_row_is_read(tmp_path):
    """The rows of a large evaluation take seconds to read, and its scores are shown again and again."""
    job = evaluated_runs.write(tmp_path, count=8).folder
    for name in (ballots.ITEMS, ballots.JUDGE):
        (job / name).unlink(missing_ok=True)
        (job / name).mkdir()  # cannot be read
    assert ballots.read(job, "tuned", "base") == {}
    (job / ballots.FILE).touch()
    assert ballots.summary(job, "tuned", "base")["votes"] == 0
