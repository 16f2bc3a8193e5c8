"""Checks a dataset: goes through all rows once and finds what is wrong with them, before a model learns from them; and
fixes that: changes texts or removes rows, and records exactly what it did.

What is looked for are three tables: `text_checks` (texts that can be mended), `ROW_CHECKS` (rows that are faulty by
themselves) and `TOGETHER` (rows that repeat or contradict others). `finding.KINDS` says what each kind is.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from slmstudio.core.data.health import artifacts, personal
from slmstudio.core.data.health.artifacts import Part, Row, canonical, is_blank, rewritten
from slmstudio.core.data.health.finding import (
    KINDS,
    LEAVING_OUT,
    MENDING,
    WORDS,
    Change,
    Context,
    Finding,
    Fixed,
    by_cost,
    pattern,
)
from slmstudio.core.data.health.near import CancellableProgress, near_duplicates
from slmstudio.core.data.record import Record

_INTERJECTION, _CLOSING = pattern("interjection"), pattern("closing")
_SPEAKS_OF_ITSELF, _REFUSES = pattern("itself"), pattern("refusal")
"""Refusals count at the beginning of an answer alone: people in stories say these things too."""
_AI_WORDS = WORDS["words_of_itself"]
"""One of these is in every text that `_SPEAKS_OF_ITSELF` finds; looking for them is much quicker."""
_ASCII_AI_WORDS = tuple(filter(str.isascii, _AI_WORDS))
LAST = 400
"""Characters at the end among which the last sentence begins."""
_SAYS_A_LOT = pattern("says_a_lot")
LABEL_ROWS = 3
"""A short answer in this many rows is a label ("yes", "ham")."""
SHORT_SHARE, SHORT_ROWS = 0.1, 10
"""If more rows than both have short answers, short answers are what the dataset is about."""


def check(records: Sequence[Record], context: Context | None = None,
          progress: Callable[[int, int], None] | None = None,
          cancelled: Callable[[], bool] | None = None) -> list[Finding]:
    """Everything that is found in the rows, what costs most first. It needs less than 1 KB of memory per row.

    Args:
        records: the rows.
        context: what is known beside them.
        progress: called with (steps done, steps in all) about every 2,000 rows; a row has two steps, of which one is
            to look for near-duplicates.
        cancelled: asked every few milliseconds; True ends the check.

    Raises:
        ReadingCancelled: `cancelled` said so.
        ValueError: `context.lengths` doesn't have one length for each row.
    """
    steps = 2 * len(records)
    found = survey(records, context or Context(), KINDS, CancellableProgress(steps, progress, cancelled))
    if progress is not None:
        progress(steps, steps)
    return by_cost(_finding(kind, found[kind], records) for kind in KINDS if kind in found)


class Found(NamedTuple):
    """Rows with one kind of fault: their indices, ascending, and `Finding.detail` with indices instead of lines."""

    rows: list[int]
    detail: Mapping[str, Any]


def _finding(kind: str, found: Found, records: Sequence[Record]) -> Finding:
    rows = found.rows
    detail = {name: [[records[row].line for row in group] for group in value] if name in ("partners", "groups")
              else value for name, value in found.detail.items()}
    if "groups" in detail and any(records[row].rejected is not None or records[row].desirable is not None
                                  for row in rows):
        detail["pairs"] = True
    if any(records[row].file for row in rows):
        detail["files"] = [records[row].file for row in rows]
    else:
        rows = sorted(rows, key=lambda row: records[row].line)
    return Finding(kind, len(rows), tuple(records[row].line for row in rows), detail)


def survey(records: Sequence[Record], context: Context, kinds: Collection[str],
           progress: CancellableProgress) -> dict[str, Found]:
    """What is found of these kinds, by kind.

    Raises:
        ReadingCancelled: the user asked to end.
        ValueError: `context.lengths` doesn't have one length for each row.
    """
    asked = frozenset(row.prompt for rows in context.others.values() for row in rows)
    checks: dict[str, Callable[[Row], object]] = {
        **{kind: check.mended for kind, check in text_checks(context.special_tokens).items()}, **ROW_CHECKS,
        "overlap": lambda row: bool(asked) and row.record.prompt in asked}
    rows: dict[str, list[int]] = {kind: [] for kind in checks if kind in kinds}
    held = {kind: Held() for kind in TOGETHER
            if kind in kinds or (kind == "duplicate_rows" and "near_duplicates" in kinds)}
    for index, record in enumerate(records) if rows or held else ():
        row = Row(record)
        for kind, places in rows.items():
            if checks[kind](row):
                places.append(index)
        for kind, its in held.items():
            its.add(index, TOGETHER[kind][0](row))
        progress.step()
    found = {kind: Found(places, {}) for kind, places in rows.items()}
    found |= {kind: TOGETHER[kind][1](its, len(records)) for kind, its in held.items()}
    if "near_duplicates" in kinds:
        found["near_duplicates"] = _partners(near_duplicates(records, set(found["duplicate_rows"].rows), progress))
    found |= _too_long(context, records)
    return {kind: each for kind, each in found.items() if kind in kinds and each.rows}


def _too_long(context: Context, records: Sequence[Record]) -> dict[str, Found]:
    """Rows that lose their answer, and others that are cut. Plain text is split instead."""
    lengths, limit, count = context.lengths, context.max_length, len(records)
    if lengths is None or limit is None:
        return {}
    if len(lengths) != count:
        raise ValueError(f"There are {len(lengths)} lengths for {count} rows.")
    rows: dict[str, list[int]] = {"no_answer": [], "too_long": []}
    for row in (row for row, length in enumerate(lengths) if length > limit and records[row].text is None):
        rows["no_answer" if context.starts is not None and context.starts[row] >= limit else "too_long"].append(row)
    return {kind: Found(each, {"max_length": limit, "least_length": max(lengths, default=0),
                               "percent": 100 * len(each) / max(1, count),
                               "tokens": sum(lengths[row] - limit for row in each)}) for kind, each in rows.items()}


# -- texts that can be mended ----------------------------------------------------------------------------------


class TextCheck(NamedTuple):
    """A fault of texts that can be fixed.

    Attributes:
        mend: the text without it, the very same text where it isn't, or None if it can't be mended.
        may: whether a row may have it: quick, and never wrong when it says no.
        part: of the texts of a row, those in which it is looked for.
    """

    mend: Callable[[str], str | None]
    may: Callable[[Row], bool] = lambda row: True
    part: Part = "everything"

    def mended(self, row: Row) -> dict[str, str | None]:
        """What stands for each faulty text of a row."""
        if not self.may(row):
            return {}
        return {text: new for text in getattr(row, self.part) if (new := self.mend(text)) != text}


def text_checks(special_tokens: tuple[str, ...]) -> dict[str, TextCheck]:
    """By kind, in the order in which fixing goes: garbled text contains controls and joiners, which are gone once it is
    restored; what removes characters comes before what looks at words."""
    tokens = artifacts.token_finder(special_tokens)
    return {
        "mojibake": TextCheck(artifacts.ungarbled, partial(_has, artifacts.MAY_BE_GARBLED)),
        "html": TextCheck(artifacts.without_markup, artifacts.may_be_markup, "spoken"),
        "control_characters": TextCheck(artifacts.without_controls, partial(_has, artifacts.CONTROL)),
        "stray_joiners": TextCheck(artifacts.without_stray_joiners, partial(_has, artifacts.JOINER)),
        "special_tokens": TextCheck(partial(artifacts.without_tokens, finder=tokens)),
        "not_nfc": TextCheck(partial(unicodedata.normalize, "NFC")),
        "mixed_scripts": TextCheck(artifacts.in_own_script, artifacts.may_be_mixed),
        **{kind: TextCheck(partial(personal.masked, kind=kind), lambda row: row.may_be_personal)
           for kind in personal.IDENTIFIERS},
        "boilerplate": TextCheck(without_phrases, part="answers"),
    }


def _has(letter: re.Pattern[str], row: Row) -> bool:
    return letter.search(row.letters) is not None


def without_phrases(answer: str) -> str:
    """The answer without what assistants say before it ("Sure!") and after it ("I hope this helps!")."""
    while True:
        begun = _INTERJECTION.match(answer)
        ended = _CLOSING.search(answer, max(0, len(answer) - LAST))
        if begun and not is_blank(rest := answer[begun.end():].lstrip()):
            answer = rest[0].upper() + rest[1:]
        elif ended and not is_blank(answer[:ended.start(1)]):
            answer = answer[:ended.start(1)].rstrip()
        else:
            return answer


# -- rows that are faulty by themselves ------------------------------------------------------------------------


def _is_empty(row: Row) -> bool:
    beside = (text for text in (row.record.rejected, row.record.text) if text is not None)
    return any(map(is_blank, (*row.answers, *beside)))


def is_refusal(answer: str) -> bool:
    """Whether an assistant refuses or speaks of itself, in English, fifteen languages of India and elsewhere."""
    if _REFUSES.match(answer):
        return True
    words = _ASCII_AI_WORDS if answer.isascii() else _AI_WORDS
    return any(map(answer.casefold().__contains__, words)) and _SPEAKS_OF_ITSELF.search(answer) is not None


ROW_CHECKS: dict[str, Callable[[Row], bool]] = {
    "empty_answer": _is_empty,
    "refusals": lambda row: any(map(is_refusal, row.answers)),
    "placeholders": artifacts.has_placeholder,
    "replacement_characters": lambda row: "\ufffd" in row.letters,
    "romanised_hindi": artifacts.is_romanised_hindi,
}


# -- rows that repeat or contradict others ---------------------------------------------------------------------

Compared = tuple[Hashable, Hashable] | None
"""By what rows are compared, and what they answer; None for a row that has no part in the comparison."""


class Held:
    """Of each row that has a part in a comparison, its index and the hashes of what is compared; never texts."""

    def __init__(self) -> None:
        self.rows, self.keys, self.answers = array("q"), array("q"), array("q")

    def add(self, row: int, compared: Compared) -> None:
        if compared is not None:
            self.rows.append(row)
            self.keys.append(hash(compared[0]))
            self.answers.append(hash(compared[1]))

    def groups(self) -> list[list[int]]:
        """Places of equal keys, ascending, for each key; by their first places."""
        groups: dict[int, list[int]] = {}
        for place, key in enumerate(self.keys):
            groups.setdefault(key, []).append(place)
        return list(groups.values())


def _all_of_it(row: Row) -> Compared:
    record = row.record
    messages = tuple((each["role"], each["content"], canonical(each.get("tool_calls"))) for each in record.messages)
    return (messages, record.rejected, record.desirable, record.text, canonical(record.tools)), None


def _duplicates(held: Held, _count: int) -> Found:
    return _partners({held.rows[place]: held.rows[first] for first, *others in held.groups() for place in others})


def _partners(earlier: Mapping[int, int]) -> Found:
    """Rows, each with the earlier row that it is like."""
    return Found(sorted(earlier), {"partners": sorted(map(list, earlier.items()))})


def _question(row: Row) -> Compared:
    """What is asked and what is answered, with letters' case, blanks and a final stop left aside.

    - Of a chat row: everything before the last answer, and that answer.
    - Of a preference pair: the question with both answers, and the better one. So one answer that is better here and
      worse there contradicts itself, whereas several answers to one question are what such data is made of.
    - Of a labelled row: the question with its answer, and the label.
    """
    record = row.record
    if not record.messages:
        return None
    *before, last = ((each["role"], _plain(each["content"]), canonical(each.get("tool_calls")))
                     for each in record.messages)
    asked = (tuple(before), canonical(record.tools))
    if record.desirable is not None:
        return (asked, last), record.desirable
    both = None if record.rejected is None else frozenset((last[1], _plain(record.rejected)))
    return (asked, both), last


def _plain(text: str) -> str:
    text = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    return text.rstrip(" .।۔!") or text


def _conflicts(held: Held, _count: int) -> Found:
    """Rows that ask the same and answer differently; "groups" has those that belong together, by their first row."""
    groups = [[held.rows[place] for place in group] for group in held.groups()
              if len({held.answers[place] for place in group}) > 1]
    return Found(sorted(row for group in groups for row in group), {"groups": groups})


def _short(row: Row) -> Compared:
    """The last answer if it is one word of fewer than four characters or has no word at all.

    It is fine with a digit in it (a number, a date), where the question has it as a word (the letter of a choice), and
    in Chinese, Japanese, Korean and Thai, where a few characters say a lot.
    """
    answer = row.answers[-1].strip() if row.answers else ""
    if len(answer) >= 12 or is_blank(answer) or row.record.messages[-1]["content"] != row.answers[-1]:
        return None
    word = answer.strip(".!?।\"'()")
    if (len(word) >= 4 and any(map(str.isalpha, word))) or len(word.split()) > 1 or _SAYS_A_LOT.search(word):
        return None
    question = "\n".join(message["content"] for message in row.record.messages[:-1])
    return None if word and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", question) else (_plain(answer), None)


def _too_short(held: Held, count: int) -> Found:
    """Rows with short answers that aren't labels."""
    few = len(held.rows) <= max(SHORT_ROWS, SHORT_SHARE * count)
    return Found(sorted(held.rows[place] for group in held.groups() if few and len(group) < LABEL_ROWS
                        for place in group), {})


