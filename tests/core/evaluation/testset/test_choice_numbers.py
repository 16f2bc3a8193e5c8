"""Numbers that name a choice: counted from 0, from 1, or the text of a choice; told by the file as a whole."""

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
        found = read(tmp_path, *numbered(*answers))
        assert [item.answer for item in found.items] == [answer - 1 for answer in answers]
        assert (found.notes, found.problems) == (FROM_ONE, [])


def test_a_row_with_more_choices_changes_nothing(tmp_path):
    answers = [1 + n % 4 for n in range(200)]
    found = read(tmp_path, *numbered(*answers), *numbered(2, choices=[*FOUR, "v"]))
    assert [item.answer for item in found.items] == [*(answer - 1 for answer in answers), 1]
    assert found.notes == FROM_ONE


def test_zero_shows_that_they_count_from_zero(tmp_path):
    found = read(tmp_path, *numbered(0, 1, 2, 3, 1))
    assert [item.answer for item in found.items] == [0, 1, 2, 3, 1]
    assert (found.notes, found.problems) == ((), [])


def test_files_with_both_are_refused_unless_one_is_rare(tmp_path):
    with pytest.raises(UserError) as caught:
        read(tmp_path, *numbered(0, 1, 2, 3, 4))
    assert "some from 1" in str(caught.value) and len(caught.value.problems) == 1
    letter = read(tmp_path, *numbered(0, 1, 4, "B"))
    assert [(item.line, item.answer) for item in letter.items] == [(4, 1)]
    assert [problem.line for problem in letter.problems] == [1, 2, 3]
    rare = read(tmp_path, *numbered(*[0, 1, 2, 3] * 10, 4))
    assert len(rare.items) == 40 and rare.items[3].answer == 3
    assert [str(problem) for problem in rare.problems] == [
        "line 41: the answer 4 is outside the choices, which count from 0 to 3."]
    rare = read(tmp_path, *numbered(*[1, 2, 3, 4] * 10, 0))
    assert len(rare.items) == 40 and rare.items[3].answer == 3
    assert "from 1 to 4" in rare.problems[0].message and "more frequent than 0" in rare.notes[0]


def test_few_mistakes_do_not_decide_how_a_file_counts(tmp_path):
    found = read(tmp_path, *numbered(*[0, 1, 2, 3] * 5, 4))
    assert [item.answer for item in found.items] == [0, 1, 2, 3] * 5
    assert [problem.line for problem in found.problems] == [21]
    found = read(tmp_path, *numbered(*[1, 2, 3, 4] * 5, 0))
    assert [item.answer for item in found.items] == [0, 1, 2, 3] * 5 and "from 1 to 4" in found.problems[0].message
    with pytest.raises(UserError, match="some from 1"):
        read(tmp_path, *numbered(0, 0, 1, 2, 3, 4))


def test_one_number_of_all_choices_among_many_proves_nothing(tmp_path):
    found = read(tmp_path, *numbered(*(1 + n % 3 for n in range(100)), 4))
    assert [item.answer for item in found.items] == [1 + n % 3 for n in range(100)]
    assert [str(problem) for problem in found.problems] == [
        "line 101: the answer 4 is outside the choices, which count from 0 to 3."]
    assert found.notes == ("No answer is 0 and hardly one the number of all choices; they were read as counting from "
                           "0; if they count from 1, write letters instead.",)
    few = read(tmp_path, *numbered(*(1 + n % 3 for n in range(18)), 4))
    assert len(few.items) == 19 and few.notes == FROM_ONE
    columns = {"option1": "x", "option2": "y", "option3": "z"}
    named = read(tmp_path, *({**columns, "answer": 1 + n % 2} for n in range(100)), {**columns, "answer": 3})
    assert len(named.items) == 101 and named.items[100].answer == 2



def test_what_nothing_decides_is_read_from_zero_and_told(tmp_path):
    found = read(tmp_path, *numbered(1, 2, 3))
    assert [item.answer for item in found.items] == [1, 2, 3]
    assert len(found.notes) == 1 and "counting from 0; if they count from 1" in found.notes[0]


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
    assert read(tmp_path, ages).items[0].answer == 1
    # Text and index agree in the second row, which so tells nothing; the first says how to read the third.
    found = read(tmp_path, ages, {"choices": ["0", "1", "2", "3"], "answer": "2"},
                 {"choices": ["1", "2", "3", "4"], "answer": "2"}, {"choices": ["4", "3", "2", "1"], "answer": 4})
    assert [item.answer for item in found.items] == [1, 2, 1, 0]
    assert (found.problems, found.notes) == ([], ())
    found = read(tmp_path, {"choices": ["0", "1", "2", "3"], "answer": "2"}, ages)
    assert [item.answer for item in found.items] == [2, 1]


def test_numbers_that_may_be_both_are_refused(tmp_path):
    for row in ({"choices": ["1", "2", "3"], "answer": 2}, {"choices": ["2", "3", "4", "5"], "answer": "4"}):
        with pytest.raises(UserError, match=r"may be the text of choice . or the index of another; write the letter"):
            read(tmp_path, row)


def test_letters_that_are_texts_too_are_read_as_in_the_other_rows(tmp_path):
    blood = {"choices": ["O", "A", "B", "AB"], "answer": "A"}
    assert [item.answer for item in read(tmp_path, blood, *numbered("D")).items] == [0, 3]
    assert [item.answer for item in read(tmp_path, blood, *numbered("z")).items] == [1, 3]
    assert read(tmp_path, {**blood, "choices": {"A": "O", "B": "A"}}).items[0].answer == 0
    assert read(tmp_path, {"A": "O", "B": "A", "answer": "A"}).items[0].answer == 0
    agreeing = {"choices": ["A", "B"], "answer": "B"}
    assert read(tmp_path, agreeing).items[0].answer == 1
    assert [item.answer for item in read(tmp_path, agreeing, blood, *numbered("D")).items] == [1, 0, 3]
    for others in ([], numbered("z", "D")):
        found = read(tmp_path, blood, *others, {"answer": "free"})
        assert len(found.items) == 1 + len(others)
        assert "may be the letter of a choice or the text of choice B" in found.problems[0].message


def test_by_index_from_one_numbers_are_no_texts(tmp_path):
    found = read(tmp_path, *numbered(4, 1), {"choices": ["0", "1", "2", "3"], "answer": 2})
    assert [item.answer for item in found.items] == [3, 0, 1]
