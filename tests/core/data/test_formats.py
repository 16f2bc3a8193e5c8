"""Every kind of file: what it is called, how it is decoded, and the rows in it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sqlite3
import zipfile
from contextlib import closing

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from support.tiers import examples
from support.workbooks import write_ods, write_xlsx

from slmstudio.core.data.reader import ReadOptions, read_dataset
from slmstudio.core.data.sources.tables import table_rows
from slmstudio.core.errors import UserError

ROWS = [
    ("¿Qué es una canción?", "Música con letra, normalmente breve."),
    ("¿Dónde está Málaga?", "En el sur de España."),
    ("¿Cuándo llega el año nuevo?", "El primero de enero, como siempre."),
]
HINDI = [("राजधानी क्या है?", "मुंबई है।"), ("नदी कौन सी है?", "गोदावरी नदी यहाँ बहती है।")]


def said(dataset):
    return [tuple(message["content"] for message in record.messages) for record in dataset.records]


def table(rows, delimiter=",", header=("question", "answer")):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerows([header, *rows])
    return out.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    ("codec", "name"),
    [("utf-8", "UTF-8"), ("utf-8-sig", "UTF-8 with BOM"), ("utf-16", "UTF-16 LE"), ("cp1252", "windows-1252")],
)
def test_tables_in_every_dialect_and_encoding(tmp_path, delimiter, codec, name):
    path = tmp_path / "rows.csv"
    path.write_bytes(table(ROWS, delimiter).encode(codec))
    found = read_dataset(path)
    assert (found.encoding, found.problems, said(found)) == (name, [], ROWS)
    assert found.format == ("tsv" if delimiter == "\t" else "csv")
    assert any("assumed" in note for note in found.notes) == (codec == "cp1252")
    assert found.mapping == {"instruction": "question", "output": "answer"}
    assert [record.line for record in found.records] == [2, 3, 4]


def test_quoted_line_breaks_and_names_in_any_language(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(table([("पहली\nपंक्ति?", 'कहा "हाँ", फिर'), *HINDI], header=("प्रश्न", "उत्तर")), encoding="utf-8")
    found = read_dataset(path)
    assert said(found) == [("पहली\nपंक्ति?", 'कहा "हाँ", फिर'), *HINDI]
    assert found.mapping == {"instruction": "प्रश्न", "output": "उत्तर"}
    assert [record.line for record in found.records] == [2, 4, 5]


@pytest.mark.parametrize(("line", "row"), [
    ('"Goa" he said,"Yes, there"', ('"Goa" he said', "Yes, there")),
    ('"Goa" he said,"There."', ('"Goa" he said', "There.")),
    ('"Say "hi" now","He said ""hi""."', ('"Say "hi" now"', 'He said "hi".')),
    ('"Who said ""hi""?","Asha"', ('Who said "hi"?', "Asha")),
])
def test_quotation_marks_that_enclose_no_cell_are_text(tmp_path, line, row):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["question,answer", line, "Where is it?,In Pune."]) + "\n", encoding="utf-8")
    assert said(read_dataset(path))[0] == row


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.lists(st.text('a ",;\t', max_size=6), min_size=3, max_size=3), min_size=1, max_size=4),
       st.sampled_from(",;\t"), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_a_table_that_csv_writes_is_read_as_it_was(rows, delimiter, quoting):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=quoting).writerows(rows)
    found = [row.cells for row in table_rows(iter([out.getvalue().encode()]), delimiter)]
    assert found == [row for row in rows if any(map(str.strip, row))]


def test_a_table_without_names(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(f'"{question}","{answer}"' for question, answer in ROWS), encoding="utf-8")
    found = read_dataset(path)
    assert said(found) == ROWS
    assert any("first row was read as data" in note for note in found.notes)


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.ods"])
def test_workbooks(tmp_path, name):
    sheets = {"पंक्तियाँ": [["प्रश्न", "उत्तर"], *map(list, HINDI)], "more": [["question", "answer"], ["a?", "b"]]}
    path = (write_xlsx if name.endswith("xlsx") else write_ods)(tmp_path / name, sheets)
    found = read_dataset(path)
    assert (found.format, found.sheets, said(found)) == (name[5:], ("पंक्तियाँ", "more"), HINDI)
    assert any("पंक्तियाँ" in note for note in found.notes)
    assert said(read_dataset(path, options=ReadOptions(sheet="more"))) == [("a?", "b")]


@pytest.fixture
def database(tmp_path):
    """A function that writes tables into a database; it stays open, in WAL mode, while the test runs."""
    with closing(sqlite3.connect(tmp_path / "rows.db")) as opened:
        def write(**tables):
            for name, (names, *rows) in tables.items():
                opened.execute(f'CREATE TABLE "{name}" ({", ".join(names)})')
                opened.executemany(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(names))})', rows)
            opened.commit()
            return opened

        yield write


def test_the_tables_of_a_database(tmp_path, database):
    database(**{"of users": [["id", "mail"], *([n, f"u{n}@x.in"] for n in range(50))],
                "empty": [["question", "answer"]],
                "questions": [["id", "question", "answer"], *([n, *row] for n, row in enumerate(HINDI))],
                "notes": [["id", "text"], [1, "A very long note about something else, longer than the questions."]]})
    path, packed = tmp_path / "rows.db", tmp_path / "rows.sqlite.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for each in (path, packed):
        found = read_dataset(each)
        assert (found.format, found.sheets[0], said(found)) == ("sqlite", "questions", HINDI)
        assert [(way.options.sheet, [dict(why.values) for why in way.evidence if why.code == "table_rows"])
                for way in found.candidates[1:]] == [("of users", [{"table": "of users", "n": 50}]),
                                                     ("notes", [{"table": "notes", "n": 1}])]
    assert read_dataset(path, options=ReadOptions(sheet="notes")).layout == "text"
    with pytest.raises(UserError, match="notes"):
        read_dataset(path, options=ReadOptions(sheet="nowhere"))


def test_the_table_with_most_words_is_read_and_twins_are_asked_about(tmp_path, database):
    database(users=[["id", "name"], [1, "Asha"]],
             news=[["id", "body", "picture"], [1, "It rained in Pune. The roads are wet.", None], [2, "Sun.", None]],
             old=[["id", "body", "picture"], [1, "It rained.", None]])
    found = read_dataset(tmp_path / "rows.db")
    assert ([record.text for record in found.records], found.is_sure) == (
        ["It rained in Pune. The roads are wet.", "Sun."], False)
    assert found.candidates[1].options.sheet == "old"


def test_text_of_a_database_that_is_no_utf_8_is_a_problem(tmp_path, database):
    opened = database(faq=[["question", "answer"], *HINDI])
    opened.execute("INSERT INTO faq VALUES (CAST(X'ff61' AS TEXT), 'b')")
    opened.commit()
    found = read_dataset(tmp_path / "rows.db")
    assert (said(found), [problem.line for problem in found.problems]) == (HINDI, [3])


def test_changes_beside_a_database_are_mentioned(tmp_path, database):
    opened = database(faq=[["question", "answer"], *HINDI])
    opened.execute("PRAGMA journal_mode = WAL")
    opened.execute("INSERT INTO faq VALUES ('a?', 'b')")
    opened.commit()
    before = sorted(each.name for each in tmp_path.iterdir())
    found = read_dataset(tmp_path / "rows.db")
    assert said(found) == HINDI and any("rows.db-wal" in note for note in found.notes)
    assert sorted(each.name for each in tmp_path.iterdir()) == before


def test_numbers_dates_titles_and_merged_cells_of_a_workbook(tmp_path):
    rows = [
        ["Questions of the year", None],
        [None, None],
        ["Topic", "Question", "Answer"],
        ["Water", "How many litres?", 55],
        [None, "Since when?", 2019.5],
        ["Roads", "Sum?", ("=SUM(1,2)", 3)],
    ]
    found = read_dataset(write_xlsx(tmp_path / "rows.xlsx", {"Sheet1": rows}, merged=["A4:A5"]))
    assert said(found) == [("How many litres?", "55"), ("Since when?", "2019.5"), ("Sum?", "3")]
    assert [record.line for record in found.records] == [4, 5, 6]
    assert any("Merged" in note for note in found.notes)


def test_a_formula_that_was_never_calculated_is_a_problem(tmp_path):
    path = write_xlsx(tmp_path / "rows.xlsx", {"S": [["question", "answer"], ["a?", "b"], ["c?", ("=1+1", None)]]})
    found = read_dataset(path)
    assert said(found) == [("a?", "b")] and len(found.problems) == 1


SHAPES = {
    "instruction": [{"instruction": "a?", "input": None, "output": "b"}] * 2,
    "messages": [{"messages": [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]}] * 2,
    "preference": [{"prompt": "a?", "chosen": "b", "rejected": "c"}] * 2,
    "labelled": [
        {"prompt": "a?", "completion": "b", "label": True},
        {"prompt": "a?", "completion": "c", "label": False},
    ],
    "text": [{"text": "A whole text."}] * 2,
}


@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrow stream", "feather"])
def test_tables_of_arrow(tmp_path, layout, kind):
    content = pa.Table.from_pylist(SHAPES[layout])
    path = tmp_path / f"rows.{kind.split()[0]}"
    if kind == "parquet":
        parquet.write_table(content, path)
    else:
        new = pa.ipc.new_stream if kind == "arrow stream" else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as sink, new(sink, content.schema) as writer:
            writer.write_table(content)
    found = read_dataset(path)
    assert (found.layout, found.count, found.problems) == (layout, 2, [])
    assert found.format == ("parquet" if kind == "parquet" else "arrow")


def test_classes_of_a_data_set_have_their_names(tmp_path):
    features = {
        "info": {"features": {"text": {"_type": "Value"}, "label": {"_type": "ClassLabel", "names": ["no", "yes!"]}}}
    }
    content = pa.table({"text": ["a", "b"], "label": [1, 0]}).replace_schema_metadata(
        {"huggingface": json.dumps(features)}
    )
    parquet.write_table(content, tmp_path / "rows.parquet")
    assert said(read_dataset(tmp_path / "rows.parquet")) == [("a", "yes!"), ("b", "no")]


LINES = "".join(json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in ROWS).encode()


def packed(kind):
    if kind == "gz":
        return gzip.compress(LINES)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("data/rows.jsonl", LINES)
        file.writestr("README.md", "About the rows.")
        file.writestr("__MACOSX/data/._rows.jsonl", b"\0\1")
    return out.getvalue()


@pytest.mark.parametrize("kind", ["gz", "zip"])
def test_packed_files(tmp_path, kind):
    path = tmp_path / ("rows.zip" if kind == "zip" else f"rows.jsonl.{kind}")
    path.write_bytes(packed(kind))
    found = read_dataset(path)
    assert (found.format, said(found), found.problems) == ("jsonl", ROWS, [])
    assert found.records[0].file == ("data/rows.jsonl" if kind == "zip" else "")


def test_zstandard(tmp_path):
    path = tmp_path / "rows.jsonl.zst"
    with pa.OSFile(str(path), "wb") as sink, pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(LINES)
    assert said(read_dataset(path)) == ROWS


def test_a_folder_is_read_whole_but_for_what_is_held_out(tmp_path):
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    (folder / "train-0.jsonl").write_bytes(LINES)
    (folder / "sub" / "train-1.csv").write_text(table(ROWS), encoding="utf-8")
    (folder / "test.jsonl").write_bytes(LINES)
    (folder / "README.md").write_text("About.")
    (folder / ".hidden.jsonl").write_bytes(LINES)
    found = read_dataset(folder)
    assert (found.count, found.format) == (6, "folder")
    assert {record.file for record in found.records} == {"train-0.jsonl", "sub/train-1.csv"}
    assert any("test.jsonl" in note and "held out" in note for note in found.notes)
    assert found.sha256 == read_dataset(folder).sha256


def test_text_is_cut_where_its_lines_say(tmp_path):
    long = "A sentence of an article that goes into much detail. " * 6
    path = tmp_path / "articles.txt"
    path.write_text("\n".join([long, long + "B", long + "C"]))
    found = read_dataset(path)
    assert (found.count, found.text_by, found.format) == (3, "line", "text")
    assert read_dataset(path, options=ReadOptions(text_by="document")).count == 1
    path.write_text("One page is wrapped\nwhere its lines are\nfull, so it is one.\n\nNext one\n")
    assert (read_dataset(path).count, read_dataset(path).text_by) == (2, "paragraph")
    (tmp_path / "notes.md").write_text("# Title\n\nText.\n")
    assert read_dataset(tmp_path / "notes.md").format == "markdown"


def test_word_documents(tmp_path):
    import docx

    document = docx.Document()
    document.add_heading("शीर्षक")
    document.add_paragraph("पहला पैरा।")
    cells = document.add_table(1, 2).rows[0].cells
    cells[0].text, cells[1].text = "a", "b"
    document.save(tmp_path / "book.docx")
    found = read_dataset(tmp_path / "book.docx")
    assert (found.format, [record.text for record in found.records]) == ("docx", ["शीर्षक", "पहला पैरा।", "a\tb"])


PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R 6 0 R]/Count 2>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>endobj
4 0 obj<</Length 60>>stream
BT /F1 18 Tf 20 200 Td (The first page says this.) Tj ET   
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
6 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]>>endobj
trailer<</Root 1 0 R>>
"""