TOGETHER: dict[str, tuple[Callable[[Row], Compared], Callable[[Held, int], Found]]] = {
    "duplicate_rows": (_all_of_it, _duplicates),
    "conflicting_answers": (_question, _conflicts),
    "short_answer": (_short, _too_short),
}
"""What is compared of a row, and which rows are faulty of so many."""


# -- fixing ---------------------------------------------------------------------------------------------------

TOGETHER_LAST = ("duplicate_rows", "near_duplicates", "conflicting_answers", "short_answer")
"""Kinds whose rows are left out after all others, in this order: of two rows that repeat each other, the good one
stays; and how often a short answer occurs is counted when the others are gone."""
LEFT_OUT = (*(kind for kind in KINDS if kind not in TOGETHER_LAST), *TOGETHER_LAST)
ROUNDS = 20


def fix(records: Sequence[Record], decisions: Mapping[str, str], context: Context | None = None,
        cancelled: Callable[[], bool] | None = None) -> Fixed:
    """Do what was decided; a check of the result finds none of what was mended or left out. `records` stay as they are.

    A row whose question or answer is blank after the fix is removed.

    Args:
        records: the rows.
        decisions: ids of `CHOICES`, by the ids of `KINDS`.
        context: as it was given to `check`.
        cancelled: asked every few milliseconds; True ends it.

    Raises:
        ReadingCancelled: `cancelled` said so.
        ValueError: a kind is unknown, or has no such choice.
    """
    context = context or Context()
    if unknown := [f"{kind}={choice}" for kind, choice in decisions.items()
                   if kind not in KINDS or choice not in KINDS[kind].choices]:
        raise ValueError(f"Unknown decisions: {', '.join(sorted(unknown))}.")
    progress = CancellableProgress(len(records), cancelled=cancelled)
    checks = {kind: each for kind, each in text_checks(context.special_tokens).items()
              if decisions.get(kind) in MENDING}
    fixed = Fixed(list(records), [], list(range(len(records))))
    gone: dict[int, str] = {}
    for place, record in enumerate(records) if checks else ():
        progress.step()
        fixed.records[place], hopeless = _mended(record, checks, fixed.changes)
        if hopeless is not None:
            gone[place] = hopeless
    _take_out(fixed, gone)
    for kind in (each for each in LEFT_OUT if decisions.get(each) in LEAVING_OUT):
        _take_out(fixed, dict.fromkeys(_left_out(kind, decisions[kind], fixed, context, progress), kind))
    return fixed


