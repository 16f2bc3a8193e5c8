"""Sentences of a file in the language that is spoken now, and sentences that are put together so that this works."""

from __future__ import annotations

import re
import string
from typing import Any

from slmstudio.core.i18n import messages, said, speaking
from slmstudio.core.i18n.said import Said

_FORMAT = re.compile(r"\+?\d?,?(\.\d\d?)?[a-z%]?|body|end")
_LONGEST = 10_000
"""Characters. A file from elsewhere must not make the program write a million of them."""
_UNFIT = (KeyError, IndexError, ValueError, TypeError, AttributeError, RecursionError)


def together(*sentences: str) -> str:
    """Sentences one after another, with a space between them; empty ones are left out."""
    values = {f"s{place}": each for place, each in enumerate(filter(None, sentences))}
    return said.remembered(" ".join(values.values()), " ".join(f"{{{name}}}" for name in values), values)


def with_path(sentence: str, path: str) -> str:
    """The sentence with a path at its end, before the full stop of its language.

    >>> with_path("Could not write the report.", "/tmp/report.html")
    'Could not write the report (/tmp/report.html).'
    """
    values = {"what": sentence if isinstance(sentence, Said) else Said(sentence), "path": path}
    message = "{what:body} ({path}){what:end}"
    return said.remembered(message.format(**values), message, values)


def spoken(record: dict[str, Any]) -> dict[str, Any]:
    """A JSON object whose sentences `kept` has written, with these in the current language."""
    return {name: again(each) if isinstance(each, Said) else each for name, each in said.recalled(record).items()} \
        if said.KEY in record else record


def again(text: str) -> str:
    """A sentence in the language that is spoken now; as it was written where nobody knows how it was made, or where
    this language has no such message (any more)."""
    if not isinstance(text, Said) or text.how is None:
        return text
    try:
        return _again(text, text.how)
    except _UNFIT:
        return text


def _again(text: str, how: dict[str, Any]) -> str:
    message, many = how.get("msgid", str(text)), how.get("many", "")
    values: dict[str, Any] = {name: again(Said(value["text"], value)) if isinstance(value, dict) else value
                              for name, value in how.get("values", {}).items()}
    if max(map(len, (message, many, *map(str, values.values())))) > _LONGEST:
        raise ValueError("too long")
    if values:
        words = [_words(each) for each in (message, many)]
        message.format(**values)  # raises what is wrong with it
        if not words[0]:
            return said.remembered(messages.filled(message, message, values), message, values)
    if not speaking.is_english() and _is_unknown(message, many):
        return text
    return messages.ntr(message, many, values.pop("n"), **values) if many else messages.tr(message, **values)


def _words(message: str) -> bool:
    """Whether a message has words beside its placeholders.

    Raises:
        ValueError: it has placeholders as no message has them.
    """
    parts = list(string.Formatter().parse(message))
    for _, name, form, conversion in parts:
        if name is not None and not (name.isidentifier() and _FORMAT.fullmatch(form or "")
                                     and conversion in (None, "r")):
            raise ValueError(name)
    return any(character.isalpha() for text, *_ in parts for character in text)


def _is_unknown(message: str, many: str) -> bool:
    catalogue = speaking.catalogue()
    return (catalogue.ngettext(message, many, 2) == many) if many else catalogue.gettext(message) == message
