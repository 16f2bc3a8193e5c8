"""Rows of JSON text: JSONL, a list, a list under a key of an object, columns, and SQuAD's nesting."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice, takewhile
from typing import Any

import orjson

from slmstudio.core.data.column_names import CONVERSATION, LANGUAGE, ask_and_answer, is_known
from slmstudio.core.data.row_texts import Piece, cut, elements, is_lines, lines_of
from slmstudio.core.data.sources.row import Raw, bounded
from slmstudio.core.data.strict_json import NotJson, parse, printable
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import tr

BEGINS = re.compile(rb'\s*(\[\s*)*(\{\s*["}]|\]\s*$)')
"""Text files that begin so are JSON by another name: brackets and keys are nothing to learn."""
OF_A_ROW = frozenset({
    "messages", "conversations", "conversation", "dialog", "dialogue", "dialogues", "turns", "chat", "history", "tools",
    "functions", "instances", "chosen", "rejected", "preferred_output", "non_preferred_output", "choices", "options",
    "answers", "references", "completions", "responses", "prompt", "input", "output", "tool_calls", "content",
    "endings"})
"""Keys of a row that may hold a list of objects; a list under any other key may be the rows themselves."""
_OF_ALL = ("definition", "instruction", "system", "system_prompt")
"""Keys beside the rows whose text belongs to each of them, as in the tasks of Natural Instructions."""
_ASKED = re.compile(r"[?؟？।.!]\s*$|(?:\S+\s+){3}\S")
"""A key that isn't a name but a question, with its answer as the value."""
_LARGE = 1 << 19
"""Bytes of the beginning of a text that isn't read whole before its rows are."""
_WRAPPED = re.compile(
    rb'\s*\{(?:\s*"(?:[^"\\]++|\\.)*+"\s*:\s*(?:"(?:[^"\\]++|\\.)*+"|[-+.\w]++|\{[^{}\[\]]*+\})\s*,)*+'
    rb'\s*"((?:[^"\\]++|\\.)*+)"\s*:\s*\[\s*\{')
"""An object whose first list holds objects, behind plain values."""


def json_rows(chunks: Iterator[bytes], notes: list[str] | None = None) -> Iterator[Raw]:
    """All rows of a JSON text in UTF-8, in bounded memory; a row may have 16 MB.

    Args:
        notes: gets sentences on rows that aren't read.
    """
    yield from bounded(_unbounded_rows(chunks, [] if notes is None else notes))


def _unbounded_rows(chunks: Iterator[bytes], notes: list[str]) -> Iterator[Raw]:
    first = next(chunks, b"")
    start = _begin_of_list(first)
    if start:
        # The list is read on its own; what comes after it are more keys of the object around it.
        yield from _numbered(_within(cut(chain([first[start:]], chunks)), notes))
        return
    if _is_keyed(first):
        pieces = elements(chain([first.lstrip()[1:]], chunks))
        yield from _numbered(_values(piece for piece in pieces if piece.trouble or piece.text.startswith(b"{")))
        return
    values = _values(cut(chain([first], chunks)))
    begin = list(islice(values, 2))
    inner = _unwrapped(begin[0].value) if len(begin) == 1 and begin[0].problem is None else None
    if inner is None:
        yield from _opened(chain(begin, values))
        return
    notes += _left_aside(begin[0].value)
    yield from _numbered(Raw(value, begin[0].line) for value in inner)


def block_rows(chunks: Iterator[bytes], line: int) -> Iterator[Raw]:
    """The rows of some lines of JSONL, of which the first has that number; those of the first block as `json_rows`."""
    if line == 1:
        yield from json_rows(chunks)
        return
    for raw in bounded(_values(lines_of(chunks))):
        problem = raw.problem and replace(raw.problem, line=(raw.problem.line or 1) + line - 1)
        yield Raw(raw.value, raw.line + line - 1, problem)


def _begin_of_list(first: bytes) -> int:
    """Where the list of rows begins that a large object holds; 0 if the text isn't such an object.

    Small ones are read whole, which shows more surely what they are.
    """
    if len(first) < _LARGE or (is_lines(first) and b"\n" in first):
        return 0
    found = _WRAPPED.match(first)
    if found is None or found[1].decode("utf-8", "replace") in OF_A_ROW:
        return 0
    return first.rindex(b"[", 0, found.end())


def _within(pieces: Iterator[Piece], notes: list[str]) -> Iterator[Raw]:
    """The objects of a list, up to the first value behind it that is none."""
    yield from _opened(takewhile(lambda raw: raw.problem is not None or isinstance(raw.value, dict), _values(pieces)))
    # All of it, because the checksum is that of the whole file.
    if sum(piece.text.lstrip()[:1] == b"{" for piece in pieces):
        notes.append(tr("The file contains several lists of rows; the first one is read."))


