"""Messages with their values put in, and numbers and dates as the language writes them."""

from __future__ import annotations

import os
import re
import string
from gettext import NullTranslations
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from babel import Locale

# -- Which language is spoken, and which there are.

VARIABLE = "SLMSTUDIO_LANGUAGE"
"""Names the language; child processes speak that of their parent. It comes before the setting."""
SOURCE = "en"
PSEUDO = "en_XA"
"""English with accents, brackets and a third more letters: shows what can't be translated, and what would be cut."""
FOLDER = Path(__file__).resolve().parents[3] / "resources" / "translations"
_RIGHT_TO_LEFT = ("ar", "fa", "he", "ks", "sd", "ug", "ur", "yi")

_language = SOURCE
_catalogue: NullTranslations = NullTranslations()


def available() -> dict[str, str]:
    """Languages by their codes, each with the name that its speakers use; English first.

    Files that aren't named by a language, such as a translator's "hi copy.po", are left out.
    """
    codes = sorted(file.stem for file in FOLDER.glob("*.po") if is_known(file.stem))
    if not _has_babel():
        return {SOURCE: "English", **{code: code for code in codes}}
    known = {code: found for code in codes  # Babel takes "bn_backup" for Bengali
             if (found := locale(code)) is not None and str(found).lower() == code.lower()}
    return {SOURCE: "English", **{code: found.get_display_name(code) or code for code, found in known.items()}}


def locale(code: str) -> Locale | None:
    """What Babel knows of a language: None if it doesn't know it, or isn't installed."""
    if not _has_babel():
        return None
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(code)
    except (ValueError, UnknownLocaleError):
        return None


def _has_babel() -> bool:
    """It is missing where the program was set up before it could speak other languages."""
    try:
        import babel  # noqa: F401
    except ImportError:
        return False
    return True


def is_known(code: str) -> bool:
    """Whether `use` can speak it."""
    return code in (SOURCE, PSEUDO) or (code.replace("_", "").isalpha() and (FOLDER / f"{code}.po").is_file())


def system_language() -> str:
    """The best language of those that the system's user has chosen, or English."""
    for name in _system_locales():
        code = name.partition(".")[0].partition("@")[0].replace("-", "_")
        for known in (code, code.partition("_")[0]):
            if is_known(known):
                return known
    return SOURCE


def use(code: str = "") -> None:
    """Speak a language from now on, in this process and those that it starts.

    Args:
        code: as in `available`; "" is what the environment names, else the system's. An unknown one is English.
    """
    global _language, _catalogue
    code = code or os.environ.get(VARIABLE, "") or system_language()
    if code == PSEUDO:
        from slmstudio.core.i18n.catalogue import PseudoTranslations

        found: NullTranslations | None = PseudoTranslations()
    elif code == SOURCE:
        found = NullTranslations()
    else:
        from slmstudio.core.i18n.catalogue import load

        found = load(FOLDER / f"{code}.po")
    _language, _catalogue = (code, found) if found is not None else (SOURCE, NullTranslations())
    os.environ[VARIABLE] = _language


def language() -> str:
    """The code of the language that is spoken: "en", "hi" …"""
    return _language


def catalogue() -> NullTranslations:
    return _catalogue


def is_english() -> bool:
    """Whether numbers and words stay as the code writes them."""
    return _language in (SOURCE, PSEUDO)


def is_right_to_left() -> bool:
    return _language.partition("_")[0] in _RIGHT_TO_LEFT


def _system_locales() -> list[str]:
    """Names of locales, the best first, such as "hi_IN.UTF-8" or "hi"."""
    if os.name == "nt":
        import ctypes
        import locale

        number = ctypes.windll.kernel32.GetUserDefaultUILanguage()  # type: ignore[attr-defined]
        return [locale.windows_locale.get(number, "")]
    chosen = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "")
    if chosen in ("C", "POSIX", ""):  # as gettext: LANGUAGE counts only where there is a locale
        return []
    return [*filter(None, os.environ.get("LANGUAGE", "").split(":")), chosen]


