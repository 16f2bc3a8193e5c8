"""The figures of the Data tab."""

from __future__ import annotations

import pytest

from slmstudio.core.data import languages as module
from slmstudio.core.data.languages import Statistics, script_of, script_shares, statistics
from slmstudio.core.data.reader import Record, read_dataset


def record(question: str, answer: str, line: int = 1) -> Record:
    return Record(({"role": "user", "content": question}, {"role": "assistant", "content": answer}), line)


@pytest.mark.parametrize(("text", "script"), [
    ("राशन", "Devanagari"), ("রেশন", "Bengali"), ("ਰਾਸ਼ਨ", "Gurmukhi"), ("રેશન", "Gujarati"), ("ରାସନ", "Odia"),
    ("ரேஷன்", "Tamil"), ("రేషన్", "Telugu"), ("ರೇಷನ್", "Kannada"), ("റേഷൻ", "Malayalam"), ("راشن", "Arabic"),
    ("ᱨᱟᱥᱚᱱ", "Ol Chiki"), ("ꯔꯦꯁꯟ", "Meetei Mayek"), ("රේෂන්", "Sinhala"), ("ration", "Latin"), ("Rätiön", "Latin"),
    ("пайка", "Cyrillic"), ("配給", "Han"), ("はいきゅう", "Japanese"), ("배급", "Korean"), ("รถ", "Thai"),
    ("ραδ", "Greek"), ("አማርኛ", "Ethiopic"), ("ᎣᏏᏲ", "Other"),
])
def test_each_script_is_told_by_every_letter_and_sign(text, script):
    assert {script_of(character) for character in text} == {script}


@pytest.mark.parametrize("character", " \n.,!?0123456789₹।॥\u200d\u200c👍–“×\u0301")
def test_what_belongs_to_no_script(character):
    assert script_of(character) is None


def test_indian_digits_belong_to_their_script():
    assert (script_of("१"), script_of("௧")) == ("Devanagari", "Tamil")


def test_shares_add_up_largest_first():
    shares = script_shares([record("abc दो 123।", "কখ"), record("d", "e")])
    assert list(shares) == ["Latin", "Devanagari", "Bengali"]
    assert shares == {"Latin": 5 / 9, "Devanagari": 2 / 9, "Bengali": 2 / 9}
    assert script_shares([record("123", "!")]) == {}
    assert script_shares([]) == {}


def test_figures():
    records = [record("ab", "cd", 1), record("ab", "e", 2), record("ab", "cd", 4), record("longest", "one", 9)]
    assert statistics(records) == Statistics(
        rows=4, characters=21, longest_characters=10, longest_line=9,
        scripts={"Latin": 1.0})
    assert statistics([]) == Statistics(0, 0, 0, 0, {})


def test_figures_of_other_kinds():
    messages = record("ab", "cd").messages
    pairs = [Record(messages, 1, rejected="क"), Record(messages, 2, rejected="ख"), Record(messages, 3, rejected="ख")]
    assert statistics(pairs) == Statistics(
        rows=3, characters=15, longest_characters=5, longest_line=1,
        scripts={"Latin": 0.8, "Devanagari": 0.2})
    text = [Record((), 1, text="one"), Record((), 2, text="three"), Record((), 3, text="one")]
    assert statistics(text) == Statistics(
        rows=3, characters=11, longest_characters=5, longest_line=2,
        scripts={"Latin": 1.0})


def test_a_large_dataset_is_sampled_evenly(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_CHARACTERS", 1000)
    shares = script_shares([record("अ" * 7, "b" * 3)] * 1000)
    assert shares == pytest.approx({"Devanagari": 0.7, "Latin": 0.3})


def test_real_hindi_data(data_dir):
    found = statistics(read_dataset(data_dir / "xquad_hi_instructions.jsonl").records)
    assert found.rows == 307
    assert found.scripts["Devanagari"] > 0.95
    assert sum(found.scripts.values()) == pytest.approx(1)
    assert found.longest_characters > 1000
