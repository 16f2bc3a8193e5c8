"""Fixes what a check finds: changes texts or removes rows, and records exactly what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from slmstudio.core.data.health.finding import KINDS, Change, Context, Fixed
from slmstudio.core.data.health.progress import CancellableProgress
from slmstudio.core.data.health.survey import TextCheck, survey, text_checks
from slmstudio.core.data.health.texts import Row, is_blank, rewritten
from slmstudio.core.data.record import Record

REMOVED = ("empty_answer", "refusals", "placeholders", "replacement_characters", "too_long", "overlap",
           "duplicate_rows", "near_duplicates", "short_answer")
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
        ValueError: a kind is unknown.
    """
    context, wanted = context or Context(), frozenset(kinds)
    if unknown := wanted - KINDS.keys():
        raise ValueError(f"Unknown kinds of findings: {', '.join(sorted(unknown))}.")
    progress = CancellableProgress(len(records), cancelled=cancelled)
    checks = {kind: each for kind, each in text_checks(context.special_tokens).items() if kind in wanted}
    fixed = Fixed(list(records), [], list(range(len(records))))
    gone: dict[int, str] = {}
    for place, record in enumerate(records) if checks else ():
        progress.step()
        fixed.records[place], hopeless = _mended(record, checks, fixed.changes)
        if hopeless is not None:
            gone[place] = hopeless
    _take_out(fixed, gone)
    for kind in (each for each in REMOVED if each in wanted):
        lengths = context.lengths and [context.lengths[index] for index in fixed.kept]
        sought = {kind, "duplicate_rows"} if kind == "near_duplicates" else {kind}
        found = survey(fixed.records, replace(context, lengths=lengths), sought, progress)
        rows = set(found[kind].rows) if kind in found else set()
        if kind == "near_duplicates" and "duplicate_rows" in found:
            # They were skipped as duplicates, and would be near-duplicates once the first of them is gone.
            rows |= {row for row, first in found["duplicate_rows"].detail["partners"] if first in rows}
        _take_out(fixed, dict.fromkeys(rows, kind))
    return fixed


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
