"""The catalogues fit the code: nothing unmarked, nothing missing, no placeholder that differs."""

from __future__ import annotations

import doctest
import io
from collections.abc import Iterator
from gettext import GNUTranslations
from pathlib import Path
from typing import Any

import pytest
import translations
import typer
import untranslated
from babel.messages import Catalog, mofile

from slmstudio.cli import commands
from slmstudio.core.i18n import catalogue

FILES = sorted(translations.FOLDER.glob("*.po"))


@pytest.fixture(scope="module")
def found() -> Catalog:
    return translations.messages()


def test_everything_that_is_shown_is_marked() -> None:
    assert list(untranslated.unmarked(translations.ROOT)) == []


def test_the_check_finds_what_is_not_marked() -> None:
    assert doctest.testmod(untranslated).failed == 0
    shown = ["label.setText('Rows')", "label.setText('Yes' if rows else tr('No'))",
             "UserError(tr('No.'), 'Try again.')", "typer.Option(help=f'Say {more}.')",
             "print_table('Runs', [('Loss', value)])", "say(f'{rows} rows' + end)",
             "QPushButton('&Open')", "say(', '.join(names) or 'none')"]
    silent = ["label.setText('GGUF')", "label.setText(f'{size} GB')", "label.setObjectName('title')",
              "say('llama.cpp')", "settings.value('Rows')", "say(tr('{n} rows', n=words['of rows']))",
              "label.setText('<b>%s</b>' % name)", "typer.Option(help='Say more.')"]
    assert [source for source in shown if not list(untranslated.in_source(source))] == []
    assert [source for source in silent if list(untranslated.in_source(source))] == []


def test_no_exception_is_left_over() -> None:
    modules = {file.relative_to(translations.ROOT).as_posix(): file for file in translations.sources()}
    for start in untranslated.ALLOWED:
        assert any(f"{name}: {words}".startswith(start) for name, file in modules.items()
                   if name.startswith(start.split(":")[0])
                   for _, words in untranslated.in_source(file.read_text("utf-8"))), start


def test_messages_of_all_kinds_are_found(found: Catalog) -> None:
    texts = {translations._key(message) for message in found}
    assert "Propose a whole run configuration, with a reason for each value, and write it to a file." in texts
    assert "Copy log" in texts  # the setup's
    assert "Did you mean: {names}?" in texts  # inside of an f-string
    assert any(isinstance(message.id, tuple) for message in found)
    assert len(texts) > 2500


def test_the_help_of_every_command_and_option_is_a_message(found: Catalog) -> None:
    texts = {translations._key(message) for message in found}

    def helps(command: Any) -> Iterator[str]:
        yield from filter(None, (command.help, *(getattr(param, "help", None) for param in command.params)))
        for below in getattr(command, "commands", {}).values():
            yield from helps(below)

    said = list(helps(typer.main.get_command(commands.app)))
    assert len(said) > 200 and [text for text in said if text not in texts] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_translations_have_the_placeholders_of_their_messages(file: Path, found: Catalog) -> None:
    assert translations.misfits(file, found) == []


def test_what_does_not_fit_is_found() -> None:
    def wrong(source: object, said: object) -> list[str]:
        return list(translations._misfits(source, said))

    assert wrong("{rows:,} rows", "{rows:,} पंक्तियाँ") == wrong("Braces", "") == []
    assert wrong(("{n:,} row", "{n:,} rows"), ("एक पंक्ति", "{n:,} पंक्तियाँ")) == []
    assert wrong("{rows:,} rows", "{rows} पंक्तियाँ") == ["other placeholders (rows, rows:,)"]
    assert wrong("{rows} of {all}", "{rows}") == ["other placeholders (all)"]
    assert wrong("{rows}", "{rows") == ["broken braces"]
    assert wrong("Rows: ", "पंक्तियाँ:") == ["other space"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_catalogue_is_compiled_as_babel_does(file: Path) -> None:
    theirs, known = io.BytesIO(), translations.read(file)
    mofile.write_mo(theirs, known)
    ours = _texts(catalogue.compile_catalogue(file))
    assert ours.items() <= _texts(theirs.getvalue()).items()
    assert len(ours) >= len([message for message in known if message.id and translations._is_whole(message)])


def _texts(compiled: bytes) -> dict[object, str]:
    catalog: dict[object, str] = GNUTranslations(io.BytesIO(compiled))._catalog  # type: ignore[attr-defined]
    return {key: said for key, said in catalog.items() if key != ""}


def test_a_po_file_as_other_programs_write_it() -> None:
    read = GNUTranslations(io.BytesIO(catalogue.compiled(
        '# Ours\nmsgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n'
        '"Plural-Forms: nplurals=2; plural=n>1;"\n'
        '#: a.py:1\n#, python-brace-format\nmsgid "A \\"word\\"\\n"\n"in two lines"\nmsgstr "\\u092a\\\\"\n" और"\n'
        'msgctxt "button"\nmsgid "Open"\nmsgstr "खोलें"\n#, fuzzy\nmsgid "Close"\nmsgstr "खोलें"\n\n'
        'msgid "{n} row"\nmsgid_plural "{n} rows"\nmsgstr[0] "पंक्ति"\nmsgstr[1] "पंक्तियाँ"\n\n'
        'msgid "Empty"\nmsgstr ""\n#~ msgid "Gone"\n#~ msgstr "गया"\n')))
    assert read.gettext('A "word"\nin two lines') == "प\\ और"
    assert (read.pgettext("button", "Open"), read.gettext("Close"), read.gettext("Empty")) == ("खोलें", "Close", "Empty")
    assert [read.ngettext("{n} row", "{n} rows", n) for n in (1, 2)] == ["पंक्ति", "पंक्तियाँ"]


def test_a_language_is_begun_and_kept_in_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translations, "FOLDER", tmp_path)
    source = Catalog()
    source.add("Open")
    source.add(("{n} row", "{n} rows"))
    monkeypatch.setattr(translations, "messages", lambda: source)
    translations.add("bn")
    file = tmp_path / "bn.po"
    assert translations.missing(file, source) == ["Open", "{n} row"]
    file.write_text(file.read_text("utf-8").replace('msgid "Open"\nmsgstr ""', 'msgid "Open"\nmsgstr "খুলুন"'), "utf-8")
    translations.update()
    assert translations.missing(file, source) == ["{n} row"]


def test_nothing_is_missing_in_hindi(found: Catalog) -> None:
    assert translations.missing(translations.FOLDER / "hi.po", found) == []
