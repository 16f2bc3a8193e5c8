"""Cuts the text of a dataset into rows, in bounded memory: lines of JSONL, elements of a JSON array, or paragraphs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

from slmstudio.core.i18n import tr

ROW_LIMIT = 16 << 20
"""Bytes of the longest row that is read; a longer one is reported and skipped."""

BOM = b"\xef\xbb\xbf"
CONTINUATION_BYTES = bytes(range(0x80, 0xC0))


class Piece(NamedTuple):
    """The text of one row.

    Attributes:
        text: the bytes of one JSON value or paragraph, not checked yet.
        line: 1-based line where it begins.
        column: 1-based column, in characters, where it begins.
        trouble: why there is no text to read, in words; empty when there is.
    """

    text: bytes
    line: int
    column: int = 1
    trouble: str = ""
_OVER_LINES = re.compile(rb"(?=\{)[^\n]*(?:[{,][ \t\r]*\n\s*\"|[\[:][ \t\r]*\n)")
"""The first line of an object that goes on below it: after a bracket or a comma, a key follows."""


def cut(chunks: Iterator[bytes]) -> Iterator[Piece]:
    """All rows of a file, in order. Blank lines are skipped but counted.

    JSONL is cut at line ends, so that a broken line can't spoil the next. A file that is one JSON array,
    or objects written over several lines each, is cut where the brackets close.
    """
    first = next(chunks, b"")
    everything = chain([first], chunks)
    return lines_of(everything) if is_lines(first) else elements(everything)


def is_lines(first: bytes) -> bool:
    """Whether the first chunk of the text has a row on each line."""
    text = first.lstrip()
    if text.startswith(b"["):
        head, _, rest = text.partition(b"\n")
        # If the first line happens to be a list, the lines are still lines.
        return bool(rest.strip()) and _is_json(head)
    return _OVER_LINES.match(text) is None


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def lines_of(chunks: Iterator[bytes]) -> Iterator[Piece]:
    """The lines of a text that aren't blank, without their line ends."""
    for line, number, size in numbered_lines(chunks):
        text = line.removeprefix(BOM)  # files that were joined together have one in the middle
        if size > ROW_LIMIT or (text and not text.isspace()):
            yield _piece(text.removesuffix(b"\r"), number, size)


def stretches(chunks: Iterator[bytes], ends: Callable[[bytearray, bytes], bool]) -> Iterator[Piece]:
    """Lines that belong together, without blank lines around them.

    Args:
        ends: whether they end before a line that follows.
    """
    text, begin, size = bytearray(), 0, 0  # of the stretch; its size has those bytes that were dropped, too
    for line, number, line_size in numbered_lines(chunks):
        line = line.removeprefix(BOM).removesuffix(b"\r")
        if begin and ends(text, line if line_size <= ROW_LIMIT else b"x"):
            yield _piece(bytes(text.strip(b"\n")), begin, size - 1)
            text, begin, size = bytearray(), 0, 0
        if begin or line_size > ROW_LIMIT or (line and not line.isspace()):
            begin, size = begin or number, size + line_size + 1
            text += line + b"\n"
            if size > ROW_LIMIT + 1:
                text.clear()
    if begin:
        yield _piece(bytes(text.strip(b"\n")), begin, size - 1)


def _piece(text: bytes, line: int, size: int) -> Piece:
    return Piece(text, line) if size <= ROW_LIMIT else Piece(b"", line, trouble=tr(
        "this is longer than {limit} MB (it has {size:,} bytes), so it wasn't read.", limit=ROW_LIMIT >> 20, size=size))


