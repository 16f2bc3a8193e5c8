"""Lines that begin with a label and a colon: who speaks in a conversation, or the fields of a record; and what divides
one conversation or record from the next."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import dropwhile, groupby, pairwise
from typing import Any, NamedTuple

from slmstudio.core import paths
from slmstudio.core.data.candidates import Candidate, Evidence
from slmstudio.core.data.column_names import ANSWERED, ASKED, column
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.i18n import ntr, tr

DIALOGUE = "dialogue"
"""One of `read_options.CUTS`."""
LEAST_TURNS, LEAST_SHARE, LEAST_INSIDE, SHARE = 4, 0.2, 0.5, 0.75
"""A conversation has at least this many turns; at least this share of its lines begins with who speaks, and this share
is said by them, of one that is sure the last."""
LONGEST, MOST_WORDS = 40, 4
"""Characters of a label or of a line that divides conversations, and words of a label."""
FEW, LEAST_OF_PAIR = 0.05, 0.4
"""Share of turns up to which other labels don't make a conversation one of more than two people, and the share that the
two have at least."""
MOST_NAMED = 8
"""People that are proposed as one side of a conversation."""
KNOWN, ONE_KNOWN, UNKNOWN, GROUP = 0.9, 0.7, 0.6, 0.5
"""How sure a conversation is whose speakers are called by two known roles (or that a messenger wrote), by one, by none,
and one of more than two people."""
_DAY = r"(?P<day>\d{1,4}[./-]\d{1,2}[./-]\d{1,4}),?\s+"
_STAMP = re.compile(rf"[\u200e\u200f\ufeff]?[\[(]?(?:{_DAY}(?:[^\W\d]{{1,12}}\s?)?)?"
                    r"\d{1,2}[:.]\d{2}(?:[:.]\d{2})?"
                    r"(?:(?:\s?[^\d\])–:-]{1,12})?(?:[\])]|\s[-–])\s|(?:\s*[AaPp]\.?\s?[Mm]\.?)?\s)")
"""The time before a message, as WhatsApp and programs for transcripts write it."""
_LABEL = re.compile(r"\s*(?:[-*+•>]\s+)?[*_]*[<\[]?(?P<label>[^\W\d_][^:：?!।;,\"“”=<>\[\]{}\\/|]{0,79}?)"
                    r"(?:[*_]*\s*[:：](?!//)[*_]*(?=$|[^\d/])|\s[–—-](?=\s)|[>\]](?=\s))\s*(?P<text>.*)", re.DOTALL)
"""Who speaks: "Asha: …", "Asha - …", "<asha> …", "[Asha] …"."""
_PERSON = re.compile(r"(?P<label>[^:]{1,60}): ?(?P<text>.*)", re.DOTALL)
"""Behind a time and a day, a person may be called by a number."""
_NUMBER = re.compile(r"[\s#.(_-]*\d+[\s).]*")
_NO_TEXT = re.compile(
    r"[\u200e\u200f]*(?:<.*(?:omitted|attached).*>|.*\bomitted|.*\(file attached\)|this message was deleted\.?|"
    r"you deleted this message\.?|missed (?:voice|video) call.*|null)", re.IGNORECASE)
"""What WhatsApp writes for a picture, a deleted message or a call."""


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


class Labelled(NamedTuple):
    """A line behind its label.

    Attributes:
        day: of a message with a time; "" without one.
        stamped: whether a time is before it. Without a label, it is a messenger's own remark then.
    """

    label: str
    text: str
    day: str
    stamped: bool


def labelled(text: str) -> Labelled:
    """A line's label, "" if it has none, and what is behind it."""
    begin = text[:4 * LONGEST]  # a long run of blanks would take hours
    stamp = _STAMP.match(begin)
    at = stamp.end() if stamp else 0
    day = stamp["day"] or "" if stamp else ""
    found = (_PERSON if day else _LABEL).match(begin[at:])
    if found is None or (not day and len(found["label"].split()) > MOST_WORDS):
        return Labelled("", text[at:], day, stamp is not None)
    return Labelled(found["label"].strip("\u200e\u200f ~"), text[at + found.start("text"):], day, stamp is not None)


