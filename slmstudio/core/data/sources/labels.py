"""What begins the lines of a text, which of these labels recur, and the blocks of lines below them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from slmstudio.core import paths
from slmstudio.core.data import column_names
from slmstudio.core.data.sources.row import Raw

BOLD = 7
"""The level of a line that is all in bold, as if it was a heading below all others."""
OUT, END = "", "\n"
"""Keys of blocks that belong to nothing; the second divides a conversation or record from the next."""
LONGEST, MOST_WORDS = 40, 4
"""Characters of a label or of a line that divides conversations, and words of a label."""
LONGEST_MARK = 200
"""Characters in which a label is looked for: a long run of blanks would take hours."""
INDIAN_LETTERS = ("कखगघङ", "अबकडइ", "अबसदइ", "কখগঘঙ", "કખગઘઙ", "અબકડઇ", "ਕਖਗਘਙ", "ੳਅੲਸਹ", "କଖଗଘଙ", "అఆఇఈఉ", "ಅಆಇಈಉ",
                  "அஆஇஈஉ")
"""By which choices are named, in their order."""
SURE = 3
"""A shorter word with a number behind it may begin a sentence: "A 5 km walk"."""
_SHORT = {"q": "question", "a": "answer", "प्र": "question", "उ": "answer"}
_ANSWERS = frozenset({"correct_answer", "correct_option"})
_MARK = re.compile(r"\s*(?:\d{1,4}\s*[.)]\s*)?[*_]*(?P<word>[^\d\s:：.()*_–—-]{1,20}"
                   r"(?: [^\d\s:：.()*_–—-]{1,20}(?=\s*[:：]))?)"
                   r"(?:[.–—-]?(?P<gap>\s*)\d{1,4}\s*[*_]*\s*(?:[:：][*_]*\s*|(?P<end>[.)–—-]?)[*_]*(?:\s+|$))"
                   r"|\.?\s*[*_]*\s*(?:[:：][*_]*\s*|[.)–—-][*_]*(?:\s+|$|(?=[^\x00-\x7f])|(?<=[Qq]\.))))"
                   r"(?P<rest>.*)", re.DOTALL)
"""What begins a question or an answer: "Q:", "Answer 3 -", "प्रश्न-1 "."""
_DAY = r"(?P<day>\d{1,4}[./-]\d{1,2}[./-]\d{1,4}),?\s+"
_STAMP = re.compile(rf"[\u200e\u200f\ufeff]?[\[(]?(?:{_DAY}(?:[^\W\d]{{1,12}}\s?)?)?"
                    r"\d{1,2}[:.]\d{2}(?:[:.]\d{2})?"
                    r"(?:(?:\s?[^\d\])–:-]{1,12})?(?:[\])]|\s[-–])\s|(?:\s*[AaPp]\.?\s?[Mm]\.?)?\s)")
"""The time before a message, as WhatsApp and programs for transcripts write it."""
_TIMED = re.compile(r"(?<=\w)\s*[\[(]\d[\d:.,\s–-]*[\])](?=\s*[:：])")
"""When somebody speaks, in brackets behind the name: "Asha [00:12 - 00:15]:"."""
_LABEL = re.compile(r"\s*(?:(?:[-*+•>]|#{1,6})\s+)?[*_]*[<\[]?(?P<label>[^\W\d_][^:：?!।;,\"“”=<>\[\]{}\\/|]{0,79}?)"
                    r"(?:(?:(?<!\s)[*_]*[:：](?!//)|[*_]*\s+[:：](?=[*_\s]|$))[*_]*(?=$|[^\d/])|\s[–—-](?=\s)|[>\]](?=\s))"
                    r"\s*(?P<text>.*)", re.DOTALL)
"""Who speaks: "Asha: …", "Asha - …", "<asha> …", "[Asha] …", "### Asha: …"."""
_PERSON = re.compile(r"(?P<label>[^:]{1,60}): ?(?P<text>.*)", re.DOTALL)
"""Behind a time and a day, a person may be called by a number."""
_NUMBER = re.compile(r"[\s#.(_-]*\d+[\s).]*")
_BOLD_LINE = re.compile(r"\s*(\*\*|__)(?P<text>(?:(?!\1).)+)\1\s*")
_BLANKS = re.compile(r"\s{200,}")
"""A run of blanks for which patterns that begin with blanks would take hours."""
_HEADING = re.compile(r"(?:\s*\d{1,4}[.)]\s+)?(?P<signs>#)")
"""A heading may be an entry of a numbered list."""
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})(?P<language>[^`]*)")


class Line(NamedTuple):
    """A line, a paragraph, or a row of a table.

    Attributes:
        level: of a heading, 1 to 6, or `BOLD`; otherwise 0.
        pair: what a table has in its columns of questions and answers; ("", "") of the row with their names.
        is_code: whether it is in a block of code, where nothing is a label.
    """

    text: str
    number: int
    level: int = 0
    pair: tuple[str, str] | None = None
    is_code: bool = False


def lines_of(texts: Iterable[tuple[str, int] | Raw], markdown: bool) -> Iterator[Line | Raw]:
    """The lines of a text file that aren't blank, by their texts and numbers; rows with a problem stay as they are."""
    is_code = False
    for each in texts:
        if isinstance(each, Raw):
            yield each
        elif each[0].strip():
            text = _BLANKS.sub(" ", each[0])
            fence = _FENCE.fullmatch(text) if markdown else None
            yield Line(text, each[1], is_code=True) if is_code or fence else (
                _marked_up(text, each[1]) if markdown else Line(text, each[1]))
            if fence:  # one with a language opens a block, even where the block before wasn't closed
                is_code = bool(fence["language"].strip()) or not is_code


