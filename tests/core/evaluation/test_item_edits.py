"""Rows of an evaluation are corrected and removed with their test file, and it can be undone."""

from __future__ import annotations

import errno
import json
import os

import pytest
from support import evaluated_runs

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import item_edits, item_tags, scoring
from slmstudio.core.evaluation.testset import file_edits
from slmstudio.core.evaluation.testset.reader import read_test_set


@pytest.fixture
def job(tmp_path):
    made = evaluated_runs.write(tmp_path, count=12)
    lines = [{"id": item, "order": order, "a": "tuned", "b": "base", "winner": "a", "said": "A"}
             for item in range(12) for order in ("ab", "ba")]
    files.write_atomically(made.folder / scoring.JUDGE, b"".join(map(files.dump_line, lines)))
    scoring.score(made.folder)
    return made.folder


def everything(job) -> dict[str, object]:
    """All that an edit may change; of the scores all but when they were made."""
    scores = files.read_json(job / scoring.SCORES)
    scores.pop("created")
    return {"scores": scores, "test": (job.parent.parent / "tests.jsonl").read_bytes(),
            **{path.name: path.read_bytes() for path in sorted(job.glob("items.json")) + sorted(job.glob("*.jsonl"))
               if path.name != jobs.EVENTS}}


def value(job, metric: str) -> tuple[float, int]:
    scores = files.read_json(job / scoring.SCORES)["models"][1]["scores"][metric]
    return scores["value"], scores["rows"]


def test_references_are_corrected_scored_again_and_put_back(job, tmp_path):
    before, (chrf, _), (_, rows) = everything(job), value(job, "chrf"), value(job, "loss")
    edit = item_edits.set_references(job, 3, ["Please call the helpline.", "खिड़की 3 पर"])
    row = next(row for row in scoring.row_scores(job) if row.id == 3)
    assert row.references == ["Please call the helpline.", "खिड़की 3 पर"]
    assert read_test_set(tmp_path / "tests.jsonl").items[3].references == tuple(row.references)
    assert value(job, "chrf")[0] < chrf and value(job, "loss")[1] == rows - 1, "nobody was asked about the new ones"
    item_edits.undo(edit)
    assert everything(job) == before


def test_a_row_is_removed_with_all_that_was_said_of_it_and_put_back(job, tmp_path):
    before = everything(job)
    edits = [item_edits.remove(job, item) for item in (5, 0, 11)]
    left = scoring.row_scores(job)
    assert [row.id for row in left] == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert [row.line for row in left] == list(range(1, 10)), "the lines are those of the file as it is now"
    assert files.read_json(job / scoring.SCORES)["judge"]["pairs"][0]["rows"] == 9
    edits.append(item_edits.set_references(job, 6, ["Other."]))
    assert read_test_set(tmp_path / "tests.jsonl").items[4].references == ("Other.",)
    for edit in reversed(edits):
        item_edits.undo(edit)
    assert everything(job) == before


def test_a_judge_who_read_another_reference_is_not_believed(job):
    before = everything(job)
    edit = item_edits.set_references(job, 3, ["Other."])
    assert files.read_json(job / scoring.SCORES)["judge"]["pairs"][0]["rows"] == 11
    item_edits.undo(edit)
    assert everything(job) == before


def test_rows_below_one_that_takes_more_lines_now_can_still_be_edited(job):
    path = job.parent.parent / "tests.jsonl"
    read = read_test_set(path)
    indented = path.with_suffix(".json")
    indented.write_text(json.dumps([json.loads(line) for line in path.read_text("utf-8").splitlines()],
                                   ensure_ascii=False, indent=2), encoding="utf-8")
    request = files.read_json(job / jobs.REQUEST)
    files.write_atomically(job / jobs.REQUEST, files.dump_pretty({**request, "test": str(indented)}))
    moved = file_edits.moved(read, read_test_set(indented))
    rows = [{**row, "line": moved[row["line"]]} for row in files.LineReader(job / item_edits.ITEMS).read()]
    files.write_atomically(job / item_edits.ITEMS, b"".join(map(files.dump_line, rows)))

    edits = [item_edits.set_references(job, item, ["One.", "Two.", "Three."]) for item in (1, 4)]
    items = read_test_set(indented).items
    assert [row.line for row in scoring.row_scores(job)] == [item.line for item in items] != list(moved.values())
    assert items[4].references == ("One.", "Two.", "Three.")
    for edit in reversed(edits):
        item_edits.undo(edit)
    assert list(files.LineReader(job / item_edits.ITEMS).read()) == rows
    assert item_tags.set_tags(job, 2, "", "hi").in_file, "a line fewer"
    assert item_tags.set_tags(job, 7, "law", "en").in_file
    item_edits.remove(job, 9)
    items = read_test_set(indented).items
    assert [row.line for row in scoring.row_scores(job)] == [item.line for item in items] != list(moved.values())[:11]
    assert (items[2].category, items[7].category) == (None, "law")


