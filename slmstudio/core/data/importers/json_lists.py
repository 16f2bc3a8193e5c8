"""Where the rows are in a JSON value: every list of objects alike in it, as columns, under keys or one by one, and
which of them is likeliest to be learned from."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from slmstudio.core.data.candidates import Candidate, Evidence
from slmstudio.core.data.column_names import CONVERSATION, LANGUAGE, ask_and_answer, is_head, is_known, is_sure
from slmstudio.core.data.mapping import published
from slmstudio.core.data.mapping.speakers import are_pairs, are_texts
from slmstudio.core.data.mapping.turns import is_message
from slmstudio.core.data.mapping.values import written
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources.row import with_words

OF_A_ROW = frozenset({
    "messages", "conversations", "conversation", "dialog", "dialogue", "dialogues", "turns", "chat", "history", "tools",
    "functions", "instances", "chosen", "rejected", "preferred_output", "non_preferred_output", "choices", "options",
    "answers", "references", "completions", "responses", "prompt", "input", "output", "tool_calls", "content",
    "endings"})
"""Keys of a row that may hold a list of objects; a list under any other key may be the rows themselves."""
_OF_ALL = ("definition", "instruction", "system", "system_prompt")
"""Keys beside the rows whose text belongs to each of them."""
_ASKED = re.compile(r"[?؟？।.!]\s*$|(?:\S+\s+){3}\S")
"""A key that isn't a name but a question, with its answer as the value."""
_PLAIN_KEY = re.compile(r"[\W_]*|\w*\d[\w-]*")
"""A key that names nothing: a number or an id."""
_CODE = re.compile(r"[^\W\d]{0,3}[-_]?\d+")
"""A key that is the id of a text."""
_HELD_OUT = frozenset({"test", "tests", "testing", "val", "valid", "validation", "dev", "eval", "evaluation",
                       "heldout"})
_DEEPEST = 3
_TERMS, _WORDS, _DICTIONARY = 5, 3, 30
"""So many terms with explanations of more words than that may be a glossary; and so many words with a text each a
dictionary, whatever words these are."""
UNSURE = 0.6
"""How sure it is that one of several lists with rows of the same kind is meant."""
RIVAL, _OTHER = 0.5, 0.2
LOOKED_AT = 20
"""Rows that tell whether each of them holds a list of rows."""


class RowList(NamedTuple):
    """
    Attributes:
        path, size: the expression that finds it in the file, and how many rows it has.
        weight: 2 where its columns are plainly named, 1 where a name is known, 0 otherwise.
        columns: the names that most of its rows have.
        parts: of several lists as one, the path of each.
        certainty: how sure it is that these are rows.
    """

    path: str
    rows: list[Any]
    size: int
    weight: int
    columns: frozenset[str]
    parts: tuple[str, ...] = ()
    certainty: float = 1.0

    @property
    def words(self) -> set[str]:
        """Those of its name."""
        return set(re.split(r"[\W_]+", self.path.rpartition(".")[2].casefold()))

    def is_like(self, other: RowList) -> bool:
        """Whether the rows of both are of the same kind."""
        return 2 * len(self.columns & other.columns) >= len(self.columns | other.columns)


def row_lists(value: Any) -> list[RowList]:
    """The lists of rows in the only value of a file, the likeliest first; none if it is a row itself.

    Lists that stand side by side with rows of the same kind are offered as one, too, and first, unless one of them is
    held out for a test.
    """
    if not isinstance(value, dict) or not value or _is_row(value):
        return []
    if published.layout_of(value, "file") is not None:
        return [row_list("@", published.rows_of(value, of="file"))]
    lists = list(_lists(value, ()))
    found = sorted(lists, key=lambda each: (
        -each.weight, not _HELD_OUT.isdisjoint(each.words), "train" not in each.words, -each.size))
    alike = [each for each in lists if each.is_like(found[0])]
    if len(alike) > 1 and all(_HELD_OUT.isdisjoint(each.words) and "train" not in each.words for each in alike):
        whole = tuple(each.path for each in alike)
        path, rows = f"[{', '.join(whole)}][]", [row for each in alike for row in each.rows]
        if len(as_rows(published.find(path, value)) or ()) == len(rows):
            found.insert(0, found[0]._replace(path=path, rows=rows, size=len(rows), parts=whole))
    if found and (inner := inner_list(found[0].rows[:LOOKED_AT])):
        path = f"{found[0].path}[].{inner}[]"
        found.insert(0, row_list(path, published.find(path, value))._replace(certainty=UNSURE))
    return found


