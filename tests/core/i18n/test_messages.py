"""Messages in the language that is chosen, with their values."""

from __future__ import annotations

import doctest
import os
import sys
from datetime import datetime
from pathlib import Path

import pytest

from slmstudio.core import i18n
from slmstudio.core.i18n import catalogue, messages


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of catalogues with a Hindi one of three messages."""
    monkeypatch.setattr(messages, "FOLDER", tmp_path)
    (tmp_path / "hi.po").write_text(
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\nPlural-Forms: nplurals=2; plural=(n > 1);\\n"\n\n'
        'msgid "{rows:,} rows are empty."\nmsgstr "{rows:,} पंक्तियाँ ख़ाली हैं।"\n\n'
        'msgid "{n:,} row"\nmsgid_plural "{n:,} rows"\nmsgstr[0] "{n:,} पंक्ति"\nmsgstr[1] "{n:,} पंक्तियाँ"\n\n'
        'msgid "Broken {name}"\nmsgstr "{other}"\n\n'
        'msgctxt "a button"\nmsgid "Open"\nmsgstr "खोलें"\n', encoding="utf-8")
    return tmp_path


def test_english_is_the_source() -> None:
    i18n.use("en")
    assert i18n.tr("{rows:,} rows are empty.", rows=1_234_567) == "1,234,567 rows are empty."
    assert i18n.tr("Braces {stay}") == "Braces {stay}"
    assert [i18n.ntr("{n:,} row", "{n:,} rows", n) for n in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]


def test_hindi_has_its_words_and_groups_of_digits(own: Path) -> None:
    i18n.use("hi")
    assert i18n.tr("{rows:,} rows are empty.", rows=1_234_567) == "12,34,567 पंक्तियाँ ख़ाली हैं।"
    assert [i18n.ntr("{n:,} row", "{n:,} rows", n) for n in (0, 1, 2)] == ["0 पंक्ति", "1 पंक्ति", "2 पंक्तियाँ"]
    assert i18n.ptr("a button", "Open") == "खोलें" and i18n.tr("") == ""
    assert i18n.tr("No translation of {this}", this=5) == "No translation of 5"
    assert i18n.number_text(-1234567.25, ",.1f") == "-12,34,567.2"
    assert not i18n.is_right_to_left()


@pytest.mark.filterwarnings("error")
def test_numbers_are_counted_whatever_their_type(own: Path) -> None:
    i18n.use("hi")
    assert [i18n.ntr("{n:,} row", "{n:,} rows", n) for n in (1.0, 3.0)] == ["1.0 पंक्ति", "3.0 पंक्तियाँ"]
    assert [i18n.ntr("{n:,} row", "{n:,} rows", n) for n in (0.5, 2.5)] == ["0.5 पंक्ति", "2.5 पंक्तियाँ"]
    i18n.use("en")
    assert [i18n.ntr("{n} epoch", "{n} epochs", n) for n in (0.5, 1, 1.5)] == ["0.5 epochs", "1 epoch", "1.5 epochs"]


def test_a_translation_that_does_not_fit_gives_way_to_the_english(own: Path, caplog: pytest.LogCaptureFixture) -> None:
    i18n.use("hi")
    assert i18n.tr("Broken {name}", name="pune.csv") == "Broken pune.csv"
    assert "doesn't fit" in caplog.text


def test_a_changed_catalogue_is_compiled_again(own: Path) -> None:
    i18n.use("hi")
    file = own / "hi.po"
    file.write_text(file.read_text(encoding="utf-8").replace("खोलें", "खोलिए"), encoding="utf-8")
    os.utime(file, ns=(2**62, 2**62))
    i18n.use("hi")
    assert i18n.ptr("a button", "Open") == "खोलिए"


@pytest.mark.parametrize("content", [
    "", "msgid \"a\nmsgstr", "\x00\x01", 'msgid ""\nmsgstr "\\x"\n',
    'msgid ""\nmsgstr "Plural-Forms: nplurals=INTEGER; plural=EXPRESSION;\\n"\n',  # as xgettext leaves it
    'msgid ""\nmsgstr "Plural-Forms: nplurals=2;\\n"\n',
    'msgid ""\nmsgstr "Content-Type: text/plain; charset=CHARSET\\n"\n',
])
def test_a_damaged_catalogue_leaves_english(own: Path, content: str) -> None:
    (own / "hi.po").write_text(content, encoding="utf-8")
    i18n.use("hi")
    assert i18n.tr("{n:,} rows", n=5) == "5 rows"


def test_copies_beside_the_catalogues_are_no_languages(own: Path) -> None:
    for name in ("hi.old", "hi copy", "bn_backup", "notes"):
        (own / f"{name}.po").write_bytes((own / "hi.po").read_bytes())
    assert i18n.available() == {"en": "English", "hi": "हिन्दी"}
    i18n.use("notes")  # named by hand
    assert i18n.ntr("{n:,} row", "{n:,} rows", 1_234_567) == "1,234,567 पंक्तियाँ"
    assert i18n.date_text(datetime(2026, 11, 28)) == "28 Nov 2026"


def test_it_speaks_without_babel(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("babel", "babel.numbers", "babel.dates"):
        monkeypatch.setitem(sys.modules, name, None)
    assert i18n.available() == {"en": "English", "hi": "hi"}
    i18n.use("hi")
    assert i18n.ntr("{n:,} row", "{n:,} rows", 1_234_567) == "1,234,567 पंक्तियाँ"
    assert i18n.date_text(datetime(2026, 11, 28)) == "2026-11-28"


@pytest.mark.parametrize("kept", [0, 10, 40])
def test_a_compiled_catalogue_that_was_cut_is_made_again(own: Path, kept: int) -> None:
    i18n.use("hi")
    compiled = own / "hi.mo"
    whole = compiled.read_bytes()
    compiled.write_bytes(whole[:kept])
    os.utime(compiled, ns=(2**62, 2**62))
    i18n.use("hi")
    assert i18n.ptr("a button", "Open") == "खोलें"
    assert compiled.read_bytes() == whole and sorted(each.name for each in own.iterdir()) == ["hi.mo", "hi.po"]


@pytest.mark.parametrize(("environment", "expected"), [
    ({"LANG": "hi_IN.UTF-8"}, "hi"), ({"LANG": "en_IN.UTF-8", "LANGUAGE": "hi:en"}, "hi"),
    ({"LANG": "C", "LANGUAGE": "hi"}, "en"), ({"LANG": "ta_IN.UTF-8"}, "en"),
    ({"LC_ALL": "hi_IN", "LANG": "en_US"}, "hi"), ({}, "en"),
])
def test_the_system_says_which_language(own: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str],
                                        expected: str) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert i18n.system_language() == expected


def test_the_pseudo_locale_keeps_placeholders_and_tags() -> None:
    i18n.use("en_XA")
    said = i18n.tr("<b>{rows:,}</b> rows are empty.", rows=1234)
    assert said.startswith("⟦<b>1,234</b> röwš") and said.endswith("⟧")
    assert doctest.testmod(catalogue).failed == 0
