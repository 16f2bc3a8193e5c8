"""Rows of an evaluation are corrected and removed beside it, it can be undone, and the test file is left alone."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from support import evaluated_runs

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import answer_rows, item_edits, scoring
from slmstudio.core.evaluation.testset.reader import read_test_set


@pytest.fixture
def job(tmp_path):
    made = evaluated_runs.write(tmp_path, count=12)
    lines = [{"id": item, "order": order, "a": "tuned", "b": "base", "winner": "a", "said": "A"}
             for item in range(12) for order in ("ab", "ba")]
    files.write_atomically(made.folder / scoring.JUDGE, b"".join(map(files.dump_line, lines)))
    scoring.score(made.folder)
    return made.folder


@pytest.fixture(autouse=True)
def nothing_that_was_asked_is_written(job):
    asked = {path: path.read_bytes() for path in (*job.glob("items.json*"), *job.glob("answers-*"),
                                                  job / scoring.JUDGE, job.parent.parent / "tests.jsonl")}
    assert len(asked) == 6
    yield
    assert {path: path.read_bytes() for path in asked} == asked


def scores(job) -> dict[str, object]:
    found = files.read_json(job / scoring.SCORES)
    found.pop("created")
    return found


def value(job, metric: str) -> tuple[float, int]:
    found = scores(job)["models"][1]["scores"][metric]
    return found["value"], found["rows"]


def rows_judged(job) -> int:
    return scores(job)["judge"]["pairs"][0]["rows"]


def test_references_are_corrected_scored_again_and_put_back(job):
    before, (chrf, _), (_, rows) = scores(job), value(job, "chrf"), value(job, "loss")
    edit = item_edits.set_references(job, 3, ["Please call the helpline.", "खिड़की 3 पर", "खिड़की 3 पर"])
    row = next(row for row in scoring.row_scores(job) if row.id == 3)
    assert row.references == ["Please call the helpline.", "खिड़की 3 पर"]
    assert value(job, "chrf")[0] < chrf
    assert value(job, "loss")[1] == rows - 1 and rows_judged(job) == 11, "nobody was asked about the new ones"
    assert item_edits.undo(edit) is None and scores(job) == before


def test_a_row_is_removed_with_all_that_was_said_of_it_and_put_back(job):
    before = scores(job)
    edits = [item_edits.remove(job, item) for item in (5, 0, 11)]
    left = scoring.row_scores(job)
    assert [(row.id, row.line) for row in left] == [(id_, id_ + 1) for id_ in (1, 2, 3, 4, 6, 7, 8, 9, 10)]
    assert rows_judged(job) == 9
    with pytest.raises(UserError, match="has no row 5"):
        item_edits.set_references(job, 5, ["Other."])
    edits.append(item_edits.set_references(job, 6, ["Other."]))
    for edit in (edits[1], edits[3], edits[0], edits[2]):  # in any order
        item_edits.undo(edit)
    assert scores(job) == before


def test_the_last_of_several_changes_holds_and_the_one_before_comes_back(job):
    first, second = (item_edits.set_references(job, 3, [text]) for text in ("One.", "Two."))
    item_edits.set_tags(job, 3, "law", "")
    assert answer_rows.read_corrections(job).values[3] == {"references": ["Two."], "category": "law", "language": None,
                                               "language_guessed": False}
    item_edits.undo(second)
    row = next(row for row in scoring.row_scores(job) if row.id == 3)
    assert (row.references, row.category, row.language) == (["One."], "law", None)
    item_edits.undo(first)
    assert "references" not in answer_rows.read_corrections(job).values[3]


def test_what_cannot_be_done_changes_nothing(job):
    for work in (lambda: item_edits.set_references(job, 3, ["  "]), lambda: item_edits.set_references(job, 3, []),
                 lambda: item_edits.remove(job, 99)):
        with pytest.raises(UserError, match="wasn't changed"):
            work()
    assert not (job / answer_rows.CORRECTIONS).exists()
    for item in range(11):
        item_edits.remove(job, item)
    with pytest.raises(UserError, match="only one"):
        item_edits.remove(job, 11)


def test_a_full_disk_changes_nothing_and_is_told(job, monkeypatch):
    def full(*given) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "append_line", full)
        with pytest.raises(UserError, match="full"):
            item_edits.remove(job, 3)
    assert len(scoring.row_scores(job)) == 12
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "score", full)
        edit = item_edits.remove(job, 3)
        assert "full" in str(edit.unscored), "it is removed, and only the scores are those from before"
    assert item_edits.undo(edit) is None


def test_the_rows_as_they_are_now_are_written_as_a_test_set(job, tmp_path):
    item_edits.remove(job, 0)
    item_edits.set_references(job, 3, ["One.", "Two."])
    item_edits.set_tags(job, 5, "", "mr")
    assert item_edits.export(job, tmp_path / "new.jsonl") == 11
    asked, now = (read_test_set(tmp_path / name).items for name in ("tests.jsonl", "new.jsonl"))
    assert [item.messages for item in now] == [item.messages for item in asked[1:]]
    assert now[2].references == ("One.", "Two.") and now[1].references == asked[2].references
    assert (now[4].category, now[4].language) == (None, "mr")


@pytest.mark.parametrize("rows", [
    [{"question": "Q?", "choices": ["x", "y", "z"], "answer": "C"}, {"question": "R?", "choices": ["x", "y"],
                                                                      "answer": "A"}],
    [{"question": "How many?", "answer": "It is 6 × 7 #### 42"}, {"question": "And now?", "answer": "#### 7"}],
    [{"question": "Q?", "answer": "ward 7", "kind": "exact"}, {"question": "R?", "answer": "नागपुर"}],
], ids=["choices", "numbers", "exact and free"])
def test_a_test_set_of_any_kind_is_read_as_before(tmp_path: Path, rows):
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    items = read_test_set(file).items
    job = jobs.Job.create(tmp_path / "job", "evaluate", test=str(file), system="Be brief.", models=[])
    lines = [{**item.to_dict(), "messages": [{"role": "system", "content": "Be brief."}, *item.messages]}
             for item in items]
    files.write_atomically(job.folder / "items.jsonl", b"".join(map(files.dump_line, lines)))
    item_edits.export(job.folder, tmp_path / "new.jsonl")
    assert read_test_set(tmp_path / "new.jsonl").items == items
