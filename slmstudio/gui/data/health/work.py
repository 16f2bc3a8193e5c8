"""The work behind the health of a dataset, done in threads: tokens, findings, and what fixing would change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.common.tasks import Task

if TYPE_CHECKING:
    from slmstudio.core.data.health.finding import Change, Context, Finding, Fixed
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.record import Record
    from slmstudio.core.data.versions.store import Lineage, Source, Step
    from slmstudio.core.run.rows_report import RowsReport

SHOWN_CHANGES = 40
APART_FROM = 5_000
"""Rows from which on the check would hold up the window; of fewer it is done before another process has begun."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What a report is about.

    Attributes:
        model: folder of the model whose tokens count; None counts none.
        max_length: tokens that a row may have; None if there is no plan.
    """

    dataset: Dataset
    eval_dataset: Dataset | None
    model: Path | None
    max_length: int | None

    def is_same(self, other: Asked) -> bool:
        return (self.dataset is other.dataset and self.eval_dataset is other.eval_dataset
                and self.model == other.model and self.max_length == other.max_length)


@dataclass(frozen=True)
class Report:
    """
    Attributes:
        asked: what it is about.
        made: what was found.
        lineage: how this version of the dataset was made; None if it is none, or nobody knows.
    """

    asked: Asked
    made: RowsReport
    lineage: Lineage | None

    def context(self) -> Context:
        """What the findings were made with, for fixing."""
        from slmstudio.core.run.rows_report import context_of

        asked, evaluation = self.asked, self.asked.eval_dataset
        return context_of(self.made.counts, self.made.special, len(asked.dataset.records), asked.max_length,
                          evaluation.records if evaluation is not None else None)


def make(asked: Asked, before: Report | None, task: Task) -> Report:
    """Count the tokens and check the rows; of many rows, in a separate process.

    Args:
        before: the report before this one; its tokens are taken where they are of the same rows and model.

    Raises:
        UserError: that process ended before it was done.
        ReadingCancelled: the task was cancelled.
    """
    from dataclasses import replace

    from slmstudio.core.run import rows_report

    known = replace(before.made, findings=()) if before is not None and before.made.counts is not None and (
        before.asked.dataset is asked.dataset and before.asked.model == asked.model) else None
    dataset, evaluation = asked.dataset, asked.eval_dataset
    made = rows_report.ask(dataset, evaluation, asked.model, asked.max_length, known, task.progress, task.cancelled
                           ) if len(dataset.records) >= APART_FROM else None
    return Report(asked, made or rows_report.make(
        dataset.records, evaluation.records if evaluation is not None else None, asked.model, asked.max_length, known,
        task.progress, task.cancelled), _lineage(dataset.path))


def _lineage(path: Path) -> Lineage | None:
    from slmstudio.core.data.versions.store import read_lineage

    try:
        return read_lineage(path)
    except UserError:  # which is said above the rows
        return None


@dataclass(frozen=True)
class Preview:
    """What fixing would do.

    Attributes:
        rewritten, removed: rows.
        steps: what is done, for the lineage.
        first: the first changes.
        changes: how many there are.
    """

    fixed: Fixed
    rewritten: int
    removed: int
    steps: list[Step]
    first: tuple[Change, ...]
    changes: int


def preview(report: Report, decisions: Mapping[str, str], task: Task) -> Preview:
    """Fix the rows in memory.

    Raises:
        ReadingCancelled: the task was cancelled.
    """
    from slmstudio.core.data.health.survey import fix

    dataset = report.asked.dataset
    fixed = fix(dataset.records, decisions, report.context(), task.cancelled)
    rewritten = sum(record is not dataset.records[index]
                    for record, index in zip(fixed.records, fixed.kept, strict=True))
    return Preview(fixed, rewritten, len(dataset.records) - len(fixed.records),
                   fixed.steps(decisions, dataset.rows_left_out), tuple(_of_each_kind(fixed.changes)),
                   len(fixed.changes))


def _of_each_kind(changes: list[Change]) -> list[Change]:
    """The first changes, by turns of each kind, so that every kind is seen; in their order."""
    places: dict[str, list[int]] = {}
    for place, change in enumerate(changes):
        its = places.setdefault(change.kind, [])
        if len(its) < SHOWN_CHANGES:
            its.append(place)
    chosen: list[int] = []
    for turn in range(SHOWN_CHANGES):
        chosen += [its[turn] for its in places.values() if turn < len(its)]
    return [changes[place] for place in sorted(chosen[:SHOWN_CHANGES])]


def apply(report: Report, decisions: Mapping[str, str], task: Task) -> Dataset:
    """Write what was decided as a new version, and read that. Of a version it is one of the file before, with all that
    was done to it.

    Raises:
        UserError: it can't be written, or no rows would be left.
        ReadingCancelled: the task was cancelled.
    """
    from slmstudio.core.data.versions.store import read_lineage

    found, dataset = preview(report, decisions, task), report.asked.dataset
    earlier = read_lineage(dataset.path)
    if earlier is not None and earlier.before is not None:
        return write_from(found.fixed.records, [earlier.before], [*earlier.steps, *found.steps], task)
    return write(dataset, found.fixed.records, found.steps, task)


def write(dataset: Dataset, records: Sequence[Record], steps: list[Step], task: Task) -> Dataset:
    """Write rows made from a dataset as a new version, and read that.

    Raises:
        UserError: it can't be written, or there are no rows.
    """
    from slmstudio.core.data.versions.store import Source

    return write_from(records, [Source.of(dataset, rows=len(dataset.records) + dataset.rows_left_out)], steps, task)


def write_from(records: Sequence[Record], sources: list[Source], steps: list[Step], task: Task, *,
               like: Path | None = None, seed: int | None = None) -> Dataset:
    """As `write`, from several. `like` and `seed` as in `store.write`."""
    import gc

    from slmstudio.core.data.reader import read_dataset
    from slmstudio.core.data.versions import store

    if not records:
        raise UserError(tr("No rows would be left, so nothing was saved."), "", tr("Remove fewer rows."))
    path = store.write(records, sources, steps, like=like, seed=seed)
    found = read_dataset(path, task.progress, task.cancelled)
    gc.freeze()  # as in `reading.read`
    return found


def rows_of(finding: Finding, records: Sequence[Record]) -> list[int]:
    """Indices of the rows that a finding is about."""
    files = finding.detail.get("files") or [""] * len(finding.lines)
    several = "files" in finding.detail
    wanted = set(zip(files, finding.lines, strict=True))
    return [index for index, record in enumerate(records)
            if ((record.file if several else ""), record.line) in wanted]


def answers_beside(records: Sequence[Record], rows: Sequence[int]) -> tuple[list[int], dict[int, str]]:
    """Of rows, given with their indices: those whose answers contradict each other, together; and by index the other
    answers."""
    from slmstudio.core.data.health.finding import Context
    from slmstudio.core.data.health.near import CancellableProgress
    from slmstudio.core.data.health.survey import survey

    kind = "conflicting_answers"
    found = survey(records, Context(), {kind}, CancellableProgress(len(records)))
    groups: list[list[int]] = found[kind].detail["groups"] if kind in found else []
    return ([rows[place] for group in groups for place in group],
            {rows[place]: "\n".join(dict.fromkeys(
                answer for other in group
                if (answer := records[other].messages[-1]["content"]) != records[place].messages[-1]["content"]))
             for group in groups for place in group})


def before(path: Path, task: Task) -> tuple[Dataset | None, Exception | None]:
    """Read the file that a version was made from, and move the version to the trash.

    Returns:
        the dataset before, None of a mix; and why the version couldn't be moved.

    Raises:
        UserError: the file before can't be read; nothing was moved then.
    """
    from slmstudio.core.data.reader import read_as
    from slmstudio.core.data.versions import store

    lineage = store.read_lineage(path)
    source = lineage.before if lineage is not None else None
    found = None
    if source is not None:
        if source.path is None or not source.path.exists():
            raise UserError(tr("{source} is no longer there, so this can't be undone.", source=source.name),
                            tr("It was moved, renamed or deleted."), tr("The version that is open stays as it is."))
        found = read_as(source.path, source.given, task.progress, task.cancelled)
        if source.sha256 and found.sha256 != source.sha256:
            raise UserError(tr("{source} has changed since this version was made, so this can't be undone.",
                               source=source.name), "", tr("Open that file on its own. This version stays as it is."))
    try:
        store.remove(path)
    except UserError as error:
        return found, error
    return found, None