def test_pdf_files(tmp_path):
    (tmp_path / "book.pdf").write_bytes(PDF)
    found = read_dataset(tmp_path / "book.pdf")
    assert (found.format, found.layout) == ("pdf", "text")
    assert [(record.line, record.text) for record in found.records] == [(1, "The first page says this.")]
    assert any("1 of 2 pages has no text and was left out (2)" in note for note in found.notes)


@pytest.mark.parametrize("before", [b"\n", b"\xef\xbb\xbf\r\n", b"Scanned by an office\n"])
def test_a_pdf_file_with_something_before_its_mark(tmp_path, before):
    (tmp_path / "book.pdf").write_bytes(before + PDF)
    assert [record.text for record in read_dataset(tmp_path / "book.pdf").records] == ["The first page says this."]


def test_pages_that_cannot_be_read_are_named(tmp_path):
    damaged = PDF.replace(b"6 0 obj<</Type/Page/Parent", b"6 0 obj<</Type/Nothing/Parent").replace(b"6 0 R", b"9 0 R")
    (tmp_path / "book.pdf").write_bytes(damaged)
    found = read_dataset(tmp_path / "book.pdf")
    assert found.count == 1 and any("1 of 2 pages" in note for note in found.notes)


def test_a_text_called_a_pdf_is_refused(tmp_path):
    (tmp_path / "book.pdf").write_text("Some words and no mark.", encoding="utf-8")
    with pytest.raises(UserError, match="damaged PDF"):
        read_dataset(tmp_path / "book.pdf")
