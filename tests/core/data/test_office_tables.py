"""Tables as offices keep them: titles above them, headers that are abbreviated or longer than a word, covers before
them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from support.workbooks import write_xlsx

from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.reader import NoUsableRow, read_dataset

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


@pytest.mark.parametrize(("rows", "header", "count"), [
    ([["ಅ", "ಮೂಲಸ್ವರ, ಮೂಲಾಕ್ಷರ"], ["ಅ", "1. ಕನ್ನಡ ವರ್ಣಮಾಲೆಯ ಮೊದಲನೆಯ ಅಕ್ಷರ."], ["ಅಂಕ", "ನಾಟಕದ ಒಂದು ಭಾಗ, ಮೌಲ್ಯಮಾಪನದ ಪ್ರಮಾಣ"],
      ["ಅಂಗ", "ದೇಹದ ಒಂದು ಭಾಗ, ಅವಯವ"]], "none", 4),
    ([["Singular", "Plural", "English", "", ""], ["das Foto", "die Fotos", "the photo", "", ""],
      *([word, "", word, "", ""] for word in ("hallo", "adieu", "servus", "moin"))], None, 5)])
def test_words_above_words_may_be_names(tmp_path, rows, header, count):
    found = read_dataset(write_xlsx(tmp_path / "words.xlsx", {"one": rows}))
    assert (found.count, found.candidates[0].options.header) == (count, header)


def test_numbers_behind_questions_are_no_choices(tmp_path):
    rows = "".join(f"{at},What is word number {at}?,{('Easy', 'Hard')[at % 2]},{at % 6 + 1}\n" for at in range(1, 13))
    (tmp_path / "rows.csv").write_text(rows)
    assert read_dataset(tmp_path / "rows.csv").columns == ("column 1", "column 2", "column 3", "column 4")


@pytest.fixture
def workbook(tmp_path: Path) -> Callable[..., Path]:
    return lambda **sheets: write_xlsx(tmp_path / "book.xlsx", sheets)


def test_a_cover_sheet_is_passed_over(workbook):
    path = workbook(निर्देश=COVER, डेटा=HINDI)
    found = read_dataset(path)
    assert (found.count, found.sheets) == (5, ("डेटा", "निर्देश"))
    assert any("डेटा" in note and "निर्देश" in note for note in found.notes)
    assert read_dataset(path, options=ReadOptions(sheet="निर्देश")).layout == "text"


def test_the_first_of_several_tables_is_read(workbook):
    shorter = read_dataset(workbook(y2025=HINDI[:4], y2026=HINDI))
    assert (shorter.sheets[0], shorter.count) == ("y2025", 3)
    assert read_dataset(workbook(texts=[[f"Sentence {n} of a corpus."] for n in range(9)], codes=HINDI[:3])
                        ).sheets[0] == "texts"


def test_each_sheet_is_offered_with_its_rows(workbook):
    found = read_dataset(workbook(y2025=HINDI[:4], y2026=HINDI))
    ways = found.candidates[:2]
    assert [each.options.sheet for each in ways] == ["y2025", "y2026"] and not found.is_sure
    assert [dict(each.values) for way in ways for each in way.evidence if each.code == "sheet_rows"] == [
        {"sheet": "y2025", "n": 3}, {"sheet": "y2026", "n": 5}]
    asked = [[f"{'Q' if at % 2 == 0 else 'A'}: This is line {at} of it."] for at in range(20)]
    alternating = read_dataset(workbook(one=asked, two=HINDI))
    assert alternating.sheets == ("one", "two") and "two" in {each.options.sheet for each in alternating.candidates}


def test_a_sheet_that_counts_or_explains_the_others_is_passed_over(workbook):
    counts = [["विभाग", "संख्या"], ["जल", 5]]
    fields = [["Field", "Meaning"], ["Query", "What was asked."], ["Reply", "What we said."]]
    assert read_dataset(workbook(सारांश=counts, डेटा=HINDI)).sheets[0] == "डेटा"
    assert read_dataset(workbook(README=fields, Data=[["Query", "Reply"], *[row[2:4] for row in HINDI[1:]]])
                        ).sheets[0] == "Data"
    unnamed = [["मुद्दा", "टीप"], *([f"{ward} का मुद्दा क्या है", f"{ward} की टीप यह है"] for ward in WARDS * 2)]
    assert read_dataset(workbook(सारांश=counts, डेटा=unnamed)).sheets[0] == "डेटा"


def test_two_rows_of_names(tmp_path):
    rows = [["पंजी", "", "", "", ""], ["क्र.", "नागरिक", "", "कार्यालय", ""], ["", "नाम", "प्रश्न", "उत्तर", "अधिकारी"]]
    write_xlsx(tmp_path / "b.xlsx", {"S": [*rows, *([n, ward, f"{ward} कब खुलता है?", f"{ward} नौ बजे।", "लिपिक"]
                                                   for n, ward in enumerate(WARDS, 1))]}, ["A1:E1", "B2:C2", "A2:A3"])
    found = read_dataset(tmp_path / "b.xlsx")
    assert (found.count, found.mapping) == (5, {"instruction": "प्रश्न", "output": "उत्तर"})


def write(tmp_path: Path, header: list[str], rows: list[list[str]], above: str = "") -> Path:
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as out:
        out.write(above)
        csv.writer(out).writerows([header, *rows])
    return tmp_path / "rows.csv"


NAMES, STATES = ("रमेश कुमार", "Asha Joshi", "Imran Khan", "முருகன்", "సీత"), ("closed", "open")
REGISTERS = {
    "Hindi": ["क्र.", "दिनांक", "आवेदक का नाम", "शिकायत", "समाधान", "स्थिति"],
    "Hindi, of a ticket": ["शिकायत सं.", "दिनांक", "नाम", "विवरण", "की गई कार्यवाही", "स्थिति"],
    "Marathi": ["अ.क्र.", "दिनांक", "पालकांचे नाव", "पालकांची शंका", "निराकरण", "शेरा"],
    "Tamil": ["எண்", "தேதி", "வாடிக்கையாளர் பெயர்", "புகார்", "தீர்வு", "நிலை"],
    "Telugu": ["క్ర.సం.", "తేదీ", "ఖాతాదారు పేరు", "ఫిర్యాదు", "పరిష్కారం", "శాఖ"],
    "Bengali": ["ক্রমিক নং", "তারিখ", "নাম", "রোগীর জিজ্ঞাসা", "ডাক্তারের পরামর্শ", "ওয়ার্ড"],
    "Urdu": ["نمبر شمار", "تاریخ", "نام", "شکایت", "کارروائی", "حیثیت"],
    "RTI": ["RTI No.", "Date of Receipt", "Applicant", "Information Sought", "Reply", "Status of Reply"],
    "words that no one knows": ["Ref", "On", "By", "Vinanti", "Javaab diya", "Stage"],
    "words that no one knows, and wards": ["Ref", "On", "By", "Vinanti", "Javaab diya", "Stage", "Ward"],
}


@pytest.mark.parametrize("name", REGISTERS)
def test_a_register_of_complaints(tmp_path, name):
    """Beside the two columns with sentences are numbers, dates, people and states."""
    header = REGISTERS[name]
    rows = [[f"PG/{at}" if "RTI" in name or "ticket" in name else str(at + 1), f"2025-04-1{at}", NAMES[at % 5],
             f"{NAMES[at % 5]} has had no water in ward {at} for days.",
             f"The pipe in ward {at} was mended, and it runs.", STATES[at % 2], str(at % 3)][:len(header)]
            for at in range(8)]
    found = read_dataset(write(tmp_path, header, rows))
    assert (found.count, found.mapping) == (8, {"instruction": header[3], "output": header[4]})
    assert found.is_sure == ("no one" not in name)
    codes = {each.code for each in found.candidates[0].evidence}
    assert codes <= {"by_name", "similar_name"} if found.is_sure else codes == {"by_sentences"}


ASKED_ABOUT = {
    "a third column of sentences": ["Ref", "Hindi", "Marathi", "Bhojpuri"],
    "their class": ["Ref", "Vinanti", "Javaab", "sentiment"],
    "what became of a ticket": ["Issue key", "Summary", "Description", "Resolution"],
}


@pytest.mark.parametrize("name", ASKED_ABOUT)
def test_sentences_are_asked_about_beside(tmp_path, name):
    last = ["This is the third sentence number {} of it"] if "third" in name else ["Fixed", "Done"]
    header = ASKED_ABOUT[name]
    found = read_dataset(write(tmp_path, header, [[
        f"K-{at}", f"Here is the first sentence number {at}", f"And this is the second sentence number {at}",
        last[at % len(last)].format(at)] for at in range(8)]))
    first = header[2:4] if "class" in name else header[1:3]  # what is called as classes are comes before two sentences
    assert not found.is_sure and found.candidates[0].line == f"instruction={first[0]},output={first[1]}"


@pytest.mark.parametrize("above", ["", "Queries of April\n\n", "Branch:,Pune\nPeriod:,April\n"])
def test_a_title_above_a_table(tmp_path, above):
    rows = [[str(at), f"What is form {at}?", f"Form {at} is for water."] for at in range(6)]
    assert read_dataset(write(tmp_path, ["Sl.", "Customer query", "Reply"], rows, above)).count == 6


def test_a_name_above_texts_with_commas_is_no_title(tmp_path):
    rows = "".join(f"Well, I think, {'so, ' * (at % 3)}it is {at}\n" for at in range(8))
    (tmp_path / "rows.csv").write_text(f"text\n{rows}")
    with pytest.raises(NoUsableRow, match="must be in quotation marks"):
        read_dataset(tmp_path / "rows.csv")


def test_the_first_row_above_numbers_holds_names(tmp_path):
    words = [["1", "Abandon", "परित्याग"], ["2", "Budget", "आयव्ययक"], ["3", "Circular", "परिपत्र"]]
    found = read_dataset(write(tmp_path, ["क्र.सं.", "अंग्रेज़ी शब्द", "पर्याय"], words))
    assert (found.count, found.is_sure) == (3, False)
    assert found.mapping == {"instruction": "अंग्रेज़ी शब्द", "output": "पर्याय"}
    flags = [["Is it open?", "Yes, it is.", "1"], ["Is it free?", "No, it isn't.", "0"]]
    assert read_dataset(write(tmp_path, ["Question", "Reply", "First?"], flags)).count == 2


def test_what_is_said_of_a_product_with_its_stars(tmp_path):
    rows = [[("Redmi", "boAt")[at % 2], f"It broke after {at} days of use", str(at % 5 + 1)] for at in range(10)]
    found = read_dataset(write(tmp_path, ["product_name", "review", "rating"], rows))
    assert found.mapping == {"instruction": "review", "output": "rating"}
    found = read_dataset(write(tmp_path, ["ID", "Comment", "Sentiment"], [
        [str(at), f"It broke after {at} days", ("bad", "good")[at % 2]] for at in range(10)]))
    assert found.mapping == {"instruction": "Comment", "output": "Sentiment"}


def test_a_translation_is_not_left_out(tmp_path):
    found = read_dataset(write(tmp_path, ["Sentence", "English_Translation"], [
        [f"kal meeting number {at} hai", f"Meeting number {at} is tomorrow"] for at in range(6)]))
    assert found.mapping == {"instruction": "Sentence", "output": "English_Translation"}


@pytest.mark.parametrize(("header", "row"), [
    (["Complaint", "Ward", "Received on"], lambda at: [f"There is no water in ward {at}.", str(at), f"2025-04-1{at}"]),
    (["Date", "Narration", "Debit"],
     lambda at: [f"2025-04-1{at}", f"{('UPI/51000/shop', 'UPI/9/x')[at % 2]}{at}", f"{at}00.00"]),
    (["Date", "Narration", "Debit"], lambda at: [f"2025-04-1{at}", f"{('a-1', 'b-2')[at % 2]}{at}", f"{at}00.00"]),
    (["Timestamp", "Score", "What is your name?", "What is the capital of Goa?"],
     lambda at: [f"2025/04/0{at} 10:00:00", "3 / 10", f"Asha {at}", ("Panaji", "Margao")[at % 2]])])
def test_dates_codes_and_what_a_form_asks_of_all_are_no_answers(tmp_path, header, row):
    with pytest.raises(NoUsableRow):
        read_dataset(write(tmp_path, header, list(map(row, range(8)))))


@pytest.mark.parametrize("header", [["Statement", "True/False"], ["मुहावरा", "अर्थ"]])
def test_short_names_above_short_texts(tmp_path, header):
    rows = [[f"आँख का तारा होना {at}", ("True", "False")[at % 2] if "/" in header[1] else f"प्यारा {at}"]
            for at in range(8)]
    found = read_dataset(write(tmp_path, header, rows))
    assert found.mapping == {"instruction": header[0], "output": header[1]}


def test_letters_that_windows_1252_has(tmp_path):
    rows = "".join(f"R{at};Où est ma commande n° {at} ?;Elle a été expédiée hier, colis {at}.\n" for at in range(9))
    (tmp_path / "faq.csv").write_bytes(f"Réf;Question du client;Réponse\n{rows}".encode("cp1252"))
    found = read_dataset(tmp_path / "faq.csv")
    assert (found.encoding, found.records[1].messages[0]["content"]) == ("windows-1252", "Où est ma commande n° 1 ?")


def test_a_header_with_one_long_name_above_empty_columns(tmp_path):
    with (tmp_path / "glossar.csv").open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["bezeichnung", "beschreibung", "quelle", "Änderung der Bezeichnung gegenüber der alten Liste",
                       "kommentar", "wiki"])
        rows.writerows([f"Fall {n}", f"Ein Fall ist der Aufenthalt von {n} Tagen.", "Gesetz", "neu" * (n == 3), "", ""]
                       for n in range(9))
    found = read_dataset(tmp_path / "glossar.csv")
    assert found.count == 9 and found.candidates[0].line == "instruction=bezeichnung,output=beschreibung"


def test_long_names_above_numbers_are_a_header(tmp_path):
    names = ["State", *(f"No. of cases pending at the end of the month in {court} courts" for court in ("fast", "all"))]
    rows = [names, *([f"State {n}", str(n), "7"] for n in range(6))]
    (tmp_path / "cases.csv").write_text("\n".join(map(",".join, rows)))
    found = read_dataset(tmp_path / "cases.csv", columns={"instruction": "State", "output": names[1]})
    assert found.count == 6 and found.columns == tuple(names)
