"""Tables whose columns are named in other words and languages, and what is told of those that are not known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
    assert len(found.items) == 2
    assert found.notes == ("The first row was taken as data, as it holds no names of columns; the columns were taken "
                           "as question, answer.",)
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


def test_choices_under_unknown_names_are_told(tmp_path):
    found = table(tmp_path, "question,one,two,three,topic,answer\nQ?,x,y,z,t,A\nQ2?,x,y,z,t,B\n")
    assert found.notes == ('Nothing was made of the columns "one", "two", "three".',)


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


@pytest.mark.parametrize("row", [
    {"alternative": "auto"}, {"opt": "auto"}, {"1": "auto", "2": "automobile"}, {"alternatives": "auto, automobile"},
    {"alternative 1": "auto", "alternative 2": "automobile"}, {"alternatives": '["auto", "automobile"]'},
])
def test_other_good_answers_are_no_choices(tmp_path, row):
    cells = ",".join('"' + cell.replace('"', '""') + '"' for cell in row.values())
    names = ", ".join(f'"{name}"' for name in row)
    listed = {"question": "Q?", "answer": "car", "alternatives": ["auto", "automobile"]}
    for found, unread in ((lines(tmp_path, {"question": "Q?", "answer": "car", **row}), names),
                          (table(tmp_path, f"question,answer,{','.join(row)}\nQ?,car,{cells}\n"), names),
                          (lines(tmp_path, listed), '"alternatives"')):
        assert [(item.kind, item.references) for item in found.items] == [("free", ("car",))]
        assert found.notes == (f"Nothing was made of the column{'s' * (len(unread.split(',')) > 1)} {unread}.",)


@pytest.mark.parametrize("answer", ["y", "B", "b)", 1])
@pytest.mark.parametrize("row", [
    {"alternatives": ["x", "y"]}, {"alternatives": {"A": "x", "B": "y"}}, {"opt": ["x", "y"]},
    {"opt_a": "x", "opt_b": "y"}, {"Alternative A": "x", "Alternative B": "y"}, {"alternatives": '["x", "y"]'},
])
def test_alternatives_of_which_the_answer_is_one_are_choices(tmp_path, row, answer):
    if answer == 1 and isinstance(row.get("alternatives"), dict):
        answer = "B"
    rows = [{"question": "Q?", "answer": each, **row} for each in (answer, 0 if answer == 1 else "x")]
    found = lines(tmp_path, *rows)
    assert [(item.choices, item.answer) for item in found.items] == [(("x", "y"), 1), (("x", "y"), 0)]


@pytest.mark.parametrize("heading", ["question,1,2,3,answer", "question,opt a,opt b,opt c,answer"])
def test_what_are_choices_in_most_rows_are_so_in_all(tmp_path, heading):
    found = table(tmp_path, f"{heading}\nQ?,x,y,z,B\nQ?,x,y,z,9\nQ?,x,y,z,C\nWho?,,,,He.\n")
    assert [(item.line, item.answer) for item in found.items] == [(2, 1), (4, 2), (5, None)]
    assert [str(problem) for problem in found.problems] == ["line 3: the answer is none of the choices."]
    rows = [{"question": "Q?", "1": "x", "2": "y", "answer": answer} for answer in "xy9"]
    (tmp_path / "t.json").write_text(json.dumps(rows), encoding="utf-8")
    assert [item.answer for item in read_test_set(tmp_path / "t.json").items] == [0, 1]


@pytest.mark.parametrize("first", ["text,document", "story,paragraph", "sentence,text", "language,id"])
def test_a_first_row_of_such_words_is_no_heading(tmp_path, first):
    found = table(tmp_path, f"{first}\nhouse,home\n")
    assert [item.question for item in found.items] == [first.split(",")[0], "house"]


def test_headings_with_a_question_and_an_answer(tmp_path):
    for heading in ("input,output", "ctx,solution", "Sentence,Answer", "goal,reference"):
        assert [item.question for item in table(tmp_path, f"{heading}\nQ?,a\n").items] == ["Q?"]


LONG = "A passage of which nobody must say that it was used, since it was not."


@pytest.mark.parametrize("extra", [
    {"hint": LONG}, {"facts": {"titles": ["a"], "sentences": [[LONG]]}}, {"hint": json.dumps(["a", LONG])},
    {"context": {"contexts": [LONG]}}, {"contexts": [LONG]},
])
def test_long_texts_that_are_not_used_are_told(tmp_path, extra):
    name = next(iter(extra))
    rows = [{"question": "Q?", "answer": "A.", "id": "x" * 64, "link": f"https://example.org/{'x' * 64}", **extra}] * 3
    assert lines(tmp_path, *rows).notes == (f'Nothing was made of the column "{name}".',)
    assert lines(tmp_path, *rows[:1], *[{"question": "Q?", "answer": "A.", name: "short"}] * 2).notes == ()


def test_long_texts_that_are_used_are_not_told(tmp_path):
    for row in ({"context": LONG}, {"input": LONG}, {"system": LONG}, {"system_prompt": LONG},
                {"context": [LONG, "x"]}, {"choices": [LONG, "x"], "answer": "A"},
                {"question": LONG}, {"answer": LONG}, {"answer": [LONG, LONG + "!"]}):
        assert lines(tmp_path, {"question": "Q?", "answer": "A.", **row}).notes == ()
    assert lines(tmp_path, {"question": "Q?", "correct answers": f"{LONG}; {LONG}!", "subject": LONG}).notes == ()
    turns = [{"role": "user", "content": LONG}, {"role": "assistant", "content": LONG + "!"}]
    assert lines(tmp_path, {"messages": turns}).notes == ()
    short = [{"role": "user", "content": "3+3?"}, {"role": "assistant", "content": "6"}]
    assert lines(tmp_path, {"messages": short}).notes == ()


@pytest.mark.parametrize(("row", "column"), [
    ({"query": "Q?", "input": "P.", "answer": "Yes."}, "input"),
    ({"question": "Q?", "instruction": "I.", "output": "Yes."}, "question"),
    ({"question": "Q?", "answer": "No.", "answers": ["Yes."]}, "answer"),
    ({"question": "Q?", "context": "P.", "passage": "Other."} | {"answer": "Yes."}, "passage"),
])
def test_questions_and_answers_that_are_not_used_are_told(tmp_path, row, column):
    found = lines(tmp_path, row)
    assert found.items[0].references == ("Yes.",)
    assert found.notes == (f'Nothing was made of the column "{column}".',)


def test_names_that_stand_in_a_table_again_are_no_row(tmp_path):
    found = table(tmp_path, "question,answer\nQ?,A.\nquestion,answer\nQ2?,B.\n")
    assert [item.line for item in found.items] == [2, 4]
    assert [str(each) for each in found.problems] == ["line 3: the names of the columns come here again."]


def test_marks_that_are_not_used_are_told(tmp_path):
    assert lines(tmp_path, {"question": "Q?", "answer": "A.", "label": 1}).notes == (
        'Nothing was made of the column "label".',)
    assert lines(tmp_path, {"prompt": "Q?", "completion": "A.", "label": 1}).notes == ()
