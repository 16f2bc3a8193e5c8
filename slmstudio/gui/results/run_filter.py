"""The line above the runs: free text, and conditions on anything that is known about a run.

    helpdesk            the words occur somewhere in run.json, the note or the tags
    "two words"         as one piece, and never as a condition
    lora_rank>8         also >=, <, <=, = and !=; the field may be named by its end, as in rank>8
    rows > 2k           numbers may have a unit: k, M, B, %, and for times s, min, h
    tag=best chrf>50    all conditions must hold

What only looks like a condition, as the > of a sentence, is free text.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from slmstudio.gui.common.widgets.fields import folded

_PIECE = re.compile(r'\s*((?:"[^"]*"?|[^\s"])+)')
_CONDITION = re.compile(r'\s*([^\s<>=!"]+)(\s*)(>=|<=|!=|=|>|<)(\s*)("[^"]*"?|[^\s"<>=!]*)(?!\S)')
_NAME = re.compile(r"[^\W\d](?:[\w.-]*\w)?")
_NUMBER = re.compile(r"([+-]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[+-]?\d+)?)(%|[a-z]*)")
_DAY, _DATE = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"\d{4}(-\d\d(-\d\d( \d\d(:\d\d)?)?)?)?")
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}
_UNITS = {"": 1.0, "%": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
_TIMES = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")
ALIASES = {"tag": "tags", "loss": "eval_loss", "state": "outcome", "time": "seconds"}


@dataclass(frozen=True)
class Condition:
    """One piece of the line.

    Attributes:
        field: "" for free text.
        wanted: folded; a condition without it isn't finished yet, and holds for every run.
    """

    field: str
    sign: str
    wanted: str


def parse(line: str, known: Collection[str]) -> list[Condition]:
    """The conditions of a line. Whatever is typed means something.

    Args:
        known: the fields of the runs: what compares one of them is a condition.
    """
    found, at = [], 0
    while at < len(line):
        match = _CONDITION.match(line, at)
        condition = _condition(match, known) if match else None
        if match is None or condition is None:
            match = _PIECE.match(line, at)
            if match is None:
                break  # nothing but space is left
            text = folded(match[1].replace('"', ""))
            condition = Condition("", "", text) if text else None
        if condition is not None:
            found.append(condition)
        at = match.end()
    return found


def _condition(match: re.Match[str], known: Collection[str]) -> Condition | None:
    """What looks like a condition, unless it is a part of a sentence: "the loss > before" compares nothing.

    A field that no run has makes one too, so that it can be said, where a number is compared or no space is left.
    """
    name, sign, wanted = folded(match[1]), match[3], folded(match[5].replace('"', ""))
    measured = _number(wanted) is not None or _DATE.fullmatch(wanted) is not None
    dense = not match[2] and not match[4]
    if fields_of(name, known):
        fits = not wanted or measured or sign not in _ORDERS
    else:
        fits = _NAME.fullmatch(name) is not None and (measured if sign in _ORDERS else dense and bool(wanted))
    return Condition(name, sign, wanted) if fits else None


def fields_of(name: str, known: Iterable[str]) -> list[str]:
    """Which known fields a user means: the one of that name, or else those whose names end with it.

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
        values: what is known about the run, by field. "tuned.chrf" is meant before "base.chrf" by "chrf".
        text: everything that free text is looked for in, folded.
    """
    return all(each.wanted in text if not each.field else not each.wanted or _holds(each, values)
               for each in conditions)


def _holds(condition: Condition, values: Mapping[str, Any]) -> bool:
    meant = fields_of(condition.field, values)
    tuned = [key for key in meant if "tuned" in key.split(".")]
    found = [_compare(key, condition.sign.replace("!", ""), values[key], condition.wanted) for key in tuned or meant]
    return not any(found) if condition.sign == "!=" else any(found)


def _compare(key: str, sign: str, value: Any, wanted: str) -> bool:
    if isinstance(value, list | tuple):
        return any(_compare(key, sign, each, wanted) for each in value)
    if isinstance(value, bool):
        return sign == "=" and wanted in (_TRUE if value else _FALSE)
    if value is None:
        return sign == "=" and wanted in ("none", "null")
    if isinstance(value, str) and sign == "=":
        return wanted in (folded(value), folded(PurePath(value).name))
    if isinstance(value, str) and _DAY.match(value) and _DATE.fullmatch(wanted):
        return _ORDERS[sign](value, wanted)
    # A text like "30M" counts as a number; a sentence that begins with a figure doesn't.
    number, own = _number(wanted, key), _number(folded(value), key) if isinstance(value, str) else value
    if number is None or own is None:
        return False
    return _nearly(own, number) if sign == "=" else _ORDERS[sign](own, number)


def _nearly(value: float, number: float) -> bool:
    return value == number or abs(value - number) <= 1e-9 * max(abs(value), abs(number))


def _number(text: str, key: str = "") -> float | None:
    """A number as a user types it, in the unit of the field.

    >>> _number("1e-4"), _number("2.5k"), _number("90min", "seconds"), _number("3%", "warmup_fraction"), _number("2 or")
    (0.0001, 2500.0, 5400.0, 0.03, None)
    """
    match = _NUMBER.fullmatch(text)
    units = {**_UNITS, **_TIMES} if not key else _TIMES if key == "seconds" else _UNITS
    if match is None or match[2] not in units:
        return None
    share = match[2] == "%" and key.endswith("fraction")
    return float(match[1].replace(",", "")) * (0.01 if share else units[match[2]])
