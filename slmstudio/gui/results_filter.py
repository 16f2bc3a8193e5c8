"""The line above the runs: free text, and conditions on anything that is known of a run.

    helpdesk            the words stand somewhere in run.json, the note or the tags
    "two words"         as one piece
    lora_rank>8         also >=, <, <=, = and !=; the field may be named by its end, as in rank>8
    tag=best chrf>50    all conditions must hold
"""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

_PIECES = re.compile(r'(?:"[^"]*"?|[^\s"])+')
_CONDITION = re.compile(r"([^<>=!\"]+)(>=|<=|!=|=|>|<)(.*)", re.DOTALL)
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")
ALIASES = {"tag": "tags", "loss": "eval_loss", "state": "outcome"}


@dataclass(frozen=True)
class Condition:
    """One piece of the line.

    Attributes:
        field: "" for free text.
        wanted: folded; a condition without it is not finished yet, and holds for every run.
    """

    field: str
    sign: str
    wanted: str


def folded(text: str) -> str:
    """Text as it is compared: composed and without case, so that typed and stored forms meet."""
    return unicodedata.normalize("NFC", text).casefold()


def parse(line: str) -> list[Condition]:
    """The conditions of a line. Whatever is typed means something."""
    found = []
    for piece in _PIECES.findall(line):
        match = _CONDITION.fullmatch(piece)
        if match:
            found.append(Condition(folded(match[1]), match[2], folded(match[3].replace('"', ""))))
        elif text := folded(piece.replace('"', "")):
            found.append(Condition("", "", text))
    return found


def fields_of(name: str, known: Iterable[str]) -> list[str]:
    """Which known fields a person means: the one of that name, else those whose name ends with it.

    >>> fields_of("rank", ["lora_rank", "rank_seed"]), fields_of("chrf", ["tuned.chrf", "base.chrf"])
    (['lora_rank'], ['tuned.chrf', 'base.chrf'])
    """
    name = ALIASES.get(name, name)
    names = {key: folded(key) for key in known}
    exact = [key for key, text in names.items() if text == name]
    return exact or [key for key, text in names.items() if text.endswith((f".{name}", f"_{name}"))]


def unknown_fields(conditions: Iterable[Condition], known: Iterable[str]) -> list[str]:
    """Names in the line that no run has a field for."""
    names = list(known)
    return [each.field for each in conditions if each.field and not fields_of(each.field, names)]


def matches(conditions: Iterable[Condition], values: Mapping[str, Any], text: str) -> bool:
    """Whether a run meets all conditions.

    Args:
        values: what is known of the run, by field. "tuned.chrf" is meant before "base.chrf" by "chrf".
        text: everything that free text is looked for in, folded.
    """
    return all(each.wanted in text if not each.field else not each.wanted or _holds(each, values)
               for each in conditions)


def _holds(condition: Condition, values: Mapping[str, Any]) -> bool:
    meant = fields_of(condition.field, values)
    tuned = [key for key in meant if key.startswith("tuned.")]
    found = [_compare(condition.sign.replace("!", ""), values[key], condition.wanted) for key in tuned or meant]
    return not any(found) if condition.sign == "!=" else any(found)


def _compare(sign: str, value: Any, wanted: str) -> bool:
    if isinstance(value, list | tuple):
        return any(_compare(sign, each, wanted) for each in value)
    if isinstance(value, bool):
        return sign == "=" and wanted in (_TRUE if value else _FALSE)
    if isinstance(value, int | float):
        number = _number(wanted)
        return number is not None and (_nearly(value, number) if sign == "=" else _ORDERS[sign](value, number))
    if value is None:
        return sign == "=" and wanted in ("none", "null")
    text = folded(str(value))
    if sign == "=":
        return wanted in (text, folded(PurePath(str(value)).name))
    return _ORDERS[sign](text, wanted)


def _nearly(value: float, number: float) -> bool:
    return value == number or abs(value - number) <= 1e-9 * max(abs(value), abs(number))


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "").removesuffix("%"))
    except ValueError:
        return None
