"""Text files: each paragraph is a row."""

from __future__ import annotations

import codecs
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.tiers import examples

from slmstudio.core.data.reader import Dataset, read_dataset
from slmstudio.core.data.row_texts import ROW_LIMIT

MB = 1 << 20


def read(folder: Path, content: bytes | str, name: str = "book.txt") -> Dataset:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_dataset(path)


def found(dataset: Dataset) -> list[tuple[int, str]]:
    assert dataset.layout == "text"
    assert all(record.messages == () for record in dataset.records)
    return [(record.line, record.text) for record in dataset.records]


def test_paragraphs_keep_their_lines_and_their_blanks(tmp_path):
    content = "\n\n# A story\nwith two  \n    lines\n \t\nसात दिन।\n\n\n\n[end](x)"
    for name in ("story.md", "STORY.TXT"):
        assert found(read(tmp_path, content, name)) == [
            (3, "# A story\nwith two  \n    lines"), (7, "सात दिन।"), (11, "[end](x)")]


paragraph = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0\ufeff"), max_size=12)
                     .filter(lambda line: line.strip()), min_size=1, max_size=3)


@example(paragraphs=[["B"], ["A", "B", "A"]], gap=1, end="\n", encoding="utf-8")
@given(paragraphs=st.lists(paragraph, min_size=1, max_size=4), gap=st.integers(1, 3), end=st.sampled_from(
    ["\n", "\r\n", "\r"]), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"]))
@settings(max_examples=examples(150), deadline=None)
def test_paragraphs_in_any_encoding_are_read_back(tmp_path_factory, paragraphs, gap, end, encoding):
    lines, begins = ["A word first."] + [""] * gap, [1]
    for each in paragraphs:
        begins.append(len(lines) + 1)
        lines += each + [""] * gap
    bom = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    content = bom + end.join(lines).encode(encoding)
    expected = ["A word first.", *("\n".join(each) for each in paragraphs)]
    dataset = read(tmp_path_factory.getbasetemp(), content, "roundtrip.txt")
    assert dataset.problems == []
    assert found(dataset) == list(zip(begins, expected, strict=True))


def test_joined_files_and_odd_blanks(tmp_path):
    dataset = read(tmp_path, "a\n\n\ufeffb\n\n\u00a0\n\nc\x0cd\u2028e")
    assert found(dataset) == [(1, "a"), (3, "b"), (7, "c\x0cd\u2028e")]


def test_broken_paragraphs_are_named_and_the_others_survive(tmp_path):
    content = "good\n\nसात\n".encode() + b"caf\xe9\n\n" + b"also good " * 500 + b"\n\nNUL \0\n\nlast"
    dataset = read(tmp_path, content)
    assert [record.line for record in dataset.records] == [1, 6, 10]
    assert [(problem.line, problem.column) for problem in dataset.problems] == [(4, 4), (8, None)]
    assert "byte 0xE9" in dataset.problems[0].message
    assert "NUL" in dataset.problems[1].message


@pytest.mark.parametrize("row", ['{"instruction": "a", "output": "b"}', '[\n{"instruction": "a",\n"output": "b"}]'])
def test_json_by_another_name_is_read_as_rows(tmp_path, row):
    assert read(tmp_path, row).layout == "instruction"


@pytest.mark.parametrize("content", ["{x} and more", "[a link](there)", "[1] a note", '"quoted"', "\n{{template}}"])
def test_text_that_begins_like_json_is_text(tmp_path, content):
    assert [text for _, text in found(read(tmp_path, content))] == [content.strip()]


@pytest.mark.parametrize(("content", "words", "remedy"), [
    (b"", "is empty", "Choose"), (b"\n \n", "contains no rows", "Choose"),
    (b"caf\xe9", "no row that can be used", "UTF-8"), (b"\xff\xfe", "contains no rows", "Choose"),
    (b"GGUF\x03\0\0\0" + bytes(50), "a GGUF model", "Model tab"),
])
def test_text_files_without_text(tmp_path, refusal, content, words, remedy):
    path = tmp_path / "none.txt"
    path.write_bytes(content)
    error = refusal(path)
    assert words in error.what
    assert remedy in error.remedy


@pytest.mark.parametrize("lines", [1, 64 * 1024])
def test_a_paragraph_of_64_mb_takes_no_memory(tmp_path, lines):
    path = tmp_path / "book.txt"
    with open(path, "wb") as file:
        file.write(b"first\n\n")
        for _ in range(64):
            file.write((b"x" * (MB * 64 // lines - 1) + b"\n") * (lines // 64) if lines > 1 else b"x" * MB)
        file.write(b"\n\nlast\n")
    tracemalloc.start()
    try:
        dataset = read_dataset(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [record.line for record in dataset.records] == [1, 5 if lines == 1 else lines + 5]
    (problem,) = dataset.problems
    assert problem.line == 3
    assert "is longer than 16 MB" in problem.message
    assert peak < 80 * MB


@pytest.mark.parametrize("excess", [0, 1])
def test_the_limit_of_a_paragraph(tmp_path, excess):
    dataset = read(tmp_path, b"a\n" + b"x" * (ROW_LIMIT - 2 + excess) + b"\n\nlast")
    assert [record.line for record in dataset.records] == [1, 4][excess:]
    assert len(dataset.problems) == excess


@pytest.mark.parametrize("head", ["", "WEBVTT\n\n"])
def test_subtitles_are_read_without_their_times(tmp_path, head):
    text = head + "".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n},900\n<i>Line {n} is</i> said.\nAnd more.\n\n"
                          for n in range(1, 5))
    dataset = read(tmp_path, text, "film.srt")
    assert found(dataset) == [(3 + head.count("\n"), "\n".join(f"Line {n} is said.\nAnd more." for n in range(1, 5)))]
    assert "without their numbers and times" in dataset.notes[0]


def test_what_a_page_says_of_itself_is_not_its_text(tmp_path):
    page = "---\ntitle: Water\ntags: [a]\n---\n\nWater comes at seven.\n"
    assert found(read(tmp_path, page, "page.md")) == [(6, "Water comes at seven.")]
    assert len(found(read(tmp_path, "---\n\nOne.\n\n---\n\nTwo.\n", "page.md"))) == 4


def test_a_page_that_names_its_question_answers_it(tmp_path):
    page = "---\nid: 7\nquestion: 'Why is it: closed\n  today?'\n---\n\nIt is a holiday.\n\nCome back tomorrow.\n"
    (record,) = read(tmp_path, page, "page.md").records
    assert [each["content"] for each in record.messages] == [
        "Why is it: closed today?", "It is a holiday.\n\nCome back tomorrow."]


def test_a_table_within_a_page_is_not_all_of_it(tmp_path):
    table = "| Page | Description |\n|---|---|\n" + "".join(f"| [P{at}](p) | It says {at} |\n" for at in range(12))
    page = read(tmp_path, f"# Wiki\n\nAll pages are listed here.\n\n{table}", "page.md")
    assert page.candidates[0].options.text_by and "Description" not in page.columns
    assert read(tmp_path, f"# Wiki\n\n{table}", "table.md").columns == ("Page", "Description")


PAIR = "The office{0} opens.\tदफ़्तर {0} खुलता है।"


@pytest.mark.parametrize("line", [PAIR + "\tCC-BY 2.0 (France) Attribution: tatoeba.org #{1}",
                                  "{1}|" + PAIR.replace("\t", "|")])
def test_a_table_that_is_called_a_text(tmp_path, line):
    head = "No|Question|Answer\n" if "|" in line else ""
    dataset = read(tmp_path, head + "".join(line.format(" " + "abcdefgh"[n], n) + "\n" for n in range(8)), "hin.txt")
    assert dataset.count == 8 and dataset.is_sure == bool(head)
    if head:
        assert [message["content"] for message in dataset.records[1].messages] == PAIR.format(" b").split("\t")
    else:
        assert "instruction=column 1,output=column 2" in [each.line for each in dataset.candidates]


def test_hindi_for_a_font_from_before_unicode_is_named(tmp_path):
    text = "jk'ku dkMZ dSls curk gS vkSj ml ds fy, D;k pkfg, A\n\nvkids ikl ds dsUnz esa vkosnu nsus ls curk gS A\n\n"
    assert "Kruti Dev" in read(tmp_path, text * 5).notes[0]
    assert read(tmp_path, "The ls command lists files, and ds is a name.\n\n" * 9).notes == ()
