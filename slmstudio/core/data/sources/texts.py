"""Plain text as rows: by paragraph, by line, by length, or whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from statistics import median

from slmstudio.core.data.row_texts import BOM, ROW_LIMIT, Piece, numbered_lines, paragraphs
from slmstudio.core.data.sources import questions
from slmstudio.core.data.sources.json_values import problem_of
from slmstudio.core.data.sources.questions import QUESTION
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.data.strict_json import NotJson, decode
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import tr

LOOKED_AT = 2000
"""Lines that tell whether a text is one of questions with answers."""
LENGTH = 4000
LONG_LINE = 200
"""A line with more characters than this isn't a line of a page, but a paragraph or a whole article."""
_TAGGED = re.compile(r"\S+(?:[ \t]+\S+)*[ \t](?:[BIESLU]-\w+|O)")
"""A line of CoNLL's format: a word, and its classes behind it."""
_FRONT_MATTER = re.compile(rb"---[ \t]*\r?\n(?:[\w-]+:[^\n]*\n(?:[ \t-][^\n]*\n)*){1,60}---[ \t]*\r?\n")
"""What a page of Markdown says about itself, for the program that makes a website of it."""
_LABELLED = re.compile(r"(?P<labels>(?:__label__\S+\s+)+)(?P<text>.*\S.*)")
_TIMES = re.compile(r"(?:\d+:)?\d\d:\d\d[.,]\d{3} --> ")
_NOT_SAID = re.compile(r"\d+$|WEBVTT|NOTE\b|\S+ --> ")
_SHOWN_AS = re.compile(r"</?[a-z][^<>]*>|\{\\[^{}]*\}")
_SENTENCE_END = re.compile(r"[.?!।॥۔…:;\"'”’)\]]\s*$")


def guess_cut(first: bytes) -> str:
    """How a text that begins so is cut: at blank lines where there are any; otherwise at line ends, where lines are
    long or end as sentences do. Lines of a page that end anywhere belong together."""
    lines = first.decode("utf-8", "replace").split("\n")
    filled = [line for line in lines if line.strip()]
    inner = lines[:-1] if lines and not lines[-1].strip() else lines
    if len(filled) < 3 or any(not line.strip() for line in inner[next(
            at for at, line in enumerate(lines) if line.strip()):len(inner)]):
        return "paragraph"
    ended = sum(_SENTENCE_END.search(line) is not None for line in filled)
    return "line" if median(map(len, filled)) > LONG_LINE or ended >= 0.8 * len(filled) else "paragraph"


def is_tagged(first: str) -> bool:
    """Whether a text that begins so has a word with its class on each line, as in CoNLL's sets for taggers."""
    lines = [line.strip() for line in first.split("\n")[:200] if line.strip() and not line.startswith("#")]
    return len(lines) > 4 and sum(_TAGGED.fullmatch(line[:200]) is not None for line in lines) > 0.9 * len(lines)


def rows_of(first: bytes, chunks: Iterator[bytes], chosen: str | None, *, markdown: bool) -> tuple[str, Iterator[Raw]]:
    """How a text in UTF-8 is cut, and its rows.

    Args:
        first: how it begins.
        chosen: one of `read_options.CUTS`; None leaves it to the text.
    """
    if markdown and (about := _FRONT_MATTER.match(first)):
        next(chunks)
        first = b"\n" * about[0].count(b"\n") + first[about.end():]
        chunks = chain([first], chunks)
    begin = first.decode("utf-8", "replace").split("\n")[:LOOKED_AT]
    way = questions.way_of(questions.line_of(line, 0, markdown) for line in begin)
    by = chosen or (QUESTION if way else guess_cut(first))
    if by != QUESTION:
        return by, text_rows(chunks, by)
    lines = (raw if raw.problem else questions.line_of(raw.value["text"], raw.line, markdown)
             for raw in text_rows(chunks, "line"))
    return by, questions.rows(lines, way or "marks")


