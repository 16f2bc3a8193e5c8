"""Layouts as data sets and programs publish them: entries of `resources/importing/layouts.json`, and what rows become
by them.

    id, name    what it is, for the program and for people
    of          "file": what one value of a file becomes before its rows are counted; otherwise a row
    has         the columns that rows have, and whether each is "text", "list", "object" or "any"; alternatives have a
                bar between them, and * stands for anything
    when        an expression that must be true as well
    columns     the new columns, each with the expression that finds it, the first of which must be there; or one
                expression for all of them
    rows        instead of these, an expression for several rows; a pair is a question with its answer
    without     the columns that aren't kept beside; those of "has" if it isn't there
    refused     an expression that is true of rows which nobody has accepted
    note        a sentence about such rows, one of `NOTES`
    example     a row, or a file; and what it becomes: records, each a list of "role: text"

Expressions are those of `paths`; a long one is a list of its lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import jmespath
from jmespath import functions
from jmespath.exceptions import JMESPathError

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping import choices
from slmstudio.core.data.mapping.speakers import are_pairs, in_turn, merged
from slmstudio.core.data.mapping.turns import is_message
from slmstudio.core.data.mapping.values import as_text, below, search
from slmstudio.core.i18n import nnoop, tr
from slmstudio.core.paths import resources

# -- JMESPath expressions, which say where something is in JSON, with the few functions that published layouts need
# beside the standard ones (docs/decisions/0033).


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


NOTES = {"in_languages": nnoop(
    'A row in several languages is read as one row for each language ({n:,} row). To read only one language, choose '
    'its column as "messages".',
    'A row in several languages is read as one row for each language ({n:,} rows). To read only one language, choose '
    'its column as "messages".')}
_IS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str), "list": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict), "any": lambda value: True}
_PATTERN = frozenset("*[")
_DEEPEST = 3
"""Layouts within layouts, as a log of chats in a tool for annotators."""


class Layout(NamedTuple):
    """An entry, with the names of its columns as a file has them.

    Attributes:
        entry: it.
        has: what each column must be.
        without: the columns that aren't kept.
        columns: the path of each new column.
    """

    entry: Mapping[str, Any]
    has: tuple[tuple[str, Callable[[Any], bool]], ...]
    without: frozenset[str]
    columns: Mapping[str, str]

    def fits(self, value: Mapping[str, Any]) -> bool:
        return all(is_right(value[name]) for name, is_right in self.has) and (
            "when" not in self.entry or bool(find(self.entry["when"], value)))


@lru_cache(maxsize=1)
def entries() -> list[dict[str, Any]]:
    """All of them; those that ask for more columns come first."""
    found: list[dict[str, Any]] = json.loads((resources() / "importing" / "layouts.json").read_text("utf-8"))
    for entry in found:
        for key in ("when", "rows", "columns", "messages", "chat"):
            if isinstance(entry.get(key), dict):
                entry[key] = {name: _line(path) for name, path in entry[key].items()}
            elif key in entry:
                entry[key] = _line(entry[key])
    return sorted(found, key=lambda each: -len(each["has"]))


def _line(expression: str | list[str]) -> str:
    return expression if isinstance(expression, str) else " ".join(expression)


@lru_cache(maxsize=1024)  # the rows of a file have the same columns, or few different ones
def layouts_of(columns: tuple[str, ...], of: str = "row") -> tuple[Layout, ...]:
    """The layouts that rows with these columns may have."""
    found = []
    for entry in entries():
        if entry.get("of", "row") != of:
            continue
        has = [(name, _IS[kind]) for wanted, kind in entry["has"].items()
               for name in islice(_called(wanted, columns), 1)]
        if len(has) == len(entry["has"]):
            new = entry["columns"] if isinstance(entry.get("columns"), dict) else {}
            found.append(Layout(
                entry, tuple(has),
                frozenset(name for wanted in entry.get("without", entry["has"]) for name in _called(wanted, columns)),
                {next(_called(name, columns), name): path for name, path in new.items()}))
    return tuple(found)


def _called(wanted: str, columns: Collection[str]) -> Iterator[str]:
    """The columns that are called so."""
    for each in wanted.split("|"):
        if not _PATTERN.isdisjoint(each):
            yield from (name for name in columns if fnmatchcase(name, each))
        elif each in columns:
            yield each


def layout_of(value: Any, of: str = "row") -> Layout | None:
    """The layout of a row, or of a file's value; None of most."""
    return next((each for each in layouts_of(tuple(value), of) if each.fits(value)), None) if (
        isinstance(value, dict)) else None


def rows_of(value: Any, may_split: bool = True, of: str = "row", depth: int = 0) -> list[Any]:
    """A row as one with its columns, or as several; most rows stay as they are.

    Args:
        may_split: whether columns that hold rows in a language each become these.
    """
    if isinstance(value, list) and value and isinstance(value[0], dict) and is_message(value[0]):
        return [{"messages": value}]
    found = layout_of(value, of)
    if found is None or depth == _DEEPEST or ("rows" in found.entry and not may_split):
        return [value]
    rest = {name: each for name, each in value.items() if name not in found.without}
    made = _made(found, value)
    return [value] if made is None or (not made and of == "row") else [
        one for each in made for one in rows_of({**rest, **each}, may_split, of, depth + 1)]


def _made(layout: Layout, value: Any) -> list[dict[str, Any]] | None:
    """The new columns of each row; None if nothing is where it should be."""
    entry = layout.entry
    if "rows" in entry or isinstance(entry["columns"], str):
        made = find(entry["rows"] if "rows" in entry else f"[{entry['columns']}]", value)
    else:
        made = [{name: find(path, value) for name, path in layout.columns.items()}]
        if None in list(made[0].values())[:1]:
            return None
    return None if made is None or None in made else [
        dict(zip(("question", "answer"), each, strict=False)) if isinstance(each, list)
        else {name: one for name, one in each.items() if one is not None} for each in made]


def most_common(values: Sequence[Any]) -> Mapping[str, Any] | None:
    """The entry of the layout that most of these rows have."""
    found = [layout_of(each) for each in values]
    known = [each.entry for each in found if each is not None]
    return known[0] if 2 * len(known) > len(found) else None


def note_of(value: Any) -> Any:
    """What is to be said about a row that became several; None of most."""
    found = layout_of(value)
    return NOTES[found.entry["note"]] if found is not None and "note" in found.entry else None


def refusal(value: Any) -> str:
    """Why a row isn't learned; "" of most."""
    found = layout_of(value)
    refused = found is not None and "refused" in found.entry and find(found.entry["refused"], value)
    return tr("the annotator didn't accept this row. To learn such rows, too: {option}",
              option="--map marks=ignore") if refused else ""
