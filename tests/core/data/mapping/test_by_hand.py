"""What a user says about columns: joined ones, parts of one, cells with both, marks, and messages without an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.chat_rows import says, user

from slmstudio.core.data.reader import Dataset, read_as
from slmstudio.core.errors import UserError

ROWS = [{"Title": f"Ward {at}", "Body": "When is it open?", "Reply": {"text": f"At {at + 8}.", "by": "Asha"}}
        for at in range(4)]


def read(folder: Path, rows: list[dict[str, Any]], line: str) -> Dataset:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return read_as(folder / "rows.jsonl", line)


def test_columns_are_joined_and_looked_into(tmp_path):
    found = read(tmp_path, ROWS, "instruction=Title + Body,output=Reply.text")
    assert list(found.records[1].messages) == [user("Ward 1\n\nWhen is it open?"), says("At 9.")]
    assert (found.unused, found.mapping["instruction"]) == ((), "Title + Body")
    found = read(tmp_path, ROWS, "text=Title + Reply.by + Body,join= - ")
    assert found.records[0].text == "Ward 0 - Asha - When is it open?"


def test_a_column_of_that_name_counts_first(tmp_path):
    found = read(tmp_path, [{"a + b": "Both?", "a": "No", "b": "no", "c": "Yes."}] * 4, "instruction=a + b,output=c")
    assert list(found.records[0].messages) == [user("Both?"), says("Yes.")]


CELLS = {
    "marks on lines": ("Q: {0}\nA: {1}", "cell=Faq"),
    "marks in a line": ("Question: {0} Answer: {1}", "cell=Faq"),
    "marks in Hindi": ("प्रश्न: {0} उत्तर: {1}", "cell=Faq"),
    "a text between": ("{0} -> {1}", "cell=Faq,between=->"),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_holds_question_and_answer(tmp_path, name):
    cell, line = CELLS[name]
    found = read(tmp_path, [{"No": 1, "Faq": cell.format("Who pays?", "The tenant, at once.")}] * 4, line)
    assert list(found.records[3].messages) == [user("Who pays?"), says("The tenant, at once.")]


def test_a_cell_may_hold_several_questions_and_must_hold_one(tmp_path):
    found = read(tmp_path, [{"Faq": "Q: Who?\nA: I.\nQ: When?\nA: Now."}, {"Faq": "Nothing here"}], "cell=Faq")
    assert [list(each.messages) for each in found.records] == [
        [user("Who?"), says("I.")], [user("When?"), says("Now.")]]
    assert [(each.line, each.field) for each in found.problems] == [(2, "Faq")]


def test_a_last_message_that_nobody_answers_is_dropped_if_one_says_so(tmp_path):
    rows = [{"messages": [user("Hi"), says("Hello"), user("Bye")]}]
    with pytest.raises(UserError):
        read(tmp_path, rows, "messages=messages")
    found = read(tmp_path, rows, "messages=messages,unanswered=drop")
    assert list(found.records[0].messages) == [user("Hi"), says("Hello")] and found.notes


def test_marks_decide_unless_they_are_ignored(tmp_path):
    rows = [{"question": f"Who {at}?", "answer": f"I {at}.", "accepted": at % 2 == 0} for at in range(6)]
    found = read(tmp_path, rows, "")
    assert found.layout == "labelled" and ("mark_decides", "accepted") in [
        (each.code, each.values.get("column")) for each in found.candidates[0].evidence]
    assert found.candidates[1].line == "instruction=question,output=answer"
    assert read(tmp_path, rows, "marks=ignore").layout == "instruction"


@pytest.mark.parametrize("path", ["Reply | join('', @)", "Reply | sort(@) | [0]"])
def test_a_value_of_another_type_is_missing(tmp_path, path):
    rows = [{"Title": f"Ward {at}", "Reply": each} for at, each in enumerate((["At 8."], "At nine.", 7, [7, "a"], {}))]
    found = read(tmp_path, rows, f"instruction=Title,output={path}")
    assert [list(each.messages) for each in found.records] == [[user("Ward 0"), says("At 8.")]]
    assert [each.line for each in found.problems] == [2]


WRONG = {"output=Answer": "There is no column", "output=Reply.answer": "There is no column",
         "output=Reply[": "There is no column", "output=Title + Nothing": "There is no column",
         "output=image": "pictures"}


@pytest.mark.parametrize("line", WRONG)
def test_what_a_user_says_is_checked(tmp_path, line):
    with pytest.raises(UserError, match=WRONG[line]):
        read(tmp_path, [{**row, "image": "a.png"} for row in ROWS], f"instruction=Title,{line}")
