"""Rows of a test file are tagged, corrected and removed in place, and it can be undone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.testset import file_edits
from slmstudio.core.evaluation.testset.reader import read_test_set

ROWS = [{"question": "Q0?", "answer": "A0.", "note": 1}, {"question": "Q1?", "answer": "A1.", "note": 2.5},
        {"question": "Q2?", "answer": "हाँ", "note": None}]
FILES = {
    "t.jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS),
    "n.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in ROWS),
    "b.jsonl": "\ufeff" + "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n",
    "t.json": json.dumps(ROWS, ensure_ascii=False, indent=4),
    "p.json": "[" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "]\n",
    "t.csv": 'question,answer\nQ0?,A0.\n"Q1?",A1.\nQ2?,हाँ\n',
    "n.csv": "question,answer\r\nQ0?,A0.\r\nQ1?,A1.\r\nQ2?,हाँ",
    "h.csv": "Q0?,A0.\nQ1?,A1.\nQ2?,हाँ\n",
    "c.csv": 'question;answer;topic\n"Q\n0?";A0.;\n\nQ1?;A1.;\nQ2?;हाँ;x\n',
    "t.tsv": "id\tquestion\tanswer\n7\tQ0?\tA0.\n8\tQ1?\tA1.\n9\tQ2?\tहाँ\n",
}


@pytest.fixture(params=FILES)
def test_file(request, tmp_path) -> Path:
    path = tmp_path / request.param
    path.write_bytes(FILES[request.param].encode())
    return path


def summary(path: Path) -> list[tuple]:
    return [(item.question.replace("\n", ""), item.references, item.category,
             None if item.language_guessed else item.language) for item in read_test_set(path).items]


def test_tags_references_and_removal_and_back_again(test_file):
    first, before = summary(test_file), test_file.read_bytes()
    topic = first[2][2]
    for number in range(3):
        test = read_test_set(test_file)
        tagged = file_edits.set_tags(test, test.items[number], category="law", language="mr")
        assert summary(test_file) == [(*row[:2], "law", "mr") if at == number else row for at, row in enumerate(first)]
        file_edits.undo(tagged)
        changed = file_edits.set_references(test, test.items[number], ["नई, \"so\""])
        assert summary(test_file) == [(row[0], ("नई, \"so\"",), *row[2:]) if at == number else row
                                      for at, row in enumerate(first)]
        file_edits.undo(changed)
        removed = file_edits.remove(test, test.items[number])
        assert summary(test_file) == [row for at, row in enumerate(first) if at != number]
        file_edits.undo(removed)
        assert test_file.read_bytes() == before
    assert topic == ("x" if test_file.name == "c.csv" else None)


def test_all_other_bytes_stay(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"question":"a","answer":"b"}\n\n  {broken\n{"n": 1.50, "question": "c", "answer": "d"}\n')
    test = read_test_set(path)
    file_edits.set_tags(test, test.items[0], category="x")
    assert path.read_bytes() == (b'{"question": "a", "answer": "b", "category": "x"}\n\n  {broken\n'
                                 b'{"n": 1.50, "question": "c", "answer": "d"}\n')


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf_16_stays_what_it_is(tmp_path, encoding):
    path = tmp_path / "t.jsonl"
    path.write_bytes(FILES["t.jsonl"].encode(encoding))
    test = read_test_set(path)
    file_edits.set_references(test, test.items[2], ["नहीं"])
    assert path.read_bytes() == FILES["t.jsonl"].replace("हाँ", "नहीं").encode(encoding)


@pytest.mark.parametrize(("row", "references", "column", "value"), [
    ({"question": "Q?", "references": ["a", "b"]}, ["c"], "references", ["c"]),
    ({"question": "Q?", "answer": "a"}, ["c", "d"], "answer", ["c", "d"]),
    ({"instruction": "Q?", "output": "a"}, ["c"], "output", "c"),
    ({"prompt": "Q?", "chosen": "a", "rejected": "b"}, ["c"], "chosen", "c"),
    ({"messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "a"}]}, ["c"], "messages",
     [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "c"}]),
    ({"messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "a"}]}, ["c", "d"],
     "references", ["c", "d"]),
    ({"question": "Q?", "pattern": "x"}, ["c"], "references", ["c"]),
    ({"Question": "Q?", "Answer": "a"}, ["c"], "Answer", "c"),
])
def test_references_are_written_where_they_stand(tmp_path, row, references, column, value):
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    test = read_test_set(path)
    file_edits.set_references(test, test.items[0], references)
    assert json.loads(path.read_text(encoding="utf-8"))[column] == value
    assert read_test_set(path).items[0].references == tuple(references)


def test_a_tag_can_be_taken_away(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"question": "Q?", "answer": "A.", "Subject": "law", "lang": "mr"}\n', encoding="utf-8")
    test = read_test_set(path)
    file_edits.set_tags(test, test.items[0], category="", language="ta")
    assert json.loads(path.read_text(encoding="utf-8")) == {"question": "Q?", "answer": "A.", "lang": "ta"}


def refused(change) -> UserError:
    with pytest.raises(UserError) as caught:
        change()
    assert caught.value.why and caught.value.remedy
    return caught.value


def test_a_file_that_has_changed_is_left_alone(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(FILES["t.jsonl"], encoding="utf-8")
    test = read_test_set(path)
    edited = file_edits.set_tags(test, test.items[0], category="x")
    now = path.read_bytes()
    for change in (lambda: file_edits.set_tags(test, test.items[0], category="y"),
                   lambda: file_edits.remove(test, test.items[1])):
        assert "since it was read" in refused(change).why
    assert path.read_bytes() == now
    path.write_bytes(now + b"\n")
    assert "since it was read" in refused(lambda: file_edits.undo(edited)).why
    assert path.read_bytes() == now + b"\n"
    assert [each.name for each in tmp_path.iterdir()] == ["t.jsonl"]


def test_refusals(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('[{"question": "2 + 2?", "A": "1", "B": "4", "answer": "B"}, {"question": "Q?", "answer": "A."}]',
                    encoding="utf-8")
    test = read_test_set(path)
    before = path.read_bytes()
    choice, free = test.items
    assert "one of its choices" in refused(lambda: file_edits.set_references(test, choice, ["x"])).why
    assert "empty" in refused(lambda: file_edits.set_references(test, free, [" "])).why
    assert "2 rows begin on line 1" in refused(lambda: file_edits.set_tags(test, free, category="x")).why
    test.items.pop()
    assert "only row" in refused(lambda: file_edits.remove(test, choice)).why
    assert path.read_bytes() == before


def test_two_references_in_a_table_whose_rows_have_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(FILES["t.csv"], encoding="utf-8")
    test = read_test_set(path)
    error = refused(lambda: file_edits.set_references(test, test.items[0], ["a", "b"]))
    assert "can have one answer" in error.why and '"references"' in error.remedy
    path.write_text(FILES["t.csv"].replace("answer", "references"), encoding="utf-8")
    test = read_test_set(path)
    file_edits.set_references(test, test.items[0], ["a", "b"])
    assert read_test_set(path).items[0].references == ("a", "b")