def _is_keyed(first: bytes) -> bool:
    """Whether a large text is an object with a row under each key, as MultiWOZ's dialogues: it begins with two that are
    alike. Small ones are read whole."""
    if len(first) < _LARGE or (is_lines(first) and b"\n" in first) or first.lstrip()[:1] != b"{":
        return False
    begin = [piece.text for piece in islice(elements(iter([first.lstrip()[1:]])), 6)]
    if [text[:1] for text in begin] != [b'"', b":", b"{"] * 2:
        return False
    try:
        rows = dict(zip(map(value_of, begin[::3]), map(value_of, begin[2::3]), strict=True))
    except NotJson:
        return False
    return _of_objects(rows) == list(rows.values())


def _opened(rows: Iterator[Raw]) -> Iterator[Raw]:
    """The rows, and instead of SQuAD's articles their questions."""
    for raw in rows:
        if type(raw.value) is dict and _is_article(raw.value):
            yield from (Raw(value, raw.line) for value in squad_rows(raw.value))
        else:
            yield raw


def _numbered(rows: Iterator[Raw]) -> Iterator[Raw]:
    """Rows by their number: the lines of an object around them say nothing."""
    for number, raw in enumerate(rows, 1):
        yield raw._replace(line=number)


def _values(pieces: Iterator[Piece]) -> Iterator[Raw]:
    for piece in pieces:
        if piece.trouble:
            yield Raw(None, piece.line, Problem(piece.trouble, piece.line))
            continue
        try:
            value = value_of(piece.text)
        except NotJson as error:
            yield Raw(None, piece.line, problem_of(error, piece.line, piece.column))
        else:
            yield Raw(value, piece.line)


def problem_of(error: NotJson, line: int, column: int = 1) -> Problem:
    """What is wrong with a text that begins at that place of a file."""
    at = error.column
    if at is not None and error.line == 1:
        at += column - 1
    return Problem(error.reason, line + error.line - 1, at, error.key)