def test_the_scores_name_the_file_that_was_asked(job, tmp_path):
    """It is the file as it was read, and goes along with changes that are made here, and with no others."""
    path = tmp_path / "tests.jsonl"

    def known() -> str | None:
        return files.read_json(job / scoring.SCORES)["test"]["sha256"]

    first = known()
    assert first == files.sha256_of(path)
    edits = [item_edits.set_references(job, 3, ["Other."])]
    assert first != known() == files.sha256_of(path)
    edits.append(item_edits.remove(job, 5))
    assert known() == files.sha256_of(path)
    for edit in reversed(edits):
        item_edits.undo(edit)
    assert first == known() == files.sha256_of(path)
    assert item_tags.set_tags(job, 2, "law", "hi").in_file
    asked = known()
    assert first != asked == files.sha256_of(path)

    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])
    item_edits.undo(item_edits.set_references(job, 3, ["Other."]))
    assert known() == asked != files.sha256_of(path), "nobody has asked the row that was added since"
    (job / "items.json").unlink()  # as of an evaluation of before it was written down
    item_edits.set_references(job, 3, ["Other."])
    assert known() is None and not (job / "items.json").exists()


def test_tags_that_cannot_be_scored_are_kept_and_told(job, tmp_path):
    (job / "answers-0.jsonl").unlink()
    (job / "answers-1.jsonl").unlink()
    tagged = item_tags.set_tags(job, 3, "law", "mr")
    assert tagged.in_file and tagged.unscored is not None and "no answers" in str(tagged.unscored)
    item = read_test_set(tmp_path / "tests.jsonl").items[3]
    assert (item.category, item.language) == ("law", "mr")


def failing(monkeypatch, at: int, names: list[str]) -> None:
    """From now on the `at`th file put into its place finds a full disk; `names` gets those that were put there."""
    replace = os.replace

    def full(source, target) -> None:
        names.append(os.path.basename(target))
        if len(names) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)


@pytest.mark.parametrize("what", ["correct", "remove", "undo"])
def test_a_write_that_fails_half_way_changes_nothing(job, what):
    edit = item_edits.set_references(job, 3, ["Other."]) if what == "undo" else None
    work = {"correct": lambda: item_edits.set_references(job, 3, ["Another."]),
            "remove": lambda: item_edits.remove(job, 3), "undo": lambda: item_edits.undo(edit)}[what]
    before, at = everything(job), 0
    while True:
        at += 1
        names: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            failing(patch, at, names)
            try:
                found = work()
            except UserError:
                assert everything(job) == before, names
                assert not [path for path in job.iterdir() if path.name.startswith(".")]
                continue
        assert names[-1] == scoring.SCORES, "only this one may fail when all the others are in their places"
        unscored = found if what == "undo" else found.unscored
        assert unscored is not None and "full" in str(unscored)
        break
    assert at > 4
    if what != "undo":
        assert item_edits.undo(found) is None
        assert everything(job) == before, "it can be undone all the same"


def test_what_cannot_be_done_changes_nothing(job, tmp_path):
    before = everything(job)
    with pytest.raises(UserError, match="not changed"):
        item_edits.set_references(job, 3, ["  "])
    with pytest.raises(UserError, match="has no row 99"):
        item_edits.remove(job, 99)
    assert everything(job) == before
    edit = item_edits.set_references(job, 3, ["Other."])
    other = [json.dumps({"instruction": f"Another {n}?", "output": "Yes."}) for n in range(12)]
    (tmp_path / "tests.jsonl").write_text("\n".join(other), encoding="utf-8")
    with pytest.raises(UserError, match="another row there"):
        item_edits.remove(job, 4)
    before = everything(job)
    with pytest.raises(UserError, match="Another program"):
        item_edits.undo(edit)
    assert everything(job) == before
