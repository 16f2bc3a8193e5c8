"""Questions with their answers as people write them in a text: behind "Q:" and "A:", in any language, or a heading or a
line with a number that asks, with the answer below it; and in tables of Word documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from slmstudio.core.data import column_names
from slmstudio.core.data.sources.dialogues import Line
from slmstudio.core.data.sources.row import Raw

QUESTION = "question"
"""One of `read_options.CUTS`: each question with its answer."""
Way = Literal["choices", "marks", "headings", "asks", "sections", "entries"]
"""How questions are written: above choices of which some are ticked, or with the letter of the right one below; behind
marks; in headings that ask; as any line that asks; as any heading; or as a term and what is behind its colon or dash on
the same line."""
LEAST, SHARE, LEAST_INSIDE = 3, 0.75, 0.5
"""A text of questions has at least this many with an answer, and at least this share of its lines belongs to them; a
text with fewer lines that do, but as many as the last says, may be one; any other text just happens to have some."""
CERTAIN, MAYBE, GUESSED = 0.9, 0.6, 0.4
LEAST_ASKING, LONGEST_ASKING = 0.25, 200
"""Share of lines that end in a question mark from which the others may answer them, and characters of such a line."""
LONGEST_MARK = 200
"""Characters in which a mark is looked for: a long run of blanks would take hours."""
SURE = 3
"""A shorter word with a number behind it may begin a sentence: "A 5 km walk"."""
_SHORT = {"q": "question", "a": "answer", "प्र": "question", "उ": "answer"}
_ANSWERS = frozenset({"correct_answer", "correct_option"})
_MARK = re.compile(r"\s*(?:\d{1,4}\s*[.)]\s*)?[*_]*(?P<word>[^\d\s:：.()*_–—-]{1,20}"
                   r"(?: [^\d\s:：.()*_–—-]{1,20}(?=\s*[:：]))?)"
                   r"(?:[.–—-]?(?P<gap>\s*)\d{1,4}\s*[*_]*\s*(?:[:：][*_]*\s*|(?P<end>[.)–—-]?)[*_]*(?:\s+|$))"
                   r"|\.?\s*[*_]*\s*(?:[:：][*_]*\s*|[.)–—-][*_]*(?:\s+|$)))(?P<rest>.*)", re.DOTALL)
"""What begins a question or an answer: "Q:", "Answer 3 -", "प्रश्न-1 "."""
_CHOICE = re.compile(r"\s*\(?(?:[B-Eb-eख-ङ][.)]\s|[Aaक][.)]\s.*\s\(?[Bbख][.)]\s)")
"""Another of some choices than the first, or several: then "A." isn't the mark of an answer."""
_FIRST = re.compile(r"\s*\(?[Aaक][.)]\s")
_CHOSEN = re.compile(r"\s*\(?([A-Ea-eक-ङ])[.)]?\s*(?:$|\n)")
"""An answer that is the letter of a choice alone."""
_TICK = re.compile(r"\s*(?:[-*+•]\s*)?(?:\[(?P<box>[ xX✓✔])?\]|(?P<sign>[✓✔☑✅☐✗✘❌]|[=~](?=\w))"
                   r"|(?P<star>\*)(?=\(?[A-Ea-e][.)]\s))\s*(?P<text>\S.*)", re.DOTALL)
_TICKED_AFTER = re.compile(r"\s*(?P<text>\(?[A-Ea-eक-ङ][.)]\s.*\S)\s*[✓✔☑✅]\s*$", re.DOTALL)
_INLINE = re.compile(r"(?P<question>.+?)\s[*_]{0,3}(?P<word>[^\s:：.*_]{1,12})\.?[*_]{0,3}\s?[:：-]"
                     r"[*_]{0,3}\s+(?P<answer>\S.*)", re.DOTALL)
"""A question with its answer on the same line: "Who may join? A: Everybody."."""
_AROUND = re.compile(r"//.*|\s*::.*?::(?:\[\w+\])?\s*|\s*[{}]\s*$")
"""A remark, a title, and the brackets of choices, as Moodle writes questions in its GIFT format."""
_NUMBERED = re.compile(r"\s*\d{1,4}\s*[.)]\s*")
_DIGITS = re.compile(r"\d+")
_ASKS = re.compile(r"[?؟？]\W*$")
_ENTRY = re.compile(r"\s*(?:[-*•]\s+|\d{1,4}\s*[.)]\s*)?[*_]{0,3}(?P<term>[^:：–—?!।]{1,60}?)[*_]{0,3}"
                    r"\s*(?:[:：]|\s[–—-])[*_]{0,3}\s+(?P<text>\S.*)", re.DOTALL)
