"""A file that doesn't say how it is to be read: what is proposed, and the first rows as a model will see them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.workbooks import write_xlsx

from slmstudio.core.data import candidates
from slmstudio.core.data.candidates import SENTENCES, Candidate, Evidence, title, why
from slmstudio.core.data.read_options import ReadOptions, parse
from slmstudio.core.data.reader import preview, read_dataset
from slmstudio.core.data.sources.row import with_words

LOOK = "Ref,Vinanti,Javaab diya,Stage\n" + "".join(
    f"{at},The tap in ward {at} has been dry for days.,The pipe in ward {at} was mended and it runs.,open\n"
    for at in range(40))
ODD = "Fld 1,Fld-2,xx\n" + "".join(f"why {n},because of {n},as {n}\n" for n in range(9))


@pytest.fixture
def write(tmp_path):
    def make(name: str, text: str):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return make


def test_a_table_told_by_its_sentences_is_asked_about_with_the_reading_filled_in(write):
    dataset = read_dataset(write("look.csv", LOOK))
    best = dataset.candidates[0]
    assert not dataset.is_sure and best.line == "instruction=Vinanti,output=Javaab diya"
    assert dataset.unused_words == ("Stage",)
    columns, options = parse(best.line)
    chosen = read_dataset(dataset.path, columns=columns, options=options)
    assert chosen.is_sure and chosen.records == dataset.records


@pytest.mark.parametrize(("name", "text", "line"), [
    ("sure.csv", "question,answer\nWho?,She.\n", "instruction=question,output=answer"),
    ("story.txt", "Once upon\na time.\n\nThe end.\n", "text_by=paragraph")])
def test_a_preview_is_the_first_rows_of_what_is_read(write, name, text, line):
    path = write(name, text)
    found, whole = preview(path), read_dataset(path)
    assert list(found.records) == whole.records[:3] and found.candidates == whole.candidates
    assert found.is_sure and found.candidates[0].line == line
    columns, options = parse(line)
    assert preview(path, columns, options).records == found.records


def test_columns_that_tell_nothing_are_proposed_in_their_order_and_the_other_way_round(write):
    path = write("odd.csv", ODD)
    found = preview(path)
    assert not found.is_sure and len(found.records) == 3
    assert [each.line for each in found.candidates[:4]] == [
        "instruction=Fld 1,output=Fld-2", "instruction=Fld 1,output=xx", "instruction=Fld-2,output=xx",
        "instruction=Fld-2,output=Fld 1"]
    assert [each.code for each in found.candidates[0].evidence] == ["names_unclear"]
    dataset = read_dataset(path)
    assert dataset.candidates == found.candidates and not dataset.is_sure


def test_another_sheet_is_previewed(tmp_path):
    path = write_xlsx(tmp_path / "a.xlsx", {"eins": [["question", "answer"], ["x", "y"]],
                                            "zwei": [["prompt", "reply"], ["u", "v"]]})
    assert preview(path, options=ReadOptions(sheet="zwei")).records[0].messages[0]["content"] == "u"


@pytest.mark.parametrize(("candidate", "said"), [
    (Candidate("question_answer", {"instruction": "प्रश्न", "output": "उत्तर"}),
     "Question in “प्रश्न”, answer in “उत्तर”"),
    (Candidate("conversation", options=ReadOptions(user="Asha", assistant="Ravi")),
     "Conversation between “Asha” and “Ravi”"),
    (Candidate("text", options=ReadOptions(text_by="paragraph")), "Paragraphs of text"),
    (Candidate("text", {"text": "body"}), "Plain text in “body”"),
    (Candidate("", options=ReadOptions(sheet="2024")), "Sheet “2024”"),
    (Candidate("", options=ReadOptions(rows="data.items")), "List “data.items”"),
    (Candidate("text", {"text": "body"}, ReadOptions(sheet="2024")), "Plain text in “body” · Sheet “2024”"),
    (Candidate("conversation"), "Conversations"), (Candidate("chatgpt"), "The layout “chatgpt”")])
def test_a_way_to_read_has_a_name(candidate, said):
    assert title(candidate) == said


def test_all_evidence_has_its_sentence():
    """The codes that the sources name are those that have one."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in Path(candidates.__file__).parent.rglob("*.py"))
    named = {*re.findall(r'Evidence\(\s*"(\w+)"', sources), "by_name", "similar_name", "by_look", "by_sentences"}
    assert named == SENTENCES.keys()
    seen = [Evidence("by_name", {"column": name}) for name in "xy"]
    assert why(Candidate("text", evidence=(seen[0],))) == "“x” has a name that says what it contains."
    assert why(Candidate("text", evidence=tuple(seen))) == "“x” and “y” have names that say what they contain."


@pytest.mark.parametrize(("value", "is_word"), [
    ("open", True), ("(हाँ)", True), ("B", True), ("17", False), ("q-17", False), ("2024-05-01 10:30", False),
    ("https://a.org/b", False), ("a@b.in", False), ("row_a", False), ({"why": ["No idea."]}, True), (5, False)])
def test_words_are_told_from_numbers_dates_and_addresses(value, is_word):
    assert with_words([{"x": None}, {"x": value}], ["x"]) == (("x",) if is_word else ())


def test_words_are_found_within_lists_and_objects():
    rows = [{"messages": [{"content": [{"thinking": "Hm, let me see."}]}], "n": [{"weight": 2}]}]
    assert with_words(rows, ["messages.thinking", "n.weight"]) == ("messages.thinking",)


@pytest.mark.parametrize(("name", "text", "what", "remedy"), [
    ("head.csv", "question,answer\n", "contains no rows below its column names", "header=none"),
    ("empty.jsonl", " \n", "contains no rows.", "Choose"),
    ("words.jsonl", '"just words"\n', "has no row that can be used", '"instruction"')])
def test_what_is_said_of_a_file_without_rows(write, refusal, name, text, what, remedy):
    error = refusal(write(name, text))
    assert what in error.what and remedy in error.remedy


def test_rows_of_one_line_are_not_counted_from_line_1_to_1(write, refusal):
    error = refusal(write("rows.json", json.dumps([{"question": f"q{at}", "answer": ""} for at in range(9)])))
    assert "9 rows are like this." in error.problems[0].message
