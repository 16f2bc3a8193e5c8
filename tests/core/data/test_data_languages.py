"""What is said of a dataset follows the language; what is compared and kept doesn't."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from slmstudio.core import i18n
from slmstudio.core.data import layouts
from slmstudio.core.data.health.finding import KINDS, Context, Finding
from slmstudio.core.data.health.survey import check
from slmstudio.core.data.languages import script_shares
from slmstudio.core.data.reader import Dataset, NoUsableRow, read_dataset
from slmstudio.core.i18n import catalogue, messages

GOOD = '{"instruction": "Capital of Goa?", "output": "Panaji."}'
BAD = (
    '{"instruction": "a" "output": "b"}', '{"instruction": "a", "output": "b",}', '{"instruction": "a", "output": NaN}',
    '{"instruction": "a\tb", "output": "b"}', "{'instruction': 'a'}", GOOD + GOOD, "}", '{"instruction": "a"}', "{}",
    "[]", '{"instruction": "a", "output": ""}', '{"messages": "hello"}',
    '{"messages": [3]}', '{"messages": [{"role": "user", "content": "a"}]}',
    '{"messages": [{"role": ["user"], "content": "a"}]}', '{"messages": [{"role": "narrator", "content": "a"}]}',
    '{"prompt": "a", "chosen": "b", "rejected": "b"}', '{"prompt": "a", "chosen": "b", "rejected": "c"}',
    '{"question": "a", "image": "x.png", "answer": "b"}',
)


@pytest.fixture(autouse=True)
def english_afterwards() -> Iterator[None]:
    yield
    i18n.use("en")


def read(folder: Path, *rows: str) -> Dataset:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return read_dataset(path)


def test_everything_that_is_wrong_with_rows_can_be_translated(tmp_path):
    i18n.use(messages.PSEUDO)
    found = read(tmp_path, *[GOOD] * 3 * len(BAD), *BAD)
    assert len({problem.line for problem in found.problems}) == len(BAD)
    for problem in found.problems:
        assert problem.message.startswith(catalogue.OPEN) and problem.message.endswith(catalogue.CLOSE), problem


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.id)
def test_every_kind_of_finding_can_be_translated(kind):
    i18n.use(messages.PSEUDO)
    figures = {"percent": "4%", "max_length": 512, "least_length": 1024, "rows": 3}
    found = Finding(kind.id, 1, (1,))
    choices = [text for each in kind.choices for text in (found.label(each), found.does(each))]
    for text in (kind.title, kind.sentence(1, **figures), kind.sentence(2, **figures), *choices):
        assert text.startswith(catalogue.OPEN)


def test_a_finding_speaks_the_language_of_its_reader(tmp_path):
    rows = read(tmp_path, GOOD, GOOD, '{"instruction": "Long?", "output": "Yes, indeed."}').records
    english = check(rows, Context(lengths=[5, 5, 50], max_length=10))
    said = [finding.sentence for finding in english]
    i18n.use("hi")
    hindi = check(rows, Context(lengths=[5, 5, 50], max_length=10))
    assert hindi == english == [Finding.from_dict(json.loads(json.dumps(each.to_dict()))) for each in english]
    assert {each.kind: each.sentence for each in english} == {
        "duplicate_rows": "1 पंक्ति पहले की एक पंक्ति को हूबहू दोहराती है।",
        "too_long": "1 पंक्ति (33%) में 10 से ज़्यादा टोकन हैं और वह कट जाती है; 50 पर कोई नहीं कटती।"}
    i18n.use("en")
    assert [finding.sentence for finding in hindi] == said == [
        "1 row repeats an earlier row exactly.",
        "1 row (33%) has more than 10 tokens and is cut; at 50, none is."]


def test_a_reason_names_the_columns_of_the_file_in_every_language(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("Frage,Antwort\nWas?,Das.\nUnd?,\n", encoding="utf-8")
    for code, words in (("en", '"Antwort" is empty.'), ("hi", '"Antwort" खाली है।')):
        i18n.use(code)
        assert [str(each.message) for each in read_dataset(path, columns={
            "instruction": "Frage", "output": "Antwort"}).problems] == [words]


def test_what_is_kept_is_the_same_in_every_language(tmp_path):
    english = read(tmp_path, GOOD, GOOD)
    i18n.use("hi")
    hindi = read(tmp_path, GOOD, GOOD)
    assert hindi == english and script_shares(hindi.records) == {"Latin": 1.0}
    assert layouts.sentence(hindi.layout) == "हर पंक्ति में एक सवाल और उसका जवाब है।"


def test_a_file_without_a_usable_row_is_refused_in_hindi(tmp_path):
    i18n.use("hi")
    with pytest.raises(NoUsableRow) as caught:
        read(tmp_path, "{}")
    assert caught.value.what == "rows.jsonl में इस्तेमाल लायक कोई पंक्ति नहीं है।"
    assert "Thiruvananthapuram" in caught.value.remedy and "{example}" not in caught.value.remedy
