"""JMESPath expressions, which say where something is in JSON, with the few functions that published layouts need beside
the standard ones (docs/decisions/0033)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import jmespath
from jmespath import functions
from jmespath.exceptions import JMESPathError

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping import choices
from slmstudio.core.data.mapping.nested import are_pairs
from slmstudio.core.data.mapping.turns import is_message
from slmstudio.core.data.mapping.values import as_text, below

_ANY: dict[str, list[str]] = {"types": []}
_LIST, _TEXT = {"types": ["array"]}, {"types": ["string"]}
_MAYBE_LIST, _MAYBE_OBJECT = {"types": ["array", "null"]}, {"types": ["object", "null"]}


def find(expression: str, value: Any) -> Any:
    """What an expression finds in a value; None if that is nothing, or something of another kind than it expects.

    >>> find("answer.text", {"answer": {"text": "Panaji"}})
    'Panaji'
    """
    try:
        return _compiled(expression).search(value, options=_OPTIONS)
    except JMESPathError:
        return None


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression)


def is_path(text: str) -> bool:
    """Whether a text is an expression that can be read."""
    try:
        _compiled(text)
    except JMESPathError:
        return False
    return True


def written(*keys: str) -> str:
    """The expression that finds what is under these keys of nested objects.

    >>> written("data", "all rows")
    'data."all rows"'
    """
    return ".".join(key if key.isascii() and key.isidentifier() else json.dumps(key, ensure_ascii=False)
                    for key in keys)


class _Functions(functions.Functions):  # type: ignore[misc]
    """`items`, `from_items`, `zip`, `split` and `replace` are those of the community's edition of JMESPath."""

    @functions.signature(_ANY)
    def _func_items(self, value: Any) -> list[list[Any]]:
        return [list(each) for each in value.items()] if isinstance(value, dict) else []

    @functions.signature(_LIST)
    def _func_from_items(self, pairs: list[Any]) -> dict[str, Any]:
        return {str(name): each for name, each in pairs}

    @functions.signature(_MAYBE_LIST, _MAYBE_LIST)
    def _func_zip(self, one: list[Any] | None, other: list[Any] | None) -> list[list[Any]] | None:
        """Pairs; null of lists that differ in length."""
        fit = one is not None and other is not None and len(one) == len(other)
        return [list(pair) for pair in zip(one or (), other or (), strict=True)] if fit else None

    @functions.signature(_TEXT, _TEXT)
    def _func_split(self, text: str, mark: str) -> list[str]:
        return text.split(mark)

    @functions.signature(_TEXT, _TEXT, _TEXT)
    def _func_replace(self, text: str, old: str, new: str) -> str:
        return text.replace(old, new)

    @functions.signature(_TEXT, _TEXT)
    def _func_like(self, text: str, pattern: str) -> bool:
        """Whether a name has that form, with * for anything and [a-z] for a letter."""
        return fnmatchcase(text, pattern)

    @functions.signature(_MAYBE_OBJECT, _ANY)
    def _func_at(self, value: Mapping[str, Any] | None, key: Any) -> Any:
        """What is under a key that the file names itself."""
        return (value or {}).get(str(key))

    @functions.signature({"types": ["object"]}, _LIST)
    def _func_omit(self, value: Mapping[str, Any], keys: list[Any]) -> dict[str, Any]:
        return {name: each for name, each in value.items() if name not in keys}

    @functions.signature(_TEXT, _ANY, _ANY)
    def _func_words(self, text: str, first: Any, end: Any) -> str | None:
        """Those between two places."""
        return " ".join(text.split(" ")[first:end]) if isinstance(first, int) and end else None

    @functions.signature(_LIST, _LIST)
    def _func_cycle(self, asked: list[Any], answers: list[Any]) -> list[list[Any]]:
        """Questions, each with one of the answers in turn."""
        return [[each, answers[at % len(answers)]] for at, each in enumerate(asked)] if answers else []

    @functions.signature(_MAYBE_OBJECT, _ANY, _TEXT)
    def _func_path(self, nodes: Mapping[str, Any] | None, last: Any, parent: str) -> list[Any]:
        """The nodes of a tree from its root to one of them."""
        found: dict[str, Any] = {}
        while isinstance(last, str) and last not in found and isinstance(node := (nodes or {}).get(last), dict):
            found[last], last = node, node.get(parent)
        return list(found.values())[::-1]

    @functions.signature(_MAYBE_LIST, {"types": ["object"]})
    def _func_beside(self, rows: list[Any] | None, shared: Mapping[str, Any]) -> list[Any]:
        """Rows, each with what is said once for all of them."""
        return [{**shared, **row} for row in rows or () if isinstance(row, dict)]

    @functions.signature(_MAYBE_LIST)
    def _func_merged(self, messages: list[Any] | None) -> list[dict[str, Any]]:
        """Messages, of which those that one speaker has written in a row are one, up to the last answer."""
        found: list[dict[str, Any]] = []
        for each in messages or ():
            if found and found[-1]["role"] == each["role"] and isinstance(each["content"], str) and (
                    isinstance(found[-1]["content"], str)):
                found[-1] = {**each, "content": f"{found[-1]['content']}\n\n{each['content']}"}
            else:
                found.append(each)
        while found and found[-1]["role"] != "assistant":
            found.pop()
        return found

    @functions.signature(_LIST)
    def _func_in_turn(self, texts: list[Any]) -> list[dict[str, Any]]:
        """Messages of user and assistant in turn, the assistant last."""
        return [{"role": ("assistant", "user")[(len(texts) - at) % 2 == 0], "content": text}
                for at, text in enumerate(texts)]

    @functions.signature(_ANY, _MAYBE_LIST)
    def _func_about(self, story: Any, pairs: list[Any] | None) -> list[Any] | None:
        """Questions with their answers, the first one below what they are about; null if they aren't texts."""
        if not are_pairs(pairs) or not pairs:
            return None
        (asked, answer), *others = pairs
        return [[f"{story}\n\n{asked}" if story else asked, answer], *others]

    @functions.signature(_ANY, _ANY, _ANY)
    def _func_choose(self, question: Any, options: Any, answer: Any) -> list[Any]:
        """A question with its choices below it, and the right one."""
        lines, right = choices.written(options, answer) or ("", None)
        return [below(question, lines), right]

    @functions.signature(_ANY)
    def _func_text(self, value: Any) -> Any:
        """The text of a value, or of the first of several."""
        return as_text(value)

    @functions.signature(_ANY)
    def _func_plain(self, value: Any) -> str:
        """A text, also where it is in parts: strings, and links and mentions with a text."""
        parts = value if isinstance(value, list) else [value]
        return "".join(part if isinstance(part, str) else str(part.get("text", "")) if isinstance(part, dict) else ""
                       for part in parts)

    @functions.signature(_ANY)
    def _func_decoded(self, text: Any) -> Any:
        """A text whose bytes in UTF-8 were written as letters; any other value as it is."""
        try:
            return text.encode("latin-1").decode("utf-8") if isinstance(text, str) else text
        except UnicodeError:
            return text

    @functions.signature(_ANY)
    def _func_from_json(self, text: Any) -> Any:
        try:
            return json.loads(text)
        except (TypeError, ValueError, RecursionError):
            return None

    @functions.signature(_ANY)
    def _func_are_answered(self, rows: Any) -> bool:
        """Whether a list has questions with their answers, in pairs or by name."""
        return are_pairs(rows) or (isinstance(rows, list) and bool(rows) and all(
            isinstance(each, dict) and names.ask_and_answer(list(each)) for each in rows))

    @functions.signature(_ANY)
    def _func_is_message(self, value: Any) -> bool:
        return isinstance(value, dict) and is_message(value)

    @functions.signature(_TEXT)
    def _func_is_column(self, name: str) -> bool:
        """Whether columns are called so."""
        return names.is_known(name)


_OPTIONS = jmespath.Options(custom_functions=_Functions())
