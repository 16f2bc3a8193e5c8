"""Checks a dataset: goes through all rows once and finds what is wrong with them, before a model learns from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from slmstudio.core.data.health.answers import ShortAnswers, StockPhrases, refusal
from slmstudio.core.data.health.finding import Context, Finding, Found
from slmstudio.core.data.health.kinds import KINDS
from slmstudio.core.data.health.near import near_duplicates
from slmstudio.core.data.health.progress import CancellableProgress
from slmstudio.core.data.health.repeats import Conflicts, Duplicates, partners
from slmstudio.core.data.health.text_checks import Look, text_checks
from slmstudio.core.data.health.texts import answers, everything, is_blank, spoken
from slmstudio.core.data.record import Record


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


class _Check(Protocol):
    """Looks at each row, and knows at the end which of them are faulty."""

    def look(self, index: int, record: Record, given: list[str]) -> None:
        """Look at one row with these answers."""

    def found(self, records: Sequence[Record]) -> Found: ...


class _EachRow:
    """Rows in which `find` finds something: an example of it, or "" if there is nothing to show."""

    def __init__(self, find: Callable[[Record, list[str]], str | None]):
        self._find, self._found = find, Found()

    def look(self, index: int, record: Record, given: list[str]) -> None:
        if (piece := self._find(record, given)) is not None:
            self._found.add(index, piece or None)

    def found(self, records: Sequence[Record]) -> Found:
        return self._found


class _Overlap:
    """Rows that other datasets ask, too."""

    def __init__(self, context: Context):
        self._others = {name: [row.prompt for row in rows] for name, rows in context.others.items()}
        self._asked = {prompt for prompts in self._others.values() for prompt in prompts}
        self._here: set[tuple[str, ...]] = set()
        self._found = Found()

    def look(self, index: int, record: Record, given: list[str]) -> None:
        if self._asked and (prompt := record.prompt) in self._asked:
            self._here.add(prompt)
            self._found.add(index, prompt[-1][:80] if prompt else None)

    def found(self, records: Sequence[Record]) -> Found:
        self._found.detail["others"] = {name: sum(prompt in self._here for prompt in prompts)
                                        for name, prompts in self._others.items()}
        return self._found


def _empty(record: Record, given: list[str]) -> str | None:
    beside = (text for text in (record.rejected, record.text) if text is not None)
    return "" if any(map(is_blank, (*given, *beside))) else None


def _refusal(_record: Record, given: list[str]) -> str | None:
    return next(filter(None, map(refusal, given)), None)


def survey(records: Sequence[Record], context: Context, kinds: frozenset[str],
           progress: CancellableProgress) -> dict[str, Found]:
    """What is found of these kinds, by kind.

    Raises:
        ReadingCancelled: the user asked to end.
    """
    made: dict[str, Callable[[], _Check]] = {
        "empty_answer": lambda: _EachRow(_empty), "refusals": lambda: _EachRow(_refusal),
        "overlap": lambda: _Overlap(context), "conflicting_answers": Conflicts, "short_answer": ShortAnswers,
        "boilerplate": StockPhrases}
    checks = {kind: make() for kind, make in made.items() if kind in kinds}
    repeated = Duplicates()
    if not kinds.isdisjoint(("duplicate_rows", "near_duplicates")):
        checks["duplicate_rows"] = repeated
    found = _look_at_rows(records, context, kinds, checks, progress) if kinds != {"too_long"} else {}
    found |= {kind: check.found(records) for kind, check in checks.items()}
    if "near_duplicates" in kinds:
        found["near_duplicates"] = partners(near_duplicates(records, set(repeated.earlier), progress))
    found["too_long"] = _too_long(context)
    return {kind: each for kind, each in found.items() if kind in kinds and each.rows}


def _look_at_rows(records: Sequence[Record], context: Context, kinds: frozenset[str], checks: dict[str, _Check],
                  progress: CancellableProgress) -> dict[str, Found]:
    """What the checks of single texts find, by kind; the other ones look at each row, too."""
    found: dict[str, Found] = {}
    of_texts = text_checks(context.special_tokens, kinds)
    for index, record in enumerate(records):
        texts = everything(record)
        look = Look(texts)
        for check in of_texts:
            if check.may(look):
                for text in spoken(record) if check.part == "spoken" else texts:
                    if (piece := check.find(text)) is not None:
                        found.setdefault(check.kind, Found()).add(index, piece)
                        break
        given = answers(record)
        for each in checks.values():
            each.look(index, record, given)
        progress.step(len(look.joined))
    return found


def _too_long(context: Context) -> Found:
    lengths, limit = context.lengths, context.max_length
    if lengths is None or limit is None:
        return Found()
    rows = [index for index, length in enumerate(lengths) if length > limit]
    return Found(rows, {"max_length": limit, "least_length": max(lengths, default=0),
                        "percent": 100 * len(rows) / max(1, len(lengths))})
