"""Checks a dataset: goes through all rows once and finds what is wrong with them, before a model learns from them."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.data.health.answers import (
    ending,
    folded,
    interjection,
    is_closing,
    is_long,
    is_short,
    opening,
    refusal,
)
from slmstudio.core.data.health.finding import Context, Finding
from slmstudio.core.data.health.kinds import KINDS
from slmstudio.core.data.health.near import near_duplicates
from slmstudio.core.data.health.progress import CancellableProgress
from slmstudio.core.data.health.repeats import conflicts, duplicates, question_and_answer, whole
from slmstudio.core.data.health.text_checks import Look, text_checks
from slmstudio.core.data.health.texts import answers, everything, is_blank, spoken
from slmstudio.core.data.record import Record

LABEL_ROWS = 3
"""A short answer in this many rows is a label ("yes", "ham")."""
SHORT_SHARE = 0.1
SHORT_ROWS = 10
"""If more rows than both have short answers, short answers are what the dataset is about."""
PHRASE_SHARE = 0.002
PHRASE_ROWS = 10
"""A sentence begins or ends this many different answers before it counts as a stock phrase."""


@dataclass(slots=True)
class Found:
    """Rows with one kind of fault: their indices, ascending, and what else is known."""

    rows: list[int] = field(default_factory=list)
    detail: dict[str, Any] = field(default_factory=dict)

    def add(self, row: int, example: str | None = None) -> None:
        """One more row; the first example is kept."""
        self.rows.append(row)
        if example is not None:
            self.detail.setdefault("example", example)


def check(records: Sequence[Record], context: Context | None = None,
          progress: Callable[[int, int], None] | None = None,
          cancelled: Callable[[], bool] | None = None) -> list[Finding]:
    """Everything that is found in the rows, in the order of `KINDS`. It needs less than 1 KB of memory per row.

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
    context = context or Context()
    if context.lengths is not None and len(context.lengths) != len(records):
        raise ValueError(f"There are {len(context.lengths)} lengths for {len(records)} rows.")
    steps = CancellableProgress(2 * len(records), progress, cancelled)
    found = survey(records, context, frozenset(KINDS), steps)
    steps.finish()
    return [_finding(kind, found[kind], records) for kind in KINDS if kind in found]


def _finding(kind: str, found: Found, records: Sequence[Record]) -> Finding:
    rows, detail = found.rows, dict(found.detail)
    several = any(records[row].file for row in rows)
    if not several:
        rows = sorted(rows, key=lambda row: records[row].line)
    else:
        detail["files"] = [records[row].file for row in rows]
    for name in ("partners", "groups"):
        if name in detail:
            detail[name] = [[records[row].line for row in group] for group in detail[name]]
    return Finding(kind, len(rows), tuple(records[row].line for row in rows), detail)


def survey(records: Sequence[Record], context: Context, kinds: frozenset[str],
           progress: CancellableProgress) -> dict[str, Found]:
    """What is found of these kinds, by kind.

    Raises:
        ReadingCancelled: the user asked to end.
    """
    row_wise = _RowWise(records, context, kinds)
    if kinds - {"near_duplicates", "too_long"}:
        for index, record in enumerate(records):
            progress.step(row_wise.look_at(index, record))
    found = row_wise.found
    if not kinds.isdisjoint(("duplicate_rows", "near_duplicates")):
        repeated = duplicates(records, row_wise.hashes(records))
        if "duplicate_rows" in kinds:
            found["duplicate_rows"] = _partners(repeated)
        if "near_duplicates" in kinds:
            found["near_duplicates"] = _partners(near_duplicates(records, set(repeated), progress))
    late: dict[str, Callable[[], Found]] = {
        "conflicting_answers": row_wise.conflicting_answers, "short_answer": row_wise.short_answers,
        "boilerplate": row_wise.stock_phrases, "too_long": lambda: _too_long(context)}
    found |= {kind: look() for kind, look in late.items() if kind in kinds}
    if "overlap" in kinds and found.get("overlap"):
        found["overlap"].detail["others"] = row_wise.overlap_counts()
    return {kind: each for kind, each in found.items() if each.rows}


