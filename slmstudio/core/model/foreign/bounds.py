"""What a chat template may ask for: bounds on time, text, lists and numbers, looked at before something is made.

A template comes with a model, from anybody, and a dozen characters of it can ask for any amount of memory in one step.
So each step that makes something larger than what it was given looks at the sizes first, and what all steps together
have made is counted, because a template can keep it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jinja2

from slmstudio.core.i18n import tr

MAX_CHARACTERS = 8 * 2**20
MAX_ITEMS = 1_000_000
MAX_SECONDS = 5.0
MAX_BITS = 4_096
"""The most bits of a whole number."""
MAX_DEPTH = 100
"""How deep lists may be nested."""
KEPT = 16
"""How many times the text that may be written out all steps together may make on the way."""
LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""Where `str.splitlines` parts a text."""


class LimitReached(jinja2.TemplateError):
    """The template asked for too much."""


@dataclass
class Budget:
    """What a rendering may use, and has used.

    Attributes:
        characters: the text that it may write out.
        deadline: when it must have ended, on the monotonic clock.
        written: characters written out, and into variables and out of macros, where they can be written again; so it
            may reach four times `characters`.
        made: about how much was made on the way, in characters or eighths of a list's item.
    """

    characters: int
    deadline: float
    written: int = 0
    made: int = 0

    def tick(self) -> bool:
        if time.monotonic() > self.deadline:
            raise LimitReached(tr("It didn't end within {seconds:g} seconds.", seconds=MAX_SECONDS))
        return True

    def write(self, length: int) -> None:
        self.tick()
        self.written += length
        check_length(self.written // 4)

    def make(self, length: int) -> None:
        self.made += length
        if self.made > KEPT * self.characters:
            raise LimitReached(tr("It makes more than {count:,} characters on the way.", count=KEPT * self.characters))


BUDGET: ContextVar[Budget] = ContextVar("budget")


def check_length(length: int) -> None:
    if length > BUDGET.get().characters:
        raise LimitReached(tr("It makes more than {count:,} characters of text.", count=BUDGET.get().characters))


def check_items(count: int) -> None:
    if count > MAX_ITEMS:
        raise LimitReached(tr("It makes a list of more than {count:,} items.", count=MAX_ITEMS))


def kept(value: Any) -> Any:
    """Count what a step has made, and hand it on."""
    if isinstance(value, str):
        BUDGET.get().make(len(value))
    elif isinstance(value, (list, tuple, dict)):
        BUDGET.get().make(8 * len(value))
    elif isinstance(value, (bytes, bytearray, memoryview)):
        raise LimitReached(tr("It makes bytes, and a chat template needs only text."))
    elif isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise LimitReached(tr("It makes too large a number."))
    return value


def checked(value: Any) -> Any:
    """The same value, once it is known that looking at all of it doesn't take long."""
    check_length(text_size(value))
    return value


def text_size(value: Any, separator: int = 0, depth: int = 0) -> int:
    """About how many characters `value` has when it is written out; stops counting at the limit."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, range):
        return 8 * len(value)
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if not isinstance(value, (list, tuple)):
        return 24
    if depth > MAX_DEPTH:
        raise LimitReached(tr("It nests lists more than {count} levels deep.", count=MAX_DEPTH))
    total, limit = 0, BUDGET.get().characters
    for item in value:
        total += text_size(item, 2, depth + 1) + separator
        if total > limit:
            break
    return total


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Look at an operation of two values before it is done."""
    if operator == "**":
        if not (is_small(left, 10**6) and is_small(right, 64)):
            raise LimitReached(tr("It raises a number to too high a power."))
    elif isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_BITS:
            raise LimitReached(tr("It makes too large a number."))
    elif operator == "*":
        # Either side may be the text or the list that is repeated.
        for value, times in ((left, right), (right, left)):
            if isinstance(times, int):
                _check_size(value, times)
    elif operator == "+" and isinstance(right, (str, list, tuple)):
        _check_size(left, 1, len(right))
    elif operator == "%" and isinstance(left, str):
        check_widths(left, right)


def _check_size(value: Any, times: int, more: int = 0) -> None:
    if isinstance(value, str):
        check_length(len(value) * max(times, 0) + more)
    elif isinstance(value, (list, tuple)):
        check_items(len(value) * max(times, 0) + more)


def is_small(value: Any, limit: int) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= limit


def check_widths(pattern: str, values: Any = ()) -> None:
    """No field of `%` or `format` may be padded to more than six digits' width, nor to one that is computed."""
    if re.search(r"\d{7}|%[^a-zA-Z]*\*|:[^{}]*\{", pattern):
        raise LimitReached(tr("It asks for too large a width."))
    fields = pattern.count("%") + pattern.count("{")
    check_length(len(pattern) + sum(map(int, re.findall(r"\d+", pattern))) + fields * text_size(values))


def method_arguments(name: str, text: str, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """Look at a call of a text's own method before it is made, and return what to call it with.

    Args:
        args, named: its arguments, by place and by name.
    """
    given = [*args, *named.values()]
    if name in ("format", "format_map"):
        check_widths(text, given)
    elif name == "replace" and len(args) >= 2 and isinstance(args[0], str) and isinstance(args[1], str):
        check_length(len(text) + text.count(args[0]) * len(args[1]))
    elif name == "join" and args:
        items, *rest = args
        args = (listed(items), *rest)
        check_length(text_size(args[0], len(text)))
    elif name in ("ljust", "rjust", "center", "zfill", "expandtabs"):
        check_length(max([len(text), *(arg * (text.count("\t") + 1) for arg in given if isinstance(arg, int))]))
    elif name in ("split", "rsplit") and len(text) > MAX_ITEMS:
        sep = next((arg for arg in given if isinstance(arg, str)), None)
        check_items(text.count(sep) if sep else len(text.split(None, MAX_ITEMS + 1)))
    elif name == "splitlines" and len(text) > MAX_ITEMS:
        check_items(sum(map(text.count, LINE_ENDS)))
    elif name == "translate":
        raise LimitReached(tr("It calls `translate`."))
    elif name == "encode":
        raise LimitReached(tr("It makes bytes, and a chat template needs only text."))
    return args


def listed(value: Any) -> Any:
    """A list of what an iterator would give, since its size can't be looked at; anything else as it is."""
    if not isinstance(value, Iterator):
        return value
    found = list(islice(value, MAX_ITEMS + 1))
    check_items(len(found))
    return found
