"""Rows of JSON text: JSONL, a list, or the list that an object holds, which `json_lists` finds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import orjson

from slmstudio.core.data.candidates import Candidate, Part
from slmstudio.core.data.importers import json_lists
from slmstudio.core.data.mapping import published
from slmstudio.core.data.mapping.values import written
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.row_texts import Piece, cut, elements, is_lines, lines_of
from slmstudio.core.data.sources.row import Raw, bounded
from slmstudio.core.data.strict_json import NotJson, parse, printable
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr

BEGINS = re.compile(rb'\s*(\[\s*)*(\{\s*["}]|\]\s*$)')
"""Text files that begin so are JSON by another name: brackets and keys are nothing to learn."""
_LARGE = 1 << 19
"""Bytes of the beginning of a text that isn't read whole before its rows are."""
_WHOLE = 128 << 20
"""Bytes of the largest text that is read whole, to find a list in it that a user has chosen."""
_TEXTS = 3
"""A list with fewer texts and nothing else hardly is a data set."""
_KEY = re.compile(r'[A-Za-z_]\w*|"(?:[^"\\]|\\.)*"')
"""An expression that is a key alone."""


def json_rows(chunks: Iterator[bytes], part: Part | None = None, path: str | None = None) -> Iterator[Raw]:
    """All rows of a JSON text in UTF-8, in bounded memory; a row may have 16 MB.

    Args:
        part: gets the other lists as candidates.
        path: the expression that finds the rows, if a user has chosen.

    Raises:
        UserError: nothing is there.
    """
    yield from bounded(_unbounded_rows(chunks, part, path))


def _unbounded_rows(chunks: Iterator[bytes], part: Part | None, path: str | None) -> Iterator[Raw]:
    first = next(chunks, b"")
    everything = chain([first], chunks)
    key = _large_list(first) if path is None or _KEY.fullmatch(path) else None
    if key is not None:  # what is in it is read on its own
        pieces = elements(chain([first.lstrip()[1:]], chunks))
        yield from _numbered(_under_key(pieces, path or key, part, path is None) if key or path else values_of(
            piece for piece in pieces if piece.trouble or piece.text.startswith(b"{")))
    elif path is not None:
        yield from _at(path, everything)
    else:
        yield from _of_values(values_of(cut(everything)), part)


def _of_values(values: Iterator[Raw], part: Part | None) -> Iterator[Raw]:
    """The rows, or those in the only value."""
    begin = list(islice(values, json_lists.LOOKED_AT))
    found = json_lists.row_lists(begin[0].value) if len(begin) == 1 and begin[0].problem is None else []
    if not found:
        whole = [raw.value for raw in begin if raw.problem is None]
        everything = chain(begin, values)
        if part is not None and len(whole) >= _TEXTS and all(isinstance(each, str) for each in whole):
            yield from (raw._replace(value={"text": raw.value}) if isinstance(raw.value, str) else raw
                        for raw in everything)
        elif part is not None and len(whole) > 1 and (inner := json_lists.inner_list(whole)):
            part.certainty = json_lists.UNSURE
            part.options = replace(part.options, rows=f"[].{inner}[]")
            part.others.append(Candidate("list", {}, ReadOptions(rows="@"), json_lists.RIVAL))
            yield from _numbered(raw._replace(value=value) for raw in everything for value in (
                (raw.value,) if raw.problem else published.find(inner, raw.value) or ()))
        else:
            yield from _opened(everything)
        return
    if part is not None:
        _report(part, found)
    yield from _numbered(Raw(value, begin[0].line) for value in found[0].rows)


def _report(part: Part, found: Sequence[json_lists.RowList]) -> None:
    """What is known of the lists in a file, of which the first one is read."""
    part.certainty = json_lists.certainty(found)
    if len(found) > 1:
        part.options = replace(part.options, rows=found[0].path)
    part.others += json_lists.candidates(found)
    others = ", ".join(f'"{printable(each.path)}" ({each.size:,})' for each in found[1:]
                       if each.path not in found[0].parts)
    if others:
        part.notes.append(tr('The rows under "{key}" are read. Other rows of the file are left out: {others}.',
                             key=printable(found[0].path), others=others))


def _at(path: str, chunks: Iterator[bytes]) -> Iterator[Raw]:
    """The rows that an expression finds in a text; of rows on lines of their own, in all of them.

    Raises:
        UserError: it finds none, or the text is too large to be read whole.
    """
    text, size = [], 0
    for chunk in chunks:
        text.append(chunk)
        size += len(chunk)
        if size > _WHOLE:
            raise UserError(tr('"{path}" can\'t be looked for in a file of more than {size} MB.', path=path,
                               size=_WHOLE >> 20), "", tr("Choose the list by its name alone, or split the file."))
    values = list(values_of(cut(iter([b"".join(text)]))))
    whole = [raw.value for raw in values if raw.problem is None]
    found = (published.find(path, whole[0]) if len(whole) == 1 else None) or published.find(path, whole)
    rows = json_lists.as_rows(found) or [row for each in json_lists.row_lists(found)[:1] for row in each.rows] or (
        [row for row in found if isinstance(row, dict)] if isinstance(found, list) else [])
    if not rows:
        raise _nothing_at(path)
    yield from _numbered(Raw(value, 1) for value in rows)


