"""Sentences that know how they were made, so that they can be read from a file later in the language that is chosen
then."""

from __future__ import annotations

from typing import Any

KEY = "msgids"
"""The key under which a JSON object says how its sentences were made."""


class Said(str):
    """A message as it was said.

    Attributes:
        how: JSON values; None if it isn't known. "msgid" is the English message where that isn't the text itself,
            "many" its plural, "values" what its placeholders stand for: numbers, texts, and messages, which are
            {"text": …, **how}.
    """

    __slots__ = ("how",)
    how: dict[str, Any] | None

    def __new__(cls, text: str, how: dict[str, Any] | None = None) -> Said:
        said = super().__new__(cls, text)
        said.how = how
        return said

    def __format__(self, spec: str) -> str:
        """As a text; "body" is a sentence without its full stop, "end" the full stop of its language."""
        if spec not in ("body", "end"):
            return format(str(self), spec)
        end = self[-1:] if self.endswith((".", "।", "۔")) else ""
        return end if spec == "end" else self.removesuffix(end)


def remembered(text: str, message: str, values: dict[str, Any], many: str = "") -> Said:
    """What was said about a message, with how. Values that JSON doesn't have are kept as texts."""
    how: dict[str, Any] = {} if message == text else {"msgid": message}
    if many:
        how["many"] = many
    if values:
        how["values"] = {name: _plain(value) for name, value in values.items()}
    return Said(text, how)


def _plain(value: Any) -> Any:
    if isinstance(value, Said) and value.how is not None:
        return {"text": str(value), **value.how}
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def kept(record: dict[str, Any]) -> dict[str, Any]:
    """A JSON object that is to be written, with how its sentences were made."""
    how = {name: each.how for name, each in record.items() if isinstance(each, Said) and each.how is not None}
    return {**record, KEY: how} if how else record


def recalled(record: dict[str, Any]) -> dict[str, Any]:
    """The object from which `kept` made this one; its sentences are still in the language of the writer."""
    how = record.get(KEY)
    if not isinstance(how, dict):
        return record
    return {name: Said(each, how[name]) if isinstance(each, str) and isinstance(how.get(name), dict) else each
            for name, each in record.items() if name != KEY}


def bare(value: Any) -> Any:
    """JSON values without how their sentences were made."""
    if isinstance(value, dict):
        return {name: bare(each) for name, each in value.items() if name != KEY}
    return [bare(each) for each in value] if isinstance(value, (list, tuple)) else value
