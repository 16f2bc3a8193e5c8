"""Tables as offices keep them: titles above them, headers that are abbreviated or longer than a word, covers before
them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from support.workbooks import write_xlsx

from slmstudio.core.data.opening import Choices
from slmstudio.core.data.reader import read_dataset

WARDS = ("कोथरूड", "हडपसर", "औंध", "बाणेर", "वारजे")
HINDI = [["क्र.सं.", "विभाग", "नागरिक का प्रश्न", "दिया गया उत्तर", "वार्ड"],
         *([number, "जल" if number == 1 else "", f"{ward} में पानी का नया कनेक्शन कैसे मिलता है?",
            f"{ward} के निवासी वार्ड कार्यालय में आवेदन दें।", ward] for number, ward in enumerate(WARDS, 1))]
COVER = [["इस कार्यपुस्तिका का उपयोग कैसे करें"], ["1. दूसरी शीट खोलें"], ["2. पंक्तियाँ न हटाएँ"]]


def test_a_hindi_sheet_with_titles_and_merged_cells(tmp_path):
    titles = [["पुणे महानगरपालिका — नागरिक सहायता केंद्र", "", "", "", ""], ["अवधि: अप्रैल 2025 से", "", "", "", ""], [""] * 5]
    write_xlsx(tmp_path / "प्रश्न.xlsx", {"प्रश्नोत्तर": [*titles, *HINDI]}, ["A1:E1", "A2:E2", "B5:B9"])
    found = read_dataset(tmp_path / "प्रश्न.xlsx")
    assert (found.count, found.mapping) == (5, {"instruction": "नागरिक का प्रश्न", "output": "दिया गया उत्तर"})
    assert not found.problems


def test_abbreviated_headers_of_a_table_in_utf_16(tmp_path):
    with (tmp_path / "Kundenfragen.csv").open("w", encoding="utf-16", newline="") as out:
        rows = csv.writer(out, delimiter=";")
        rows.writerow(["Nr.", "Frage des Kunden", "Antwort (freigegeben)", "Kategorie"])
        rows.writerows([number, f"Wie lange dauert die Lieferung nach {number}; auch „Express“?",
                        f"{number} Tage.\nExpress: einen.", "Post"] for number in range(1, 20))
    found = read_dataset(tmp_path / "Kundenfragen.csv")
    assert found.mapping == {"instruction": "Frage des Kunden", "output": "Antwort (freigegeben)"}
    assert (found.count, found.encoding) == (19, "UTF-16 LE")


@pytest.mark.parametrize("header", [["S. No.", "Query of the customer", "Our reply"],
                                    ["Sl.No.", "Question asked", "Answer"], ["क्र.", "पूछा गया सवाल", "जवाब"]])
def test_other_abbreviated_headers(header, tmp_path):
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(header)
        rows.writerows([n, f"How do I get form number {n}?", f"Form {n} is given out at window {n}."]
                       for n in range(1, 9))
    found = read_dataset(tmp_path / "rows.csv")
    assert (found.count, found.mapping) == (8, {"instruction": header[1], "output": header[2]})


def test_a_first_row_with_sentences_is_data(tmp_path):
    (tmp_path / "rows.csv").write_text("A question?,An answer.\nWho may join?,Everybody may.\nIs there a fee?,No.\n")
    assert read_dataset(tmp_path / "rows.csv").count == 3


@pytest.fixture
def workbook(tmp_path: Path) -> Callable[..., Path]:
    return lambda **sheets: write_xlsx(tmp_path / "book.xlsx", sheets)


def test_a_cover_sheet_is_passed_over(workbook):
    path = workbook(निर्देश=COVER, डेटा=HINDI)
    found = read_dataset(path)
    assert (found.count, found.sheets) == (5, ("डेटा", "निर्देश"))
    assert any("डेटा" in note and "निर्देश" in note for note in found.notes)
    assert read_dataset(path, choices=Choices(sheet="निर्देश")).layout == "text"


def test_the_first_of_several_tables_is_read(workbook):
    shorter = read_dataset(workbook(y2025=HINDI[:4], y2026=HINDI))
    assert (shorter.sheets[0], shorter.count) == ("y2025", 3)
    assert read_dataset(workbook(texts=[[f"Sentence {n} of a corpus."] for n in range(9)], codes=HINDI[:3])
                        ).sheets[0] == "texts"
