"""jinja2's filters and tests, made to look at the sizes of what they are given before they make something of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import jinja2

from slmstudio.core.i18n import tr
from slmstudio.core.model.foreign.bounds import (
    BUDGET,
    MAX_BITS,
    LimitReached,
    check_items,
    check_length,
    check_widths,
    checked,
    is_small,
    kept,
    listed,
    text_size,
)

GONE = ("wordwrap", "urlize", "xmlattr", "pprint", "striptags", "urlencode")
"""Filters that are slow or growing beyond bound, and that no chat template needs."""
_PASSING = frozenset((
    "length", "count", "first", "last", "default", "d", "abs", "float", "items", "attr", "safe", "select", "reject",
    "selectattr", "rejectattr", "map", "random", "round", "int", "list", "reverse", "upper", "lower", "capitalize",
    "trim", "title", "filesizeformat", "wordcount"))
"""Filters that make nothing larger than what they are given, and don't look inside it."""
_JINJAS = (jinja2.Environment, jinja2.runtime.Context, jinja2.nodes.EvalContext)
"""What jinja2 itself hands to some filters before their value."""


def bounded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of jinja2 that looks at the sizes first. `wraps` keeps jinja2's mark that says what it is passed."""
    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        passed = [listed(arg) if name not in _PASSING else arg for arg in args]
        values = [arg for arg in passed if not isinstance(arg, _JINJAS)]
        if name in _CHECKS:
            _CHECKS[name](*values, **kwargs)
        elif name not in _PASSING:
            checked([*values, *kwargs.values()])
        return kept(function(*passed, **kwargs))

    return bounded


def bounded_test(function: Callable[..., Any]) -> Callable[..., Any]:
    """A test of jinja2 (`is equalto`) that doesn't compare what is endless."""
    @wraps(function)
    def bounded(*args: Any) -> Any:
        for arg in args:
            if isinstance(arg, (list, tuple, dict)):
                checked(arg)
        return function(*args)

    return bounded


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, (int, float)) and abs(value) < 2**63 else 0 if not value else 2**63


# Each takes what jinja2's filter of the name takes.


def _check_center(value: Any, width: Any = 80) -> None:
    check_length(text_size(value) + max(0, _whole(width)))


def _check_indent(s: Any, width: Any = 4, first: Any = False, blank: Any = False) -> None:
    text = str(checked(s))
    by = len(width) if isinstance(width, str) else max(0, _whole(width))
    check_length(len(text) + (text.count("\n") + 1) * by)


def _check_replace(s: Any, old: Any, new: Any, count: Any = None) -> None:
    checked([s, old, new])
    text = str(s)
    check_length(len(text) + text.count(str(old)) * len(str(new)))


def _check_join(value: Any, d: Any = "", attribute: Any = None) -> None:
    check_length(text_size(value, text_size(d)))


def _check_format(value: Any, *values: Any, **named: Any) -> None:
    check_widths(str(checked(value)), [*values, *named.values()])


def _check_parts(value: Any, number: Any = 1, fill_with: Any = None, **named: Any) -> None:
    """`batch` and `slice` make this many places, and fill them."""
    checked(value)
    places = _whole(named.get("linecount", named.get("slices", number)))
    check_items(places)
    BUDGET.get().make(8 * max(0, places))


def _check_sum(iterable: Any, attribute: Any = None, start: Any = 0) -> None:
    checked(iterable)
    if not isinstance(start, (int, float)):
        raise LimitReached(tr("It adds up lists."))


def _check_round(value: Any, precision: Any = 0, method: Any = "common") -> None:
    if not is_small(precision, 100):
        raise LimitReached(tr("It rounds to too many digits."))


def _check_int(value: Any, default: Any = 0, base: Any = 10) -> None:
    if isinstance(value, str) and len(value) > MAX_BITS // 4:
        raise LimitReached(tr("It makes too large a number."))


def _check_list(value: Any) -> None:
    if isinstance(value, (str, list, tuple, dict, range)):
        check_items(len(value))
    if isinstance(value, range):  # whose numbers aren't there yet
        BUDGET.get().make(36 * len(value))


def check_json(value: Any, indent: Any, separators: Any) -> None:
    """Each value is on a line of its own, moved in by its depth, where `indent` is given."""
    by = len(indent) if isinstance(indent, str) else max(0, _whole(indent)) if indent is not None else 0
    size = text_size(value)
    check_length(size + (size // 2 * text_size(separators) if separators else 0))
    check_length(size + _places(value) * by if by else size)


def _places(value: Any, depth: int = 1) -> int:
    """The depths of all values in lists and tables, added up."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return 0
    return depth + sum(depth + _places(item, depth + 1) for item in value)


_CHECKS: dict[str, Callable[..., None]] = {
    "center": _check_center, "indent": _check_indent, "replace": _check_replace, "join": _check_join,
    "format": _check_format, "batch": _check_parts, "slice": _check_parts, "sum": _check_sum, "round": _check_round,
    "int": _check_int, "list": _check_list, "reverse": _check_list,
    "title": _check_list, "wordcount": _check_list,
}