def _left_out(kind: str, choice: str, fixed: Fixed, context: Context, progress: CancellableProgress) -> set[int]:
    """Places of the rows that a choice leaves out of those that are there."""
    lengths, starts = (each and [each[index] for index in fixed.kept] for each in (context.lengths, context.starts))
    sought = {kind, "duplicate_rows"} if kind == "near_duplicates" else {kind}
    found = survey(fixed.records, replace(context, lengths=lengths, starts=starts), sought, progress)
    rows = set(found[kind].rows) if kind in found else set()
    if choice == "longest" and rows:
        rows -= {max(group, key=lambda row: len(fixed.records[row].messages[-1]["content"]))
                 for group in found[kind].detail["groups"]}
    if kind == "near_duplicates" and "duplicate_rows" in found:
        # They were skipped as duplicates, and would be near-duplicates once the first of them is gone.
        rows |= {row for row, first in found["duplicate_rows"].detail["partners"] if first in rows}
    return rows


def _mended(record: Record, checks: dict[str, TextCheck], changes: list[Change]) -> tuple[Record, str | None]:
    """The row without what the checks find, the very same if they find nothing; and the kind of a fault that can't be
    mended, or of which nothing would be left."""
    row = Row(record)
    for _ in range(ROUNDS):
        before = row
        for kind, check in checks.items():
            if not (mended := check.mended(row)):
                continue
            texts = {text: new for text, new in mended.items()
                     if new is not None and (is_blank(text) or not is_blank(new))}
            if len(texts) < len(mended):
                return row.record, kind
            changes += [Change(record.line, kind, text, new, record.file) for text, new in texts.items()]
            row = Row(rewritten(row.record, lambda text, texts=texts: texts.get(text, text),  # type: ignore[misc]
                                check.part))
        if row is before:
            break
    return row.record, None


def _take_out(fixed: Fixed, gone: dict[int, str]) -> None:
    """Remove the rows at these places, each for its kind."""
    for place, kind in sorted(gone.items()):
        record = fixed.records[place]
        fixed.changes.append(Change(record.line, kind, "\n\n".join(record.contents), None, record.file))
    staying = [place for place in range(len(fixed.records)) if place not in gone]
    fixed.records = [fixed.records[place] for place in staying]
    fixed.kept = [fixed.kept[place] for place in staying]