@dataclass(frozen=True)
class Labels:
    """What recurs at the beginning of a text's lines.

    Attributes:
        names: the recurring labels as the text writes them, by how they are compared, most frequent first; one with a
            number that doesn't recur itself, as in "Question 3:", counts without it.
        dividers: lines that recur without their number: "Conversation 3", "---".
        blocks: the labels between blank lines and `dividers`, of messages those of each day.
        share, inside: of the lines that aren't blank, those with a label; and with the ones that follow these.
        stamped, dated: whether times are before them, and days, as messengers write both.
        by_blank: whether a blank line ends a conversation, and not every turn.
    """

    names: dict[str, str] = field(default_factory=dict)
    dividers: frozenset[str] = frozenset()
    blocks: tuple[tuple[str, ...], ...] = ()
    share: float = 0.0
    inside: float = 0.0
    stamped: bool = False
    dated: bool = False
    by_blank: bool = False

    def key(self, label: str) -> str:
        """Which of the recurring labels it is; "" of another."""
        folded = label.casefold()
        return next((key for key in (folded, _bare(folded)) if key in self.names), "")

    def of(self, text: str) -> tuple[str, Labelled]:
        """Which of the labels a line has, "" if none, and what is behind it. A label may have a line of its own."""
        found = labelled(text)
        if not found.label and text.strip().casefold() in self.names:
            found = found._replace(label=text.strip(), text="")
        return self.key(found.label) if found.label else "", found

    def divides(self, line: Line) -> bool:
        return bool(line.heading) or (line.text.strip() != "" and _bare(line.text) in self.dividers)

    @property
    def are_fields(self) -> bool:
        """Whether they are at least three that follow each other in one order, as those of records do."""
        order = [key for block in self.blocks for key in block]
        counts = Counter(order)
        common = [key for key, n in counts.items() if 2 * n >= max(counts.values())]
        after = Counter(pairwise(order))
        expected = sum(max((n for (one, _), n in after.items() if one == key), default=0) for key in counts)
        return len(common) > 2 and not self.stamped and expected >= 0.8 * max(1, len(order) - 1)


def find(lines: Sequence[Line]) -> Labels:
    """The labels that recur among the first lines of a text, which include the blank ones."""
    filled = [line.text.strip() for line in lines if line.text.strip()]
    found = [labelled(text) for text in filled]
    is_stamped = len(found) > 2 and found[0].stamped and 2 * sum(each.stamped for each in found) > len(found)
    names = _names(filled, [each.label for each in found if each.label], is_stamped)
    dividers = Counter(_bare(text) for text, each in zip(filled, found, strict=True) if _may_divide(text, each))
    labels = Labels(names, frozenset(text for text, n in dividers.items() if n > 1), stamped=is_stamped,
                    dated=is_stamped and any(each.day for each in found))
    by_blank, inside, blocks = _blocks(lines, labels)
    return replace(labels, blocks=blocks, by_blank=by_blank, inside=inside / max(1, len(filled)),
                   share=sum(map(len, blocks)) / max(1, len(filled)))


def _names(filled: Sequence[str], labels: Sequence[str], is_stamped: bool) -> dict[str, str]:
    """The recurring labels, as of `Labels`."""
    # In a play, who says one thing alone is written as the others are.
    all_capitals = bool(labels) and all(
        label.isupper() and len(label) > 1 and not _NUMBER.search(label) for label in labels)
    counts = Counter(map(str.casefold, labels))
    if max(counts.values(), default=0) < 2:  # perhaps they have lines of their own
        alone = [text for text in filled if len(text) <= LONGEST and len(text.split()) < MOST_WORDS
                 and text[0].isalpha() and text[-1].isalnum()]
        labels, counts = [*labels, *alone], counts + Counter(map(str.casefold, alone))
    bare = [_NUMBER.sub("", label) for label in labels if counts[label.casefold()] == 1 and _NUMBER.search(label)]
    counts.update(map(_bare, bare))
    least = 1 if is_stamped or all_capitals else 2
    written = {_bare(label): label for label in bare} | {label.casefold(): label for label in labels}
    return {label: written[label] for label, n in counts.most_common() if label and n >= least}


