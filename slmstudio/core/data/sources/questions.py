"""Questions with their answers as people write them in a text: behind "Q:" and "A:", in any language, or a heading or a
line with a number that asks, with the answer below it; and in tables of Word documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from slmstudio.core.data.column_names import column
from slmstudio.core.data.sources.row import Raw

QUESTION = "question"
"""One of `read_options.CUTS`: each question with its answer."""
Way = Literal["marks", "headings", "choices"]
LEAST, SHARE = 3, 0.75
"""A text of questions has at least this many with an answer, and at least this share of its lines belongs to them; any
other text just happens to have some."""
SURE = 3
"""A shorter word with a number behind it may begin a sentence: "A 5 km walk"."""
_SHORT = {"q": "question", "a": "answer", "प्र": "question", "उ": "answer"}
_MARK = re.compile(r"\s*(?:\d{1,4}\s*[.)]\s*)?[*_]*(?P<word>[^\d\s:：.()*_–—-]{1,20})"
                   r"(?:[.–—-]?(?P<gap>\s*)\d{1,4}\s*[*_]*\s*(?:[:：][*_]*\s*|(?P<end>[.)–—-]?)[*_]*(?:\s+|$))"
                   r"|\.?\s*[*_]*\s*(?:[:：][*_]*\s*|[.)–—-][*_]*(?:\s+|$)))(?P<rest>.*)", re.DOTALL)
"""What begins a question or an answer: "Q:", "Answer 3 -", "प्रश्न-1 "."""
_CHOICE = re.compile(r"\s*\(?(?:[B-Eb-eख-ङ][.)]\s|[Aaक][.)]\s.*\s\(?[Bbख][.)]\s)")
"""Another of some choices than the first, or several: then "A." isn't the mark of an answer."""
_FIRST = re.compile(r"\s*\(?[Aaक][.)]\s")
_CHOSEN = re.compile(r"\s*\(?([A-Ea-eक-ङ])[.)]?\s*(?:$|\n)")
"""An answer that is the letter of a choice alone."""
_NUMBERED = re.compile(r"\s*\d{1,4}\s*[.)]\s*")
_ASKS = re.compile(r"[?؟？]\W*$")
_BOLD = re.compile(r"\s*(\*\*|__)(?P<text>(?:(?!\1).)+)\1\s*")
"""A line of Markdown that is all in bold."""


class Line(NamedTuple):
    """A line, a paragraph, or a row of a table.

    Attributes:
        heading: "style" of one by its style, "bold" of one that is all in bold; otherwise "".
        pair: what a table has in its columns of questions and answers; ("", "") of the row with their names.
    """

    text: str
    number: int
    heading: str = ""
    pair: tuple[str, str] | None = None


def line_of(text: str, number: int, markdown: bool) -> Line:
    """A line of a text file."""
    if markdown and text.startswith("#"):
        return Line(text.lstrip("# "), number, "style")
    bold = _BOLD.fullmatch(text) if markdown else None
    return Line(bold["text"], number, "bold") if bold else Line(text, number)


def way_of(lines: Iterable[Line]) -> Way | None:
    """How the questions of a text that begins so are written; None if it is any other text."""
    filled = [line for line in lines if line.text.strip()]
    offers = any(_CHOICE.match(line.text) for line in filled)
    ways: tuple[Way, ...] = ("choices",) if offers else ("marks", "headings")
    for way in ways:
        reader = _Reader(way)
        found = [raw.value for line in filled for raw in reader.read(line)] + [raw.value for raw in reader.rest()]
        answered = sum(bool(each["answer"]) for each in found)
        if answered >= max(LEAST, SHARE * len(found)) and reader.inside >= SHARE * (reader.inside + reader.outside):
            return way
    return None


def rows(lines: Iterable[Line | Raw], way: Way) -> Iterator[Raw]:
    """A row for each question, with its answer. Lines before the first one, and those below headings that don't ask,
    are left out; rows with a problem stay as they are."""
    reader = _Reader(way)
    for line in lines:
        yield from [line] if isinstance(line, Raw) else reader.read(line)
    yield from reader.rest()