class TranslatedText(str):
    """A text with what it is made of.

    Attributes:
        source: JSON values: "msgid" is the English message, "many" its plural, "values" what its placeholders stand
            for: numbers, texts, and texts with what they are made of, which are {"text": …, **source}.
    """

    __slots__ = ("source",)
    source: dict[str, Any]

    def __new__(cls, text: str, message: str = "", values: dict[str, Any] | None = None, many: str = "",
                ) -> TranslatedText:
        made = super().__new__(cls, text)
        made.source = {"msgid": message, **({"many": many} if many else {}), **(
            {"values": {name: _plain(value) for name, value in values.items()}} if values else {})}
        return made


def _plain(value: Any) -> Any:
    """A value as JSON has it, or as a text."""
    if isinstance(value, TranslatedText):
        return {"text": str(value), **value.source}
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def tr(message: str, /, **values: Any) -> str:
    """A message in the language that is spoken now.

    Args:
        message: a whole sentence or label in English, with named placeholders. Always a literal, so that it can be
            found in the code; or one that was marked by `noop` where it was written.
        values: what the placeholders stand for. Without any, braces in the message are left alone.
    """
    if not message:
        return message  # gettext's translation of nothing is the catalogue's header
    return TranslatedText(filled(catalogue().gettext(message), message, values), message, values)


def ntr(one: str, many: str, count: float, /, **values: Any) -> str:
    """A message that differs with how many there are.

    Args:
        one: the English singular; `{n}` stands for the count in both.
        many: the English plural.
        count: how many.
    """
    # gettext's rules know whole numbers only. Most languages say fractions as they say 2, and those below 1 as 0.
    whole = int(count) if float(count).is_integer() else 2 if count > 1 else 0
    said = catalogue().ngettext(one, many, whole)
    values = {"n": count, **values}
    return TranslatedText(filled(said, one if count == 1 else many, values), one, values, many)


def ptr(context: str, message: str, /, **values: Any) -> str:
    """A word that other languages write in more than one way, such as "Open", with what it means here."""
    return filled(catalogue().pgettext(context, message), message, values)


def noop(message: str, /) -> str:
    """The message as it is, marked for the catalogues: for tables that exist before a language is chosen.

    Whoever shows it calls `tr` on it.
    """
    return message


def nnoop(one: str, many: str, /) -> tuple[str, str]:
    """The two forms of a message that differs with how many there are, marked as by `noop`.

    Whoever shows it calls `ntr` on them.
    """
    return one, many


def has_translation(message: str, many: str = "") -> bool:
    """Whether the language has a translation of a message."""
    known = catalogue()
    return (known.ngettext(message, many, 2) != many) if many else known.gettext(message) != message


def number_text(value: float, spec: str = ",") -> str:
    """A number as the language groups its digits: 1,234,567 in English, 12,34,567 in Hindi.

    Args:
        spec: as for `format`, such as "," or ",.1f".
    """
    return TranslatedText(_number(value, spec), f"{{value:{spec}}}", {"value": value})


def _number(value: float, spec: str) -> str:
    if is_english() or not isinstance(value, (int, float)) or abs(value) < 1000:
        return format(value, spec)
    spoken = locale(language())
    if spoken is None:
        return format(value, spec)
    from babel.numbers import format_decimal

    plain = format(value, spec.replace(",", ""))
    whole, point, decimals = plain.partition(".")
    if not whole.lstrip("-").isdigit():
        return format(value, spec)
    return format_decimal(int(whole), locale=spoken, group_separator=True) + point + decimals


def date_text(when: datetime, format: str = "medium") -> str:
    """A day as the language writes it.

    Args:
        format: "short", "medium" (28 Nov 2026) or "long" (28 November 2026), or a pattern of CLDR such as "d MMM".
    """
    india = locale("en_IN")  # day before month, as most people write it
    spoken = india if is_english() else locale(language()) or india
    if spoken is None:
        return f"{when:%Y-%m-%d}"
    from babel.dates import format_date

    return format_date(when, format, locale=spoken)


