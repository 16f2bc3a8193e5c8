"""Rows like a question, as examples or to look up: found in any script, as many as fit, never the question itself."""

from __future__ import annotations

import pytest

from slmstudio.core import files
from slmstudio.core.chat import context
from slmstudio.core.chat.context import Context, passages, with_system, words
from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError


@pytest.mark.parametrize(("text", "found"), [
    ("What's the Fee, ₹1,500?", ["what", "s", "the", "fee", "1", "500"]),
    ("शुल्क कितना है?", ["शुल्क", "कितना", "है"]),
    ("கட்டணம் எவ்வளவு?", ["கட்டணம்", "எவ்வளவு"]),
    ("শক্‌তি ক্ষ", ["শক্তি", "ক্ষ"]),  # a joiner neither parts a word nor makes another one of it
    ("cafe\u0301 CAFÉ", ["café", "café"]),
    ("東京です", ["東", "京", "で", "す"]),
    ("क़", ["क\u093c"]),  # composed and decomposed are one
])
def test_words_of_any_script(text, found):
    assert words(text) == found


def turns(question, answer=None, system=None):
    return [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": question},
            *([{"role": "assistant", "content": answer}] if answer else [])]


ROWS = [Record(turns("How much is the water bill fee?", "120 rupees", "Be short."), 1),
        Record(turns("When does the library open?", "At nine"), 2),
        Record(turns("पानी का बिल कब भरना है?", "हर महीने की पाँच तारीख"), 3),
        Record(turns("Is parking free?", "No"), 4, desirable=False)]


def made(tmp_path, kind="examples", k=2, rows=ROWS):
    context.write_rows(tmp_path / "rows.jsonl", rows)
    return Context({"kind": kind, "k": k, "rows": "rows.jsonl"}, tmp_path)


def count(messages):
    return sum(len(each["content"].split()) for each in messages)


def test_examples_are_turns_before_the_question_with_the_most_similar_one_next_to_it(tmp_path):
    found = made(tmp_path).ask(turns("What is the water fee?", system="Be kind."), count, 1000)
    assert [each["content"] for each in found.messages] == [
        "Be kind.", "When does the library open?", "At nine", "How much is the water bill fee?", "120 rupees",
        "What is the water fee?"] and found.rows == 2
    hindi = made(tmp_path, k=1).ask(turns("बिल कहाँ भरना है?"), count, 1000)
    assert hindi.messages[1]["content"] == "हर महीने की पाँच तारीख"


def test_as_many_as_fit(tmp_path):
    rows = made(tmp_path)
    asked = turns("What is the water fee?")
    assert rows.ask(asked, count, 14).rows == 1
    assert rows.ask(asked, count, 5).messages == asked


def test_entries_are_in_the_system_message_or_before_the_question(tmp_path):
    rows = made(tmp_path, "retrieval")
    asked = turns("What is the water fee?")
    system, question = rows.ask(asked, count, 1000).messages
    assert "120 rupees" in system["content"] and "At nine" in system["content"] and question == asked[0]
    [alone] = rows.ask(asked, count, 1000, takes_system=False).messages
    assert "120 rupees" in alone["content"] and alone["content"].endswith(asked[0]["content"])
    assert rows.ask(turns("xyzzy"), count, 1000).rows == 0  # what has no word in common isn't looked up


@pytest.mark.parametrize(("question", "same"), [
    ("how much is the WATER bill fee", 1),
    ("How much is the water bill fee, please?", 1),
    ("How much is the parking fee?", 0),
    ("When does the library open on day 7?", 0),
])
def test_a_row_that_asks_the_same_is_left_out_where_it_is_measured(tmp_path, question, same):
    rows = made(tmp_path, "retrieval")
    assert rows.ask(turns(question), count, 1000, leave_out_same=True).same == same
    assert rows.ask(turns(question), count, 1000).same == 0


def test_plain_text_is_looked_up_by_passages(tmp_path):
    texts = ["The water office opens at ten. " * 60, "Parks close at eight. " * 60]
    rows = made(tmp_path, "retrieval", 1, [Record((), 1, text=text) for text in texts])
    [system, _] = rows.ask(turns("When do parks close?"), count, 1000).messages
    assert "Parks" in system["content"] and len(system["content"]) < 1200
    assert all(len(each) <= context.PASSAGE and each.endswith(".") for each in passages(texts[0]))
    with pytest.raises(UserError):
        made(tmp_path, "examples", 1, [Record((), 1, text=texts[0])])


def test_the_rows_that_are_written(tmp_path):
    assert context.write_rows(tmp_path / "rows.jsonl", ROWS) == 3  # no bad answer
    assert [line["messages"][-1]["content"] for line in files.LineReader(tmp_path / "rows.jsonl").read()] == [
        "120 rupees", "At nine", "हर महीने की पाँच तारीख"]


@pytest.mark.parametrize(("own", "system", "takes", "instead_of", "found"), [
    (None, "S", True, None, ["S", "Q"]),
    (None, None, True, None, ["Q"]),
    (None, "S", False, None, ["S\n\nQ"]),
    ("A", "S", True, None, ["A\n\nS", "Q"]),
    ("A", "A and S", True, None, ["A and S", "Q"]),
    ("A", "S", True, "A", ["S", "Q"]),
    ("A", "", True, "A", ["Q"]),
])
def test_a_system_prompt(own, system, takes, instead_of, found):
    messages = with_system(turns("Q", system=own), system, takes, instead_of)
    assert [each["content"] for each in messages] == found
