"""Versions of a dataset: names, what each was made from, and changes by hand."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import pytest

from slmstudio.core import paths
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.data.record import Record
from slmstudio.core.data.versions import edits, store
from slmstudio.core.errors import UserError


def row(question: str, answer: str = "Yes.", line: int = 1) -> Record:
    return Record(({"role": "user", "content": question}, {"role": "assistant", "content": answer}), line)


def source(path: Path) -> store.Source:
    return store.Source(path.name, path, "ab" * 32)


@pytest.fixture
def original(tmp_path: Path, studio_home: Path) -> Path:
    file = tmp_path / "ward.jsonl"
    file.write_text('{"instruction": "a", "output": "b"}\n', encoding="utf-8")
    return file


def test_three_versions_lead_back_to_the_file_they_came_from(original: Path):
    made, steps = [original], [{"fix": "html", "rows": 3}, {"delete": 2}, {"edit": 7}]
    for step in steps:
        made.append(store.write([row(str(step))], [source(made[-1])], [step]))
    assert [path.name for path in made[1:]] == ["ward-v2.jsonl", "ward-v3.jsonl", "ward-v4.jsonl"]
    assert {path.parent for path in made[1:]} == {paths.datasets_dir()}
    lineages = list(map(store.read_lineage, made))
    assert [lineage.before for lineage in lineages[1:]] == list(map(source, made[:-1]))
    assert [lineage.steps for lineage in lineages[1:]] == [(step,) for step in steps]
    assert lineages[0] is None
    assert original.read_text(encoding="utf-8") == '{"instruction": "a", "output": "b"}\n'


@pytest.mark.parametrize(("rows", "steps", "text"), [
    (312, [{"fix": "unusable", "choice": "remove", "rows": 3, "removed": 3},
           {"fix": "duplicate_rows", "choice": "remove", "rows": 19, "removed": 19},
           {"fix": "personal_phone", "choice": "mask", "rows": 1234}, {"fix": "html", "choice": "keep", "rows": 0}],
     "290 of 312 rows of ward.jsonl are used. Left out: Unusable rows (3), Duplicate rows (19). "
     "Changed: Phone numbers (1,234)."),
    (1, [{"fix": "html", "choice": "mend", "rows": 1}], "1 of 1 row of ward.jsonl is used. Changed: HTML (1)."),
    (9, [{"edit": 1}, {"edit": 1}, {"delete": 2}, {"fix": "html", "choice": "remove", "rows": 1, "removed": 1}],
     "6 of 9 rows of ward.jsonl are used. By hand: 1 row edited, 2 rows deleted. Left out: HTML (1)."),
    (9, [{"delete": 2}, {"add": 3}], "Made from ward.jsonl. By hand: 2 rows deleted, 3 rows added."),
    (None, [{"fix": "html", "rows": 4, "removed": 1}], "Made from ward.jsonl. Left out: HTML (1). Changed: HTML (3)."),
])
def test_how_a_version_came_to_be_is_one_line(rows, steps, text):
    assert store.Lineage((store.Source("ward.jsonl", rows=rows),), tuple(steps)).sentence == text


def test_no_version_is_written_over_another(original: Path):
    first = store.write([row("first")], [source(original)], [])
    second = store.write([row("second")], [source(original)], [])
    assert (first.name, second.name) == ("ward-v2.jsonl", "ward-v3.jsonl")
    first.unlink()  # its lineage is still there, and the newer one
    assert store.next_path(first).name == "ward-v4.jsonl"
    assert read_dataset(second).records[0].prompt == ("second",)


@pytest.mark.parametrize(("name", "version"), [
    ("rows.csv", "rows-v2.jsonl"), ("rows.jsonl.gz", "rows-v2.jsonl"), ("rows-v12.jsonl", "rows-v2.jsonl"),
    ("ward.2024.xlsx", "ward.2024-v2.jsonl"), ("प" * 200 + ".jsonl", "प" * 50 + "-v2.jsonl")])
def test_a_version_is_named_after_its_file(studio_home: Path, name: str, version: str):
    assert store.next_path(Path(name)).name == version


@pytest.mark.parametrize("content", ["{broken", "[]", "{}", '{"source": "a"}', '{"source": 3, "steps": []}',
                                     '{"sources": [], "steps": []}', '{"source": "a", "steps": ["x"]}', "\xff"])
def test_a_damaged_lineage_is_told_and_the_rows_stay(original: Path, content: str):
    made = store.write([row("kept")], [source(original)], [])
    store.lineage_file(made).write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match="ward-v2") as told:
        store.read_lineage(made)
    assert "damaged" in told.value.why
    assert read_dataset(made).count == 1


def test_an_undone_version_goes_to_the_trash_and_nothing_else(original: Path, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "trash-home"))
    made = store.write([row("a")], [source(original)], [])
    assert store.remove(made)
    assert not made.exists() and not store.lineage_file(made).exists()
    assert not store.remove(original) and original.exists()


def test_a_version_that_cannot_be_written_leaves_nothing(original: Path):
    paths.datasets_dir().parent.mkdir(parents=True, exist_ok=True)
    paths.datasets_dir().write_text("a file in the way", encoding="utf-8")
    with pytest.raises(UserError, match="ward-v2"):
        store.write([row("a")], [source(original)], [])


BASE = [row(f"q{n}", line=n) for n in range(1, 6)]


def prompts(changes: edits.Edits) -> list[str]:
    return [record.prompt[0] for record in changes.rows()[1]]


def test_changes_are_gathered_and_taken_back_one_by_one():
    changes = edits.Edits(BASE)
    changes.delete([0, 2])
    changes.edit(1, row("other", line=2))
    key = changes.add(row("new", line=6))
    changes.edit(key, row("newer", line=6))
    assert prompts(changes) == ["other", "q4", "q5", "newer"]
    assert changes.steps() == [{"delete": 2}, {"edit": 2}, {"add": 1}, {"edit": 6}]
    seen = []
    while changes.changes:
        changes.undo()
        seen.append(prompts(changes))
    assert seen == [["other", "q4", "q5", "new"], ["other", "q4", "q5"], ["q2", "q4", "q5"],
                    ["q1", "q2", "q3", "q4", "q5"]]


def test_changes_stay_when_rows_are_added_to_the_file():
    changes = edits.Edits(BASE)
    changes.delete([0])
    changes.edit(changes.add(row("new", line=6)), row("newer", line=6))
    more = [*BASE, row("from chat", line=6)]
    assert prompts(changes.rebased(more)) == ["q2", "q3", "q4", "q5", "from chat", "newer"]
    assert changes.rebased(BASE[:3]) is None and changes.rebased(more[1:]) is None


def test_texts_of_every_kind_of_row_are_edited():
    pair = Record(BASE[0].messages, 1, rejected="No.")
    assert edits.texts_of(pair) == [("user", "q1"), ("assistant", "Yes."), ("rejected", "No.")]
    changed = edits.with_texts(pair, ["क्या?", "हाँ।", "नहीं।"])
    assert (changed.contents, changed.line) == (("क्या?", "हाँ।", "नहीं।"), 1)
    assert edits.with_texts(Record((), 1, text="old"), ["new"]).text == "new"
    assert edits.with_texts(BASE[0], ["q", "a"]).contents == ("q", "a")


@pytest.mark.parametrize(("record", "texts", "why"), [
    (BASE[0], ["q", " \n"], "An answer is empty."), (BASE[0], ["", "a"], "A question is empty."),
    (Record(BASE[0].messages, 1, rejected="No."), ["q", "same", "same"], "neither is better"),
    (Record((), 1, text="a"), [""], "The text is empty.")])
def test_a_row_that_cannot_be_learned_is_refused(record: Record, texts: list[str], why: str):
    with pytest.raises(UserError) as told:
        edits.with_texts(record, texts)
    assert why in told.value.why


@pytest.mark.parametrize(("layout", "roles"), [
    ("instruction", ["user", "assistant"]), ("preference", ["user", "assistant", "rejected"]), ("text", ["text"]),
    ("labelled", ["user", "assistant"])])
def test_a_blank_row_is_filled_in(layout: str, roles: list[str]):
    record = edits.blank(layout, 9)
    assert [role for role, _ in edits.texts_of(record)] == roles
    with pytest.raises(UserError):
        edits.with_texts(record, [""] * len(roles))
    assert edits.with_texts(record, [f"text {n}" for n in range(len(roles))]).line == 9


class Many(Sequence):
    """More rows than memory holds."""

    def __len__(self):
        return 10**12

    def __getitem__(self, place):
        return row(f"question {range(len(self))[place]}")


def test_rows_that_change_are_not_copied():
    changes = edits.Edits(Many())
    changes.delete([0, 5])
    changes.edit(7, row("edited"))
    added = changes.add(row("added"))
    keys, rows = changes.rows()
    assert (len(keys), len(rows)) == (10**12 - 1,) * 2
    assert [rows[place].prompt[0] for place in (0, 3, 4, 5, -2, -1)] == [
        "question 1", "question 4", "question 6", "edited", f"question {10**12 - 1}", "added"]
    assert [keys[place] for place in (0, 3, 4, -1)] == [1, 4, 6, added]
    assert [row.prompt[0] for row in rows[3:6]] == ["question 4", "question 6", "edited"]
    assert bisect_left(keys, added) == len(keys) - 1
    changes.delete([added, 7])
    assert len(changes.rows()[1]) == 10**12 - 3
    assert rows[-1].prompt[0] == "added"  # as it was then
    with pytest.raises(IndexError):
        rows[10**12]


def test_rows_are_written_one_after_another(tmp_path):
    """A file of 10 MB is on the disk in part before its last row was made; and none is, where one can't be."""
    seen = []

    def rows(broken: bool):
        for number in range(1000):
            yield row("क" * 3500 + str(number))
        seen.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
        if broken:
            raise ValueError("no more")

    store.write_rows(tmp_path / "whole.jsonl", rows(False))
    assert seen[0] > 2**20
    with pytest.raises(ValueError, match="no more"):
        store.write_rows(tmp_path / "broken.jsonl", rows(True))
    assert [path.name for path in tmp_path.iterdir()] == ["whole.jsonl"]
    assert read_dataset(tmp_path / "whole.jsonl").count == 1000