_BETWEEN = re.compile(r"\t+|\s+(?:[–—|=→]|[-=]>|\|\||::)\s+")
"""What stands between the two sides of a pair that is on one line."""
_ASKING = re.compile(r"\s*[^\W_].*[?؟？]\s*")
"""A line that asks by itself, not in what somebody says."""
_BOLD = re.compile(r"\s*(\*\*|__)(?P<text>(?:(?!\1).)+)\1\s*")
"""A line of Markdown that is all in bold."""


def line_of(text: str, number: int, markdown: bool) -> Line:
    """A line of a text file."""
    if markdown and text.startswith("#"):
        return Line(text.lstrip("# "), number, "style")
    bold = _BOLD.fullmatch(text) if markdown else None
    return Line(bold["text"], number, "bold") if bold else Line(text, number)


def way_of(lines: Iterable[Line]) -> tuple[Way | None, float]:
    """How the questions of a text that begins so are written, and how sure it is; (None, 0) if it is any other text."""
    filled = [line for line in lines if line.text.strip()]
    ticks = sum((found := ticked(line.text)) is not None and found[0] for line in filled)
    has_choices = ticks >= LEAST - 1 or any(_CHOICE.match(line.text) for line in filled)
    ways: tuple[Way, ...] = ("choices",) if has_choices else ("marks", "headings", "entries", "asks")
    sure = [(way, certainty) for way in ways if (certainty := _certainty(way, filled))]
    return max(sure, key=lambda each: each[1], default=(None, 0.0))


def best_way(lines: Iterable[Line]) -> Way:
    """The same for a text of which a user says that it holds questions."""
    filled = [line for line in lines if line.text.strip()]
    ways: tuple[Way, ...] = ("marks", "headings", "choices", "sections", "entries", "asks")
    found = way_of(filled)[0]
    return max(ways, key=lambda way: _counted(way, filled)[1]) if found is None else found


def _counted(way: Way, filled: Sequence[Line]) -> tuple[int, int, float]:
    """How many questions a way finds, how many different ones have an answer, and the share of lines that belong to
    them."""
    reader = _Reader(way)
    found = [raw.value for line in filled for raw in reader.read(line)] + [raw.value for raw in reader.rest()]
    answered = [_DIGITS.sub("", each["question"]) for each in found if each["answer"] and (
        way != "choices" or each["answer"].split("\n")[0].strip() in each["question"])]  # a list of a law has no answer
    return len(found), len(set(answered) if way == "entries" else answered), reader.inside / max(
        1, reader.inside + reader.outside)


def _certainty(way: Way, filled: Sequence[Line]) -> float:
    filled = list({line.text: line for line in filled}.values()) if way == "entries" else filled
    found, answered, inside = _counted(way, filled)
    if answered >= max(LEAST, SHARE * found) and inside >= SHARE:
        if way == "asks":
            return GUESSED if found >= LEAST_ASKING * len(filled) else 0.0
        is_list = answered > max(LEAST, LEAST_INSIDE * found) and found >= SHARE * len(filled)
        return CERTAIN if way != "entries" else MAYBE if is_list else 0.0
    is_likely = answered >= max(LEAST - 1, SHARE * found) and inside >= LEAST_INSIDE
    return MAYBE if is_likely and way not in ("asks", "entries") else 0.0