def inner_list(rows: Sequence[Any]) -> str:
    """The expression that finds in each row the list of objects that has most of its text, and gives them the row's
    title; "" of rows that tell by themselves what is in them."""
    if not rows or not all(isinstance(row, dict) for row in rows) or row_list("", list(rows)).weight == 2 or any(
            published.layout_of(row, of) for row in rows for of in ("row", "file", "chat", "post")):
        return ""
    lists = Counter(key for row in rows for key, value in row.items() if _are_objects(value, key))
    for key, count in lists.most_common(1):
        inside = sum(_size(row.get(key)) for row in rows)
        many = sum(len(row[key]) for row in rows if isinstance(row.get(key), list)) > len(rows)
        if many and 2 * count > len(rows) and 2 * inside > sum(map(_size, rows)):
            titles = [name for name in with_words(rows, rows[0]) if isinstance(rows[0][name], str)]
            title = next(filter(is_head, titles), titles[0] if titles else "")
            around = f"{{{json.dumps(title, ensure_ascii=False)}: {written(title)}}}" if title else "`{}`"
            return f"beside({written(key)}, {around})"
    return ""


def _are_objects(value: Any, key: str) -> bool:
    """Whether a value is a list of rows, and neither messages nor choices, of which some are marked."""
    return as_rows(value, key, False) is not None and (key not in CONVERSATION or all(
        isinstance(each, dict) and ask_and_answer(list(each)) is not None for each in value)) and all(
        isinstance(each, dict) and not is_message(each) and not any(isinstance(one, bool) for one in each.values())
        for each in value)


def _size(value: Any) -> int:
    """Characters of the texts in a value."""
    if isinstance(value, str):
        return len(value)
    return sum(map(_size, value.values() if isinstance(value, dict) else value)) if isinstance(
        value, (dict, list)) else 0


def certainty(found: Sequence[RowList]) -> float:
    """How sure it is that the first one is meant: it is, where the others are another kind of rows, or those of a
    test beside the ones for training."""
    others = [each for each in found[1:] if each.is_like(found[0])]
    is_plain = found and "train" in found[0].words and all(_HELD_OUT & each.words for each in others)
    return found[0].certainty if not others or is_plain else UNSURE


def candidates(found: Sequence[RowList]) -> list[Candidate]:
    """The others, to choose from."""
    return [Candidate("list", {}, ReadOptions(rows=each.path),
                      RIVAL if each.is_like(found[0]) or found[0].certainty < 1 else _OTHER,
                      (Evidence("list_of_rows", {"path": each.path, "rows": each.size}),)) for each in found[1:]]


def as_rows(value: Any, key: str = "", is_alone: bool = True) -> list[Any] | None:
    """The rows that a list holds: objects, pairs of question and answer, a table with names in its first row, or
    conversations; None if it is something else.

    Args:
        key: under which it is.
        is_alone: whether nothing is beside it; a list of lists of texts may be a column of its row otherwise.
    """
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(each, dict) and each for each in value):
        is_wrapped = all(isinstance(each.get("messages", each.get("conversations")), list) for each in value)
        fits = key not in OF_A_ROW or (is_wrapped and is_alone and len(value) > 1)
        return _opened(value) if fits and not any("role" in each or "from" in each for each in value) else None
    return _of_lists(value, key, is_alone) if len(value) > 1 and all(
        isinstance(each, list) and each for each in value) else None


