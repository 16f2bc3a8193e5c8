"""Which rows of a JSON file are read, and which others are offered."""

from __future__ import annotations

import json

import pytest
from support.chat_rows import read, says, user

from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.reader import read_as, read_dataset
from slmstudio.core.errors import UserError

Q, A = "What is the capital of Goa?", "It is Panaji."


def rows(count, word="", **more):
    return [{"question": f"{Q} {word}{at}", "answer": A, **more} for at in range(count)]


def asked(dataset):
    return [record.messages[0]["content"] for record in dataset.records]


LARGE = rows(4000, "long " * 30)
NOTE = 'The rows under "train" are read. Other rows of the file are left out: "test" (1).'


@pytest.mark.parametrize("train", [rows(3), LARGE], ids=["small", "large"])
def test_the_training_rows_are_read_without_a_question(tmp_path, train):
    dataset = read(tmp_path, {"train": train, "test": rows(1)}, "rows.json")
    assert (dataset.count, dataset.is_sure, dataset.notes) == (len(train), True, (NOTE,))
    assert [each.options.rows for each in dataset.candidates] == ["train", "test"]


@pytest.mark.parametrize(("value", "paths", "count"), [
    ({"hindi": rows(2), "english": rows(3)}, ["[hindi, english][]", "english", "hindi"], 5),
    ({"test": rows(2), "dev": rows(3)}, ["dev", "test"], 3),
    ({"data": {"part one": rows(2), "part_two": rows(1)}},
     ['[data."part one", data.part_two][]', 'data."part one"', "data.part_two"], 3),
    ({"train": LARGE, "more": rows(2)}, ["train", "more"], 4000)], ids=["sections", "tests", "deeper", "large"])
def test_several_lists_with_rows_of_one_kind_are_asked_about(tmp_path, value, paths, count):
    dataset = read(tmp_path, value, "rows.json")
    assert (dataset.count, dataset.is_sure) == (count, False)
    assert [each.options.rows for each in dataset.candidates] == paths


@pytest.mark.parametrize("value", [
    {"version": 2, "people": [{"first": f"p{at}", "phone": at} for at in range(9)], "data": rows(2)},
    {"result": {"items": rows(2), "page": 1}}, {"sections": [{"title": "x", "items": rows(2)}]},
    [{"title": "x", "faqs": rows(2)}], {"hi": {"faqs": rows(2)}, "count": 2},
    {"values": [["No.", "Question", "Answer"], [1, f"{Q} 0", A], [2, f"{Q} 1", A]]},
    {"fields": [{"id": "a", "label": "Question"}, {"id": "b", "label": "Answer"}],
     "data": [[f"{Q} 0", A], [f"{Q} 1", A]]},
    {"a": {"question": f"{Q} 0", "answer": A}, "b": {"question": f"{Q} 1", "answer": A, "tag": "x"}}],
    ids=["people beside", "deeper", "within a list", "within the only one", "faqs", "a table with names", "names apart",
         "keys"])
def test_one_list_is_plainly_the_rows(tmp_path, value):
    dataset = read(tmp_path, value, "rows.json")
    assert (asked(dataset), dataset.is_sure) == ([f"{Q} 0", f"{Q} 1"], True)


def test_answers_under_their_questions_in_sections(tmp_path):
    sections = [{f"{Q} {at + 10 * section}": A for at in range(3)} for section in range(2)]
    dataset = read(tmp_path, {"Goa": sections[0], "North Goa": sections[1]}, "rows.json")
    assert (dataset.count, dataset.candidates[0].options.rows) == (6, '[items(Goa), items("North Goa")][]')
    again = read_dataset(dataset.path, options=dataset.candidates[0].options)
    assert asked(again) == asked(dataset)
    assert read_dataset(dataset.path, options=dataset.candidates[1].options).count == 3


def test_rows_under_keys_in_sections(tmp_path):
    a, b, c = rows(3)
    dataset = read(tmp_path, {"quiz": {"sport": {"q1": a}, "maths": {"q1": b, "q2": c}}}, "rows.json")
    assert (dataset.count, dataset.candidates[0].options.rows) == (3, "[values(quiz.sport), values(quiz.maths)][]")
    assert read_dataset(dataset.path, options=dataset.candidates[0].options).count == 3


def test_terms_with_explanations_are_asked_about(tmp_path):
    dataset = read(tmp_path, {f"Term{at}": f"It is what number {at} stands for." for at in range(6)}, "rows.json")
    assert (asked(dataset)[:2], dataset.is_sure) == (["Term0", "Term1"], False)