def ticked(text: str) -> tuple[bool, str] | None:
    """Whether a choice is ticked, and its text without the tick; None of what has no tick or box."""
    if found := _TICKED_AFTER.match(text):
        return True, found["text"]
    if (found := _TICK.match(text)) is None:
        return None
    return (found["box"] or found["sign"] or found["star"] or " ") in "xX✓✔☑✅*=", found["text"].strip()


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
        self._is_numbered = self._has_choices = False
        self._last = 0
        self.inside = self.outside = 0

    def read(self, line: Line) -> Iterator[Raw]:
        """The rows that end before this line, or are in it."""
        if self._way == "choices":
            yield from self._read_choices(line)
            return
        role, text = self._role(line)
        role, text, answer = self._on_one_line(role, text)
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
        if role == "question" and (answer or self._way not in ("marks", "choices")):
            self._into = self._answered
        if answer:
            self._add(line._replace(text=answer))

    def _on_one_line(self, role: str, text: str) -> tuple[str, str, str]:
        """The same, and the answer that is on the line of its question; "" if none is."""
        if self._way == "entries" and role == "question" and (sides := _sides(text)):
            return role, *sides
        number = _NUMBERED.match(text)
        if self._way == "marks" and (role == "question" or number) and (found := _INLINE.match(text)) and (
                mark(found["word"]) == "answer"):
            return "question", _NUMBERED.sub("", found["question"], count=1), found["answer"]
        return role, text, ""

    def _role(self, line: Line) -> tuple[str, str]:
        """As the function, and what the lines before this one tell about it."""
        role, text = _role(line, self._way)
        if role == "bold" and self._is_numbered and (number := _NUMBERED.match(line.text)):
            return "question", line.text[number.end():]  # as the others, though it doesn't ask
        return role, text

    def _read_choices(self, line: Line) -> Iterator[Raw]:
        """A question above choices. Its answer are those that are ticked, or what is behind a mark below them."""
        line = line._replace(text=_AROUND.sub("", line.text))
        if not line.text.strip():
            return
        if self._asked and (choice := _choice_in(line.text)) is not None:
            self._has_choices = True
            is_ticked, text = choice
            self._asked.append(line._replace(text=text))
            self._answered += [line._replace(text=text.removeprefix("- "))] * is_ticked
            self.inside, self._last = self.inside + 1, line.number
            return
        role, text = _marked(line.text)
        number = _NUMBERED.match(text)
        begins = bool(line.heading or role == "question" or number)
        ended = self._has_choices or bool(self._answered)
        if role == "answer" and self._asked:
            self._answered.append(line._replace(text=text))
            self.inside += 1
        elif not self._asked or (ended and (begins or line.number > self._last + 1)) or (
                not ended and (line.heading or role == "question")):
            yield from self.rest()
            self._asked = [line._replace(text=text[number.end():] if number else text)]
        else:
            (self._answered if ended else self._asked).append(line)
            self.inside += 1
        self._last = line.number

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
        if self._way == "choices" and not (self._has_choices or self._answered):
            self.outside += len(self._asked)
        elif self._asked:
            asked, answer = _joined(self._asked), _joined(self._answered)
            if self._way == "choices":
                self.inside += 1
                if letter := _CHOSEN.match(answer):
                    answer = _choice(asked, letter[1]) + answer[letter.end(1):].lstrip(".)")
            yield Raw({"question": asked, "answer": answer}, self._asked[0].number)
        self._asked, self._answered, self._held, self._has_choices = [], [], None, False


def _choice_in(text: str) -> tuple[bool, str] | None:
    """Whether a choice is ticked, and how the question names it; None of any other line."""
    if (found := ticked(text)) is not None:
        return found[0], found[1] if _CHOICE.match(found[1]) or _FIRST.match(found[1]) else f"- {found[1]}"
    return (False, text.strip()) if _CHOICE.match(text) or _FIRST.match(text) else None


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
    if way == "sections":
        return ("question", _NUMBERED.sub("", line.text, count=1)) if line.heading else ("", line.text)
    if way == "asks" and len(line.text) <= LONGEST_ASKING and _ASKING.fullmatch(line.text):
        return "question", _NUMBERED.sub("", _marked(line.text)[1], count=1)
    if way == "headings" and (line.heading or _NUMBERED.match(line.text)) and _ASKS.search(line.text):
        _, text = _marked(line.text)
        return "question", _NUMBERED.sub("", text, count=1)
    if way == "entries":
        return "question" if _sides(line.text) else line.heading, line.text
    role, text = _marked(line.text)
    if role == "question" if way == "headings" and line.heading else role and way != "headings":
        return role, text
    return line.heading, line.text


def _sides(text: str) -> tuple[str, str] | None:
    """A term and what is behind its colon, or the two sides of a pair, if a line has just them."""
    if found := _ENTRY.match(text):
        return found["term"].strip(), found["text"]
    sides = [side.strip() for side in _BETWEEN.split(text[:LONGEST_MARK], maxsplit=1)]
    return (sides[0], text[text.index(sides[1], len(sides[0])):].strip()) if len(sides) > 1 and all(sides) else None


def is_marked(line: Line) -> bool:
    """Whether a line is a heading, a choice, or has the mark of a question or an answer."""
    return bool(line.heading or ticked(line.text) or _CHOICE.match(line.text) or _marked(line.text)[0])


def _marked(text: str) -> tuple[str, str]:
    """What a line is by the mark that begins it, "question" or "answer", and what is behind the mark; "" and the whole
    line where there is none."""
    found = _MARK.match(text[:LONGEST_MARK])
    if found is None:
        return "", text
    word = found["word"].casefold()
    role = mark(word)
    is_number = found["gap"] and not found["end"] and len(word) < SURE and not found[0].rstrip().endswith((":", "："))
    return (role, text[found.start("rest"):]) if role and not is_number else ("", text)


def mark(word: str) -> str:
    """What a word before a colon marks: "question" or "answer"; "" of any other."""
    known = column_names.column(word)
    return _SHORT.get(word.casefold()) or ("question" if known in column_names.QUESTIONS else "answer" if (
        known in column_names.REPLIES_TO or known in _ANSWERS) else "")
