"""Kinds of rows, found by looking at their columns."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from slmstudio.core.evaluation.testset.item import TestItem
from slmstudio.core.evaluation.testset.reader import read_test_set

CHOICE = {"question": "2 + 2?", "choices": ["one", "four", "six"]}


def jsonl(folder: Path, *rows: dict, name: str = "test.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def table(folder: Path, text: str, name: str = "test.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def only(path: Path) -> TestItem:
    found = read_test_set(path)
    assert found.problems == []
    assert len(found.items) == 1
    return found.items[0]


@pytest.mark.parametrize("row", [
    {"question": "Q?", "answer": "A."},
    {"Question": "Q?", "Answer": "A."},
    {"instruction": "Q?", "output": "A."},
    {"instruction": "Q?", "input": "", "output": "A."},
    {"instruction": "Q?", "answer": "A."},
    {"prompt": "Q?", "completion": "A."},
    {"prompt": "Q?", "response": "A."},
    {"prompt": "Q?", "references": ["A."]},
    {"input": "Q?", "output": "A."},
    {"input": "Q?", "target": "A."},
    {"input": [{"role": "user", "content": "Q?"}], "ideal": "A."},
    {"prompt": [{"role": "user", "content": "Q?"}], "completion": [{"role": "assistant", "content": "A."}]},
    {"prompt": "Q?", "completion": "A.", "label": True},
    {"prompt": "Q?", "chosen": "A.", "rejected": "B."},
    {"messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A."}]},
    {"messages": [{"role": "user", "content": "Q?"}], "reference": "A."},
    {"problem": "Q?", "solution": "A."},
])
def test_free_answers_in_every_layout(tmp_path, row):
    item = only(jsonl(tmp_path, row))
    assert (item.kind, item.question, item.references, item.line) == ("free", "Q?", ("A.",), 1)
    assert item.messages == ({"role": "user", "content": "Q?"},)


def test_a_conversation_is_asked_up_to_its_last_question(tmp_path):
    turns = [("system", "Be short."), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    item = only(jsonl(tmp_path, {"messages": [{"role": role, "content": text} for role, text in turns]}))
    assert [message["content"] for message in item.messages] == ["Be short.", "a", "b", "c"]
    assert item.references == ("d",)


@pytest.mark.parametrize(("column", "value"), [
    ("references", ["one", "two", "one"]), ("answers", ["one", "two"]), ("answer", ["one", "two"]),
    ("answers", {"text": ["one", "two"], "answer_start": [3, 9]}), ("ideal", ["one", "two"]),
    ("answers", [{"text": "one", "answer_start": 1}, {"text": "two", "answer_start": 5}]),
])
def test_several_references(tmp_path, column, value):
    item = only(jsonl(tmp_path, {"question": "Q?", column: value}))
    assert (item.kind, item.references) == ("free", ("one", "two"))


def test_several_references_in_a_cell(tmp_path):
    item = only(table(tmp_path, 'question,references\nQ?,"[""one"", ""two""]"\n'))
    assert item.references == ("one", "two")


@pytest.mark.parametrize(("extra", "text"), [
    ({"context": "P."}, "Q?\n\nP."), ({"passage": "P."}, "Q?\n\nP."), ({"input": "P."}, "Q?\n\nP."),
    ({"context": " "}, "Q?"), ({"context": None}, "Q?"),
])
def test_a_passage_goes_below_the_question(tmp_path, extra, text):
    assert only(jsonl(tmp_path, {"question": "Q?", "answer": "A.", **extra})).question == text
    assert only(jsonl(tmp_path, {"question": "Q?", "references": ["A."], **extra})).question == text
    assert only(jsonl(tmp_path, {**CHOICE, "answer": "four", **extra})).question == text.replace("Q?", "2 + 2?")


def test_instruction_and_input_are_joined_as_in_training(tmp_path):
    row = {"instruction": "Q?", "input": "P."}
    assert only(jsonl(tmp_path, {**row, "output": "A."})).question == "Q?\n\nP."
    assert only(jsonl(tmp_path, {**row, "references": ["A."]})).question == "Q?\n\nP."


def test_system_category_and_language_stand_beside(tmp_path):
    row = {"question": "प्रश्न?", "answer": "उत्तर", "system": "Be short.", "subject": " law ", "language": "Marathi"}
    item = only(jsonl(tmp_path, row))
    assert item.messages[0] == {"role": "system", "content": "Be short."}
    assert (item.category, item.language, item.language_guessed) == ("law", "mr", False)


@pytest.mark.parametrize("value", ["B", "b", "(B)", "B.", "four", " four ", 1, "1", ["B"]])
def test_the_right_choice_by_letter_text_or_index(tmp_path, value):
    item = only(jsonl(tmp_path, {**CHOICE, "answer": value}))
    assert (item.kind, item.answer, item.references) == ("choice", 1, ("four",))
    assert item.choices == ("one", "four", "six")


@pytest.mark.parametrize("row", [
    {"question": "2 + 2?", "choices": {"text": ["one", "four"], "label": ["A", "B"]}, "answerKey": "B"},
    {"question": "2 + 2?", "choices": {"text": ["one", "four"], "label": ["1", "2"]}, "answerKey": "2"},
    {"question": {"stem": "2 + 2?", "choices": [{"text": "one", "label": "A"}, {"text": "four", "label": "B"}]},
     "answerKey": "B"},
    {"question": "2 + 2?", "choices": {"choices": ["one", "four"], "labels": [0, 1]}},
    {"question": "2 + 2?", "options": {"A": "one", "B": "four"}, "answer": "four", "answer_idx": "B"},
    {"question": "2 + 2?", "options": ["one", "four"], "answer": "B", "answer_index": 1},
    {"question": "2 + 2?", "A": "one", "B": "four", "C": "", "answer": "B"},
    {"question": "2 + 2?", "option_a": "one", "option_b": "four", "answer": "b"},
    {"question": "2 + 2?", "opa": "one", "opb": "four", "cop": 1},
    {"question": "2 + 2?", "option1": "one", "option2": "four", "answer": "2"},
    {"ctx": "2 + 2?", "endings": ["one", "four"], "label": "1"},
    {"question": "2 + 2?", "choices": [{"text": "one"}, {"text": "four", "correct": True}]},
])
def test_multiple_choice_as_known_sets_write_it(tmp_path, row):
    item = only(jsonl(tmp_path, row))
    assert (item.kind, item.question, item.choices, item.answer) == ("choice", "2 + 2?", ("one", "four"), 1)


MMLU = '"Which, of these, is 4?",1,2,3,4,D\n"A ""quoted""\nquestion",a,b,c,d,A\n'


@pytest.mark.parametrize("head", ["", "question,A,B,C,D,answer\n", "Question,A,B,C,D,Answer\n"])
def test_mmlu_tables_with_and_without_names(tmp_path, head):
    found = read_test_set(table(tmp_path, head + MMLU))
    assert found.problems == []
    assert [(item.question, item.choices, item.answer) for item in found.items] == [
        ("Which, of these, is 4?", ("1", "2", "3", "4"), 3), ('A "quoted"\nquestion', ("a", "b", "c", "d"), 0)]
    assert [item.line for item in found.items] == ([1, 2] if not head else [2, 3])
    assert found.kinds == Counter(choice=2)


@pytest.mark.parametrize(("name", "text"), [
    ("t.tsv", "question\tanswer\nQ, one?\tA.\n"), ("t.csv", "question;answer\nQ, one?;A.\n"),
    ("t.csv", "question,answer\r\n\"Q, one?\",A.\r\n\r\n"), ("t.csv", "\ufeffquestion,answer\n\"Q, one?\",A.\n"),
    ("t.csv", '"Q, one?",A.\n'), ("t.csv", ',question,answer,note\n0,"Q, one?",A.,\n'),
])
def test_tables_of_other_shapes(tmp_path, name, text):
    item = only(table(tmp_path, text, name))
    assert (item.question, item.references) == ("Q, one?", ("A.",))


def test_a_table_in_utf_16(tmp_path):
    (tmp_path / "t.csv").write_bytes("question,answer\nक्या?,हाँ\n".encode("utf-16"))
    assert only(tmp_path / "t.csv").references == ("हाँ",)


def test_numbers_at_the_end(tmp_path):
    item = only(jsonl(tmp_path, {"question": "How many?", "answer": "2 and 3 are 5.\n#### 1,005"}))
    assert (item.kind, item.references) == ("number", ("2 and 3 are 5.\n#### 1,005",))


def test_a_file_of_bare_numbers_is_one_of_numbers(tmp_path):
    rows = [{"question": f"{n} + {n}?", "answer": 2 * n} for n in range(9)]
    found = read_test_set(jsonl(tmp_path, *rows, {"question": "क्या?", "answer": "₹ १२"}))
    assert found.kinds == Counter(number=10)
    assert found.items[4].references == ("8",)
    mixed = read_test_set(jsonl(tmp_path, *rows, *({"question": "Q", "answer": f"word {n}"} for n in range(5))))
    assert mixed.kinds == Counter(free=14)


def test_exact_and_pattern(tmp_path):
    found = read_test_set(jsonl(tmp_path, {"question": "Q?", "expected": "Yes"}, {"question": "Q?", "exact": "Yes"},
                                {"question": "Q?", "answer": "Yes", "kind": "exact"},
                                {"question": "Q?", "pattern": r"\byes\b"},
                                {"question": "Q?", "regex": "(?i)yes", "answer": "Yes."}))
    assert found.problems == []
    assert [item.kind for item in found.items] == ["exact"] * 3 + ["pattern"] * 2
    assert [item.pattern for item in found.items[3:]] == [r"\byes\b", "(?i)yes"]
    assert [item.references for item in found.items[3:]] == [(), ("Yes.",)]


def test_kinds_may_be_mixed_and_ids_are_places(tmp_path):
    found = read_test_set(jsonl(tmp_path, {"question": "Q?", "answer": "A."}, {"question": "bad"},
                                {**CHOICE, "answer": "B"}))
    assert [(item.id, item.line, item.kind) for item in found.items] == [(0, 1, "free"), (1, 3, "choice")]


def test_the_language_is_guessed_by_the_script(tmp_path):
    texts = {"भारत की राजधानी क्या है?": "hi", "இந்தியாவின் தலைநகரம் எது?": "ta", "What is the capital?": "en",
             "Kya hai bhai": "und-Latn", "भारत की राजधानी is Delhi": "hi", "12": None, "ভারতের রাজধানী কী?": "bn",
             "یہ کیا ہے؟ ٹھیک": "ur"}
    for text, language in texts.items():
        item = only(jsonl(tmp_path, {"question": text, "expected": "7"}))
        assert (item.language, item.language_guessed) == (language, language is not None), text


def test_rows_without_little_words_are_english_among_english(tmp_path):
    rows = [{"question": "What is the capital of India?", "answer": "Delhi."}] * 5
    found = read_test_set(jsonl(tmp_path, *rows, {"question": "Solve x = 7y", "answer": "x"}))
    assert [item.language for item in found.items] == ["en"] * 6


def test_items_survive_the_way_through_json(tmp_path):
    found = read_test_set(jsonl(tmp_path, {**CHOICE, "answer": "B"}, {"question": "Q?", "pattern": "x"},
                                {"question": "Q?", "answers": ["a", "b"], "system": "S", "tag": "law"}))
    for item in found.items:
        assert TestItem.from_dict(json.loads(json.dumps(item.to_dict()))) == item
        assert TestItem.from_dict({**item.to_dict(), "of_tomorrow": 1}) == item


def test_real_sets(data_dir):
    numbers = read_test_set(data_dir / "gsm8k_test.jsonl")
    assert (numbers.kinds, numbers.problems) == (Counter(number=200), [])
    hindi = read_test_set(data_dir / "xquad_hi_instructions.jsonl")
    assert (hindi.kinds, hindi.problems) == (Counter(free=307), [])
    assert {item.language for item in hindi.items} == {"hi"}