def test_words_with_several_meanings_are_asked_about(tmp_path):
    dataset = read(tmp_path, {f"wort{at}": ["sign", "note"][:at % 2 + 1] for at in range(6)}, "rows.json")
    assert ([record.messages[1]["content"] for record in dataset.records][:2], dataset.is_sure) == (
        ["sign", "sign; note"], False)
    assert read_dataset(dataset.path, options=dataset.candidates[0].options).count == 6


def test_a_list_of_texts_is_rows_of_text(tmp_path):
    texts = [f"Line {at} of a film: nobody moves!" for at in range(4)]
    dataset = read(tmp_path, texts, "rows.json")
    assert ([record.text for record in dataset.records], dataset.layout) == (texts, "text")


ARTICLES = [{"title": f"Article {part}.{at}", "text": f"It says what part {part} means, in {at + 2} words or so."}
            for part in range(3) for at in range(3)]
PARTS = [{"part": f"Part {at}", "about": "Of some places.", "articles": ARTICLES[3 * at:3 * at + 3]}
         for at in range(3)]


@pytest.mark.parametrize(("value", "outer"), [(PARTS, "@"), ({"parts": PARTS}, "parts")], ids=["a list", "an object"])
def test_the_list_with_most_of_the_text_is_the_rows(tmp_path, value, outer):
    dataset = read(tmp_path, value, "rows.json")
    assert (dataset.count, dataset.is_sure) == (9, False) and {"part", "title", "text"} <= set(dataset.columns)
    assert outer in {each.options.rows for each in dataset.candidates}
    lines = dataset.candidates[0].line, f"instruction=part,output=about,rows={outer}"
    assert [read_as(dataset.path, line).count for line in lines] == [9, 3]


@pytest.mark.parametrize("inner", [
    {"options": [{"text": "In the long run, nobody can tell.", "is_right": at == 1} for at in range(3)]},
    {"talk": [{"role": "user", "content": "What is it, my friend?"}, {"role": "assistant", "content": "This."}]},
    {"links": [{"to": "a"}, {"to": "b"}]}], ids=["choices", "messages", "short"])
def test_other_lists_of_a_row_stay_in_it(tmp_path, inner):
    dataset = read(tmp_path, [{"task": f"Decide what number {at} is, and why.", "solution": "It is one.", **inner}
                              for at in range(4)], "rows.json")
    assert dataset.count == 4


def test_lists_within_a_row_are_no_rows(tmp_path):
    dataset = read(tmp_path, {"question": Q, "answer": A, "links": [{"to": "x"}, {"to": "y"}]}, "rows.json")
    assert (asked(dataset), dataset.columns) == ([Q], ("question", "answer", "links"))


@pytest.mark.parametrize(("path", "expected"), [
    ("test", 1), ("train", 4), ("[train, test][]", 5), ("*[]", 5), ("train[?answer]", 4), ("@", 4)])
def test_a_person_may_choose_the_rows(tmp_path, path, expected):
    read(tmp_path, {"train": rows(4), "test": rows(1)}, "rows.json")
    dataset = read_dataset(tmp_path / "rows.json", options=ReadOptions(rows=path))
    assert (dataset.count, dataset.is_sure) == (expected, True)


@pytest.mark.parametrize(("path", "expected"), [("test", 1), ("train", 4000), ("train[:5]", 5)])
def test_a_person_may_choose_the_rows_of_a_large_file(tmp_path, path, expected):
    read(tmp_path, {"train": LARGE, "test": rows(1)}, "rows.json")
    assert read_dataset(tmp_path / "rows.json", options=ReadOptions(rows=path)).count == expected


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
@pytest.mark.parametrize("path", ["nowhere", "data[", "version"])
def test_a_place_without_rows_is_named(tmp_path, path, name):
    (tmp_path / name).write_text(json.dumps({"version": 1, "data": rows(2)}))
    with pytest.raises(UserError) as error:
        read_dataset(tmp_path / name, options=ReadOptions(rows=path))
    assert path in error.value.what


def test_rows_within_the_lines_of_a_file(tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"page": at, "faqs": rows(2, f"{at} ")}) + "\n"
                                                 for at in range(3)))
    dataset = read_dataset(tmp_path / "rows.jsonl", options=ReadOptions(rows="[].faqs[]"))
    assert dataset.count == 6 and list(dataset.records[5].messages) == [user(f"{Q} 2 1"), says(A)]
