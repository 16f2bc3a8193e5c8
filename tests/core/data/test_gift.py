"""Questions in Moodle's GIFT format, and catalogues of translations."""

from __future__ import annotations

import pytest

from slmstudio.core.data.reader import read_dataset
from slmstudio.core.data.sources import structured
from slmstudio.core.data.sources.structured import kind_of

WHOLE = {
    "one right choice": ("::Q1:: Which river passes Nashik? {\n=Godavari#Right.\n~Tapi\n~%0%Kaveri\n}",
                         {"question": "Which river passes Nashik?", "choices": ["Godavari", "Tapi", "Kaveri"],
                          "answer": "Godavari"}),
    "several right ones": ("Which are metals? {~%50%Iron ~%-100%Salt ~%50%Tin}",
                           {"question": "Which are metals?", "choices": ["Iron", "Salt", "Tin"],
                            "answer": "Iron, Tin"}),
    "true or false": ("The office opens at nine.{TRUE#At nine sharp.}",
                      {"question": "The office opens at nine.", "choices": ["True", "False"], "answer": "True"}),
    "a short answer": ("Who wrote it? {=Premchand =Munshi Premchand}", {"question": "Who wrote it?",
                                                                       "answer": "Premchand"}),
    "a gap": ("Water boils at {=100 =hundred} degrees.", {"question": f"Water boils at {structured.GAP} degrees.",
                                                         "answer": "100"}),
    "a number": ("How many? {#4:0.5}", {"question": "How many?", "answer": "4"}),
    "a range": ("How far? {#=3:1 =%50%4:2}", {"question": "How far?", "answer": "3"}),
    "pairs": ("Match. {=India -> Delhi =Nepal -> Kathmandu}", {"question": "Match.",
                                                              "answer": "India -> Delhi\nNepal -> Kathmandu"}),
    "protected signs": (r"What is 2 \= x \{mod 3\}? {=2\:00 ~1}", {"question": "What is 2 = x {mod 3}?",
                                                                 "choices": ["2:00", "1"], "answer": "2:00"}),
    "an essay": ("Describe your village. {}", {"question": "Describe your village.", "answer": ""}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_question(name):
    text, row = WHOLE[name]
    assert structured.gift_rows(f"// A remark\n$CATEGORY: exam\n\n{text}\n") == [row]


def test_a_paragraph_that_is_no_question_is_not_lost():
    assert structured.gift_rows("Read {1:MC:~a~=the} text.\n\nWho? {=Asha}")[0] == {
        "question": "Read {1:MC:~a~=the} text.", "answer": ""}


def test_where_only_some_have_choices_they_are_below_their_questions():
    found = structured.gift_rows("Which one? {=A ~B}\n\nHow many? {#4}\n")
    assert found == [{"question": "Which one?\n- A\n- B", "answer": "A"}, {"question": "How many?", "answer": "4"}]


@pytest.mark.parametrize("text", ["body {\n  color: red;\n}\n\np { margin: 0 }\n", "Say {name} hello.\n\nBye {name}.\n",
                                  "One question? {=yes ~no}\n\nAnd prose.\n\nMore of it.\n", "Nothing here."])
def test_other_texts_with_brackets_are_not(text):
    assert not structured.is_gift(text)
    assert kind_of(text.encode(), ".txt") == ""


def test_a_catalogue_of_translations(tmp_path):
    path = tmp_path / "a.po"
    path.write_text('#\nmsgid ""\nmsgstr ""\n"Language: hi\\n"\n\nmsgctxt "menu"\nmsgid "Open"\nmsgstr "खोलें"\n\n'
                    '#, fuzzy\nmsgid "Close"\nmsgstr "खोलें"\n\nmsgid "Save"\nmsgstr ""\n\n'
                    'msgid "{n} row"\nmsgid_plural "{n} rows"\nmsgstr[0] "{n} पंक्ति"\nmsgstr[1] "{n} पंक्तियाँ"\n', "utf-8")
    found = read_dataset(path)
    assert found.is_sure and [[each["content"] for each in record.messages] for record in found.records] == [
        ["Open", "खोलें"], ["{n} row", "{n} पंक्ति"]]