def _marked_up(text: str, number: int) -> Line:
    if heading := _HEADING.match(text):
        text = text[heading.start("signs"):]
        title, gap, closing = text.lstrip("# ").rstrip().rpartition(" ")
        return Line(title if gap and not closing.strip("#") else f"{title}{gap}{closing}", number,
                    min(len(text) - len(text.lstrip("#")), BOLD - 1))
    bold = _BOLD_LINE.fullmatch(text)
    return Line(bold["text"], number, BOLD) if bold else Line(text, number)


class Label(NamedTuple):
    """What begins a line.

    Attributes:
        name: without the number behind a mark; "" if there is none.
        text: what is behind it.
        role: "question" or "answer" of a mark for one, in any language; otherwise "".
        day: of a message with a time; "" without one.
        stamped: whether a time is before it. Without a name, it is a messenger's own remark then.
    """

    name: str
    text: str
    role: str = ""
    day: str = ""
    stamped: bool = False


def mark(word: str) -> str:
    """What a word before a colon marks: "question" or "answer"; "" of any other."""
    known = column_names.column(word)
    return _SHORT.get(word.casefold()) or ("question" if known in column_names.QUESTIONS else "answer" if (
        known in column_names.REPLIES_TO or known in _ANSWERS) else "")


def marked(text: str) -> Label | None:
    """The mark of a question or an answer that begins a line."""
    found = _MARK.match(text[:LONGEST_MARK])
    if found is None or not (role := mark(found["word"])):
        return None
    is_number = found["gap"] and not found["end"] and len(found["word"]) < SURE and not found[0].rstrip().endswith(
        (":", "："))
    return None if is_number else Label(found["word"], text[found.start("rest"):], role)


def label_of(text: str) -> Label:
    """What begins a line: a name before a colon or a dash or in brackets, behind a time if there is one."""
    begin = text[:LONGEST_MARK]
    if ("[" in begin or "(" in begin) and (timed := _TIMED.search(begin)):  # most lines have neither
        text = begin[:timed.start()] + text[timed.end():]
        begin = text[:LONGEST_MARK]
    stamp = _STAMP.match(begin)
    at = stamp.end() if stamp else 0
    day = stamp["day"] or "" if stamp else ""
    found = (_PERSON if day else _LABEL).match(begin[at:])
    if found is None or (not day and (len(found["label"].split()) > MOST_WORDS or len(found["label"]) > 2 * LONGEST)):
        return Label("", text[at:], "", day, stamp is not None)
    return Label(found["label"].strip("\u200e\u200f ~"), text[at + found.start("text"):], "", day, stamp is not None)


