"""Sentences in JSON files: as they were written, with the message and the figures that they are made of beside them, so
that whoever reads them gets them in their own language."""

from __future__ import annotations

import re
from typing import Any

from slmstudio.core.i18n import messages
from slmstudio.core.i18n.messages import TranslatedText

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
            return TranslatedText(messages.filled(message, message, values), message, values)
        if not messages.is_english() and not messages.has_translation(message, many):
            return text
        return messages.ntr(message, many, values.pop("n"), **values) if many else messages.tr(message, **values)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RecursionError):  # damaged, or by another hand
        return text