def numbered_lines(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Each line, its number and its bytes; a line longer than `ROW_LIMIT` comes without its text."""
    number = 1
    pending = b""
    overlong = 0  # bytes already dropped of a line that is too long
    for chunk in chunks:
        parts = chunk.split(b"\n")
        for part in parts[:-1]:
            yield _line(pending + part if pending else part, number, overlong)
            pending, overlong = b"", 0
            number += 1
        pending += parts[-1]
        if overlong or len(pending) > ROW_LIMIT:
            overlong, pending = overlong + len(pending), b""
    yield _line(pending, number, overlong)


def _line(text: bytes, number: int, overlong: int) -> tuple[bytes, int, int]:
    size = overlong + len(text)
    return text if size <= ROW_LIMIT else b"", number, size


BEGIN = re.compile(rb"[^\s,]")
BRACKET_OR_QUOTE = re.compile(rb'["{}\[\]]')
IN_TEXT = re.compile(rb'["\\\n]')
END_OF_BARE_WORD = re.compile(rb'[\s,{}\["\]]')


class _Elements:
    """Finds JSON values one after another in text that comes in chunks.

    Only brackets and quotation marks are looked at: whether a value is valid JSON is asked later, of each alone.
    """

    def __init__(self) -> None:
        self._in_list = False  # between the outer [ and ]
        self._buffer = bytearray()
        self._line, self._column = 1, 1  # of the buffer's first byte
        self._scanned, self._in_text = 0, False  # of the value that is being looked through
        self._open = bytearray()  # its brackets that are still open
        self.gave_up = False

    def feed(self, chunk: bytes, last: bool = False) -> Iterator[Piece]:
        """The values that are complete now; with `last`, also the one that isn't, and what the file lacks."""
        self._buffer += chunk
        at = 0
        while not self.gave_up and (begin := _search(BEGIN, self._buffer, at)) >= 0:
            self._pass_over(at, begin)
            at = begin
            if self._is_outer_bracket(self._buffer[at]):
                self._pass_over(at, at + 1)
                at += 1
            else:
                end = self._end_of_value(at)
                if end < 0 and len(self._buffer) - at > ROW_LIMIT:
                    yield self._give_up(tr("the row that begins here is longer than {limit} MB; perhaps a closing "
                                           "bracket is missing. Nothing after this place was read.",
                                           limit=ROW_LIMIT >> 20))
                elif end < 0 and not last:
                    break
                else:
                    end = len(self._buffer) if end < 0 else end
                    yield Piece(bytes(self._buffer[at:end]), self._line, self._column)
                    self._pass_over(at, end)
                    at, self._scanned, self._in_text = end, 0, False
                    self._open.clear()
        else:
            self._pass_over(at, len(self._buffer))
            at = len(self._buffer)
        del self._buffer[:at]
        if last and self._in_list and not self.gave_up:
            yield self._give_up(tr("the file ends before the closing ] of the list; it may have been cut short."))

    def _is_outer_bracket(self, byte: int) -> bool:
        """Whether `byte`, found between two values, opens or closes the list that holds all rows."""
        if byte != ord("]" if self._in_list else "["):
            return False
        self._in_list = not self._in_list
        return True

    def _end_of_value(self, at: int) -> int:
        """Where the value that begins at `at` ends; -1 when more text is needed. Continues where it stopped."""
        buffer, position = self._buffer, at + self._scanned
        if not self._scanned and buffer[at] not in b'"{[':
            return _search(END_OF_BARE_WORD, buffer, at + 1)
        while (found := _search(IN_TEXT if self._in_text else BRACKET_OR_QUOTE, buffer, position)) >= 0:
            byte = buffer[found]
            position = found + 1
            if self._in_text:
                if byte == ord("\\"):
                    position += 1
                    continue
                # A line break ends a text whose closing quotation mark was forgotten: the rows after it survive.
                self._in_text = False
            elif byte == ord('"'):
                self._in_text = True
            elif byte in b"]}":
                del self._open[-1:]
            elif byte == ord("{") and self._is_new_row(at, found):
                return found
            else:
                self._open.append(byte)
            if not self._open and not self._in_text:
                return position
        self._scanned = max(position, len(buffer)) - at
        return -1

    def _is_new_row(self, at: int, found: int) -> bool:
        """Whether the { at `found` can't be part of the value from `at`, since a bracket was forgotten there.

        So the rows after the broken one survive.
        """
        before = self._buffer[max(at, found - 200):found].rstrip()[-1:]
        return bool(self._open and before) and before not in (b":" if self._open[-1] == ord("{") else b"[,")

    def _pass_over(self, begin: int, end: int) -> None:
        """Move the line and the column on. Columns count characters, not bytes."""
        text = self._buffer[begin:end]
        breaks = text.count(b"\n")
        if breaks:
            self._line, self._column = self._line + breaks, 1
            text = text[text.rfind(b"\n") + 1:]
        self._column += len(text.translate(None, CONTINUATION_BYTES))

    def _give_up(self, trouble: str) -> Piece:
        self.gave_up = True
        return Piece(b"", self._line, self._column, trouble)


def elements(chunks: Iterator[bytes]) -> Iterator[Piece]:
    """JSON values that follow each other, perhaps in a list; what lies between them counts as pieces too."""
    found = _Elements()
    # After giving up, the rest is still fetched: the checksum is that of the whole file.
    for chunk in chunks:
        if not found.gave_up:
            yield from found.feed(chunk)
    if not found.gave_up:
        yield from found.feed(b"", last=True)


def _search(pattern: re.Pattern[bytes], buffer: bytearray, at: int) -> int:
    """Where `pattern` is found first, or -1. A live match object would forbid shortening the buffer."""
    found = pattern.search(buffer, at)
    return -1 if found is None else found.start()