class Block(NamedTuple):
    """Lines below a label, without it.

    Attributes:
        key: what they are, by whoever cut them; `OUT` and `END` of those that belong to nothing.
        unit: the number of the conversation or record, which `END` divides.
    """

    key: str
    lines: list[Line]
    unit: int

    @property
    def text(self) -> str:
        return joined(self.lines)


Event = tuple[str | None, Line]
"""A line, and the key of the block that begins with it; None if it belongs to the block before."""


def blocks(events: Iterable[Event]) -> Iterator[Block]:
    """The blocks of lines."""
    block = Block(OUT, [], 0)
    for key, line in events:
        if key is not None:
            if block.lines:
                yield block
            block = Block(key, [], block.unit + (key == END))
        block.lines.append(line)
    if block.lines:
        yield block


def joined(lines: Sequence[Line]) -> str:
    """With an empty line where the text has one."""
    text = ""
    for before, line in zip([None, *lines], lines, strict=False):
        gap = "\n\n" if before is not None and line.number > before.number + 1 else "\n"
        text += (gap if text and line.text else "") + (line.text.rstrip() if line.is_code else line.text.strip())
    return text


@dataclass(frozen=True)
class Labels:
    """What recurs at the beginning of a text's lines.

    Attributes:
        names: the recurring labels as the text writes them, by how they are compared, most frequent first.
        dividers: lines that recur without their number: "Conversation 3", "---".
        units: the labels of each conversation or record, of messages those of each day.
        share: of the lines, those with a label.
        stamped, dated: whether times are before them, and days, as messengers write both.
        level: of labels that are headings; otherwise 0.
        by_blank, by_divider: whether a blank line ends a conversation, or a divider or the end of a day, and not every
            turn.
    """

    names: dict[str, str] = field(default_factory=dict)
    dividers: frozenset[str] = frozenset()
    units: tuple[tuple[str, ...], ...] = ()
    share: float = 0.0
    stamped: bool = False
    dated: bool = False
    level: int = 0
    by_blank: bool = False
    by_divider: bool = True

    def of(self, line: Line, also: Collection[str] = ()) -> tuple[str, Label]:
        """Which of the labels a line has, "" if none, and what begins it. A label may have a line of its own."""
        found = Label("", line.text) if line.is_code else label_of(line.text)
        alone = _without_signs(line.text).casefold()
        if not found.name and not line.is_code and alone in self.names:
            found = found._replace(name=alone, text="")
        key = found.name.casefold()
        return key if key in self.names or key in also else "", found

    def divides(self, line: Line) -> bool:
        """Whether a line without a label ends a conversation."""
        return 0 < line.level <= (self.level or BOLD - 1) or (not line.is_code and _bare(line.text) in self.dividers)

    @property
    def are_fields(self) -> bool:
        """Whether they are at least three that follow each other in one order, as those of records do."""
        order = [key for unit in self.units for key in unit]
        counts = Counter(order)
        common = [key for key, n in counts.items() if 2 * n >= max(counts.values())]
        after = Counter(pairwise(order))
        expected = sum(max((n for (one, _), n in after.items() if one == key), default=0) for key in counts)
        return len(common) > 2 and not self.stamped and expected >= 0.8 * max(1, len(order) - 1)

    def events(self, lines: Iterable[Line], also: Collection[str] = ()) -> Iterator[Event]:
        """The lines of a text with their labels.

        Args:
            also: more labels, by how they are compared.
        """
        last, day = 0, ""
        for line in lines:
            key, label = self.of(line, also)
            divides = not key and self.divides(line)
            gap, last = bool(last) and line.number > last + 1, line.number
            if divides or (gap and self.by_blank) or (self.by_divider and label.day not in ("", day)):
                yield END if self.by_divider else OUT, line if divides else line._replace(text="")
            day = label.day or day
            if key:
                yield key, line._replace(text=label.text.strip(), level=0)
            elif not divides:
                yield OUT if label.stamped and self.stamped else None, line