def _may_divide(text: str, found: Labelled) -> bool:
    """Whether a line may be one between conversations: it is short and has a number, or is a rule."""
    is_numbered = len(text) <= LONGEST and _NUMBER.search(text) is not None and not (found.label and found.text)
    return is_numbered or not text.strip("-=*_#~")


def _blocks(lines: Sequence[Line], labels: Labels) -> tuple[bool, int, tuple[tuple[str, ...], ...]]:
    """Whether a blank line ends a conversation; how many lines have a label, or follow one without a blank line; and
    the labels of each conversation."""
    between_blanks: list[list[str]] = [[]]
    divided: list[list[str]] = [[]]
    day, inside, is_open = "", 0, False
    for line in lines:
        key, each = labels.of(line.text)
        is_blank = not line.text.strip() and not labels.stamped
        if (labels.divides(line) and not key) or each.day not in ("", day):
            divided.append([])
            is_blank = True
        day = each.day or day
        if is_blank:
            between_blanks.append([])
        is_open = not is_blank and (is_open or key != "")
        inside += is_open
        if key:
            between_blanks[-1].append(key)
            divided[-1].append(key)
    filled = [block for block in between_blanks if block]
    several = sum(len(set(block)) > 1 for block in filled)
    by_blank = not labels.stamped and len(filled) > 1 and 2 * several >= len(filled)
    return by_blank, inside, tuple(tuple(block) for block in (filled if by_blank else divided) if block)


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
    return known or ("user" if column(folded) in ASKED else "assistant" if column(folded) in ANSWERED else "")


def candidates(labels: Labels) -> list[Candidate]:
    """The conversations that the labels may be; none if they hardly are speakers."""
    turns = [key for block in labels.blocks for at, key in enumerate(block) if not at or block[at - 1] != key]
    counts = Counter(turns)
    if len(counts) < 2 or len(turns) < LEAST_TURNS or labels.are_fields or (
            labels.share < LEAST_SHARE or labels.inside < LEAST_INSIDE):
        return []
    ranked = sorted(counts, key=lambda key: (-counts[key], turns.index(key)))
    known = [next((key for key in ranked if role(key) == wanted), "") for wanted in ("user", "assistant")]
    pair = known if all(known) else ranked[:2]
    if not all(known) and role(pair[0]) != "user" and role(pair[1]) != "assistant":
        begins = Counter(next(key for key in block if key in pair) for block in labels.blocks
                         if not set(pair).isdisjoint(block))
        pair = sorted(pair, key=lambda key: (role(key) == "assistant", role(key) != "user", -begins[key]))
    if sum(counts[key] for key in pair) < LEAST_OF_PAIR * len(turns):
        return []
    inner = sum(key not in pair for block in labels.blocks for key in block[_first(block, pair):])
    others = [key for key in ranked if key not in pair]
    if inner > FEW * len(turns):
        everyone = [key for key in ranked if key != pair[1]][:MOST_NAMED]
        return [_candidate(labels, pair[:1], pair[1:], ONE_KNOWN if all(known) else GROUP, len(counts)),
                _candidate(labels, everyone, pair[1:], GROUP - 0.1, len(counts)),
                _candidate(labels, pair[1:], pair[:1], GROUP - 0.2, len(counts))]
    sure = KNOWN if (all(known) and labels.inside >= SHARE) or (labels.dated and not others) else (
        ONE_KNOWN if any(map(role, pair)) else UNKNOWN)
    found = [_candidate(labels, pair[:1], pair[1:], sure, 2)]
    return found if all(known) else [*found, _candidate(labels, pair[1:], pair[:1], UNKNOWN - 0.1, 2)]


def _first(block: Sequence[str], pair: Sequence[str]) -> int:
    return next((at for at, key in enumerate(block) if key in pair), len(block))


def _candidate(labels: Labels, user: Sequence[str], assistant: Sequence[str], certainty: float,
               people: int) -> Candidate:
    asks, answers = (" + ".join(labels.names[key] for key in keys) for keys in (user, assistant))
    evidence = Evidence("speakers", {"user": asks, "assistant": answers, "n": people})
    return Candidate("conversation", {}, ReadOptions(text_by=DIALOGUE, user=asks, assistant=answers), certainty,
                     (evidence,))