def are_labelled(first: str) -> bool:
    """Whether each line of a text that begins so is a text behind its classes, as for fastText."""
    lines = [line for line in first[:4000].split("\n")[:-1] if line.strip()]
    return len(lines) > 2 and all(_LABELLED.fullmatch(line.rstrip("\r")) for line in lines)


def of_labelled(chunks: Iterator[bytes]) -> Iterator[Raw]:
    """Such texts with their classes; a line without one stays as it is."""
    for raw in text_rows(chunks, "line"):
        found = _LABELLED.fullmatch(raw.value["text"]) if raw.problem is None else None
        yield raw if found is None else raw._replace(value={
            "text": found["text"], "label": ", ".join(found["labels"].replace("__label__", "").split())})


def are_subtitles(first: str) -> bool:
    """Whether a text that begins so is one of subtitles, in the formats SRT or WebVTT."""
    return len(_TIMES.findall(first[:4000])) > 2


def of_subtitles(chunks: Iterator[bytes]) -> Iterator[Raw]:
    """What is said in subtitles, without their numbers and times, in rows of about `LENGTH` characters."""
    said: list[str] = []
    begin = 0
    for raw in chain(text_rows(chunks, "line"), [Raw({"text": ""}, 0)]):
        if raw.problem is not None:
            yield raw
            continue
        if said and (not raw.line or sum(map(len, said)) > LENGTH):
            yield Raw({"text": "\n".join(said)}, begin)
            said = []
        text = _SHOWN_AS.sub("", raw.value["text"]).strip()
        if text and not _NOT_SAID.match(text):
            begin = begin if said else raw.line
            said.append(text)


def text_rows(chunks: Iterator[bytes], by: str) -> Iterator[Raw]:
    """The rows of a text in UTF-8; those without a word are left out.

    Args:
        by: one of `read_options.CUTS`, except `QUESTION`.
    """
    pieces = {"paragraph": paragraphs, "line": _lines, "document": _document, "length": _stretches}[by](chunks)
    for piece in pieces:
        if piece.trouble:
            yield Raw(None, piece.line, Problem(piece.trouble, piece.line))
            continue
        try:
            text = decode(piece.text).replace("\r\n", "\n")
        except NotJson as error:
            yield Raw(None, piece.line, problem_of(error, piece.line))
            continue
        if "\0" in text:
            yield Raw(None, piece.line, Problem(tr("there are NUL bytes here; the file is damaged at this place."),
                                                piece.line))
        elif text.strip():
            yield Raw({"text": text}, piece.line)


def _lines(chunks: Iterator[bytes]) -> Iterator[Piece]:
    for line, number, size in numbered_lines(chunks):
        trouble = "" if size <= ROW_LIMIT else tr(
            "the line is longer than {limit} MB (it has {size:,} bytes), so it wasn't read.", limit=ROW_LIMIT >> 20,
            size=size)
        yield Piece(line.removeprefix(BOM).removesuffix(b"\r"), number, trouble=trouble)


def _document(chunks: Iterator[bytes]) -> Iterator[Piece]:
    text = bytearray()
    for chunk in chunks:
        text += chunk[:max(0, ROW_LIMIT + 1 - len(text))]
    trouble = "" if len(text) <= ROW_LIMIT else tr(
        "the text is longer than {limit} MB; cut it by paragraph, line or length instead.", limit=ROW_LIMIT >> 20)
    yield Piece(bytes(text).strip(b"\n"), 1, trouble=trouble)


def _stretches(chunks: Iterator[bytes]) -> Iterator[Piece]:
    text, begin = b"", 1
    for line, number, _ in chain(numbered_lines(chunks), [(b"", 0, 0)]):
        if not number or (text and len(text.decode("utf-8", "replace")) + len(line) > LENGTH):
            yield Piece(text.strip(b"\n"), begin)
            text, begin = b"", number
        text += line.removeprefix(BOM) + b"\n"
