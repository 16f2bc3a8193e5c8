"""Messages with their values put in, and numbers and dates as the language writes them."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from slmstudio.core.i18n import speaking

if TYPE_CHECKING:
    from datetime import datetime


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
    return TranslatedText(filled(speaking.catalogue().gettext(message), message, values), message, values)


def ntr(one: str, many: str, count: float, /, **values: Any) -> str:
    """A message that differs with how many there are.

    Args:
        one: the English singular; `{n}` stands for the count in both.
        many: the English plural.
        count: how many.
    """
    # gettext's rules know whole numbers only. Most languages say fractions as they say 2, and those below 1 as 0.
    whole = int(count) if float(count).is_integer() else 2 if count > 1 else 0
    said = speaking.catalogue().ngettext(one, many, whole)
    values = {"n": count, **values}
    return TranslatedText(filled(said, one if count == 1 else many, values), one, values, many)


def ptr(context: str, message: str, /, **values: Any) -> str:
    """A word that other languages write in more than one way, such as "Open", with what it means here."""
    return filled(speaking.catalogue().pgettext(context, message), message, values)


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
    catalogue = speaking.catalogue()
    return (catalogue.ngettext(message, many, 2) != many) if many else catalogue.gettext(message) != message


def number_text(value: float, spec: str = ",") -> str:
    """A number as the language groups its digits: 1,234,567 in English, 12,34,567 in Hindi.

    Args:
        spec: as for `format`, such as "," or ",.1f".
    """
    return TranslatedText(_number(value, spec), f"{{value:{spec}}}", {"value": value})


def _number(value: float, spec: str) -> str:
    if speaking.is_english() or not isinstance(value, (int, float)) or abs(value) < 1000:
        return format(value, spec)
    locale = speaking.locale(speaking.language())
    if locale is None:
        return format(value, spec)
    from babel.numbers import format_decimal

    plain = format(value, spec.replace(",", ""))
    whole, point, decimals = plain.partition(".")
    if not whole.lstrip("-").isdigit():
        return format(value, spec)
    return format_decimal(int(whole), locale=locale, group_separator=True) + point + decimals


def date_text(when: datetime, format: str = "medium") -> str:
    """A day as the language writes it.

    Args:
        format: "short", "medium" (28 Nov 2026) or "long" (28 November 2026), or a pattern of CLDR such as "d MMM".
    """
    india = speaking.locale("en_IN")  # day before month, as most people write it
    locale = india if speaking.is_english() else speaking.locale(speaking.language()) or india
    if locale is None:
        return f"{when:%Y-%m-%d}"
    from babel.dates import format_date

    return format_date(when, format, locale=locale)


class _Formatter(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        return _number(value, format_spec) if "," in format_spec else super().format_field(value, format_spec)


def filled(said: str, message: str, values: dict[str, Any]) -> str:
    """A translation with the values of its message put in; the message where they don't fit it."""
    if not values:
        return said
    if speaking.is_english():
        return said.format(**values)
    try:
        return _Formatter().vformat(said, (), values)
    except (KeyError, IndexError, ValueError):
        import logging

        logging.getLogger(__name__).warning("The translation %r doesn't fit the message %r.", said, message)
        return message.format(**values)
