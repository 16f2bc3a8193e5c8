"""A row with very many fields."""

from __future__ import annotations

import json

from slmstudio.core.data.reader import read_dataset
from slmstudio.core.data.sources.row import MOST_FIELDS


def test_a_row_with_too_many_fields_is_a_problem_and_the_others_are_read(tmp_path):
    wide = {f"field {number}": "x" for number in range(MOST_FIELDS)} | {"question": "a?", "answer": "b"}
    rows = [{"question": "c?", "answer": "d"}, wide, {"question": "e?", "answer": "f"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = read_dataset(path)
    assert found.count == 2 and [problem.line for problem in found.problems] == [2]


def test_questions_that_are_the_keys_of_an_object_may_be_many(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({f"What is number {number}?": f"It is {number}." for number in range(MOST_FIELDS + 1)}),
                    encoding="utf-8")
    assert read_dataset(path).count == MOST_FIELDS + 1
