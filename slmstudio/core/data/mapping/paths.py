"""JMESPath expressions, which say where something is in JSON, with the few functions that published layouts need beside
the standard ones (docs/decisions/0033)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import jmespath
from jmespath import functions
from jmespath.exceptions import JMESPathError

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping import choices
from slmstudio.core.data.mapping.speakers import are_pairs, in_turn, merged
from slmstudio.core.data.mapping.turns import is_message
from slmstudio.core.data.mapping.values import as_text, below, search


def find(expression: str, value: Any) -> Any:
    """What an expression finds in a value; None if that is nothing, or something of another kind than it expects.

    >>> find("answer.text", {"answer": {"text": "Panaji"}})
    'Panaji'
    """
    try:
        return search(_compiled(expression), value, _OPTIONS)
    except (JMESPathError, RecursionError):  # a person has written it
        return None


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression)


def _pairs(one: list[Any], other: list[Any]) -> list[list[Any]] | None:
    """The pairs of two lists; null if they differ in length."""
    return [list(pair) for pair in zip(one, other, strict=True)] if len(one) == len(other) else None


def _path(nodes: Mapping[str, Any], last: Any, parent: str) -> list[Any]:
    """The nodes of a tree from its root to one of them."""
    found: dict[str, Any] = {}
    while isinstance(last, str) and last not in found and isinstance(node := nodes.get(last), dict):
        found[last], last = node, node.get(parent)
    return list(found.values())[::-1]


def _merged(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages, of which those that one speaker has written in a row are one, up to the last answer."""
    found = merged(messages, "\n\n")
    while found and found[-1]["role"] != "assistant":
        found.pop()
    return found


def _about(story: Any, pairs: Any) -> list[Any] | None:
    """Questions with their answers, the first one below what they are about; null if they aren't texts."""
    if not are_pairs(pairs):
        return None
    (asked, answer), *others = pairs
    return [[f"{story}\n\n{asked}" if story else asked, answer], *others]


def _choose(question: Any, options: Any, answer: Any) -> list[Any]:
    """A question with its choices below it, and the right one."""
    lines, right = choices.written({"": options}, [""], answer) or ("", None)
    return [below(question, lines), right]


def _plain(value: Any) -> str:
    """A text, also where it is in parts: strings, and links and mentions with a text."""
    return "".join(part if isinstance(part, str) else str(part.get("text", "")) if isinstance(part, dict) else ""
                   for part in (value if isinstance(value, list) else [value]))


def _decoded(text: Any) -> Any:
    """A text whose bytes in UTF-8 were written as letters; any other value as it is."""
    try:
        return text.encode("latin-1").decode("utf-8") if isinstance(text, str) else text
    except UnicodeError:
        return text


def _are_answered(rows: Any) -> bool:
    """Whether a list has questions with their answers, in pairs or by name."""
    return are_pairs(rows) or (isinstance(rows, list) and bool(rows) and all(
        isinstance(each, dict) and names.ask_and_answer(list(each)) for each in rows))


_OURS: dict[str, Callable[..., Any]] = {
    # those of the community's edition of JMESPath
    "items": lambda value: [list(each) for each in value.items()],
    "from_items": lambda pairs: {str(name): each for name, each in pairs},
    "zip": _pairs,
    "split": lambda text, mark: text.split(mark),
    "replace": lambda text, old, new: text.replace(old, new),
    # what files name themselves
    "at": lambda value, key: value.get(key),
    "omit": lambda value, keys: {name: each for name, each in value.items() if name not in keys},
    "like": fnmatchcase,
    # what is around a list belongs to each of its rows
    "beside": lambda rows, around: [{**around, **row} for row in rows or () if isinstance(row, dict)],
    # conversations
    "path": _path, "merged": _merged, "in_turn": lambda texts: in_turn(texts, len(texts) % 2), "about": _about,
    "cycle": lambda asked, answers: [[each, answers[at % len(answers)]] for at, each in enumerate(asked)],
    "choose": _choose,
    # texts
    "text": as_text, "plain": _plain, "decoded": _decoded, "from_json": json.loads,
    "words": lambda text, first, end: " ".join(text.split(" ")[first:end]) if end else None,
    # questions
    "are_answered": _are_answered, "is_message": lambda value: isinstance(value, dict) and is_message(value),
    "is_column": names.is_known,
}


class _Functions(functions.Functions):  # type: ignore[misc]
    def call_function(self, name: str, values: list[Any]) -> Any:
        return _OURS[name](*values) if name in _OURS else super().call_function(name, values)


_OPTIONS = jmespath.Options(custom_functions=_Functions())
