"""Questions with their answers as people write them in a text: behind "Q:" and "A:", in any language, or a heading or a
line with a number that asks, with the answer below it; and in tables of Word documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, pairwise, repeat
from typing import Literal, NamedTuple, get_args

from slmstudio.core.data.sources.labels import (
    BOLD,
    END,
    INDIAN_LETTERS,
    LONGEST_MARK,
    OUT,
    Block,
    Event,
    Label,
    Line,
    blocks,
    joined,
    mark,
    marked,
)
from slmstudio.core.data.sources.row import Raw

Way = Literal["choices", "marks", "bold", "headings", "sections", "entries", "twos", "asks"]
"""How questions are written: above choices of which some are ticked, or with the letter of the right one below; behind
marks; in bold lines, of which most ask; in headings that ask; as any heading; as a term and what is behind its colon or
dash on the same line; as the first of two lines that stand alone; or as any line that asks."""


class Rule(NamedTuple):
    """What a text has if its questions are written in a way.

    Attributes:
        way, certainty: then it is in this way, so surely.
        answered: questions with an answer, at least; also that share of `SHARE` of all questions.
        inside: share of its lines that belong to them, at least.
        of_lines: share of its lines that are questions, at least.
    """

    way: Way
    certainty: float
    answered: int = 3
    inside: float = 0.75
    of_lines: float = 0.0


SHARE = 0.75
RULES = (Rule("choices", 0.9), Rule("marks", 0.9), Rule("bold", 0.9), Rule("headings", 0.9),
         Rule("choices", 0.6, 2, 0.5), Rule("marks", 0.6, 2, 0.5), Rule("headings", 0.6, 2, 0.5),
         Rule("entries", 0.6, 4, 0.75, 0.75), Rule("twos", 0.55, 6, 0.8, 0.4), Rule("asks", 0.4, 3, 0.5, 0.25))
"""The surest first. A text that none of them fits just happens to have some questions."""
LONGEST_ASKING = 200
"""Characters of a line that asks."""
SHORTEST_BROKEN = 60
"""Characters of a line that a program may have broken."""
_LAST = Block(END, [], 0)
_BEGIN = ("question", OUT, END)
"""Blocks before which a question and its answer end."""
_FIRST_LETTERS = "Aa" + "".join({each[0] for each in INDIAN_LETTERS})
_NEXT_LETTERS = "B-Eb-e" + "".join({letter for each in INDIAN_LETTERS for letter in each[1:]})
_LETTER = rf"[{_FIRST_LETTERS}{_NEXT_LETTERS}]"
_CHOICE = re.compile(rf"\s*\(?(?:[{_NEXT_LETTERS}][.)]\s|[{_FIRST_LETTERS}][.)]\s.*\s\(?[{_NEXT_LETTERS}][.)]\s)")
"""Another of some choices than the first, or several: then "A." isn't the mark of an answer."""
_FIRST = re.compile(rf"\s*\(?[{_FIRST_LETTERS}][.)]\s")
_CHOSEN = re.compile(rf"\s*\(?({_LETTER})[.)]?\s*(?:$|\n)")
"""An answer that is the letter of a choice alone."""
_TICK = re.compile(r"\s*(?:[-*+•]\s*)?(?:\[(?P<box>[ xX✓✔])?\](?!\()|(?P<sign>[✓✔☑✅☐✗✘❌])"
                   r"|(?P<star>\*)(?=\(?[A-Ea-e][.)]\s))\s*(?P<text>\S.*)", re.DOTALL)
_TICKED_AFTER = re.compile(rf"\s*(?P<text>\(?{_LETTER}[.)]\s.*\S)\s*[✓✔☑✅]\s*$", re.DOTALL)
_INLINE = re.compile(r"(?P<question>.+?)\s[*_]{0,3}(?P<word>[^\s:：.*_]{1,12})\.?[*_]{0,3}\s?[:：-]"
                     r"[*_]{0,3}\s+(?P<answer>\S.*)", re.DOTALL)
"""A question with its answer on the same line: "Who may join? A: Everybody."."""
_RULE = re.compile(r"\s*(?:[-*_=~]\s*){3,}")
_NUMBERED = re.compile(r"^\s*\d{1,4}\s*[.)]\s*")
_DIGITS = re.compile(r"\d+")
_ASKS = re.compile(r"[?؟？]\W*$")
_ENDS = re.compile(r"[.?!।॥۔…。？！؟]\W*$")
_ENTRY = re.compile(r"\s*(?:[-*•]\s+|\d{1,4}\s*[.)]\s*)?[*_]{0,3}(?P<term>[^:：–—?!।]{1,60}?)[*_]{0,3}"
                    r"\s*(?:[:：]|\s[–—-])[*_]{0,3}\s+(?P<text>\S.*)", re.DOTALL)
_ASKED_AND_TOLD = re.compile(r"\s*(?:[-*•]\s+|\d{1,4}\s*[.)]\s*)?(?P<term>[^?؟？]{8,200}[?؟？])[,;]?\s+"
                             r"(?P<text>[^\s?؟？][^?؟？]*)", re.DOTALL)
