"""Tables whose columns are named in other words and languages, and what is told of those that aren't known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.workbooks import write_xlsx

from slmstudio.core.data.column_names import column
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.testset.item import TestSet
from slmstudio.core.evaluation.testset.reader import read_test_set


def table(folder: Path, text: str) -> TestSet:
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    return read_test_set(path)


def lines(folder: Path, *rows: dict) -> TestSet:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return read_test_set(path)


@pytest.mark.parametrize("heading", [
    "प्रश्न,उत्तर", "प्रश्न,सही उत्तर", "सवाल,जवाब", "প্রশ্ন,উত্তর", "கேள்வி,பதில்", "ప్రశ్న,జవాబు", "પ્રશ્ન,જવાબ", "ಪ್ರಶ್ನೆ,ಉತ್ತರ",
    "ചോദ്യം,ഉത്തരം", "ਪ੍ਰਸ਼ਨ,ਉੱਤਰ", "سوال,جواب", "ପ୍ରଶ୍ନ,ଉତ୍ତର", "Frage;Antwort", "Question;Réponse", "Pregunta,Respuesta",
    "Prompt text,Reference answer", "Q,A", "QUESTION:,Answer:", "问题,答案", "Вопрос\tОтвет",
])
def test_headings_in_many_languages(tmp_path, heading):
    found = table(tmp_path, heading + "\n" + ("Q?;A." if ";" in heading else "Q?\tA." if "\t" in heading else "Q?,A."))
    assert [(item.line, item.question, item.references) for item in found.items] == [(2, "Q?", ("A.",))]
    assert (found.problems, found.notes) == ([], ())


def test_each_word_has_one_meaning_and_known_names_are_their_own():
    assert column("Correct Answer") == "correct_answer" and column("answerKey") == "answerkey"
    assert column("C") == "c" and column("...") == "..." and column("answer_2") == "answer_2"
    assert all(column(name) == name for name in ("question", "answer", "a", "option_b", "label", "choices"))


def test_all_columns_of_a_table_may_be_named_so(tmp_path):
    found = table(tmp_path, "क्रम,विषय,प्रश्न,A,B,C,उत्तर\n1,law,Q?,x,y,z,B\n")
    assert [(item.category, item.choices, item.answer) for item in found.items] == [("law", ("x", "y", "z"), 1)]


def test_a_first_line_without_known_names_is_told(tmp_path):
    found = table(tmp_path, "Swali,Jibu\nQ?,A.\n")
    assert [item.references for item in found.items] == [("A.",)]
    assert found.notes == ('The column "Jibu" was taken as the answer.',
                           'The column "Swali" was taken as the question.')
    found = table(tmp_path, "Q?,x,y,A\nQ2?,x,y,B\n")
    assert len(found.items) == 2 and "question, A, B, answer" in found.notes[0]


@pytest.mark.parametrize(("heading", "answer"), [
    ("प्रश्न,विकल्प A,विकल्प B,विकल्प C,सही विकल्प", "B"), ("प्रश्न,विकल्प 1,विकल्प 2,विकल्प 3,उत्तर", "2"),
    ("प्रश्न,विकल्प (१),विकल्प (२),विकल्प (३),उत्तर", "2"), ("Frage,Antwort A,Antwort B,Antwort C,Antwort", "b"),
    ("Question,a),b),c),Ans.", "b"), ("Q. No,Question,Option (A),Option (B),Option (C),Correct Option", "Option B"),
    ("प्रश्न,क,ख,ग,उत्तर", "ख"), ("प्रश्न,अ,ब,क,उत्तर", "ब"), ("প্রশ্ন,ক,খ,গ,উত্তর", "খ"), ("Question,1,2,3,Answer", "2"),
    ("வினா,விருப்பம் 1,விருப்பம் 2,விருப்பம் 3,விடை", "2"),
])
def test_columns_of_choices_may_be_named_so(tmp_path, heading, answer):
    rows = "".join(f"{'7,' * heading.startswith('Q. No')}Q?,x,y,z,{each}\n" for each in (answer, "z"))
    found = table(tmp_path, f"{heading}\n{rows}")
    assert [(item.choices, item.answer) for item in found.items] == [(("x", "y", "z"), 1), (("x", "y", "z"), 2)]


@pytest.mark.parametrize(("cells", "problem"), [
    ("Q?,x,,y,z,C", "choice B is empty"), ("Q?,x,y,,z,B", "choice C is empty"), ("Q?,,y,x,z,B", "choice A is empty"),
    ("Q?,,,,z,D", "choice A is empty"), ("Q?,x,,,,A", "one choice; two or more"),
])
def test_a_blank_choice_among_others_is_a_problem(tmp_path, cells, problem):
    found = table(tmp_path, f"question,A,B,C,D,answer\nQ1?,x,y,z,,C\n{cells}\nQ3?,x,y,,,B\nWho?,,,,,He.\n")
    assert [(item.line, item.choices, item.answer) for item in found.items] == [
        (2, ("x", "y", "z"), 2), (4, ("x", "y"), 1), (5, None, None)]
    assert {each.line for each in found.problems} == {3}
    assert problem in found.problems[0].message


@pytest.mark.parametrize("row", [
    {"A": "x", "B": None, "C": "y", "D": "z", "answer": "C"}, {"A": "x", "C": "y", "D": "z", "answer": "C"},
    {"option1": "x", "option2": " ", "option3": "y", "answer": "1"},
])
def test_a_null_choice_among_others_is_a_problem(tmp_path, row):
    with pytest.raises(UserError, match="choice B is empty"):
        lines(tmp_path, {"question": "Q?", **row})
    found = lines(tmp_path, {"question": "Q?", "A": "x", "B": "y", "C": None, "answer": "B"},
                  {"question": "Q?", "A": None, "B": None, "C": None, "answer": "So."})
    assert [item.choices for item in found.items] == [("x", "y"), None]


@pytest.mark.parametrize("first", ["text,document", "story,paragraph", "sentence,text", "language,id"])
def test_a_first_row_of_such_words_is_no_heading(tmp_path, first):
    found = table(tmp_path, f"{first}\nhouse,home\n")
    assert [item.question for item in found.items] == [first.split(",")[0], "house"]


def test_headings_with_a_question_and_an_answer(tmp_path):
    for heading in ("input,output", "ctx,solution", "Sentence,Answer", "goal,reference"):
        assert [item.question for item in table(tmp_path, f"{heading}\nQ?,a\n").items] == ["Q?"]


def test_names_that_stand_in_a_table_again_are_no_row(tmp_path):
    found = table(tmp_path, "question,answer\nQ?,A.\nquestion,answer\nQ2?,B.\n")
    assert [item.line for item in found.items] == [2, 4]
    assert [str(each) for each in found.problems] == ["line 3: the column names are repeated here."]


@pytest.mark.parametrize(("row", "unused"), [
    ({"question": "Q?", "answer": "A.", "id": 7, "url": "https://example.org", "hint": "Yes."}, ["hint"]),
    ({"question": "Q?", "answer": "A.", "hint": ""}, []), ({"question": "Q?", "answer": "A.", "context": "P."}, []),
    ({"question": "Q?", "answer": "A.", "subject": "law", "language": "hi"}, []),
    ({"question": "Q?", "instruction": "I.", "output": "A."}, ["question"]),
    ({"question": "Q?", "answer": "No.", "answers": ["A."]}, ["answer"]),
    ({"question": "Q?", "one": "x", "two": "y", "answer": "A."}, ["one", "two"]),
    ({"question": "Q?", "choices": ["A.", "x"], "answer": "A", "explanation": "E."}, ["explanation"]),
    ({"messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A.", "weight": 0}]},
     ["messages.weight"]),
])
def test_columns_that_are_not_used_are_told(tmp_path, row, unused):
    found = lines(tmp_path, row, row)
    assert [item.references for item in found.items] == [("A.",)] * 2
    names = ", ".join(f'"{name}"' for name in unused)
    these = "These columns aren't used" if len(unused) > 1 else "This column isn't used"
    assert found.notes == ((f"{these}: {names}.",) if unused else ())
    assert set(unused) <= set(found.unused) <= {*unused, "id", "url"}


def test_a_column_that_was_guessed_is_told(tmp_path):
    assert lines(tmp_path, {"question": "Q?", "Hint": "A."}).notes == ('The column "Hint" was taken as the answer.',)


@pytest.mark.parametrize(("row", "said", "wanted"), [
    ({"ask": "Q?", "said": "No.", "good": '["a", "b"]'}, "question=ask,references=good", ("free", ("a", "b"), None)),
    ({"x": "Q?", "y": "a"}, "question=x,answer=y", ("free", ("a",), None)),
    ({"x": "Q?", "y": ["a", "b"], "z": "law"}, "question=x,answer=y,category=z", ("free", ("a", "b"), "law")),
    ({"x": "Q?", "y": ["b", "a"], "z": "B"}, "instruction=x,choices=y,answer=z", ("choice", ("a",), None)),
    ({"x": "Q?", "one": "b", "two": "a", "z": 1}, "question=x,choices=one,two,answer=z", ("choice", ("a",), None)),
    ({"question": "Q?", "answer": "a", "z": "law"}, "category=z", ("free", ("a",), "law")),
    ({"x": "Q?", "y": "a"}, "question=x,exact=y", ("exact", ("a",), None)),
])
def test_what_a_person_says_of_the_columns(tmp_path, row, said, wanted):
    (tmp_path / "t.json").write_text(json.dumps([row]), encoding="utf-8")
    item, = read_test_set(tmp_path / "t.json", said=said).items
    assert (item.question, item.kind, item.references, item.category) == ("Q?", *wanted)
    with pytest.raises(UserError, match='There is no column "none"'):
        read_test_set(tmp_path / "t.json", said=f"{said},language=none")


def test_the_sheet_that_a_person_names(tmp_path):
    write_xlsx(tmp_path / "t.xlsx", {"S": [["question", "answer"], ["Q?", "a"]],
                                     "T": [["question", "answer"], ["Q?", "b"]]})
    assert read_test_set(tmp_path / "t.xlsx", said="sheet=T").items[0].references == ("b",)
