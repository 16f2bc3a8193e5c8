"""Test files with something wrong in them: one clear sentence each, with the line, and the other rows survive."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiers import examples, first_fast

from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.scores import matching
from slmstudio.core.evaluation.testset.reader import read_test_set

GOOD = {"question": "Q?", "answer": "A."}
CHOICE = {"question": "2 + 2?", "choices": ["one", "four", "six"]}


def write(folder: Path, content: str | bytes, name: str = "test.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        read_test_set(path)
    assert caught.value.what and caught.value.remedy
    assert UserError.from_dict(json.loads(json.dumps(caught.value.to_dict()))).problems == caught.value.problems
    return caught.value


def problem(folder: Path, row: dict) -> str:
    """The one problem of a row among good ones."""
    found = read_test_set(write(folder, "".join(json.dumps(each) + "\n" for each in (GOOD, row, GOOD))))
    assert len(found.items) == 2
    assert [each.line for each in found.problems] == [2], found.problems
    return found.problems[0].message


@pytest.mark.parametrize(("name", "content"), [
    ("t.jsonl", ""), ("t.csv", ""), ("t.jsonl", "\n \n"), ("t.json", "[]"), ("t.csv", "question,answer\n"),
    ("t.csv", "\n\n"), ("t.tsv", "question\tanswer\n\t\n"),
])
def test_an_empty_test_set(tmp_path, name, content):
    error = refusal(write(tmp_path, content, name))
    assert error.what == f"The test set {name} is empty."
    assert error.problems == ()


@pytest.mark.parametrize(("name", "content"), [
    ("t.jsonl", '{"question": "a"}\n{"question": "b"}\n{"question": "c"}\n'),
    ("t.csv", "question,note\na,x\nb,y\nc,z\n"),
])
def test_references_missing_everywhere_is_one_problem(tmp_path, name, content):
    error = refusal(write(tmp_path, content, name))
    assert error.what == f"{name} has no row that can be used for a test."
    assert len(error.problems) == 1
    assert "the reference is missing" in str(error)
    assert "3 rows are like this" in str(error)


@pytest.mark.parametrize(("row", "words"), [
    ({"question": "Q?"}, "the reference is missing"),
    ({"question": "Q?", "answer": None}, '"answer" is null'),
    ({"question": "Q?", "answer": " "}, '"answer" is empty'),
    ({"question": "Q?", "answers": []}, "the reference is missing"),
    ({"question": "Q?", "answers": ["a", ""]}, '"answers" is empty'),
    ({"answer": "A."}, '"question"'),
    ({"question": "", "answer": "A."}, '"question" is empty'),
    ({"text": "Once upon a time."}, "nothing to answer"),
    ({"prompt": "Q?", "completion": "A.", "label": False}, "marked as bad"),
    ({**CHOICE, "answer": ["A", "B"]}, "2 choices are marked as right"),
    ({**CHOICE, "answer": "A, B"}, 'the answer "A, B" isn\'t one of the 3 choices'),
    ({**CHOICE, "answer": "A", "correct": "C"}, "two correct choices"),
    ({"question": "Q?", "choices": {"choices": ["a", "b"], "labels": [1, 1]}}, "2 choices are marked as right"),
    ({"question": "Q?", "choices": ["a", "b", "a"], "answer": "a"}, "choices A and C are the same"),
    ({"question": "Q?", "choices": ["a", "b", " a "], "answer": "C"}, "choices A and C are the same"),
    ({"question": "Q?", "choices": ["a", "b", "b"], "answer": "A"}, "choices B and C are the same"),
    ({**CHOICE, "answer": 4}, "the answer 4 is outside the choices, which are counted from 0 to 2"),
    ({**CHOICE, "answer": -1}, "the answer -1 is outside"),
    ({**CHOICE, "answer": "D"}, 'the answer "D" isn\'t one of the 3 choices'),
    ({**CHOICE, "answer": "seven"}, 'the answer "seven" isn\'t one of the 3 choices'),
    (CHOICE, "no column says which choice is right"),
    ({"question": "Q?", "choices": ["a"], "answer": "A"}, "one choice; two or more"),
    ({"question": "Q?", "choices": ["a", None], "answer": "A"}, "it must be text"),
    ({"question": "Q?", "choices": ["a", " "], "answer": "A"}, "is empty; it must be text"),
    ({"question": "Q?", "choices": ["1", "2", "3"], "answer": 2}, "write the letter instead"),
    ({"question": "Q?", "pattern": "(a"}, "the pattern can't be read: missing )"),
    ({"question": "Q?", "pattern": "(?:a{1000}){1000}"}, "counted repeats"),
    ({"question": "Q?", "pattern": "a" * 5000}, "at most 2,000"),
    ({"question": "Q?", "answer": "x" * 200_000}, "more than 100,000 characters"),
    ({"question": "Q?", "answer": "A.", "kind": "choice"}, "has no choice"),
    ({"question": "Q?", "answer": "\ud83d"}, "half a character"),
])
def test_each_fault_of_a_row(tmp_path, row, words):
    assert words in problem(tmp_path, row)


def test_all_faults_together_each_with_its_line(tmp_path):
    rows = [GOOD, {"question": "Q?"}, {**CHOICE, "answer": "Z"}, GOOD, {"question": "", "answer": ""}]
    text = "".join(json.dumps(row) + "\n" for row in rows) + "{oops\n"
    found = read_test_set(write(tmp_path, text))
    assert [item.line for item in found.items] == [1, 4]
    assert [each.line for each in found.problems] == [2, 3, 5, 5, 6]


@pytest.mark.parametrize(("text", "line", "words"), [
    ("question,A,B,C,D,answer\nq,1,2,3,4,A\nq, with comma,1,2,3,4,A\n", 3, "7 columns, but the table has 6"),
    ("question,A,B,C,D,answer\nq,1,2,3,4,A\nq,1,2,3\n", 3, "no column says which choice is right"),
    ('question,answer\nq,a\n"open,b\nc,d\ne,f\n', 3, "never closed; lines 4 to 5 were read"),
    ('question,answer\nq,a\nq,"open', 3, "never closed. Close it"),
    ("question,answer\nq,a\nq,\n", 3, '"answer" is empty'),
])
def test_damaged_tables(tmp_path, text, line, words):
    found = read_test_set(write(tmp_path, text, "t.csv"))
    assert [item.line for item in found.items] == [2]
    assert [each.line for each in found.problems] == [line]
    assert words in found.problems[0].message


def test_a_table_with_bad_bytes_loses_one_row(tmp_path):
    found = read_test_set(write(tmp_path, "question,answer\nqé,a\n".encode() + b"q\xff,b\nq,c\n", "t.csv"))
    assert [item.line for item in found.items] == [2, 4]
    assert [(each.line, each.column) for each in found.problems] == [(3, 2)]


@pytest.mark.parametrize(("text", "words"), [
    ("one\ntwo\n", "no row that can be used"), ("a,b,c\nd,e,f\n", "no row that can be used"),
])
def test_tables_whose_columns_are_not_known(tmp_path, text, words):
    error = refusal(write(tmp_path, text, "t.csv"))
    assert words in error.what


def test_other_files_are_named(tmp_path):
    assert "plain text" in refusal(write(tmp_path, "Once upon a time.", "t.txt")).what
    assert "GGUF" in refusal(write(tmp_path, b"GGUF\3\0\0\0", "t.jsonl")).what
    assert "doesn't exist" in refusal(tmp_path / "none.csv").what
    (tmp_path / "empty").mkdir()
    assert "contains no file" in refusal(tmp_path / "empty").what


def test_cancel(tmp_path):
    with pytest.raises(ReadingCancelled):
        read_test_set(write(tmp_path, json.dumps(GOOD)), cancelled=lambda: True)


@pytest.mark.parametrize("name", first_fast(["big.csv", "big.jsonl"]))
def test_a_line_of_half_a_gigabyte_does_not_take_the_memory(tmp_path, name):
    path = tmp_path / name
    with open(path, "wb") as file:
        file.write(b'{"question": "Q?", "answer": "A."}\n' if name.endswith("l") else b"question,answer\nQ?,A.\n")
        file.write((b'{"question": "' if name.endswith("l") else b'Q?,"') + b"x" * 5000)
        file.seek(1 << 29, 1)  # a hole: it takes no disk, and reads as zero bytes
        file.write(b'"}\n{"question": "Q2?", "answer": "A."}\n' if name.endswith("l") else b'"\nQ2?,A.\n')
    program = ("import resource, sys\nfrom slmstudio.core.evaluation.testset.reader import read_test_set\n"
               "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nfound = read_test_set(sys.argv[1])\n"
               "print(len(found.items), len(found.problems), found.problems[0].line,\n"
               "      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)")
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    items, problems, line, kilobytes = map(int, done.stdout.split())
    assert (items, problems, line) == (2, 1, 2 if name.endswith("l") else 3)
    assert kilobytes < 200_000


def test_a_pattern_that_never_ends_is_given_up(tmp_path):
    assert matching.matches_pattern("(a|aa)+$", "a" * 60 + "!") is None
    assert matching.matches_pattern("b+", "abbb") is True
    assert matching.matches_pattern("^b+", "abbb") is False


CELLS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=12).filter(
    lambda cell: not cell.lstrip().startswith("["))  # a list of references is another test's


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
def test_any_cells_come_back_from_a_table(tmp_path_factory, rows):
    """What csv writes is read again; a row with an empty cell is a problem, a row of blanks is none."""
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows([("question", "answer"), *rows])
    path = write(tmp_path_factory.mktemp("t"), content.getvalue(), "t.csv")
    wanted = [row for row in rows if all(cell.strip() for cell in row)]
    try:
        read = [(item.question, *item.references) for item in read_test_set(path).items]
    except UserError as error:
        assert error.what and error.remedy
        read = []
    assert read == wanted


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["t.jsonl", "t.json", "t.csv", "t.tsv", "t.txt"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, name):
    path = write(tmp_path_factory.mktemp("t"), content, name)
    try:
        found = read_test_set(path)
    except UserError as error:
        assert error.what and error.remedy
    else:
        assert len(found.items) > 0


JSON = st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                        st.sampled_from(["text", "label", "labels", "A", "role", "content", "stem", "choices",
                                         "correct"]), inner, max_size=4), max_leaves=8)
COLUMNS = st.sampled_from(["question", "answer", "choices", "A", "B", "C", "label", "answers", "messages", "prompt",
                           "completion", "pattern", "system", "context", "input", "instruction", "output", "kind",
                           "category", "language", "text", "chosen", "rejected", "options", "answer_idx", "premise",
                           "correct_answer", "correct_answers", "distractor1", "distractors", "q", "a", "correct",
                           "option0", "option1", "option2", "article", "sentence", "उत्तर", "विकल्प 1", "विकल्प 2"])


@settings(max_examples=examples(400), deadline=None)
@given(st.lists(st.dictionaries(COLUMNS, JSON, max_size=7), min_size=1, max_size=3))
def test_any_rows_are_items_or_problems(tmp_path_factory, rows):
    path = write(tmp_path_factory.mktemp("t"), json.dumps(rows))
    try:
        found = read_test_set(path)
    except UserError as error:
        assert error.what and (error.problems or (error.why and error.remedy))
        return
    for item in found.items:
        assert item.messages[-1]["role"] == "user" and item.question.strip()
        assert item.references or item.pattern
        assert item.kind != "choice" or (item.choices and item.choices[item.answer] == item.references[0])