"""A question with what is told behind it: "When is it open?, At nine."."""
_BETWEEN = re.compile(r"\t+|\s+(?:[–—|=→]|[-=]>|\|\||::)\s+")
"""What stands between the two sides of a pair that is on one line."""
_ASKING = re.compile(r"\s*[^\W_].*[?؟？]\s*")
"""A line that asks by itself, not in what somebody says."""


def way_of(lines: Sequence[Line]) -> tuple[Way | None, float]:
    """How the questions of a text that begins so are written, and how sure it is; (None, 0) if it is any other text."""
    choices = [_choice_in(line.text) for line in lines if not line.is_code]
    has_choices = sum(each is not None and each[0] for each in choices) > 1 or any(
        _CHOICE.match(line.text) for line in lines if not line.is_code)
    measures: dict[Way, tuple[int, int, float, float]] = {}
    for rule in RULES:
        if has_choices != (rule.way == "choices"):
            continue
        if rule.way not in measures:
            measures[rule.way] = _measured(rule.way, lines)
        found, answered, inside, of_lines = measures[rule.way]
        if answered >= max(rule.answered, SHARE * found) and inside >= rule.inside and of_lines >= rule.of_lines:
            return rule.way, rule.certainty
    return None, 0.0


def best_way(lines: Sequence[Line]) -> Way:
    """The same for a text of which a user says that it holds questions."""
    if found := way_of(lines)[0]:
        return found
    answered = {way: _measured(way, lines)[1] for way in get_args(Way)}
    return max(answered, key=lambda way: (way != "entries" and answered[way] >= RULES[0].answered, answered[way]))


def _measured(way: Way, lines: Sequence[Line]) -> tuple[int, int, float, float]:
    """How many questions a way finds, how many different ones have an answer, the share of lines that belong to them,
    and of lines that are questions."""
    lines = list({line.text: line for line in lines}.values()) if way == "entries" else lines
    cut = list(blocks(_events(lines, way)))
    found = [raw.value for raw in _pairs(cut, way)]
    answered = [_DIGITS.sub("", each["question"]) for each in found if each["answer"] and (
        way != "bold" or _ASKS.search(each["question"])) and (
        way != "choices" or each["answer"].split("\n")[0].strip() in each["question"])]  # a list of a law has no answer
    outside = size = 0
    for block, after in pairwise([*cut, _LAST]):
        count = sum(not line.level or block.key not in (OUT, END) for line in block.lines)
        size += count
        outside += count * (block.key == OUT or (block.key == "question" and after.key in _BEGIN))
    return (len(found), len(set(answered) if way == "entries" else answered), 1 - outside / max(1, size),
            len(found) / max(1, len(lines)))


def rows(lines: Iterable[Line], way: Way) -> Iterator[Raw]:
    """A row for each question, with its answer. Lines before the first one, and those below headings that don't ask,
    are left out."""
    return _pairs(blocks(_events(lines, way)), way)


def _pairs(found: Iterable[Block], way: Way) -> Iterator[Raw]:
    """The questions, each with the answers that follow."""
    asked: list[Line] = []
    answered: list[Line] = []
    has_choices = False
    for block in chain(found, [_LAST]):
        if block.key in _BEGIN:
            if asked and (way not in ("choices", "sections") or has_choices or answered):  # else it is a title
                yield _pair(asked, answered, has_choices)
            asked, answered = block.lines if block.key == "question" else [], []
            has_choices = False
        elif block.key == "answer":
            answered = [*answered, *block.lines]
        else:
            asked, has_choices = [*asked, *block.lines], True
            answered += [line._replace(text=line.text.removeprefix("- ")) for line in block.lines
                         if block.key == "ticked"]


def _pair(asked: list[Line], answered: list[Line], has_choices: bool) -> Raw:
    while answered and (answered[-1].level == BOLD or _RULE.fullmatch(answered[-1].text)):
        answered = answered[:-1]  # the title of what follows, or a rule above it
    question, answer = joined(asked), joined(answered)
    if has_choices and (letter := _CHOSEN.match(answer)):
        answer = _choice(question, letter[1]) + answer[letter.end(1):].lstrip(".)")
    return Raw({"question": question, "answer": answer}, asked[0].number)


def _choice(asked: str, letter: str) -> str:
    """The choice below a question that an answer names by its letter; the letter where there is none."""
    found = re.search(rf"(?:^|\s)(\(?{letter}[.)]\s*\S.*?)\s*(?=$|\n|\s\(?{_LETTER}[.)]\s)", asked, re.IGNORECASE)
    return found[1] if found else letter