class _RowWise:
    """What is looked for in each row by itself, and what is kept of it to compare rows: hashes alone."""

    def __init__(self, records: Sequence[Record], context: Context, kinds: frozenset[str]):
        self.found: dict[str, Found] = {}
        self._asking, self._questions, self._answered = array("q"), array("q"), array("q")
        self._records = records
        self._context = context
        self._kinds = kinds
        self._checks = text_checks(context.special_tokens, kinds)
        self._hashes = array("q")
        self._asked_elsewhere = {row.prompt for rows in context.others.values() for row in rows}
        self._overlapping: set[tuple[str, ...]] = set()
        self._short_rows, self._short = array("q"), array("q")
        self._phrase_rows, self._openings, self._endings = array("q"), array("q"), array("q")
        self._answers_seen: set[int] = set()
        self._phrases: Counter[int] = Counter()

    def look_at(self, index: int, record: Record) -> int:
        """Look at one row; how many characters it has."""
        texts = everything(record)
        look = Look(texts)
        if self._checks:
            self._check_texts(index, record, texts, look)
        given = answers(record)
        kinds = self._kinds
        if "empty_answer" in kinds and self._is_empty(record, given):
            self._add("empty_answer", index)
        if "overlap" in kinds and self._asked_elsewhere and record.prompt in self._asked_elsewhere:
            self._overlapping.add(record.prompt)
            self._add("overlap", index, record.prompt[-1][:80] if record.prompt else None)
        if "duplicate_rows" in kinds:
            self._hashes.append(hash(whole(record)))
        if "conflicting_answers" in kinds and (pair := question_and_answer(record)) is not None:
            self._asking.append(index)
            self._questions.append(pair[0])
            self._answered.append(pair[1])
        if "refusals" in kinds and (said_so := next(filter(None, map(refusal, given)), None)):
            self._add("refusals", index, said_so)
        if given and "short_answer" in kinds:
            self._look_at_short(index, record, given[-1])
        if "boilerplate" in kinds:
            for answer in given:
                self._look_at_phrases(index, answer)
        return len(look.joined)

    def hashes(self, records: Sequence[Record]) -> array[int]:
        """Hash of each row as a whole."""
        return self._hashes if len(self._hashes) == len(records) else array("q", map(hash, map(whole, records)))

    def overlap_counts(self) -> dict[str, int]:
        """How many rows of each other dataset are asked in this one."""
        return {name: sum(row.prompt in self._overlapping for row in rows)
                for name, rows in self._context.others.items()}

    def conflicting_answers(self) -> Found:
        groups = conflicts(self._asking, self._questions, self._answered)
        return Found(sorted(row for group in groups for row in group), {"groups": groups})

    def short_answers(self) -> Found:
        """Rows with short answers that aren't labels."""
        found = Found()
        if len(self._short_rows) > max(SHORT_ROWS, SHORT_SHARE * len(self._records)):
            return found
        counts = Counter(self._short)
        for row, answer in zip(self._short_rows, self._short, strict=True):
            if counts[answer] < LABEL_ROWS:
                found.add(row, answers(self._records[row])[-1])
        return found

    def frequent_phrases(self) -> set[int]:
        """Hashes of the sentences that begin or end many different answers."""
        least = max(PHRASE_ROWS, PHRASE_SHARE * len(self._records))
        return {phrase for phrase, count in self._phrases.items() if count >= least}

    def stock_phrases(self) -> Found:
        """Rows with answers that begin or end with a stock phrase; "phrases" are the frequent ones."""
        frequent = self.frequent_phrases()
        found = self.found.pop("boilerplate", Found())
        known = dict.fromkeys(found.rows, found.detail.get("example"))
        phrases: dict[str, int] = {}
        for row, first, last in zip(self._phrase_rows, self._openings, self._endings, strict=True):
            if first in frequent or last in frequent:
                known.setdefault(row, None)
                for answer in answers(self._records[row]):
                    for phrase in {opening(answer), ending(answer)} - {None}:
                        if phrase is not None and is_long(phrase) and hash(folded(phrase)) in frequent:
                            phrases[folded(phrase)] = phrases.get(folded(phrase), 0) + 1
        found.rows = sorted(known)
        if phrases:
            found.detail["phrases"] = phrases
            found.detail.setdefault("example", max(phrases, key=phrases.__getitem__)[:80])
        return found

    def _check_texts(self, index: int, record: Record, texts: list[str], look: Look) -> None:
        without_tools = None
        for check in self._checks:
            if check.may(look):
                if check.part == "spoken":
                    where = without_tools = spoken(record) if without_tools is None else without_tools
                else:
                    where = texts
                if (piece := next((found for found in map(check.find, where) if found is not None), None)) is not None:
                    self._add(check.kind, index, piece)

    def _add(self, kind: str, index: int, example: str | None = None) -> None:
        self.found.setdefault(kind, Found()).add(index, example)

    def _is_empty(self, record: Record, given: list[str]) -> bool:
        beside = (text for text in (record.rejected, record.text) if text is not None)
        return any(map(is_blank, (*given, *beside)))

    def _look_at_short(self, index: int, record: Record, answer: str) -> None:
        if len(answer) < 40 and record.messages[-1]["content"] == answer and not is_blank(answer):
            question = "\n".join(message["content"] for message in record.messages[:-1])
            if is_short(answer, question):
                self._short_rows.append(index)
                self._short.append(hash(folded(answer)))

    def _look_at_phrases(self, index: int, answer: str) -> None:
        first, last = opening(answer), ending(answer)
        phrase = interjection(answer) or (last if last is not None and is_closing(last) else None)
        if phrase is not None:
            known = self.found.setdefault("boilerplate", Found())
            if not known.rows or known.rows[-1] != index:
                known.add(index, phrase.strip()[:80])
        hashes = [hash(folded(sentence)) if sentence is not None and is_long(sentence) else 0
                  for sentence in (first, last)]
        if hashes != [0, 0]:
            self._phrase_rows.append(index)
            self._openings.append(hashes[0])
            self._endings.append(hashes[1])
            seen = hash(answer)
            if seen not in self._answers_seen:
                self._answers_seen.add(seen)
                self._phrases.update({each for each in hashes if each})


def _partners(earlier: dict[int, int]) -> Found:
    return Found(sorted(earlier), {"partners": sorted(map(list, earlier.items()))})


def _too_long(context: Context) -> Found:
    lengths, limit = context.lengths, context.max_length
    if lengths is None or limit is None:
        return Found()
    rows = [index for index, length in enumerate(lengths) if length > limit]
    return Found(rows, {"max_length": limit, "least_length": max(lengths, default=0),
                        "percent": 100 * len(rows) / max(1, len(lengths))})
