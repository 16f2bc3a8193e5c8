"""Projects of documents: what is on the disk is what a person sees, and what becomes a dataset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slmstudio.core.data.reader import read_dataset
from slmstudio.core.data.record import GROUP
from slmstudio.core.documents import project
from slmstudio.core.documents.project import ACCEPTED, EDITED, REJECTED, RESTORED, Settings
from slmstudio.core.errors import UserError


def test_a_project_is_what_its_folder_says(made):
    new = made(languages=("hi", "en"), held_out=0.2)
    assert new.settings.languages == ("hi", "en") and new.is_read
    assert [(each.name, each.pages, each.passages, each.pairs, each.problems) for each in new.documents()] == [
        ("a.pdf", 5, 5, 10, ()), ("b.pdf", 5, 5, 10, ("Blank.",))]
    passage = new.passages()["2-3"]
    assert (passage.document, passage.heading, passage.page) == ("b.pdf", ("Travel",), 3)
    assert new.refresh() is False
    assert [each.folder for each in project.list_projects()] == [new.folder]
    (new.folder / "project.json").write_text("{")
    assert project.list_projects() == []
    with pytest.raises(UserError):
        project.open(new.folder)


def test_decisions_are_on_the_disk_at_once_and_can_be_undone_one_by_one(made):
    new = made()
    new.decide("1-1-1", ACCEPTED)
    new.decide("1-1-2", RESTORED)
    new.decide("1-2-1", EDITED, question="Who?", answer="The officer.")
    new.decide(["2-1-1", "2-2-1"], REJECTED)
    for each in (new, project.open(new.folder)):
        counts = each.counts()
        assert (counts.all, counts.waiting, counts.accepted, counts.rejected, counts.left_out, counts.by_doubt) == (
            20, 7, 2, 2, 9, {"needs_passage": 9})
    edited = next(pair for pair in new.pairs() if pair.id == "1-2-1")
    assert (edited.question, edited.answer, edited.decision) == ("Who?", "The officer.", EDITED)
    assert [new.undo() for _ in range(5)] == ["2-1-1", "1-2-1", "1-1-2", "1-1-1", None]
    assert new.pairs() == project.open(new.folder).pairs() and new.counts().waiting == 10


def test_an_edit_outlives_a_change_of_mind_and_another_process_sees_it(made):
    new = made()
    other = project.open(new.folder)
    new.decide("1-1-1", EDITED, answer="Nobody.")
    new.decide("1-1-1", REJECTED)
    new.decide("1-1-1", ACCEPTED)
    assert other.refresh() and other.pairs()[0].answer == "Nobody." and other.pairs()[0].decision == ACCEPTED
    new.undo()
    assert other.refresh() and other.pairs()[0].decision == REJECTED


def test_what_a_worker_adds_is_read_once_and_half_a_line_waits(made):
    new = made()
    with (new.folder / "made.jsonl").open("ab") as file:
        file.write(b'{"passage": "1-1", "pairs": []}\n{"passage": "1-')
        file.flush()
        assert new.refresh() and len(new.pairs()) == 20  # a passage that was made twice counts once
        assert not new.refresh()


def test_no_section_of_the_test_set_is_learned_and_both_files_are_datasets(made, tmp_path: Path):
    new = made(held_out=0.3)
    for pair in new.pairs():
        if not pair.doubts and pair.id != "1-1-1":
            new.decide(pair.id, ACCEPTED)
    rows, test = project.write_dataset(new, True, tmp_path / "out")
    assert test is not None
    learned, asked = ([json.loads(line) for line in path.read_text().splitlines()] for path in (rows, test))
    assert {row[GROUP] for row in learned}.isdisjoint({row[GROUP] for row in asked})
    assert len(learned) + len(asked) == 9 and len(asked) == 3
    assert all(row["document"] and row["page"] and row["quotation"] for row in learned)
    assert read_dataset(rows).count == len(learned) and read_dataset(test).count == 3
    again, _ = project.write_dataset(new, False, tmp_path / "out")
    assert again != rows and len(again.read_text().splitlines()) + 3 == 10


def test_a_held_out_question_that_a_learned_section_also_answers_tests_nothing(made, tmp_path: Path):
    new = made(held_out=0.3)
    apart = next(pair for pair in new.pairs() if pair.held_out and not pair.doubts)
    same = next(pair for pair in new.pairs() if not pair.held_out and not pair.doubts)
    new.decide(apart.id, ACCEPTED)
    new.decide(same.id, EDITED, quotation=f"  {apart.quotation.upper()} ")
    assert project.write_dataset(new, True, tmp_path)[1] is None


def test_without_a_row_nothing_is_written(made, tmp_path: Path):
    with pytest.raises(UserError):
        project.write_dataset(made(), True, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_projects_of_the_same_files_have_a_folder_each(studio_home: Path, tmp_path: Path):
    one, two = (project.create([tmp_path / "परिपत्र 2024"], Settings(())) for _ in range(2))
    assert one.folder != two.folder and not one.is_read and one.pairs() == [] and one.documents() == []
    assert one.settings.sources == (str(tmp_path / "परिपत्र 2024"),)