def _events(lines: Iterable[Line], way: Way) -> Iterator[Event]:
    """The lines of a text: those that ask, answer, or end an answer, and those that belong to what is before them."""
    if way == "choices":
        yield from _events_of_choices(lines)
        return
    if way == "twos":
        yield from _events_of_twos(lines)
        return
    level, opens = 0, False  # of the question that is open; whether its answer begins now
    for line in lines:
        asked = None if line.is_code else _asked(line, way)
        if line.pair is not None:
            yield from [("question", line._replace(text=line.pair[0])), ("answer", line._replace(text=line.pair[1])),
                        (END, line._replace(text=""))] if any(line.pair) else []
        elif asked is not None:
            text, answer = asked
            level, opens = line.level, way != "marks" and not answer
            yield "question", line._replace(text=text, level=0)
            if answer:
                yield "answer", line._replace(text=answer, level=0)
        elif (opens or way == "marks") and not line.is_code and (label := marked(line.text)) and label.role == "answer":
            opens = False
            yield "answer", line._replace(text=label.text, level=0)
        elif 0 < line.level < BOLD and not 0 < level < line.level:
            opens = False
            yield OUT, line
        else:
            yield "answer" if opens else None, line
            opens = False


def _asked(line: Line, way: Way) -> tuple[str, str] | None:
    """The question that a line asks, and the answer if that is on the same line; None of any other line."""
    if way == "entries":
        return sides_of(line.text)
    label = marked(line.text)
    text = label.text if label is not None else line.text
    is_marked, number = label is not None and label.role == "question", _NUMBERED.match(text)
    if way == "marks":
        inline = _INLINE.match(text) if is_marked or number else None
        if inline and mark(inline["word"]) == "answer":
            return _unnumbered(inline["question"]), inline["answer"]
        return (text, "") if is_marked else None
    asks = line.level > 0 if way == "sections" else line.level == BOLD if way == "bold" else (
        asks_alone(line.text)) if way == "asks" else (
        (line.level or number) and _ASKS.search(line.text[-LONGEST_MARK:])) or is_marked
    return (_unnumbered(text), "") if asks else None


def asks_alone(text: str) -> bool:
    """Whether a line asks by itself."""
    return len(text) <= LONGEST_ASKING and _ASKING.fullmatch(text) is not None


def _unnumbered(text: str) -> str:
    return _NUMBERED.sub("", text, count=1)


def _events_of_choices(lines: Iterable[Line]) -> Iterator[Event]:
    """The same of questions above choices: an answer are those that are ticked, or what is behind a mark below them."""
    asked = ended = False
    last = 0
    filled = (line for line in lines if line.text.strip())
    for line, below in pairwise(chain(filled, [Line("", 0)])):
        label = marked(line.text) or Label("", line.text)
        number = _NUMBERED.match(label.text)
        begins = line.level > 0 or label.role == "question"
        if asked and (choice := _choice_in(line.text)) is not None:
            ended = True
            yield "ticked" if choice[0] else "choice", line._replace(text=choice[1])
        elif asked and label.role == "answer":
            ended = True
            yield "answer", line._replace(text=label.text)
        elif not asked or begins or (ended and (number or line.number > last + 1 or _FIRST.match(below.text))):
            asked, ended = True, False
            yield "question", line._replace(text=_unnumbered(label.text), level=0)
        else:
            yield "answer" if ended else None, line
        last = line.number


def _events_of_twos(lines: Iterable[Line]) -> Iterator[Event]:
    """The same of lines in twos with blank ones between: a remark and its reply, a sentence and its translation. Where
    the first one is long and no sentence, a paragraph is broken into lines."""
    for _, group in groupby(enumerate(lines), lambda each: each[1].number - each[0]):
        found = [line for _, line in group]
        is_pair = len(found) == 2 and not any(line.level or line.is_code for line in found) and (
            len(found[0].text) <= SHORTEST_BROKEN or _ENDS.search(found[0].text) is not None)
        for line, key in zip(found, ("question", "answer") if is_pair else repeat(OUT), strict=False):
            yield key, line


def _choice_in(text: str) -> tuple[bool, str] | None:
    """Whether a choice is ticked, and how the question names it; None of any other line."""
    if found := _TICKED_AFTER.match(text):
        return True, found["text"]
    if found := _TICK.match(text):
        shown = found["text"].strip()
        return (found["box"] or found["sign"] or found["star"] or " ") in "xX✓✔☑✅*", (
            shown if _CHOICE.match(shown) or _FIRST.match(shown) else f"- {shown}")
    return (False, text.strip()) if _CHOICE.match(text) or _FIRST.match(text) else None


def sides_of(text: str) -> tuple[str, str] | None:
    """A term and what is behind its colon, or the two sides of a pair, if a line has just them."""
    if (found := _ASKED_AND_TOLD.fullmatch(text)) or (found := _ENTRY.match(text)):
        return found["term"].strip(), found["text"]
    sides = [side.strip() for side in _BETWEEN.split(text[:LONGEST_MARK], maxsplit=1)]
    return (sides[0], text[text.index(sides[1], len(sides[0])):].strip()) if len(sides) > 1 and all(sides) else None


def is_marked(line: Line) -> bool:
    """Whether a line is a choice, or has the mark of a question or an answer."""
    return not line.is_code and bool(_choice_in(line.text) or marked(line.text))