def turns(said: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Roles and texts as messages, those of one role in a row as one."""
    found: list[dict[str, Any]] = []
    for role, text in said:
        if found and found[-1]["role"] == role:
            found[-1]["content"] = "\n".join(filter(None, (found[-1]["content"], text)))
        else:
            found.append({"role": role, "content": text})
    return found


class _Message(NamedTuple):
    role: str
    text: str
    line: int
    block: int


def conversations(lines: Iterable[Line | Raw], labels: Labels, user: str, assistant: str,
                  notes: list[str]) -> Iterator[Raw]:
    """The conversations of two sides; rows with a problem stay as they are.

    Args:
        labels: as found at the beginning of the text.
        user, assistant: as of `ReadOptions`.
        notes: gets a sentence on who speaks, and later on what was left out.
    """
    roles = {name.strip().casefold(): side for side, said in (("user", user), ("assistant", assistant))
             for name in [said, *said.split(" + ")]}
    notes.append(tr("“{user}” asks and “{assistant}” answers; the model learns these answers.", user=user,
                    assistant=assistant))
    others: Counter[str] = Counter()
    messages: list[_Message] = []
    yield from _messages(lines, labels, roles, messages, others)
    unanswered = 0
    for _, block in groupby(messages, key=lambda each: each.block):
        found = list(block)
        inner = list(dropwhile(lambda each: each.role == "assistant", found))
        answered = turns((each.role, each.text) for each in inner)
        if answered and answered[-1]["role"] == "user":
            del answered[-1]
        unanswered += len(turns((each.role, each.text) for each in found)) - len(answered)
        if answered:
            yield Raw({"messages": answered}, inner[0].line)
    notes += _left_out(others, unanswered)


def _messages(lines: Iterable[Line | Raw], labels: Labels, roles: dict[str, str], messages: list[_Message],
              others: Counter[str]) -> Iterator[Raw]:
    """Finds the messages of those who have a role, and counts those of others; the rows with a problem."""
    is_open, last, day, block = False, 0, "", 0
    for line in lines:
        if isinstance(line, Raw):
            yield line
            continue
        key, each = labels.of(line.text)
        key = each.label.casefold() if each.label.casefold() in roles else key
        gap, last = line.number > last + 1 and bool(last), line.number
        divides = labels.divides(line) and key not in roles
        if divides or (gap and labels.by_blank) or (labels.stamped and each.day not in ("", day)):
            block, is_open = block + 1, False
        day = each.day or day
        if key:
            is_open = key in roles
            others[labels.names.get(key, key)] += not is_open
            if is_open and not _NO_TEXT.fullmatch(each.text.strip()):
                messages.append(_Message(roles[key], each.text.strip(), line.number, block))
        elif each.stamped and labels.stamped:
            is_open = False
        elif is_open and messages and messages[-1].block == block and not divides:
            parts = (messages[-1].text, line.text.strip())
            messages[-1] = messages[-1]._replace(text=("\n\n" if gap else "\n").join(filter(None, parts)))


def _left_out(others: Counter[str], unanswered: int) -> list[str]:
    """What to know of messages that are in no conversation."""
    found = []
    if shown := [f"“{name}”" for name, n in others.most_common(5) if n]:
        found.append(tr("What is labelled {names} was left out.", names=", ".join(shown)))
    if unanswered:
        found.append(ntr("{n:,} message was left out: it is before a first question, or nobody answers it.",
                         "{n:,} messages were left out: they are before a first question, or nobody answers them.",
                         unanswered))
    return found


def records(lines: Iterable[Line | Raw], labels: Labels) -> Iterator[Raw]:
    """A row for each record, by its labels; rows with a problem stay as they are."""
    row: dict[str, str] = {}
    begin, name = 0, ""
    for line in lines:
        if isinstance(line, Raw):
            yield line
            continue
        key, each = labels.of(line.text)
        if key and (labels.names[key] in row or not row):
            if row:
                yield Raw(row, begin)
            row, begin = {}, line.number
        if key:
            name = labels.names[key]
            row[name] = each.text.strip()
        elif name and row and not labels.divides(line):
            row[name] = f"{row[name]}\n{line.text.strip()}".strip()
    if row:
        yield Raw(row, begin)
