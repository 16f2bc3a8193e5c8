"""Questions with answers that people wrote in a text or a Word document, and texts that only look like it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.reader import Dataset, read_dataset
from slmstudio.core.data.sources.labels import Line
from slmstudio.core.data.sources.questions import way_of
from slmstudio.core.errors import UserError

ENGLISH = """Frequently asked questions

Q: How many books may I borrow?
A: Four books.

They are due after two weeks.
Q2. Is there a fee?
A2. No.
Question 3 - Who may join?
Answer - Everybody over six.
"""
HINDI = """प्रश्न १: सदस्यता का शुल्क कितना है?
उत्तर: पचास रुपये।
प्र. 2: पुस्तकालय कब खुलता है?
उ. सुबह नौ बजे।
सवाल 3) कितनी पुस्तकें मिलती हैं?
जवाब: चार।
"""
MARKDOWN = """# Library

## 1. How many books may I borrow?

Four books.

- They are due after two weeks.

## 2. Is there a fee?
No.
## Children
### 3. From which age may they join?
From six.
"""


TWOS = "".join(f"When does office {n} open?\nFrom {n} in the morning.\n\n" for n in range(8))
TURNS = "".join(f"### Human: When does office {n} open?\n\n### Assistant: From {n} on.\n\n" for n in range(8))


def told(dataset: Dataset) -> list[tuple[str, str]]:
    return [(record.messages[0]["content"], record.messages[1]["content"]) for record in dataset.records]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Dataset]:
    def of(text: str, name: str = "faq.txt", **choices: Any) -> Dataset:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_dataset(tmp_path / name, options=ReadOptions(**choices))

    return of


def test_marks_with_and_without_numbers(read):
    found = read(ENGLISH)
    assert told(found) == [("How many books may I borrow?", "Four books.\n\nThey are due after two weeks."),
                           ("Is there a fee?", "No."), ("Who may join?", "Everybody over six.")]
    assert (found.layout, found.text_by, found.format) == ("instruction", "question", "text")
    assert [record.line for record in found.records] == [3, 7, 9] and not found.problems


def test_marks_in_hindi(read):
    assert told(read(HINDI)) == [("सदस्यता का शुल्क कितना है?", "पचास रुपये।"), ("पुस्तकालय कब खुलता है?", "सुबह नौ बजे।"),
                                 ("कितनी पुस्तकें मिलती हैं?", "चार।")]


def test_marks_in_other_languages_and_in_bold(read):
    text = "".join(f"**Frage {n}:** Was kostet Karte {n}?\n\n**Antwort:** {n} Euro.\n\n" for n in range(3))
    assert told(read(text, "faq.md"))[2] == ("Was kostet Karte 2?", "2 Euro.")


def test_headings_that_ask(read):
    assert told(read(MARKDOWN, "faq.md")) == [
        ("How many books may I borrow?", "Four books.\n\n- They are due after two weeks."), ("Is there a fee?", "No."),
        ("From which age may they join?", "From six.")]


@pytest.mark.parametrize(("text", "name"), [
    ("**Q1. Is form {} free?**\n\nYes, form {}.\n\n", "a.md"), ("**Is form {} free?**\n\nYes, form {}.\n\n", "a.md"),
    ("7. Is form {} free?\nYes, form {}.\n\n", "a.txt"), ("Q.7 Is form {} free?\nAns. Yes, form {}.\n", "a.txt"),
    ("प्रश्न-7  Is form {} free?\nउत्तर-  Yes, form {}.\n", "a.txt"),
    ("Question 7 Is form {} free?\nAnswer: Yes, form {}.\n", "a.txt")])
def test_other_ways_to_begin_a_question(read, text, name):
    head = "---\ntitle: Forms\ntags:\n  - a\n---\n" if name.endswith(".md") else ""
    found = read(head + "".join(text.format(n, n) for n in range(4)), name)
    assert told(found) == [(f"Is form {n} free?", f"Yes, form {n}.") for n in range(4)]


def test_rules_between_questions_and_blocks_that_nobody_closed_belong_to_no_answer(read):
    text = "".join(f"Q: Is form {n} free?\n\nA: Yes, {n} is.\n\n---\n\n" for n in range(4))
    assert told(read(text, "faq.md"))[1] == ("Is form 1 free?", "Yes, 1 is.")
    text = "".join(f"{n}. ### Is form {n} free?\n\n   ```sh\n   ls {n}\n\n   ```sh\n   cat {n}\n   ```\n\n"
                   for n in range(4))
    assert [asked for asked, _ in told(read(text, "faq.md"))] == [f"Is form {n} free?" for n in range(4)]


def test_questions_that_a_user_wants_as_text_are_not_asked_about(read):
    assert read("".join(f"Is form {n} free?\n\n" for n in range(9)), "a.txt", text_by="paragraph").is_sure


def test_a_sentence_with_a_letter_and_a_number_is_no_mark(read):
    text = "".join(f"Q: How far is it from {n}?\nA: Not far.\nA {n} km walk.\n" for n in range(4))
    assert told(read(text))[2] == ("How far is it from 2?", "Not far.\nA 2 km walk.")


PAGES = {
    "headings": ("<h2>Forms</h2>", "<h3>Is form {0} free?</h3><p>Yes, form <b>{0}</b> is.</p>", 0.75),
    "a list": ("<dl>", "<dt>Is form {0} free?</dt><dd>Yes, form {0} is.</dd>", 0.75),
    "what opens": ("", "<details><summary>Is form {0} free?</summary>Yes, form {0} is.</details>", 0.75),
    "buttons": ("", "<button>Is form {0} free?</button><div><p>Yes, form {0} is.</p></div>", 0.75),
    "in bold": ("", "<p><strong>{0}. Is form {0} free?</strong></p><p>Yes, form {0} is.</p>", 0.75),
    "marks": ("", "<div><span>Q.</span> Is form {0} free?</div><div>Yes, form {0} is.</div>", 0.75),
    "plain": ("", "<div>Is form {0} free?</div><div>Yes, form {0} is.</div>", 0.4),
}


@pytest.mark.parametrize("name", PAGES)
def test_questions_of_a_web_page(read, name):
    head, entry, certainty = PAGES[name]
    page = "<!DOCTYPE html>\n<html><head><title>FAQ</title></head><body><nav><a>Home</a><p>What?</p></nav>"
    found = read(page + head + "".join(entry.format(n) + "\n" for n in range(4)) + "<footer>Us</footer>", "faq.html")
    assert told(found) == [(f"Is form {n} free?", f"Yes, form {n} is.") for n in range(4)]
    assert found.candidates[0].certainty >= certainty and found.format == "html"


@pytest.mark.parametrize("entry", [
    "<details><summary>Form {0}</summary><p>Paper {0} for you.</p></details>",
    "<dt>Form {0}</dt><dd>Paper {0} for you.</dd>", "<h3>Form {0}</h3><h5>Note</h5><p>Paper {0} for you.</p>"])
def test_terms_of_a_web_page_are_asked_about(read, entry):
    page = "<html><body><ul><li>A</li><li>B</li></ul><h2>A</h2>" + "".join(map(entry.format, range(6)))
    found = read(page, "terms.html")
    assert (len(found.records), found.records[5].messages[0]["content"], found.is_sure) == (6, "Form 5", False)
    assert found.records[5].messages[1]["content"].endswith("Paper 5 for you.")
    assert read(page, "terms.html", text_by="question").count == 6


def test_other_web_pages_are_refused(read):
    page = "<html><body><h1>Forms</h1><p>Form one is free. Form two isn't.</p></body></html>"
    with pytest.raises(UserError):
        read(page, "page.html")
    assert read(page, "page.html", text_by="paragraph").layout == "text"


def test_a_number_within_a_question_stays(read):
    found = read("".join(f"## Is level {n}.1 of version 2.0 enough?\nYes.\n" for n in range(3)), "faq.md")
    assert told(found)[2][0] == "Is level 2.1 of version 2.0 enough?"


CITY = "{}. Which city lies in state {}?\n{}\nAnswer: {}\n\n"
LINES, INLINE = "A) Pune\nB) Panaji {}\nC) Goa", "(a) Pune  (b) Panaji {}  (c) Goa"
BANKS = {
    "lines": (CITY, LINES, "B"), "a line": (CITY, INLINE, "(b)"), "a reason below": (CITY, LINES, "B\nAs it is.\n"),
    "Hindi": ("प्रश्न {}. Which city lies in state {}?\n{}\nउत्तर: {}\n", "(क) Pune\n(ख) Panaji {}\n(ग) Goa", "(ख)"),
    "statements": ("{}. Which city lies in state {}?\n1. One.\n2. Two.\n{}\nAns: {}\n", LINES, "b)"),
}


@pytest.mark.parametrize("name", BANKS)
def test_a_bank_of_questions_with_choices(read, name):
    text, choices, key = BANKS[name]
    found = told(read("".join(text.format(n + 1, n, choices.format(n), key) for n in range(4))))
    assert len(found) == 4 and found[2][0].startswith("Which city lies in state 2?\n")
    assert found[2][0].endswith(choices.format(2))
    first, *rest = found[2][1].split("\n")
    assert first.split()[1:3] == ["Panaji", "2"] and bool(rest) == (name == "a reason below")


def test_questions_with_choices_alone_are_text(read):
    assert read("".join(f"{n}. Which city is it?\na) Pune   b) Panaji   c) Goa\n\n" for n in range(5))).layout == "text"


def test_the_user_decides(read):
    assert read(ENGLISH, text_by="paragraph").layout == "text"
    two = read("Q: Is there a fee?\nA: No.\n\nQ: Who may join?\nA: Everybody.\n")  # too few to be sure
    assert told(two)[1] == ("Who may join?", "Everybody.") and not two.is_sure
    assert two.candidates[1].line == "text_by=paragraph"


@pytest.mark.parametrize("text", [
    pytest.param("".join(f"Q{n}. Which is a fruit?\nA. Stone\nB. Apple\nC. Glass\n\n" for n in range(5)), id="choices"),
    pytest.param("A: the first note of the scale\nA: the same an octave above\nQ: quality of a filter\n" * 3,
                 id="a glossary"),
    pytest.param("".join(f"Paragraph {n} of a report. It goes on for a while.\n\n" for n in range(60))
                 + "".join(f"Q: Question {n}?\nA: Answer {n}.\n" for n in range(4)), id="a few at the end of a text"),
    pytest.param("# Why?\nA\n# Introduction\nText of it.\nMore.\nMore.\n# Method\nText.\nText.\n", id="a report"),
])
def test_other_texts_stay_texts(read, text):
    assert read(text, "text.md").layout == "text"


def test_a_question_without_an_answer_is_a_problem(read):
    found = read(ENGLISH + "Q4: And on Sundays?\n")
    assert found.count == 3 and [problem.line for problem in found.problems] == [11]


@pytest.fixture
def document() -> Any:
    import docx

    return docx.Document()


def test_word_documents_with_headings(document, tmp_path):
    document.add_heading("The library", 0)
    for number in range(4):
        document.add_heading(f"{number + 1}. How many books may group {number} borrow?", 2)
        document.add_paragraph(f"Group {number} may borrow {number + 2} books.")
        document.add_paragraph().add_run("What to bring").bold = True
        document.add_paragraph("The card.\nNothing else.")
    document.save(tmp_path / "faq.docx")
    found = read_dataset(tmp_path / "faq.docx")
    assert told(found)[3] == ("How many books may group 3 borrow?",
                              "Group 3 may borrow 5 books.\nWhat to bring\nThe card.\nNothing else.")
    assert (found.count, found.format, found.text_by) == (4, "docx", "question")
    assert read_dataset(tmp_path / "faq.docx", options=ReadOptions(text_by="paragraph")).count == 17
    assert read_dataset(tmp_path / "faq.docx", options=ReadOptions(text_by="document")).count == 1


def test_word_documents_with_questions_in_bold(document, tmp_path):
    for number in range(3):
        document.add_paragraph().add_run(f"{number}. What does form {number} cost?").bold = True
        document.add_paragraph(f"{number} rupees.")
    document.add_paragraph().add_run("4. My form was lost.").bold = True
    document.add_paragraph("Ask for another.")
    document.save(tmp_path / "bold.docx")
    assert told(read_dataset(tmp_path / "bold.docx"))[1:] == [
        ("What does form 1 cost?", "1 rupees."), ("What does form 2 cost?", "2 rupees."),
        ("My form was lost.", "Ask for another.")]


def test_word_documents_with_marks(document, tmp_path):
    document.add_paragraph("Questions of last year")
    for line in HINDI.splitlines():
        mark, text = line.split(" ", 1)
        paragraph = document.add_paragraph()
        paragraph.add_run(mark).bold = True
        paragraph.add_run(f" {text}")
    document.add_paragraph("Q: Is it open today?\nA: Yes.")
    document.save(tmp_path / "marks.docx")
    found = told(read_dataset(tmp_path / "marks.docx"))
    assert found[0] == ("सदस्यता का शुल्क कितना है?", "पचास रुपये।") and found[3] == ("Is it open today?", "Yes.")


@pytest.mark.parametrize("names", [("प्रश्न", "उत्तर"), ("Query", "Our reply")])
def test_a_table_in_a_word_document(document, tmp_path, names):
    table = document.add_table(5, 3)
    for row, texts in zip(table.rows, [("क्र.", "प्रश्न", "उत्तर"), *((str(n), f"फ़ॉर्म {n} कहाँ मिलेगा?", f"खिड़की {n} पर।")
                                                             for n in range(4))], strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    table.cell(0, 1).text, table.cell(0, 2).text = names
    document.save(tmp_path / "table.docx")
    found = read_dataset(tmp_path / "table.docx")
    assert told(found)[0] == ("फ़ॉर्म 0 कहाँ मिलेगा?", "खिड़की 0 पर।") and found.count == 4
    as_text = read_dataset(tmp_path / "table.docx", options=ReadOptions(text_by="paragraph"))
    assert as_text.records[0].text == "\t".join(("क्र.", *names)) and as_text.count == 5


def test_a_long_text_is_judged_by_its_lines_alone():
    assert way_of([Line("word " * 10, number) for number in range(2000)]) == (None, 0)
    assert way_of([]) == (None, 0)


def test_a_pdf_file_with_marks(tmp_path):
    """A question may go on over the end of a page."""
    def page(number: int, lines: list[str]) -> str:
        text = " ".join(f"({line}) Tj T*" for line in lines)
        return (f"{number} 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents {number + 1} 0 R/Resources<<"
                f"/Font<</F1 3 0 R>>>>>>endobj\n{number + 1} 0 obj<</Length 999>>stream\n"
                f"BT /F1 9 Tf 14 TL 20 250 Td {text} ET\nendstream endobj\n")

    head = ("%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
            "2 0 obj<</Type/Pages/Kids[4 0 R 6 0 R]/Count 2>>endobj\n"
            "3 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\n")
    pages = page(4, ["FAQ", "Q1: Who may join?", "A: All.", "Q2: Is it free?", "A: Yes."]) + page(
        6, ["For children.", "Q3: When is it open?", "A: At nine."])
    (tmp_path / "faq.pdf").write_bytes(f"{head}{pages}trailer<</Root 1 0 R>>\n".encode())
    found = read_dataset(tmp_path / "faq.pdf")
    assert told(found) == [("Who may join?", "All."), ("Is it free?", "Yes.\nFor children."),
                           ("When is it open?", "At nine.")]
    assert (found.text_by, [record.line for record in found.records]) == ("question", [1, 1, 2])
    assert read_dataset(tmp_path / "faq.pdf", options=ReadOptions(text_by="paragraph")).layout == "text"


def test_lines_in_twos_are_asked_about_as_pairs(read):
    found = read(TWOS.replace("When does", "Then comes").replace("?", "."))
    assert not found.is_sure and told(found)[1] == ("Then comes office 1 open.", "From 1 in the morning.")
    broken = "".join(f"The office of ward {n} is open on each day of the week but for those on which\nit isn't.\n\n"
                     for n in range(8))
    assert read(broken).layout == "text"


def test_turns_below_headings_are_a_conversation(read):
    found = read(TURNS)
    assert found.is_sure and [each["role"] for each in found.records[0].messages[:2]] == ["user", "assistant"]


def test_a_question_and_its_answer_may_be_on_one_line(read):
    towns = ("Pune", "Goa", "Nagpur", "Thane", "Surat", "Kochi")
    found = read("".join(f"When does the office in {town} open?, In {town} at nine.\n\n" for town in towns))
    assert not found.is_sure and told(found)[1] == ("When does the office in Goa open?", "In Goa at nine.")


def test_a_text_whose_lines_begin_with_signs_is_asked_about(read):
    bank = "".join(f"_What does office {n} do for the people of its ward?2\n*It registers births.\n"
                   "*It collects the tax on houses.\n-It sells tickets for the train.\n%\n" for n in range(8))
    assert not read(bank).is_sure


def test_what_a_page_says_about_itself_may_be_long(tmp_path):
    (tmp_path / "page.md").write_text("---\nid: 7\ncards:\n" + "- front: What is it?\n  back: A river.\n" * 50
                                      + "---\n\nThe river comes from the hills.\n")
    assert [each.text for each in read_dataset(tmp_path / "page.md").records] == ["The river comes from the hills."]