class _Reader:
    """Puts questions together with what is below them.

    Attributes:
        inside, outside: the lines that belong to a question or its answer, and the others.
    """

    def __init__(self, way: Way):
        self._way = way
        self._asked: list[Line] = []
        self._answered: list[Line] = []
        self._into: list[Line] | None = None
        self._held: Line | None = None
        self._is_numbered = False
        self.inside = self.outside = 0

    def read(self, line: Line) -> Iterator[Raw]:
        """The rows that end before this line, or are in it."""
        role, text = _role(line, self._way)
        if role == "bold" and self._is_numbered and (number := _NUMBERED.match(line.text)):
            role, text = "question", line.text[number.end():]  # as the others, though it doesn't ask
        if self._way == "choices" and not role and self._into is not self._asked and _NUMBERED.match(line.text):
            role, text = "question", _NUMBERED.sub("", line.text, count=1)
        if role in ("question", "style", "pair"):
            yield from self.rest()
            self._is_numbered = role == "question" and line.heading == "bold" and bool(_NUMBERED.match(line.text))
            self._into = self._asked if role == "question" else None
        elif role == "answer" and self._asked:
            self._into = self._answered
        if role == "pair":
            self.inside += 1
            if line.pair and any(line.pair):
                yield Raw(dict(zip(("question", "answer"), line.pair, strict=True)), line.number)
        elif role == "bold":
            self._held = line
        elif role != "style":
            self._add(line._replace(text=text))
        if role == "question" and self._way == "headings":
            self._into = self._answered

    def _add(self, line: Line) -> None:
        """A heading in bold belongs to what is below it, unless that is another question."""
        if self._into is None:
            self.outside += 1
            return
        lines = [line] if self._held is None else [self._held, line]
        self._held = None
        self._into += lines
        self.inside += len(lines)

    def rest(self) -> Iterator[Raw]:
        """The row that no other has followed yet."""
        if self._asked:
            asked, answer = _joined(self._asked), _joined(self._answered)
            if self._way == "choices" and (letter := _CHOSEN.match(answer)):
                answer = _choice(asked, letter[1]) + answer[letter.end(1):].lstrip(".)")
            yield Raw({"question": asked, "answer": answer}, self._asked[0].number)
        self._asked, self._answered, self._held = [], [], None


def _choice(asked: str, letter: str) -> str:
    """The choice below a question that an answer names by its letter; the letter where there is none."""
    found = re.search(rf"(?:^|\s)(\(?{letter}[.)]\s*\S.*?)\s*(?=$|\n|\s\(?[A-Ea-eक-ङ][.)]\s)", asked, re.IGNORECASE)
    return found[1] if found else letter


def _joined(lines: Sequence[Line]) -> str:
    """With an empty line where the text has one."""
    text = ""
    for before, line in zip([None, *lines], lines, strict=False):
        gap = "\n\n" if before is not None and line.number > before.number + 1 else "\n"
        text += (gap if text else "") + line.text.strip()
    return text


def _role(line: Line, way: Way) -> tuple[str, str]:
    """What a line is, and its text without what marks it. A heading that doesn't ask is "style" or "bold"."""
    if line.pair is not None:
        return "pair", line.text
    numbered = _NUMBERED.match(line.text)
    if way == "headings" and (line.heading or numbered) and _ASKS.search(line.text):
        _, text = _marked(line.text)
        return "question", _NUMBERED.sub("", text, count=1)
    if way == "choices" and (_CHOICE.match(line.text) or _FIRST.match(line.text)):
        return "", line.text
    role, text = _marked(line.text)
    if role == "question" if way == "headings" and line.heading else role and way != "headings":
        return role, text
    return line.heading, line.text


def _marked(text: str) -> tuple[str, str]:
    """What a line is by the mark that begins it, "question" or "answer", and what is behind the mark; "" and the whole
    line where there is none."""
    found = _MARK.match(text)
    if found is None:
        return "", text
    word = found["word"].casefold()
    role = _SHORT.get(word) or column(word)
    is_number = found["gap"] and not found["end"] and len(word) < SURE and not found[0].rstrip().endswith((":", "："))
    return (role, found["rest"]) if role in ("question", "answer") and not is_number else ("", text)