def _of_lists(value: list[list[Any]], key: str, is_alone: bool) -> list[Any] | None:
    """The rows that a list of lists holds, as `as_rows`."""
    if all(isinstance(each[0], dict) and ("role" in each[0] or "from" in each[0]) for each in value):
        return [{"messages": each} for each in value] if is_alone else None
    if key not in OF_A_ROW and key not in CONVERSATION and not LANGUAGE.fullmatch(key) and (rows := _table(value)):
        return rows
    if is_alone and all(len(each) > 1 and are_texts(each) for each in value):
        return [{"messages": each} for each in value]  # as ChatterBot's corpus
    return None


def _table(rows: list[list[Any]]) -> list[dict[str, Any]]:
    """Rows of lists with their names in the first one, as Google's sheets; or pairs without names."""
    names = rows[0]
    if are_texts(names) and ask_and_answer(names) is not None and all(len(each) <= len(names) for each in rows):
        return [dict(zip(names, each, strict=False)) for each in rows[1:]]
    return [{"question": asked, "answer": answer} for asked, answer in rows] if are_pairs(rows) else []


def _opened(rows: list[dict[str, Any]]) -> list[Any]:
    return [one for row in rows for one in published.rows_of(row, of="file")]


def _lists(value: dict[str, Any], keys: tuple[str, ...]) -> Iterator[RowList]:
    """The lists in an object; if there are none, what it is as a whole; otherwise those deeper in it."""
    found = [] if isinstance(value.get("messages"), list) else [
        row_list(written(*keys, key), rows, value) for key, each in value.items()
        if (rows := as_rows(each, key, len(value) == 1)) is not None]
    here = written(*keys) or "@"
    if rows := _named_apart(value):
        found = [row_list(here, rows)]
    elif len(value) > 2 and are_texts(list(value.values())):
        yield from _answers(value, here)
    elif not found and (rows := _whole(value)):
        if rows != list(value.values()):
            yield row_list(here, rows)
        elif any(is_head(name) or is_sure(name) for name in rows[0]) or all(map(_PLAIN_KEY.fullmatch, value)):
            yield row_list(f"values({here})", _opened(rows))
        else:  # what each row is about is its key
            yield row_list(f"items({here})[].merge({{name: [0]}}, [1])",
                           _opened([{"name": key, **row} for key, row in value.items()]))
        return
    elif not found and (rows := _meanings(value)):
        yield row_list(f"items({here})[].{{question: [0], answer: join('; ', to_array([1]))}}",
                       rows)._replace(certainty=UNSURE)
        return
    yield from found
    is_row = not OF_A_ROW.isdisjoint(value) or any(
        is_sure(key) for key, each in value.items() if not isinstance(each, (dict, list)))
    for key, each in value.items() if not is_row and len(keys) < _DEEPEST else ():
        if isinstance(each, dict) and each:
            yield from _lists(each, (*keys, key))


def _is_row(value: dict[str, Any]) -> bool:
    """Whether an object with lists of objects in it is one row nevertheless: it asks and answers something, or has the
    layout of one."""
    if len(value) >= _DICTIONARY and are_texts(list(value.values())):
        return False
    names = [key for key in value if not _ASKED.search(key)]
    asks = ask_and_answer(names)
    if asks is not None and all(isinstance(value[names[at]], str) for at in asks):
        return True
    layout = published.layout_of(value)
    return layout is not None and "rows" not in layout.entry and not _whole(value)


def row_list(path: str, rows: list[Any], around: dict[str, Any] | None = None) -> RowList:
    """A list with what the object around it says for all its rows."""
    shared = {key.casefold(): each for key, each in (around or {}).items()
              if key.casefold() in _OF_ALL and (isinstance(each, str) or are_texts(each))}
    if shared:
        rows = [{**shared, **row} for row in rows]
    counted = Counter(name for row in rows[:100] for name in row)
    columns = frozenset(name for name, count in counted.items() if 2 * count >= min(len(rows), 100))
    weight = 2 if any(map(is_sure, columns)) or ask_and_answer(list(columns)) or published.layouts_of(
        tuple(sorted(columns))) else 1 if any(map(is_known, columns)) else 0
    return RowList(path, rows, len(rows), weight, columns)


