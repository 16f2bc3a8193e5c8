"""Documents as a person reads them: paragraphs, headings, columns, tables, and what isn't part of the text."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest
from support import peak_of, small_pdf
from support.small_pdf import lines

from slmstudio.core import paths
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.documents import pdf_layout, project, reading
from slmstudio.core.documents.project import Settings
from slmstudio.core.documents.reading import Reader
from slmstudio.core.errors import UserError

WORDS = "The officer who has served for a year or longer applies for the leave in writing to"
ENDS = ["the head of the office, who answers within a week.", "the head of the office."]


def read(path: Path) -> list[tuple[tuple[str, ...], str]]:
    return [(block.heading, block.text) for block in Reader(path).blocks()]


def test_headings_of_a_pdf_by_size_weight_and_number(tmp_path: Path):
    page = [(50, 740, 20, "Leave Rules"), (50, 715, -10, "1. Earned leave"), *lines([WORDS, ENDS[0]], top=695),
            (50, 660, -10, "1.1 How to apply"), *lines([WORDS, ENDS[1]], top=640),
            (50, 605, -10, "2. Casual leave"), *lines([WORDS, ENDS[0]], top=585)]
    text = f"{WORDS} {ENDS[0]}"
    assert read(small_pdf.write(tmp_path / "a.pdf", [page])) == [
        (("Leave Rules", "1. Earned leave"), text),
        (("Leave Rules", "1. Earned leave", "1.1 How to apply"), f"{WORDS} {ENDS[1]}"),
        (("Leave Rules", "2. Casual leave"), text)]


def test_running_headers_and_footers_go_and_a_paragraph_continues_over_the_page(tmp_path: Path):
    pages = [[(50, 780, 9, "Department of Posts - Circular 14"),
              *lines([f"{WORDS} {line}{'abcde'[number]}" for line in "xyz"], top=700),
              (50, 60, 9, f"Printed by the office, page {number + 1} of 5"), (290, 30, 9, str(number + 1))]
             for number in range(5)]
    pages[1][-2:-2] = lines(["the end of it."], top=661)
    blocks = list(Reader(small_pdf.write(tmp_path / "a.pdf", pages)).blocks())
    assert not any("Circular" in block.text or "Printed" in block.text for block in blocks)
    assert [(block.page, block.text.count("officer")) for block in blocks] == [(1, 6), (3, 9)]


def test_of_two_pages_a_header_that_is_the_same_on_both_goes(tmp_path: Path):
    pages = [[(50, 780, 9, "Municipal Office - Leave Rules 2024"), (50, 740, -12, f"Rule {number}"),
              *lines([WORDS, ENDS[number]], top=700)] for number in range(2)]
    found = read(small_pdf.write(tmp_path / "a.pdf", pages))
    assert found == [((f"Rule {number}",), f"{WORDS} {ENDS[number]}") for number in range(2)]


def test_a_running_header_is_one_with_roman_numbers_and_without_a_number_too(tmp_path: Path):
    numbers = ("iii", "iv", "5", "", "7", "8")
    pages = [[(50, 780, 9, "Manual of the office"), *([(500, 780, 9, number)] if number else []),
              *lines([f"{WORDS} {'abcdef'[at]}."], top=700)] for at, number in enumerate(numbers)]
    assert not any("Manual" in text for _, text in read(small_pdf.write(tmp_path / "a.pdf", pages)))
    roman = [[*lines([f"{WORDS} {number}."], top=700), (290, 30, 9, number)] for number in ("iii", "iv")]
    assert [text.split()[-1] for _, text in read(small_pdf.write(tmp_path / "b.pdf", roman))] == ["iii.", "iv."]


def test_a_font_that_is_only_drawn_higher_makes_no_heading(tmp_path: Path):
    page = lines([f"{WORDS} {at}" for at in range(5)]) + [
        (50, 600 - 40 * at, -10, f"Many words in bold letters mean nothing {at}") for at in range(8)]
    blocks = read(small_pdf.write(tmp_path / "a.pdf", [page], "Courier"))
    assert {heading for heading, _ in blocks} == {()} and len(blocks) == 9


def test_a_title_in_bold_on_the_line_of_its_text_is_a_heading_and_bold_words_are_none(tmp_path: Path):
    page = [(50, 700, -10, "10. Protection of funds.-"), (178, 700, 10, "The amount that stands to the credit of"),
            (50, 687, 10, "a member can't be attached by a court, whatever the claim is and who has it."),
            (50, 640, -10, "Nobody who is in office can"), (196, 640, 10, "be a member of it too"),
            *lines([WORDS, ENDS[0]], top=620)]
    blocks = read(small_pdf.write(tmp_path / "a.pdf", [page]))
    assert {heading for heading, _ in blocks} == {("10. Protection of funds",)}
    assert blocks[0][1].startswith("The amount that stands") and "Nobody who is in office can be" in blocks[1][1]


def test_a_heading_with_nothing_below_it_stays_as_text(tmp_path: Path):
    page = [(50, 740, 20, "Rules of the office"), (50, 700, -10, "1. Repealed rules of the year"),
            (50, 660, -10, "2. Leave"), *lines([WORDS, ENDS[0]], top=640), (50, 580, -10, "3. See the other rules")]
    assert read(small_pdf.write(tmp_path / "a.pdf", [page])) == [
        (("Rules of the office",), "1. Repealed rules of the year"),
        (("Rules of the office", "2. Leave"), f"{WORDS} {ENDS[0]}"),
        (("Rules of the office",), "3. See the other rules")]


def test_headings_are_a_point_larger_where_letters_are_small_and_initials_are_none(tmp_path: Path):
    page = [(50, 740, 10, "Conditions of leave"), *lines([WORDS, ENDS[0]], top=720, size=9),
            (50, 640, 9, "V. Raman"), (50, 600, 9, "K. Sharma")]
    assert read(small_pdf.write(tmp_path / "a.pdf", [page])) == [
        (("Conditions of leave",), text) for text in (f"{WORDS} {ENDS[0]}", "V. Raman", "K. Sharma")]


def test_a_line_of_a_table_of_contents_is_no_heading(tmp_path: Path):
    page = [(50, 740 - 30 * at, 10, f"Annex {at}: Forms and registers {'.' * 40} {at}") for at in range(1, 4)]
    assert {heading for heading, _ in read(small_pdf.write(tmp_path / "a.pdf", [page]))} == {()}


def test_two_columns_are_read_one_after_the_other_whatever_the_files_order(tmp_path: Path):
    left = lines([f"left line number {at} which is about half as wide" for at in range(10)], left=50)
    right = lines([f"right line number {at} which is about half as wide" for at in range(10)], left=320, top=699)
    mixed = [spot for both in zip(left, right, strict=True) for spot in both]
    for order in (left + right, mixed):
        whole = " ".join(text for _, text in read(small_pdf.write(tmp_path / "a.pdf", [
            [(50, 740, 16, "A title over both of the columns here"), *order]])))
        places = [whole.find(f"{side} line number {at}") for side in ("left", "right") for at in range(10)]
        assert places == sorted(places) and -1 not in places, whole


def test_a_box_that_the_file_draws_last_is_read_where_it_stands(tmp_path: Path):
    page = [*lines(["Before the box.", "More before it."], top=740),
            *lines(["After the box.", "The end of it."], top=640), *lines(["In the box.", "Also in the box."], top=695)]
    whole = " ".join(text for _, text in read(small_pdf.write(tmp_path / "a.pdf", [page])))
    assert whole == "Before the box. More before it. In the box. Also in the box. After the box. The end of it."
    columns = [spot for left in (50, 230, 410) for spot in lines([f"at {left}", "and on"], left=left, top=600)]
    page = [*columns, *lines(["A box over the first and the second of the three columns of the page"], top=640)]
    whole = " ".join(text for _, text in read(small_pdf.write(tmp_path / "b.pdf", [page])))
    assert [whole.find(f"at {left}") for left in (50, 230, 410)] == sorted(
        whole.find(f"at {left}") for left in (50, 230, 410)) and whole.startswith("A box over")


def test_a_table_keeps_its_rows(tmp_path: Path):
    rows = [("Service", "Fee", "Days"), ("Income certificate", "50", "15"), ("Caste certificate", "75", "21")]
    page = [*lines([WORDS, ENDS[0]]), *((50 + 170 * column, 640 - 15 * row, 10, cell)
                                        for row, cells in enumerate(rows) for column, cell in enumerate(cells))]
    texts = [text for _, text in read(small_pdf.write(tmp_path / "a.pdf", [page]))]
    assert texts[1:] == ["Service | Fee | Days", "Income certificate | 50 | 15", "Caste certificate | 75 | 21"]


def test_words_that_a_line_divides_are_joined(tmp_path: Path):
    found = read(small_pdf.write(tmp_path / "a.pdf", [lines([
        "The office takes the appli-", "cation of each well-", "known person in the whole of the dis-", "trict."])]))
    assert found[0][1].startswith("The office takes the application of each well") and "district." in found[0][1]


def test_a_scanned_page_is_named_and_a_scan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pdf_layout, "ocr_languages", lambda: ())
    reader = Reader(small_pdf.write(tmp_path / "a.pdf", [lines([WORDS, ENDS[0]]), []]))
    assert len(list(reader.blocks())) == 1 and reader.pages == 2 and len(reader.problems) == 1
    with pytest.raises(UserError):
        list(Reader(small_pdf.write(tmp_path / "b.pdf", [[], []])).blocks())


def test_a_scanned_page_goes_through_tesseract_where_that_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "bin" / "tesseract"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nif [ "$1" = --list-langs ]; then printf "List\\neng\\nhin\\nosd\\n"\n'
                       'else head -c 2; echo " $4 The clerk stamps the form."; cat > /dev/null; fi\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    pdf_layout.ocr_languages.cache_clear()
    reader = Reader(small_pdf.write(tmp_path / "a.pdf", [[]]))
    assert [block.text for block in reader.blocks()] == ["P5 eng+hin The clerk stamps the form."]
    pdf_layout.ocr_languages.cache_clear()


def test_word_documents_have_headings_and_tables(tmp_path: Path):
    import docx

    document = docx.Document()
    document.add_heading("शीर्षक", 1)
    document.add_heading("भाग", 2)
    document.add_paragraph("पहला पैरा।")
    table = document.add_table(2, 2)
    for number, text in enumerate(("Fee", "50", "Days", "15")):
        table.rows[number // 2].cells[number % 2].text = text
    document.add_heading("अगला", 1)
    document.add_paragraph("दूसरा पैरा।")
    document.save(tmp_path / "a.docx")
    assert read(tmp_path / "a.docx") == [(("शीर्षक", "भाग"), "पहला पैरा।"), (("शीर्षक", "भाग"), "Fee | 50\nDays | 15"),
                                         (("अगला",), "दूसरा पैरा।")]


HTML = """<html><head><title>x</title></head><body><nav>Menu</nav><h1>Rules</h1><p>One <b>bold</b> word.</p>
<h2>Fees</h2><table><tr><td>Form</td><td>50</td></tr></table><footer>Imprint</footer></body></html>"""
IN_HTML = [(("Rules",), "One bold word."), (("Rules", "Fees"), "Form | 50")]


def test_web_pages_and_books(tmp_path: Path):
    (tmp_path / "a.html").write_text(HTML)
    assert read(tmp_path / "a.html") == IN_HTML
    with zipfile.ZipFile(tmp_path / "a.epub", "w") as book:
        book.writestr("META-INF/container.xml", '<rootfile full-path="OEBPS/book.opf"/>')
        book.writestr("OEBPS/book.opf", '<item href="two%20b.xhtml" id="b"/><item id="a" href="one.xhtml"/>'
                                        '<spine><itemref idref="a"/><itemref idref="b"/></spine>')
        book.writestr("OEBPS/one.xhtml", HTML)
        book.writestr("OEBPS/two b.xhtml", "<h1>End</h1><p>Last.</p>")
    assert read(tmp_path / "a.epub") == [*IN_HTML, (("End",), "Last.")]
    (tmp_path / "b.epub").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError):
        read(tmp_path / "b.epub")


def test_markdown_and_text(tmp_path: Path):
    (tmp_path / "a.md").write_text("# Rules\nFirst\nline.\n\n```\n# code\n```\n## Fees\n- one\n\nLast\n====\nEnd.\n")
    assert read(tmp_path / "a.md") == [(("Rules",), "First\nline."), (("Rules",), "```\n# code\n```"),
                                       (("Rules", "Fees"), "- one"), (("Last",), "End.")]
    (tmp_path / "a.txt").write_text("LEAVE RULES\n\nFirst line\nof it.\n\n1.2 Fees\n\n50 rupees.\n\nA sentence.\n")
    assert read(tmp_path / "a.txt") == [(("LEAVE RULES",), "First line\nof it."), (("LEAVE RULES", "1.2 Fees"),
                                        "50 rupees."), (("LEAVE RULES", "1.2 Fees"), "A sentence.")]


def test_a_font_from_before_unicode_is_named(tmp_path: Path):
    (tmp_path / "a.txt").write_text("gS gSa dk dh ds esa ls dks vkSj ij ugha fd;k\n" * 5)
    reader = Reader(tmp_path / "a.txt")
    assert list(reader.blocks()) and len(reader.problems) == 1


def test_letters_that_a_pdf_names_wrongly_are_noticed():
    sound = "उनके स्थानीय प्रतिद्वंद्वियों, पोलोनिया वारसॉ, के पास काफ़ी कम समर्थक हैं (PZPR) और COVID-19 में 5% थे। "
    damaged = "उनकेOानीय PतQंQयR, पोलोनया वारसॉ, के पास काफ कम समथक हT, फर भी वे2000 मएकलUलासा चैVWयनशप जीतनेम "
    swapped = "कममचारी भजिष्य जनजध संगठन के प्रिेि में रािपत्र रािधानी राज् यक्षेत्र और तारीख को प्रिृत् त होगी "
    assert reading.damaged_letters([sound] * 9) == ""
    assert reading.damaged_letters([damaged] * 9) and reading.damaged_letters([swapped] * 9)


def test_a_folder_is_read_and_what_cant_be_is_named(studio_home: Path, tmp_path: Path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text(f"# A\n{WORDS} {ENDS[0]}")
    (folder / "sub" / "b.txt").write_text(f"{WORDS} {ENDS[1]}")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (folder / "rows.csv").write_text("a,b")
    new = project.create([folder], Settings(()))
    steps: list[tuple[int, int]] = []
    reading.read_into(new, lambda done, total: steps.append((done, total)))
    assert [(each.name, each.passages, len(each.problems) > 0) for each in new.documents()] == [
        ("a.md", 1, False), ("broken.pdf", 0, True), ("sub/b.txt", 1, False)]
    assert steps[-1][0] == steps[-1][1] > 0


def test_a_project_whose_documents_cant_be_read_leaves_no_folder(studio_home: Path, tmp_path: Path):
    with pytest.raises(UserError):
        reading.new_project([tmp_path], Settings(()))
    assert not project.list_projects() and not list(paths.documents_dir().glob("*"))
    (tmp_path / "a.txt").write_text("The office is open from ten to five.")
    assert reading.new_project([tmp_path], Settings(())).is_read


def test_a_scan_among_documents_is_one_problem_with_its_remedy(studio_home: Path, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pdf_layout.shutil, "which", lambda name: None)
    small_pdf.write(tmp_path / "scan.pdf", [[]])
    (tmp_path / "a.txt").write_text("The office is open from ten to five.")
    new = reading.new_project([tmp_path], Settings(()))
    [problem] = next(each for each in new.documents() if each.name == "scan.pdf").problems
    assert "OCR" in problem


def test_nothing_to_read_and_cancelled_leave_no_passages(studio_home: Path, tmp_path: Path):
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    new = project.create([tmp_path / "broken.pdf"], Settings(()))
    with pytest.raises(UserError):
        reading.read_into(new)
    (tmp_path / "a.txt").write_text(f"{WORDS} {ENDS[1]}")
    other = project.create([tmp_path / "a.txt"], Settings(()))
    with pytest.raises(ReadingCancelled):
        reading.read_into(other, cancelled=lambda: True)
    assert not new.is_read and not other.is_read


@pytest.mark.full
def test_a_thousand_pages_need_no_more_memory_than_a_hundred(studio_home: Path, tmp_path: Path):
    code = ("import sys; from pathlib import Path; from slmstudio.core.documents import project, reading; "
            "new = project.create([Path(sys.argv[1])], project.Settings(())); reading.read_into(new); "
            "sys.exit(0 if len(new.passages()) >= int(sys.argv[2]) else 1)")
    held = []
    for count in (100, 1000):
        path = small_pdf.write(tmp_path / f"{count}.pdf", (
            [(50, 745, -11, f"{page}. Rule"), *lines([f"{WORDS} {page} {line}." for line in range(40)], top=725)]
            for page in range(count)))
        status, memory = peak_of.run([sys.executable, "-c", code, str(path), str(2 * count)], 200)
        assert status == 0
        held.append(memory - path.stat().st_size)  # pdfium keeps the file
    assert held[1] - held[0] < 30 * 2**20, held