class _Formatter(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        return _number(value, format_spec) if "," in format_spec else super().format_field(value, format_spec)


def filled(said: str, message: str, values: dict[str, Any]) -> str:
    """A translation with the values of its message put in; the message where they don't fit it."""
    if not values:
        return said
    if is_english():
        return said.format(**values)
    try:
        return _Formatter().vformat(said, (), values)
    except (KeyError, IndexError, ValueError):
        import logging

        logging.getLogger(__name__).warning("The translation %r doesn't fit the message %r.", said, message)
        return message.format(**values)


# -- Sentences in JSON files: as they were written, with the message and the figures that they are made of beside them,
# so that whoever reads them gets them in their own language.

KEY = "msgids"
"""The key under which a JSON object says what its sentences are made of."""
_PLACEHOLDER = re.compile(r"\{[^\W\d]\w*(!r)?(:\+?\d?,?(\.\d\d?)?[a-z%]?)?\}")
"""As the program's messages have them. A file from elsewhere must not make it format what it likes."""
_LONGEST = 10_000
"""Characters. A file from elsewhere must not make the program write a million of them."""
_WITH_PATH = "{what:body} ({path}){what:end}"


def join_sentences(*sentences: str) -> str:
    """Sentences one after another, with a space between them; empty ones are left out."""
    values = {f"s{place}": each for place, each in enumerate(filter(None, sentences))}
    return TranslatedText(" ".join(values.values()), " ".join(f"{{{name}}}" for name in values), values)


def with_path(sentence: str, path: str) -> str:
    """The sentence with a path at its end, before the full stop of its language.

    >>> with_path("Could not write the report.", "/tmp/report.html")
    'Could not write the report (/tmp/report.html).'
    """
    end = sentence[-1:] if sentence.endswith((".", "।", "۔")) else ""
    return TranslatedText(f"{sentence.removesuffix(end)} ({path}){end}", _WITH_PATH, {"what": sentence, "path": path})


def with_sources(record: dict[str, Any]) -> dict[str, Any]:
    """A JSON object that is to be written, with what its sentences are made of."""
    sources = {name: each.source for name, each in record.items() if isinstance(each, TranslatedText)}
    return {**record, KEY: sources} if sources else record


def without_sources(value: Any) -> Any:
    """JSON values without what their sentences are made of."""
    if isinstance(value, dict):
        return {name: without_sources(each) for name, each in value.items() if name != KEY}
    return [without_sources(each) for each in value] if isinstance(value, (list, tuple)) else value


def retranslate(record: dict[str, Any]) -> dict[str, Any]:
    """A JSON object from a file, with its sentences in the language that is spoken now; as they were written where it
    isn't known what they are made of, or where this language has no such message (any more)."""
    if KEY not in record:
        return record
    sources = record[KEY] if isinstance(record[KEY], dict) else {}
    return {name: _retranslated(each, sources[name]) if isinstance(each, str) and name in sources else each
            for name, each in record.items() if name != KEY}


def _retranslated(text: str, source: Any) -> str:
    try:
        message, many = source.get("msgid", text), source.get("many", "")
        values: dict[str, Any] = {name: _retranslated(value["text"], value) if isinstance(value, dict) else value
                                  for name, value in source.get("values", {}).items()}
        if max(map(len, (message, many, *map(str, values.values())))) > _LONGEST:
            return text
        if message == _WITH_PATH:
            return with_path(values["what"], values["path"])
        words = _PLACEHOLDER.sub("", message + many)
        if values:
            if re.search("[{}]", words):
                return text
            message.format(**values)  # raises what is wrong with it
        if not any(map(str.isalpha, words)):
            return TranslatedText(filled(message, message, values), message, values)
        if not is_english() and not has_translation(message, many):
            return text
        return ntr(message, many, values.pop("n"), **values) if many else tr(message, **values)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RecursionError):  # damaged, or by another hand
        return text