def _nothing_at(path: str) -> UserError:
    return UserError(tr('There are no rows at "{path}".', path=path), "",
                     tr("Write where they are, such as {example}.", example="rows=data.items"))


def block_rows(chunks: Iterator[bytes], line: int) -> Iterator[Raw]:
    """The rows of some lines of JSONL, of which the first has that number; those of the first block as `json_rows`."""
    if line == 1:
        yield from json_rows(chunks)
        return
    for raw in bounded(values_of(lines_of(chunks))):
        problem = raw.problem and replace(raw.problem, line=(raw.problem.line or 1) + line - 1)
        yield Raw(raw.value, raw.line + line - 1, problem)


def _large_list(first: bytes) -> str | None:
    """The path of the first list of rows in a large object; "" if it has a row under each key, as MultiWOZ's dialogues;
    None of any other text, and of small ones, which are read whole: that shows more surely what they are."""
    if len(first) < _LARGE or first.lstrip()[:1] != b"{" or (is_lines(first) and b"\n" in first):
        return None
    begin: dict[str, list[bytes]] = {}
    for key, piece in _keyed(elements(iter([first.lstrip()[1:]]))):
        found = begin.setdefault(key, [])
        if piece.text[:1] == b"{":
            found.append(piece.text)
        if len(found) > 1 and key not in json_lists.OF_A_ROW:
            return written(key)
    rows = {key: value.value for key, found in islice(begin.items(), 2) if found
            for value in values_of(iter([Piece(found[0], 1)]))}
    is_keyed = len(rows) > 1 and all(isinstance(each, dict) for each in rows.values()) and (
        json_lists.of_objects(rows) == list(rows.values()))
    return "" if is_keyed else None


def _keyed(pieces: Iterator[Piece]) -> Iterator[tuple[str, Piece]]:
    """The values in an object, each with the key that it is under."""
    before, key = b"", ""
    for piece in pieces:
        if piece.text[:1] == b":" and before[:1] == b'"':
            named = next(values_of(iter([Piece(before, 1)]))).value
            key = named if isinstance(named, str) else key
        elif piece.text[:1] != b'"':
            yield key, piece
        before = piece.text


def _under_key(pieces: Iterator[Piece], wanted: str, part: Part | None, is_guess: bool) -> Iterator[Raw]:
    """The objects under one key of a large object.

    Args:
        is_guess: whether the first such list is meant because nobody has chosen.
    """
    firsts: dict[str, Any] = {}
    counts = Counter[str]()

    def chosen() -> Iterator[Piece]:
        for key, piece in _keyed(pieces):  # all of them, because the checksum is that of the whole file
            if piece.trouble or piece.text[:1] == b"{":
                here = written(key)
                counts[here] += 1
                if here not in firsts and not piece.trouble:
                    firsts[here] = next(values_of(iter([piece]))).value
                if here == wanted:
                    yield piece

    yield from _opened(values_of(chosen()))
    if not counts[wanted]:
        raise _nothing_at(wanted)
    read, *others = (json_lists.row_list(name, [firsts.get(name) or {}])._replace(size=counts[name])
                     for name in sorted(counts, key=lambda name: name != wanted))
    # A single object of another kind isn't a list.
    found = [read, *(each for each in others if each.size > 1 or each.is_like(read))]
    if part is not None and is_guess:
        _report(part, found)


def _opened(rows: Iterator[Raw]) -> Iterator[Raw]:
    """The rows, and instead of those that hold several, such as SQuAD's articles, these."""
    for raw in rows:
        if type(raw.value) is dict and published.layouts_of(tuple(raw.value), "file"):
            yield from (Raw(value, raw.line) for value in published.rows_of(raw.value, of="file"))
        else:
            yield raw


def _numbered(rows: Iterator[Raw]) -> Iterator[Raw]:
    """Rows by their number: the lines of an object around them say nothing."""
    for number, raw in enumerate(rows, 1):
        yield raw._replace(line=number)


def values_of(pieces: Iterator[Piece]) -> Iterator[Raw]:
    """The value of each piece, or what is wrong with it."""
    for piece in pieces:
        if piece.trouble:
            yield Raw(None, piece.line, Problem(piece.trouble, piece.line))
            continue
        try:
            yield Raw(_value_of(piece.text), piece.line)
        except NotJson as error:
            yield Raw(None, piece.line, error.problem(piece.line, piece.column))


def _value_of(text: bytes) -> Any:
    """The JSON value in a text, as `parse` has it, by the quick parser where nothing is doubtful.

    That one keeps the last of two values with one key. Each key has a `":` behind it, so that where there are more of
    these than keys, the strict parser has the last word, as it has for everything that the quick one refuses.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return parse(text)
    return value if text.count(b'":') == _keys(value) else parse(text)


def _keys(value: Any) -> int:
    """How many keys a value and what is in it have."""
    inner = value.values() if type(value) is dict else value if type(value) is list else ()
    count = len(value) if type(value) is dict else 0
    for each in inner:
        if type(each) is list or type(each) is dict:
            count += _keys(each)
    return count
