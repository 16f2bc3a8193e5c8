"""Rows as well-known sets have them: read as they are meant, or refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet
from support.workbooks import write_xlsx

from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.testset.item import TestSet
from slmstudio.core.evaluation.testset.reader import read_test_set


def lines(folder: Path, *rows: dict) -> TestSet:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return read_test_set(path)


P, Q = "A passage.", "Q?"
BOTH = f"{Q}\n\n{P}"
STORY = "Once there was a farmer who had a field by the river."
TWO = ("x", "y")


@pytest.mark.parametrize(("rows", "question", "choices", "answers"), [
    ([{"ind": 4, "activity_label": "Sports", "ctx_a": "Q", "ctx_b": "?", "ctx": Q, "endings": TWO, "label": "1"},
      {"ctx": Q, "endings": TWO, "label": "0"}], Q, TWO, [1, 0]),
    ([{"sentence": Q, "option1": "x", "option2": "y", "answer": "2"}], Q, TWO, [1]),
    ([{"goal": Q, "sol1": "x", "sol2": "y", "label": 1}, {"goal": Q, "sol1": "x", "sol2": "y", "label": 0}], Q, TWO,
     [1, 0]),
    ([{"question": Q, "mc1_targets": {"choices": TWO, "labels": [0, 1]},
       "mc2_targets": {"choices": TWO, "labels": [1, 1]}}],
     Q, TWO, [1]),
    ([{"id": "7", "question_stem": Q, "choices": {"text": TWO, "label": ["A", "B"]}, "answerKey": "B"}], Q, TWO, [1]),
    ([{"id": "7", "question": {"stem": Q, "choices": [{"text": "x", "label": "A"}, {"text": "y", "label": "B"}]},
       "answerKey": "B"}], Q, TWO, [1]),
    ([{"id": "7", "question": Q, "question_concept": "p", "choices": {"label": ["A", "B"], "text": TWO},
       "answerKey": "B"}], Q, TWO, [1]),
    ([{"question": Q, "answer": "y", "options": {"A": "x", "B": "y"}, "meta_info": "step1", "answer_idx": "B"}], Q, TWO,
     [1]),
    ([{"question": Q, "subject": "law", "choices": TWO, "answer": at} for at in (1, 0)], Q, TWO,
     [1, 0]),
    ([{"question": Q, "option1": "x", "option2": "y", "target": "option2", "language": "Hindi"}], Q, TWO, [1]),
    ([{"link": "l", "question_number": 1, "flores_passage": P, "question": Q, "mc_answer1": "x", "mc_answer2": "y",
       "correct_answer_num": number, "dialect": "hin_Deva"} for number in ("2", "1")], BOTH, TWO, [1, 0]),
    ([{"article": P, "question": Q, "options": TWO, "answer": "B", "example_id": "high1.txt"}], BOTH, TWO, [1]),
    ([{"context": P, "question": Q, "answerA": "x", "answerB": "y", "label": label} for label in ("1", "2")],
     BOTH, TWO, [0, 1]),
    ([{"context": P, "query": Q, "options": TWO, "correct_option": at} for at in (1, 0)], BOTH, TWO, [1, 0]),
    ([{"question": Q, "opa": "x", "opb": "y", "cop": 2, "exp": None, "subject_name": "s"}], Q, TWO, [1]),
    ([{"passage": None, "question": Q, "options": TWO, "label": "B", "answer": None}], Q, TWO, [1]),
    ([{"question": Q, "choices": TWO, "answer": "B", "correct": True}], Q, TWO, [1]),
    ([{"question": Q, "choices": TWO, "answer": "B", "label": "easy"}], Q, TWO, [1]),
    ([{"question": Q, "choices": TWO, "answer": "B", "label": "bad", "target": 0.5}], Q, TWO, [1]),
])
def test_multiple_choice(tmp_path, rows, question, choices, answers):
    found = lines(tmp_path, *rows)
    assert found.problems == []
    asked = [(item.kind, item.question, item.choices) for item in found.items]
    assert asked == [("choice", question, choices)] * len(rows)
    assert [item.answer for item in found.items] == answers


@pytest.mark.parametrize(("row", "question", "references"), [
    ({"title": "T", "context": P, "question": Q, "answers": {"text": ["a", "b"], "answer_start": [1, 2]}}, BOTH,
     ("a", "b")),
    ({"type": "Adversarial", "question": Q, "best_answer": "a", "correct_answers": ["a", "b"],
      "incorrect_answers": ["c"]},
     Q, ("a", "b")),
    ({"Type": "Adversarial", "Question": Q, "Best Answer": "a", "Correct Answers": "a; b", "Source": "s"},
     Q, ("a", "b")),
    ({"story": STORY, "question": Q, "answers": ["a"]}, f"{Q}\n\n{STORY}", ("a",)),
    ({"article": STORY, "query": Q, "response": "a"}, f"{Q}\n\n{STORY}", ("a",)),
    ({"passage": P, "question": Q, "answers_spans": {"spans": ["a"], "types": ["span"]}}, BOTH, ("a",)),
    ({"instruction": Q, "input": "", "output": "a", "text": f"### Question: {Q} ### Response: a"}, Q, ("a",)),
    ({"question": Q, "answer": "a", "text": f"{Q} a"}, Q, ("a",)),
    ({"messages": [{"role": "user", "content": Q}], "answer": "a"}, Q, ("a",)),
    ({"messages": [{"role": "user", "content": Q}], "output": "a"}, Q, ("a",)),
    ({"question": Q, "answer": "a", "label": "easy"}, Q, ("a",)),
    ({"question": Q, "answer": "a", "correct": True}, Q, ("a",)),
    ({"question": Q, "references": ["a"], "correct": False}, Q, ("a",)),
])
def test_free_answers(tmp_path, row, question, references):
    item, = lines(tmp_path, row).items
    assert (item.kind, item.question, item.references) == ("free", question, references)


@pytest.mark.parametrize(("row", "words"), [
    ({"context": P, "question": Q, "answers": {"text": [], "answer_start": []}}, "the reference is missing"),
    ({"context": P, "question": Q, "answers": {"text": [""], "answer_start": [-1]}}, '"answers" is empty'),
    ({"version": "v2.0", "data": [{"title": "T", "paragraphs": []}]}, "has no rows"),
    ({"article": P, "questions": [Q], "options": [list(TWO)], "answers": ["A"]}, "must be text"),
    ({"prompt": Q, "completion": "a", "correct": False}, "marked as bad"),
    ({"prompt": Q, "completion": "a", "label": False}, "marked as bad"),
    ({"question": Q, "choices": list(TWO), "label": "easy"}, "isn't one of the 2 choices"),
    ({"question": Q, "choices": list(TWO), "correct": True}, "true or false"),
    ({"question": Q, "choices": list(TWO), "answer": "B", "label": "A"}, "two correct choices"),
    ({"premise": P, "hypothesis": "H.", "label": 0}, '"question"'),
])
def test_what_cannot_be_used_is_refused(tmp_path, row, words):
    with pytest.raises(UserError) as caught:
        lines(tmp_path, row)
    assert words in str(caught.value)


def table(folder: Path, **cells: str) -> TestSet:
    path = folder / "t.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([cells.keys(), cells.values()])
    return read_test_set(path)


@pytest.mark.parametrize(("cell", "references"), [
    ("['a', 'b']", ("a", "b")), ('["a", "b"]', ("a", "b")),
    ("{'text': ['a', \"b's\"], 'answer_start': [1, 2]}", ("a", "b's")),
    ("('a', 'b')", ("('a', 'b')",)), ('{"text": ["a"], "answer_start": [1]}', ("a",)), ("[sic] a", ("[sic] a",)),
])
def test_lists_as_python_prints_them_in_a_table(tmp_path, cell, references):
    item, = table(tmp_path, question=Q, answers=cell).items
    assert (item.question, item.references) == (Q, references)


def test_choices_as_python_prints_them_in_a_table(tmp_path):
    for cell in ("['x', 'y']", "{'text': ['x', 'y'], 'label': ['A', 'B']}", '["x", "y"]'):
        item, = table(tmp_path, question=Q, choices=cell, answer="B").items
        assert (item.choices, item.answer) == (TWO, 1)


@pytest.mark.parametrize("cells", [
    {"answers": "['a' 'b']"}, {"answers": "{'text': array(['a'], dtype=object), 'answer_start': array([1])}"},
    {"choices": "['x' 'y']", "answer": "B"}, {"choices": "['x'\n 'y']", "answer": "B"},
    {"choices": "x, y", "answer": "B"}, {"answers": "['a', {1, 2}]"}, {"answers": "['a', b'b']"},
    {"answers": "['" * 9000},
])
def test_lists_that_cannot_be_read_back_are_refused(tmp_path, cells):
    with pytest.raises(UserError, match="list"):
        table(tmp_path, question=Q, **cells)


def test_what_python_prints_may_be_the_answer_itself(tmp_path):
    assert lines(tmp_path, {"question": Q, "expected": "['a', 'b']"}).items[0].references == ("['a', 'b']",)


def test_workbooks_and_parquet_tables_are_test_sets_too(tmp_path):
    rows = [["प्रश्न", "विकल्प A", "विकल्प B", "उत्तर"], ["Q?", "x", "y", "B"], ["Q2?", "x", "y", "A"]]
    write_xlsx(tmp_path / "t.xlsx", {"S": rows})
    parquet.write_table(pyarrow.Table.from_pylist([{"question": "Q?", "choices": ["x", "y"], "answer": 1},
                                                   {"question": "Q2?", "choices": ["x", "y"], "answer": 0}]),
                        tmp_path / "t.parquet")
    for name in ("t.xlsx", "t.parquet"):
        assert [(item.choices, item.answer) for item in read_test_set(tmp_path / name).items] == [
            (("x", "y"), 1), (("x", "y"), 0)]


TALK = [{"role": "user", "content": Q}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize("row", [
    {"question": Q, "answer": "a", "document": "handbook.pdf"}, {"question": Q, "answer": "a", "article": STORY},
    {"instruction": Q, "output": "a", "story": STORY}, {"messages": TALK, "article": "A-17"},
    {"messages": TALK, "context": STORY}, {"prompt": Q, "completion": "a", "context": STORY},
    {"prompt": Q, "chosen": "a", "rejected": "b", "passage": STORY},
])
def test_rows_that_can_be_learned_are_asked_as_they_are_learned(tmp_path, row):
    item, = lines(tmp_path, row).items
    assert list(item.messages) == list(Mapper([row]).read(row)[0].messages[:-1])
