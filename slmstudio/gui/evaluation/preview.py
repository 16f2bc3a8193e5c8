"""What is known about an evaluation before it starts: its rows, what they can tell, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core.data.rows import as_sentence
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.at_end import Pace, total
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.run.time_estimate import source_text
from slmstudio.gui.common.tasks import Task

FEW_ROWS = 100
"""With fewer, only a large difference can be told from chance."""
LONG_SECONDS = 3600
NAMED_PROBLEMS = 3


@dataclass(frozen=True)
class Look:
    """
    Attributes:
        rows: that can be asked; None if nobody knows.
        text: of which kinds they are.
        warnings: sentences on what a user should know before the start.
        fetched: where a benchmark's data on this machine came from; "" if they aren't here.
    """

    rows: int | None
    text: str = ""
    warnings: tuple[str, ...] = ()
    fetched: str = ""


def look_at_rows(request: Mapping[str, Any], task: Task) -> Look:
    """Read a test set, and look for its questions among those that were learned.

    Raises:
        UserError: it isn't a test set.
        ReadingCancelled: the task was cancelled.
    """
    from slmstudio.core.evaluation.testset.reader import doubt, read_test_set

    found = read_test_set(str(request["test"]), task.progress, task.cancelled, request.get("test_columns"))
    warnings = [*(as_sentence(each.message) for each in filter(None, [doubt(found)])), *found.notes]
    if found.problems:
        named = "; ".join(map(str, found.problems[:NAMED_PROBLEMS]))
        more = len(found.problems) - NAMED_PROBLEMS
        warnings.append(tr("Skipped: {rows}; and {more:,} more.", rows=named, more=more) if more > 0 else
                        tr("Skipped: {rows}.", rows=named))
    warnings += _learned(request, found, task)
    return Look(len(found.items), found_text(found.kinds, len(found.problems)), tuple(warnings))


def _learned(request: Mapping[str, Any], test: Any, task: Task) -> list[str]:
    """A sentence about test rows that were used for training."""
    from slmstudio.core.evaluation.held_out import learned_rows
    from slmstudio.core.evaluation.testset.overlap import find_overlap

    if not request.get("train_file"):
        return []
    try:
        rows, sha256 = learned_rows(request, task.cancelled)
        overlap = find_overlap(test.items, rows, sha256 == test.sha256, cancelled=task.cancelled)
    except UserError as error:
        if task.cancelled():
            raise
        return [tr("It isn't known whether the model was trained on test rows. {why}", why=error.what)]
    return [sentence] if (sentence := overlap.sentence()) else []


def look_at_benchmark(name: str, folder: Path | None) -> Look:
    """Look whether a benchmark's data were fetched; or into the folder that was chosen for it: how many subjects there
    are, and which are missing. Only MMLU's own layout is looked into; what else a folder may hold, the worker knows."""
    from slmstudio.core.evaluation import benchmark_store
    from slmstudio.core.evaluation.testset.reader import find_mmlu

    if folder is None:
        try:
            known = benchmark_store.find(name) if name else None
        except UserError as error:  # it was fetched, but is no longer complete
            return Look(None, warnings=(" ".join(filter(None, (error.what, error.why, error.remedy))),))
        return Look(None, fetched=known.sentence()) if known else Look(
            None, tr("Its data isn't on this machine. Download it once, or choose a folder that contains it."))
    try:
        found = find_mmlu(folder) if name == "mmlu" else None
    except UserError:
        found = None
    if found is None:
        return Look(None)
    missing = found.sentence()
    return Look(None, ntr("{n:,} subject.", "{n:,} subjects.", len(found.subjects)),
                (missing,) if missing else ())


def found_text(kinds: Mapping[str, int], problems: int) -> str:
    """As in "40 with free answers, 3 multiple choice, 2 rows can't be used"."""
    parts = [_kind_text(kind, count) for kind, count in kinds.items() if count]
    if problems:
        parts.append(ntr("{n:,} row can't be used", "{n:,} rows can't be used", problems))
    return ", ".join(parts)


def _kind_text(kind: str, count: int) -> str:
    return {"free": ntr("{n:,} with a free answer", "{n:,} with free answers", count),
            "choice": ntr("{n:,} multiple choice", "{n:,} multiple choice", count),
            "number": ntr("{n:,} with a number", "{n:,} with numbers", count),
            "exact": ntr("{n:,} with an exact answer", "{n:,} with exact answers", count),
            "pattern": ntr("{n:,} with a pattern", "{n:,} with patterns", count),
            }.get(kind, f"{count:,} {kind}")


def rows_warning(rows: int | None, limit: int) -> str:
    """What a small number of rows can tell; "" when there are enough."""
    asked = min(rows, limit) if rows and limit else rows or limit
    if not asked or asked >= FEW_ROWS:
        return ""
    few = ntr("{n:,} row can only show a large difference.", "{n:,} rows can only show a large difference.", asked)
    more = (tr("There are {rows:,}: use more of them.", rows=rows) if rows and rows >= FEW_ROWS else
            tr("To see small differences too, use {rows:,} or more.", rows=2 * FEW_ROWS))
    return f"{few} {more}"


def time_text(rows: int | None, limit: int, models: Sequence[str], known: Mapping[str, Pace]) -> str:
    """How long it will take.

    Args:
        known: what answers take, by the model's name.
    """
    count = min(rows, limit) if rows and limit else rows or limit
    expected = total(known, models, count) if count else None
    if expected is None:
        return ""
    text = ntr("{n:,} answer: {time} ({source}).", "{n:,} answers: {time} ({source}).", count * len(models),
               time=expected.text(), source=source_text(expected))
    pause = tr("You can pause it, or stop and continue later. Finished answers are kept.")
    return f"{text} {pause}" if expected.likely > LONG_SECONDS else text