def value_of(text: bytes) -> Any:
    """The JSON value in `text`, by the quick parser where nothing is doubtful.

    That one keeps the last of two values with one key. Each key has a `":` behind it, so that where there are more of
    these than keys, the strict parser has the last word, as it has for everything that the quick one refuses.

    Raises:
        NotJson: as `strict_json.parse`.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return parse(text)
    return value if text.count(b'":') == _keys(value) else parse(text)


def _keys(value: Any) -> int:
    if type(value) is dict:
        count = len(value)
        for each in value.values():
            if type(each) is list or type(each) is dict:
                count += _keys(each)
        return count
    count = 0
    if type(value) is list:
        for each in value:
            if type(each) is list or type(each) is dict:
                count += _keys(each)
    return count


def _unwrapped(value: Any) -> list[Any] | None:
    """The rows that the only value of a file holds; None if it is a row itself."""
    if not isinstance(value, dict) or not value:
        return None
    lists = {key: each for key, each in value.items() if isinstance(each, list) and each and key not in OF_A_ROW
             and all(isinstance(one, dict) and not ("role" in one or "from" in one) for one in each)}
    if lists and not isinstance(value.get("messages"), list):  # else a chat, with its people beside it
        rows = lists[max(lists, key=lambda key: (not key.endswith(" Examples"), len(lists[key])))]  # of a task
        rows = [row["row"] if isinstance(row.get("row"), dict) and "row_idx" in row else row for row in rows]
        shared = {key.casefold(): each for key, each in value.items() if key.casefold() in _OF_ALL and (
            isinstance(each, str) or (isinstance(each, list) and all(isinstance(one, str) for one in each)))}
        return [one for row in ({**shared, **row} for row in rows) for one in (
            squad_rows(row) if _is_article(row) else
            _intent_rows(row) if isinstance(row.get("patterns"), list) else [row])]
    if table := _tables(value):
        return table
    if len(value) == 1 and (whole := _conversations(next(iter(value.values())))):
        return whole
    if len(value) > 2 and all(isinstance(each, str) for each in value.values()) and (
            sum(_ASKED.search(key) is not None for key in value) * 2 > len(value)):
        return [{"question": asked, "answer": said} for asked, said in value.items()]
    if len(value) > 2 and not OF_A_ROW & value.keys() and all(
            isinstance(each, list) and each and isinstance(each[0], dict) for each in value.values()) and (
            whole := _conversations(list(value.values()))):
        return whole  # each under a key of its own
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):  # pandas, orient="split"
        return [dict(zip(map(str, value["columns"]), row, strict=False)) for row in value["data"]
                if isinstance(row, list)]
    columns = list(value.values())
    alike = len(columns) > 1 and all(isinstance(each, list) for each in columns) and len({*map(len, columns)}) == 1
    if alike and columns[0] and (
            not OF_A_ROW & value.keys() or all(isinstance(one, str) for column in columns for one in column)):
        return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    if all(isinstance(each, dict) and each for each in columns) and (found := _of_objects(value)) is not None:
        return found
    deeper = [each for each in columns if isinstance(each, dict)]  # as in the exports of Rasa and Telegram
    if not deeper or OF_A_ROW & value.keys() or any(
            is_known(key) for key, each in value.items() if not isinstance(each, dict)):
        return None
    inner = [found for each in deeper if (found := _unwrapped(each))]
    chats = [each for each in inner if isinstance(each[0].get("messages"), list)]  # beside Telegram's contacts
    return inner[0] if len(inner) == 1 else chats[0] if len(chats) == 1 else None


def _tables(value: dict[str, Any]) -> list[Any]:
    """The rows of the longest table without names under the keys of a file, as CLINC150's "train" or a page's "faqs";
    otherwise nothing."""
    tables = [each for key, each in value.items() if key not in (*OF_A_ROW, *CONVERSATION)
              and not LANGUAGE.fullmatch(key)
              and isinstance(each, list) and len(each) > 1 and all(
                  isinstance(row, list) and len(row) == 2 and all(isinstance(one, str) for one in row) for row in each)]
    rows = max(tables, key=len, default=[])
    has_names = bool(rows) and ask_and_answer(rows[0]) is not None  # as Google's sheets
    return [{"question": one, "answer": other} for one, other in rows[has_names:]]


def _left_aside(value: dict[str, Any]) -> list[str]:
    """What is said about a file with rows under several keys, such as "train" and "test"."""
    lists = {key: len(each) for key, each in value.items() if key not in OF_A_ROW and isinstance(each, list) and each
             and all(isinstance(one, dict) for one in each)}
    read = max(lists, key=lambda key: lists[key], default="")
    others = ", ".join(f'"{printable(key)}" ({rows:,})' for key, rows in lists.items() if key != read)
    return [tr('The rows under "{key}" are read. Other rows of the file are left out: {others}.',
               key=printable(read), others=others)] if others else []


def _conversations(value: Any) -> list[Any]:
    """A conversation a row, where the list under the file's only key holds several; otherwise nothing."""
    if not isinstance(value, list) or len(value) < 2 or not all(
            isinstance(each, (list, dict)) and each for each in value):
        return []
    if all(isinstance(each, list) and isinstance(each[0], dict) and ("role" in each[0] or "from" in each[0])
           for each in value):
        return [{"messages": each} for each in value]
    if all(isinstance(each, dict) and isinstance(each.get("messages", each.get("conversations")), list)
           for each in value):
        return value
    if all(isinstance(each, list) and len(each) > 1 and all(isinstance(one, str) for one in each) for each in value):
        return [{"messages": each} for each in value]  # as ChatterBot's corpus
    return []


def _intent_rows(intent: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a chatbot's intent understands, each with one of its answers in turn: {"tag": …, "patterns": […],
    "responses": […]}, as intents.json has them."""
    answers = intent.get("responses")
    if not isinstance(answers, list) or not answers:
        yield intent
        return
    for at, asked in enumerate(intent["patterns"]):
        yield {"question": asked, "answer": answers[at % len(answers)], "tag": intent.get("tag")}


def _of_objects(value: dict[str, dict[str, Any]]) -> list[Any] | None:
    """Rows under keys of their own, or the columns of pandas with their rows by number."""
    inner = list(value.values())
    if all(key.isdigit() for each in inner for key in each):
        keys = list(dict.fromkeys(key for each in inner for key in each))
        return [{name: each.get(key) for name, each in value.items()} for key in keys]
    if len(inner) > 1 and len({tuple(each) for each in inner}) == 1 and not OF_A_ROW & value.keys():
        return inner
    return None


def _is_article(value: dict[str, Any]) -> bool:
    """Whether an object nests questions as SQuAD's articles do; MuSiQue's paragraphs are what one question is about."""
    paragraphs = value.get("paragraphs")
    return isinstance(paragraphs, list) and (not paragraphs or any(
        isinstance(each, dict) and "qas" in each for each in paragraphs))


def squad_rows(article: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The questions of an article as SQuAD nests them (Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250)."""
    for paragraph in article["paragraphs"]:
        if not isinstance(paragraph, dict):
            continue
        for asked in paragraph.get("qas") or ():
            if isinstance(asked, dict):
                yield {"context": paragraph.get("context"), "question": asked.get("question"),
                       "answers": asked.get("answers"), "id": asked.get("id"),
                       **({"title": article["title"]} if "title" in article else {}),
                       **({"is_impossible": True} if asked.get("is_impossible") else {})}
