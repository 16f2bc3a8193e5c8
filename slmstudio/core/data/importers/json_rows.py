"""Rows of JSON text: JSONL, a list, or the list that an object holds, which `json_lists` finds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from slmstudio.core.data.candidates import Readable
from slmstudio.core.data.importers import json_lists
from slmstudio.core.data.mapping import paths, published
from slmstudio.core.data.row_texts import Piece, cut, elements, is_lines, lines_of
from slmstudio.core.data.sources.json_values import value_of, values_of
from slmstudio.core.data.sources.row import Raw, bounded
from slmstudio.core.data.strict_json import NotJson, printable
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

BEGINS = re.compile(rb'\s*(\[\s*)*(\{\s*["}]|\]\s*$)')
"""Text files that begin so are JSON by another name: brackets and keys are nothing to learn."""
_LARGE = 1 << 19
"""Bytes of the beginning of a text that isn't read whole before its rows are."""
_WHOLE = 128 << 20
"""Bytes of the largest text that is read whole, to find a list in it that a user has chosen."""
_KEY = re.compile(r'[A-Za-z_]\w*|"(?:[^"\\]|\\.)*"')
_WRAPPED = re.compile(
    rb'\s*\{(?:\s*"(?:[^"\\]++|\\.)*+"\s*:\s*(?:"(?:[^"\\]++|\\.)*+"|[-+.\w]++|\{[^{}\[\]]*+\})\s*,)*+'
    rb'\s*"((?:[^"\\]++|\\.)*+)"\s*:\s*\[\s*\{')
"""An object whose first list holds objects, behind plain values."""


def json_rows(chunks: Iterator[bytes], part: Readable | None = None, path: str | None = None) -> Iterator[Raw]:
    """All rows of a JSON text in UTF-8, in bounded memory; a row may have 16 MB.

    Args:
        part: is told which lists there are.
        path: the expression that finds the rows, if a user has chosen.

    Raises:
        UserError: nothing is there.
    """
    yield from bounded(_unbounded_rows(chunks, part, path))


def _unbounded_rows(chunks: Iterator[bytes], part: Readable | None, path: str | None) -> Iterator[Raw]:
    first = next(chunks, b"")
    key, start = _begin_of_list(first)
    if start and (path is None or _KEY.fullmatch(path)):
        # The list is read on its own; what comes after it are more keys of the object around it.
        yield from _numbered(_under_key(cut(chain([first[start:]], chunks)), key, part, path))
    elif path is not None:
        yield from _at(path, chain([first], chunks))
    elif _is_keyed(first):
        pieces = elements(chain([first.lstrip()[1:]], chunks))
        yield from _numbered(values_of(piece for piece in pieces if piece.trouble or piece.text.startswith(b"{")))
    else:
        yield from _of_values(values_of(cut(chain([first], chunks))), part)


def _of_values(values: Iterator[Raw], part: Readable | None) -> Iterator[Raw]:
    """The rows, or those in the only value."""
    begin = list(islice(values, 2))
    found = json_lists.row_lists(begin[0].value) if len(begin) == 1 and begin[0].problem is None else []
    if not found:
        yield from _opened(chain(begin, values))
        return
    if part is not None:
        _tell(part, found)
    yield from _numbered(Raw(value, begin[0].line) for value in found[0].rows)


def _tell(part: Readable, found: Sequence[json_lists.RowList]) -> None:
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
    found = (paths.find(path, whole[0]) if len(whole) == 1 else None) or paths.find(path, whole)
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


def _is_large_object(first: bytes) -> bool:
    """Whether a text is an object that isn't read whole; small ones are, which shows more surely what they are."""
    return len(first) >= _LARGE and first.lstrip()[:1] == b"{" and not (is_lines(first) and b"\n" in first)


def _begin_of_list(first: bytes) -> tuple[str, int]:
    """The key of the list of rows that a large object holds, and where it begins; 0 if the text isn't one."""
    found = _WRAPPED.match(first) if _is_large_object(first) else None
    key = found[1].decode("utf-8", "replace") if found is not None else ""
    if found is None or key in json_lists.OF_A_ROW:
        return "", 0
    return key, first.rindex(b"[", 0, found.end())


def _under_key(pieces: Iterator[Piece], key: str, part: Readable | None, path: str | None) -> Iterator[Raw]:
    """The objects under one key of a large object: the first one, unless another was chosen."""
    wanted = path or paths.written(key)
    firsts: dict[str, Any] = {}
    counts = Counter[str]()

    def chosen() -> Iterator[Piece]:
        here = paths.written(key)
        for piece in pieces:  # all of them, because the checksum is that of the whole file
            if piece.text[:1] == b'"' and isinstance(name := next(values_of(iter([piece]))).value, str):
                here = paths.written(name)
            elif piece.trouble or piece.text[:1] == b"{":
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
    # A single object of another kind is no list.
    found = [read, *(each for each in others if each.size > 1 or each.is_like(read))]
    if part is not None and path is None:
        _tell(part, found)


def _is_keyed(first: bytes) -> bool:
    """Whether a large text is an object with a row under each key, as MultiWOZ's dialogues: it begins with two that are
    alike."""
    if not _is_large_object(first):
        return False
    begin = [piece.text for piece in islice(elements(iter([first.lstrip()[1:]])), 6)]
    if [text[:1] for text in begin] != [b'"', b":", b"{"] * 2:
        return False
    try:
        rows = dict(zip(map(value_of, begin[::3]), map(value_of, begin[2::3]), strict=True))
    except NotJson:
        return False
    return json_lists.of_objects(rows) == list(rows.values())


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
