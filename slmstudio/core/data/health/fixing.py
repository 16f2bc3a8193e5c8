"""Fixes what a check finds: changes texts or removes rows, and records exactly what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from slmstudio.core.data.health.answers import without_phrases
from slmstudio.core.data.health.finding import Change, Context, Fixed, Found
from slmstudio.core.data.health.kinds import KINDS
from slmstudio.core.data.health.progress import CancellableProgress
from slmstudio.core.data.health.repeats import duplicates
from slmstudio.core.data.health.survey import survey
from slmstudio.core.data.health.text_checks import text_checks
from slmstudio.core.data.health.texts import Part, is_blank, rewritten
from slmstudio.core.data.record import Record

BOILERPLATE = "boilerplate"
REMOVED = ("empty_answer", "refusals", "placeholders", "replacement_characters", "too_long", "overlap",
           "duplicate_rows",
           "near_duplicates", "short_answer")
"""Kinds whose rows are removed, in this order: of two rows that repeat each other, the good one stays; and how often
a short answer occurs is counted when the others are gone."""
ROUNDS = 20


def fix(records: Sequence[Record], kinds: Iterable[str], context: Context | None = None,
        cancelled: Callable[[], bool] | None = None) -> Fixed:
    """Fix everything of these kinds; a check of the result finds none of them. `records` stay as they are.

    A row whose question or answer is blank after the fix is removed. Kinds without a fix are skipped.

    Args:
        records: the rows.
        kinds: ids of `KINDS`.
        context: as it was given to `check`.
        cancelled: asked every few milliseconds; True ends it.

    Raises:
        ReadingCancelled: `cancelled` said so.
        ValueError: a kind is unknown, or `context.lengths` doesn't have one length for each row.
    """
    context = context or Context()
    wanted = frozenset(kinds)
    if unknown := wanted - KINDS.keys():
        raise ValueError(f"Unknown kinds of findings: {', '.join(sorted(unknown))}.")
    if context.lengths is not None and len(context.lengths) != len(records):
        raise ValueError(f"There are {len(context.lengths)} lengths for {len(records)} rows.")
    work = _Work(records, context, CancellableProgress(len(records), cancelled=cancelled))
    work.mend(wanted)
    while work.remove_all(wanted) and BOILERPLATE in wanted:
        # With fewer rows, a sentence counts as frequent sooner.
        work.mend(wanted)
    return Fixed(work.rows, work.changes, work.kept)


class _Hopeless(Exception):
    """A text can't be mended, or nothing of it is left."""


def _mended(text: str, mend: Callable[[str], str | None], changes: list[tuple[str, str]]) -> str:
    new = mend(text)
    if new is None or (is_blank(new) and not is_blank(text)):
        raise _Hopeless
    if new != text:
        changes.append((text, new))
    return new


class _Work:
    """The rows as they are so far, and what was done to them."""

    def __init__(self, records: Sequence[Record], context: Context, progress: CancellableProgress):
        self.rows = list(records)
        self.kept = list(range(len(records)))
        self.changes: list[Change] = []
        self._context = context
        self._progress = progress

    def mend(self, wanted: frozenset[str]) -> None:
        """Change texts until none of the wanted kinds is found in them."""
        checks = [check for check in text_checks(self._context.special_tokens, wanted) if check.mend]
        kinds = frozenset(check.kind for check in checks) | (wanted & {BOILERPLATE})
        for _ in range(ROUNDS if kinds else 0):
            found = survey(self.rows, self._context, kinds, self._progress)
            gone: dict[int, str] = {}
            before = len(self.changes)
            for check in checks:
                if check.mend and check.kind in found:
                    self._rewrite(check.kind, check.mend, check.part, found, gone)
            if BOILERPLATE in found:
                frequent = frozenset(found[BOILERPLATE].detail.get("phrases", ()))
                self._rewrite(BOILERPLATE, partial(without_phrases, frequent=frequent), "answers", found, gone)
            self._take_out(gone)
            if len(self.changes) == before:
                return

    def remove_all(self, wanted: frozenset[str]) -> bool:
        """Remove the rows of all wanted kinds; whether there were any."""
        removed = [self._remove(kind) for kind in REMOVED if kind in wanted]
        return any(removed)

    def _remove(self, kind: str) -> bool:
        context = self._context
        if context.lengths is not None:
            lengths = context.lengths
            context = replace(context, lengths=[lengths[index] for index in self.kept])
        found = survey(self.rows, context, frozenset({kind}), self._progress).get(kind, Found())
        gone = set(found.rows)
        if kind == "near_duplicates" and gone:
            # They were skipped as duplicates, and would be near-duplicates once the first of them is gone.
            gone |= {row for row, first in duplicates(self.rows).items() if first in gone}
        self._take_out(dict.fromkeys(gone, kind))
        return bool(gone)

    def _rewrite(self, kind: str, mend: Callable[[str], str | None], part: Part, found: dict[str, Found],
                 gone: dict[int, str]) -> None:
        """Mend the texts of the rows that were found; those where that is impossible are to go."""
        for place in (each for each in found[kind].rows if each not in gone):
            record = self.rows[place]
            changes: list[tuple[str, str]] = []
            try:
                new = rewritten(record, partial(_mended, mend=mend, changes=changes), part)
            except _Hopeless:
                gone[place] = kind
                continue
            if changes:  # rows that need no fix stay the very same objects
                self.rows[place] = new
                self.changes += [Change(record.line, kind, before, after, record.file) for before, after in changes]

    def _take_out(self, gone: dict[int, str]) -> None:
        """Remove the rows at these places, each for its kind."""
        for place in sorted(gone):
            record = self.rows[place]
            self.changes.append(Change(record.line, gone[place], "\n\n".join(record.contents), None, record.file))
        staying = [place for place in range(len(self.rows)) if place not in gone]
        self.rows = [self.rows[place] for place in staying]
        self.kept = [self.kept[place] for place in staying]
