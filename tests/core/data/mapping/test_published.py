"""Each entry of the published layouts says itself what its example must become."""

from __future__ import annotations

import pytest
from support.chat_rows import read

from slmstudio.core.data.mapping import published, turns
from slmstudio.core.data.reader import Record

WHOLE = ("file", "chat", "post")


def lines(record: Record) -> list[str]:
    """A record as the entries write them."""
    if record.text is not None:
        return [f"text: {record.text}"]
    return [f"{message['role']}: {message['content']}" for message in record.messages] + (
        [f"rejected: {record.rejected}"] if record.rejected is not None else [])


@pytest.mark.parametrize("entry", published.entries(), ids=lambda entry: entry["id"])
def test_an_example_becomes_what_its_entry_says(tmp_path, entry):
    is_whole = entry.get("of") in WHOLE
    name = "whole.json" if is_whole else "rows.jsonl"
    dataset = read(tmp_path, entry["example"] if is_whole else [entry["example"]] * 2, name)
    assert list(map(lines, dataset.records)) == entry["becomes"] * (1 if is_whole else 2)
    assert dataset.problems == [] and dataset.is_sure


@pytest.mark.parametrize("form", turns.FORMS["templates"], ids=lambda form: form["name"])
def test_a_text_that_a_template_wrote_becomes_what_its_entry_says(tmp_path, form):
    dataset = read(tmp_path, [{"text": form["example"]}] * 2)
    assert list(map(lines, dataset.records)) == [form["becomes"]] * 2


@pytest.mark.parametrize("expression", ["cycle(a, b)", "join(a, b)", "split(b, a)", "a | b(@)", "a["])
def test_a_value_of_another_type_is_nothing(expression):
    assert published.find(expression, {"a": [1], "b": []}) is None


def test_most_rows_stay_as_they_are():
    row = {"question": "What is the capital of Goa?", "answer": "Panaji."}
    assert published.rows_of(row)[0] is row
    assert not published.layouts_of(("instruction", "output"))