def find(lines: Sequence[Line]) -> Labels:
    """The labels that recur among the first lines of a text."""
    found = [Label("", line.text) if line.is_code else label_of(line.text.strip()) for line in lines]
    is_stamped = len(found) > 2 and found[0].stamped and 2 * sum(each.stamped for each in found) > len(found)
    headings = Counter(text for line in lines if line.level and role(text := _without_signs(line.text)))
    headed = {text.casefold(): text for text, n in headings.items() if n > 1}
    if len(set(map(role, headed))) > 1:
        names, dividers = headed, Counter[str]()
    else:
        names = _names(lines, [each.name for each in found if each.name], is_stamped)
        dividers = Counter(_bare(line.text) for line, label in zip(lines, found, strict=True)
                           if _may_divide(line, label))
    labels = Labels(names, frozenset(text for text, n in dividers.items() if n > 1), stamped=is_stamped,
                    dated=is_stamped and any(each.day for each in found))
    levels = [line.level for line in lines if labels.of(line)[0]]
    labels = replace(labels, level=max((level for level in levels if level < BOLD), default=0),
                     share=len(levels) / max(1, len(lines)))
    for each in (replace(labels, by_blank=not is_stamped), labels):
        units = _units(each, lines)
        several = sum(len(set(unit)) > 1 and not (
            each.by_blank and role(unit[0]) != "user" and "user" in map(role, unit)) for unit in units)
        if len(units) > 1 and several >= (0.5 * len(units) if each.by_blank else 1):
            return replace(each, units=tuple(units))
    undivided = replace(labels, by_divider=False)
    return replace(undivided, units=tuple(_units(undivided, lines)))


def _units(labels: Labels, lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """The labels of each conversation or record; none where most labels have nothing beside or below them."""
    found: dict[int, list[str]] = {}
    empty = []
    for block in blocks(labels.events(lines)):
        if block.key not in (OUT, END):
            found.setdefault(block.unit, []).append(block.key)
            empty.append(not block.text)
    return [] if 2 * sum(empty) > len(empty) else [tuple(keys) for keys in found.values()]


def _names(lines: Sequence[Line], labels: Sequence[str], is_stamped: bool) -> dict[str, str]:
    """The recurring labels, as of `Labels`."""
    # In a play, who says one thing alone is written as the others are.
    all_capitals = bool(labels) and all(
        label.isupper() and len(label) > 1 and not _NUMBER.search(label) for label in labels)
    counts = Counter(map(str.casefold, labels))
    if max(counts.values(), default=0) < 2:  # perhaps they have lines of their own
        alone = [text for line in lines if not line.is_code and len(text := _without_signs(line.text)) <= LONGEST
                 and len(text.split()) < MOST_WORDS and text[:1].isalpha() and text[-1:].isalnum()]
        labels, counts = [*labels, *alone], counts + Counter(map(str.casefold, alone))
    least = 1 if is_stamped or all_capitals else 2
    written = {label.casefold(): label for label in labels}
    return {label: written[label] for label, n in counts.most_common() if n >= least}


def _may_divide(line: Line, label: Label) -> bool:
    """Whether a line may be one between conversations: it is short and has a number, or is a rule."""
    is_numbered = len(line.text.strip()) <= LONGEST and _NUMBER.search(line.text) is not None and not (
        label.name and label.text)
    return not line.is_code and (is_numbered or not line.text.strip().strip("-=*_#~"))


def _without_signs(text: str) -> str:
    """A short line without the emoji before its words."""
    return re.sub(r"^(?:[^\w\x00-\x7f]+\s+)?|\s+$", "", text[:LONGEST_MARK])


def _bare(text: str) -> str:
    """A label or a short line without its number."""
    return _NUMBER.sub("", text[:2 * LONGEST]).strip().strip("*_ ").casefold()


@lru_cache(maxsize=1)
def _words() -> dict[str, str]:
    found = json.loads((paths.resources() / "importing" / "line_labels.json").read_text(encoding="utf-8"))
    return {word: role for role in ("user", "assistant") for word in found[role]}


def role(label: str) -> str:
    """The role of a speaker by what they are called, "user" or "assistant"; "" if that tells nothing."""
    folded = _bare(label)
    if len(folded) == 1:
        return ""
    known = _words().get(folded) or _words().get(folded.split(" ")[0].removesuffix("."))
    asked, answered = column_names.ASKED, column_names.ANSWERED
    return known or ("user" if column_names.column(folded) in asked else "assistant" if (
        column_names.column(folded) in answered) else "")
