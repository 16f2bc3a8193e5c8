"""Numbers that name a choice: counted from 0, from 1, or the text of a choice; decided once for the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.testset.item import TestSet
from slmstudio.core.evaluation.testset.reader import read_test_set

FOUR = ["w", "x", "y", "z"]
FROM_ONE = ("The answers count the choices from 1: none is 0.",)


def read(folder: Path, *rows: dict) -> TestSet:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps({"question": f"Q{at}?", **row}) + "\n" for at, row in enumerate(rows)), "utf-8")
    return read_test_set(path)


def numbered(*answers: object, choices: list[str] = FOUR) -> list[dict]:
    return [{"choices": choices, "answer": answer} for answer in answers]


def test_the_number_of_all_choices_shows_that_they_count_from_one(tmp_path):
    for answers in ([1, 2, 3, 4], [4], [2, 4, 1], [1 + n % 4 for n in range(200)]):
        found = read(tmp_path, *numbered(*answers), *numbered(2, choices=[*FOUR, "v"]))
        assert [item.answer for item in found.items] == [*(answer - 1 for answer in answers), 1]
        assert (found.notes, found.problems) == (FROM_ONE, [])


def test_zero_shows_that_they_count_from_zero(tmp_path):
    found = read(tmp_path, *numbered(0, 1, 2, 3, 1))
    assert [item.answer for item in found.items] == [0, 1, 2, 3, 1]
    assert (found.notes, found.problems) == ((), [])


def test_a_file_with_both_has_mistakes_in_it_which_are_named(tmp_path):
    with pytest.raises(UserError, match=r"from 0 \(line 1 has 0\) and some from 1 \(line 5 has 4, the number of all"):
        read(tmp_path, *numbered(0, 1, 2, 3, 4))
    letter = read(tmp_path, *numbered(0, 1, 4, "B"))
    assert [(item.line, item.answer) for item in letter.items] == [(4, 1)]
    assert [problem.line for problem in letter.problems] == [1, 2, 3]


def test_a_few_that_count_in_another_way_are_the_mistakes(tmp_path):
    for many, few, first in ((0, 4, 0), (4, 0, 1)):
        found = read(tmp_path, *numbered(*[many] * 21, few, few))
        assert {item.answer for item in found.items} == {many - first} and len(found.items) == 21
        assert [each.line for each in found.problems] == [22, 23]


def test_what_nothing_decides_is_read_from_zero_and_told(tmp_path):
    found = read(tmp_path, *numbered(1, 2, 3))
    assert [item.answer for item in found.items] == [1, 2, 3]
    assert len(found.notes) == 1 and "counting from 0. If they count from 1" in found.notes[0]


def test_columns_with_numbers_count_as_they_do_unless_a_zero_shows_otherwise(tmp_path):
    one = {"option1": "x", "option2": "y", "option3": "z"}
    found = read(tmp_path, *({**one, "answer": answer} for answer in ("1", "2", 1)))
    assert [item.answer for item in found.items] == [0, 1, 0]
    assert "counting from 1, as their columns do" in found.notes[0]
    found = read(tmp_path, *({**one, "answer": answer} for answer in (0, 1, 2)))
    assert [item.answer for item in found.items] == [0, 1, 2]
    zero = {"ending0": "x", "ending1": "y", "ending2": "z"}
    found = read(tmp_path, *({**zero, "label": answer} for answer in (1, 0, 2)))
    assert [(item.choices, item.answer) for item in found.items] == [(("x", "y", "z"), at) for at in (1, 0, 2)]


def test_numbers_that_can_be_no_index_are_texts(tmp_path):
    ages = {"choices": ["10", "12", "14", "16"], "answer": "12"}
    # Text and index agree in the second row, which so tells nothing; the first says how to read the third.
    found = read(tmp_path, ages, {"choices": ["0", "1", "2", "3"], "answer": "2"},
                 {"choices": ["1", "2", "3", "4"], "answer": "2"}, {"choices": ["4", "3", "2", "1"], "answer": 4})
    assert [item.answer for item in found.items] == [1, 2, 1, 0]
    assert (found.problems, found.notes) == ([], ())
    by_index = read(tmp_path, *numbered(4, 1), {"choices": ["0", "1", "2", "3"], "answer": 2})
    assert [item.answer for item in by_index.items] == [3, 0, 1]


def test_numbers_that_may_be_both_are_refused(tmp_path):
    for row in ({"choices": ["1", "2", "3"], "answer": 2}, {"choices": ["2", "3", "4", "5"], "answer": "2"}):
        with pytest.raises(UserError, match=r"may be the text of choice . or the number of another; write the letter"):
            read(tmp_path, row)


def test_letters_that_are_texts_too_are_read_as_in_the_other_rows(tmp_path):
    blood = {"choices": ["O", "A", "B", "AB"], "answer": "A"}
    assert [item.answer for item in read(tmp_path, blood, *numbered("D")).items] == [0, 3]
    assert [item.answer for item in read(tmp_path, blood, *numbered("z")).items] == [1, 3]
    assert read(tmp_path, {**blood, "choices": {"A": "O", "B": "A"}}).items[0].answer == 0
    assert read(tmp_path, {"A": "O", "B": "A", "answer": "A"}).items[0].answer == 0
    agreeing = {"choices": ["A", "B"], "answer": "B"}
    assert [item.answer for item in read(tmp_path, agreeing, blood, *numbered("D")).items] == [1, 0, 3]
    for others in ([], numbered("z", "D")):
        found = read(tmp_path, blood, *others, {"answer": "free"})
        assert len(found.items) == 1 + len(others)
        assert "may be the text of choice B or the letter of another" in found.problems[0].message