def _named_apart(value: dict[str, Any]) -> list[Any]:
    """The rows of a table that has its columns' names in a list of their own, as pandas ("split") and portals for open
    data write it; none if it is something else."""
    lists: list[list[Any]] = [next((value[key] for key in keys if isinstance(value.get(key), list)), []) for keys in (
        ("columns", "fields", "header", "headers"), ("data", "rows", "records", "values"))]
    named, rows = lists
    names = [str(each.get("label", each.get("name", each.get("id")))) if isinstance(each, dict) else str(each)
             for each in named]
    fits = names and all(isinstance(row, list) and len(row) == len(names) for row in rows)
    return [dict(zip(names, row, strict=True)) for row in rows] if fits else []


def _meanings(value: dict[str, Any]) -> list[Any]:
    """The rows of an object with words, of which some have several meanings, and more words than a word has meanings;
    none if it is something else."""
    if len(value) < _TERMS or not all(isinstance(each, str) or are_texts(each) for each in value.values()):
        return []
    counts = [1 if isinstance(each, str) else len(each) for each in value.values()]
    return [{"question": word, "answer": each if isinstance(each, str) else "; ".join(each)}
            for word, each in value.items()] if sum(counts) < len(value) ** 2 else []


def _answers(value: dict[str, str], path: str) -> Iterator[RowList]:
    """The rows of an object with answers under their questions; less surely, explanations under
    their terms, or texts under their ids."""
    asked = 2 * sum(_ASKED.search(key) is not None for key in value) > len(value)
    explained = len(value) >= _DICTIONARY or (len(value) >= _TERMS and not any(map(is_known, value)) and 2 * sum(
        len(each.split()) > _WORDS for each in value.values()) > len(value))
    if explained and all(map(_CODE.fullmatch, value)):
        yield row_list(f"items({path})[].{{id: [0], text: [1]}}", [
            {"id": key, "text": text} for key, text in value.items()])._replace(certainty=UNSURE)
    elif asked or explained:
        rows = [{"question": question, "answer": answer} for question, answer in value.items()]
        yield row_list(f"items({path})", rows)._replace(certainty=1.0 if asked else UNSURE)


def _whole(value: dict[str, Any]) -> list[Any]:
    """The rows of an object that is a table as a whole: columns, rows under keys of their own, or conversations under
    such; none if it is something else."""
    columns = list(value.values())
    if all(isinstance(each, dict) and each for each in columns):
        return of_objects(value) if {"train", *_HELD_OUT}.isdisjoint(value) else []
    if not all(isinstance(each, list) and each for each in columns):
        return []
    is_free = OF_A_ROW.isdisjoint(value)
    if len(value) > 2 and is_free and (rows := as_rows(columns)) and isinstance(columns[0][0], dict):
        return rows
    fits = len(columns) > 1 and len({*map(len, columns)}) == 1 and (is_free or all(map(are_texts, columns)))
    return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)] if fits else []


def of_objects(value: dict[str, dict[str, Any]]) -> list[Any]:
    """Rows under keys of their own, or the columns of pandas with their rows by number; otherwise none."""
    inner = list(value.values())
    if all(key.isdigit() for each in inner for key in each):
        keys = list(dict.fromkeys(key for each in inner for key in each))
        return [{name: each.get(key) for name, each in value.items()} for key in keys]
    if not OF_A_ROW.isdisjoint(value) or all(isinstance(each, dict) for row in inner for each in row.values()):
        return []
    if len(inner) == 1:
        asks = ask_and_answer(list(inner[0]))
        return inner if asks and all(isinstance(list(inner[0].values())[at], str) for at in asks) else []
    counted = Counter(key for each in inner for key in each)
    usual = {key for key, count in counted.items() if 2 * count > len(inner)}
    return inner if 2 * sum(len(usual & each.keys()) for each in inner) >= counted.total() else []
