"""Scores of several runs beside each other: what the paired test says about them, the figures, and the answers
behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QSplitter, QWidget

from slmstudio.core.evaluation import comparability
from slmstudio.core.evaluation.paired import ComparedRun, Paired, compare_runs, comparison_sentence
from slmstudio.core.files import an_object
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import choose_file, csv_kinds
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.banner import ErrorBanner, report_error
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.figures import Figure, FigureTable
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import plain_tip, show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in, column_widget, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.evaluation.answers.detail import RowDetail
from slmstudio.gui.evaluation.answers.rows_model import (
    FIRST,
    GAINS,
    SECOND,
    RowsFilters,
    RowsTable,
    View,
    arrange,
    progress_of,
)
from slmstudio.gui.evaluation.jobs import Evaluation
from slmstudio.gui.evaluation.tables import (
    METRICS,
    MOST_SENTENCES,
    benchmark_label,
    main_comparisons,
    metric_help,
    metric_label,
    score_figure,
    sentence,
)
from slmstudio.gui.results.run_facts import RunFacts

if TYPE_CHECKING:
    from slmstudio.core.evaluation.answer_rows import Row, Rows

SIZE, LIST_WIDTH = (1160, 640), 500
NAME_WIDTH = 110
"""Pixels of a column that is headed by the name of a run."""


class ComparedRows(QDialog):
    """A list of the rows, with the chosen one at its right.

    Args:
        rows: the "models" are runs.
        title: of the window.
    """

    def __init__(self, rows: Rows, title: str, parent: QWidget | None = None):
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self.resize(*SIZE)
        self._rows: list[Row] = []
        self._task = TaskSlot()
        self.banner = ErrorBanner()
        self.table, self.detail, self.filters = RowsTable(), _Shown(), RowsFilters()
        self.table.setObjectName("compared_rows")
        header = self.table.horizontalHeader()
        header.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        for column in (FIRST, SECOND):
            header.resizeSection(column, NAME_WIDTH)
        self.strip = ProgressStrip(cancelled=self.reject)
        self.count = text_label("", "small", name="compared_count")
        self.save = IconButton("save", tr("Save the rows that are shown as CSV"), name="compared_csv",
                               clicked=lambda: choose_file(self, tr("Save the rows"), "answers.csv", csv_kinds(),
                                                           self.save_table))
        self.filters.begin(rows.names, GAINS)
        self.filters.changed.connect(self.apply)
        self.table.selectionModel().currentRowChanged.connect(lambda: self._show_row())
        add_key(self, "Ctrl+F", self.filters.search.setFocus, inside=True)
        self._lay_out()
        self.finished.connect(lambda: self._task.cancel())
        self.strip.start(tr("Scoring each row"))
        cancelled = tr("Scoring the rows was cancelled.")
        self._task.run(self, lambda task: rows.scored(progress_of(task, cancelled)), self._show, self._failed,
                       self.strip.set_progress)

    def _lay_out(self) -> None:
        left = column_widget((self.table, 1), self.count, spacing=theme.SPACE_XS)
        halves = QSplitter()
        halves.setChildrenCollapsible(False)
        halves.setHandleWidth(theme.SPACE_M)
        for number, half in enumerate((left, self.detail)):
            halves.addWidget(half)
            halves.setStretchFactor(number, 1 + number)
        halves.setSizes([LIST_WIDTH, SIZE[0] - LIST_WIDTH])
        column_in(self, self.banner, self.strip, row_of((self.filters, 1), self.save, spacing=None), (halves, 1),
                  margins=None)

    def _failed(self, error: Exception) -> None:
        self.strip.end()
        self.banner.show_error(error)

    def _show(self, rows: list[Row]) -> None:
        self.strip.end()
        self._rows = rows
        self.filters.offer(sorted({row.category or "" for row in rows}), sorted({row.language or "" for row in rows}))
        self.apply()

    def apply(self) -> None:
        """Show the rows that the fields ask for, in their order."""
        if not self._rows:
            return
        rows, view = self._rows, self.filters.view()
        self._task.run(self, lambda task: arrange(rows, view, task.cancelled),
                       lambda shown: self._show_arranged(shown, view), self._failed)

    def _show_arranged(self, shown: list[int], view: View) -> None:
        self.table.rows.show_rows(self._rows, shown, view)
        every = len(self._rows)
        self.count.setText(
            ntr("{n:,} row", "{n:,} rows", every) if len(shown) == every else
            tr("{shown:,} of {all:,} rows", shown=len(shown), all=every))
        if shown:
            self.table.selectRow(0)
        self._show_row()

    def _show_row(self) -> None:
        index, view = self.table.currentIndex(), self.table.rows.view
        self.detail.show_row(self.table.rows.row_at(index.row()) if index.isValid() else None, view.first, view.second)

    def save_table(self, path: Path) -> None:
        """Write the rows that are shown, in their order, as CSV."""
        self.table.save(path, self.filters.names(), self.banner.show_error)


class _Shown(RowDetail):
    """A row that can't be changed: it belongs to several evaluations."""

    def __init__(self) -> None:
        super().__init__()
        self.foot.hide()

    def show_row(self, row: Row | None, first: str, second: str) -> None:
        super().show_row(row, first, second)
        self.reference.edit.hide()


TESTS = ""
"""Stands for a test set where others are named by their benchmark."""
MOST_REMARKS = 6
"""Remarks that are shown: each may take two lines, and the table is below them."""
Shown = dict[str, list[Evaluation | None]]
"""By the benchmark, or `TESTS`: of each run the evaluation whose scores are shown."""


class ComparedScores(QWidget):
    """The page of scores."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: list[RunFacts] = []
        self._shown: Shown = {}
        self._tests: list[ComparedRun] = []
        self._benchmarks: dict[str, list[ComparedRun]] = {}
        self._key: object = None
        self._task = TaskSlot()
        self._given_up = False
        self.paired: Paired | None = None
        self.table = FigureTable(tr("Scores of the runs"))
        self.table.setObjectName("compare_scores")
        self.verdicts = text_label("", "body", wrap=True, name="compare_verdicts")
        self.remarks = text_label("", "small", wrap=True, name="compare_remarks")
        self.strip = ProgressStrip(cancelled=self._give_up)
        self.strip.end()
        self.again = SecondaryButton(tr("Test the difference"),
                                     tr("Compare the runs' answers to the same rows one by one with a paired test."),
                                     "small", name="compare_again", clicked=lambda: self.start(asked=True))
        self.rows = SecondaryButton(tr("Answers…"),
                                    tr("Show the runs' answers to the same rows side by side, largest gain first."),
                                    "small", name="compare_rows", clicked=self._show_rows)
        self._lay_out()
        self._show_state()

    def _lay_out(self) -> None:
        column_in(self, self.strip, row_of((self.verdicts, 1), self.again, self.rows), self.remarks, (self.table, 1))

    def show_runs(self, runs: list[RunFacts]) -> None:
        """Show the scores of these runs; what the paired test said stays where its evaluations are the same."""
        self._runs, self._shown = runs, shown(runs)
        self.table.show_rows(*score_rows(runs, self._shown))
        names = run_names(runs)
        sides = {title: [ComparedRun(name, each.folder) for name, each in zip(names, evaluations, strict=True) if each]
                 for title, evaluations in self._shown.items() if not _unpaired(title, evaluations)}
        self._tests = sides.pop(TESTS, [])
        self._benchmarks = {benchmark_label(name): each for name, each in sides.items()}
        key = [(names, each.folder, (each.scores or {}).get("created"))
               for evaluations in self._shown.values() for each in evaluations if each]
        if key != self._key:
            self.cancel()
            self._key, self.paired, self._given_up = key, None, False
            self._show_state()

    def hint(self) -> str:
        """Whether the scores compare."""
        return score_hint(self._runs, self._shown)

    # -- the paired test -------------------------------------------------------------------------------------

    def start(self, *, asked: bool = False) -> None:
        """Begin the paired test, unless it is done, or there is nothing to pair, or it was given up and nobody asks."""
        if self.paired is not None or self._task.is_busy() or not self._can() or (self._given_up and not asked):
            return
        tests, benchmarks = self._tests, self._benchmarks
        self.strip.start_soon(tr("Comparing the answers row by row"))
        cancelled = tr("The comparison was cancelled.")
        self._task.run(self, lambda task: compare_runs(tests, benchmarks, progress_of(task, cancelled)),
                       self.show_paired, self._not_paired, self.strip.set_progress)
        self._show_state()

    def _can(self) -> bool:
        """Whether two runs have been asked the same."""
        return any(len(sides) > 1 for sides in (self._tests, *self._benchmarks.values()))

    def cancel(self) -> None:
        """Give the paired test up; it can be begun again."""
        self._task.cancel()
        self.strip.end()
        self._show_state()

    def _give_up(self) -> None:
        self._given_up = True
        self.cancel()

    def show_paired(self, found: Paired) -> None:
        """Show what the paired test has found."""
        self.paired = found
        self.strip.end()
        self._show_state()

    def _not_paired(self, error: Exception) -> None:
        self._give_up()
        report_error(self, error)

    def _show_state(self) -> None:
        found = self.paired
        show_text(self.verdicts, "\n".join(verdicts(found) if found else []))
        remarks = found.remarks if found else []
        self.remarks.setText("\n".join(_limited(remarks, MOST_REMARKS)))
        self.remarks.setToolTip(plain_tip("\n".join(remarks)) if len(remarks) > MOST_REMARKS else "")
        self.remarks.setVisible(bool(self.remarks.text()))
        self.again.setVisible(found is None and not self._task.is_busy() and self._can())
        self.rows.setVisible(found is not None and found.rows is not None)

    def _show_rows(self) -> None:
        if self.paired is None or self.paired.rows is None:
            return
        first, *others = self.paired.rows.names
        ComparedRows(self.paired.rows, tr("Answers · {runs} against {first}", runs=", ".join(others), first=first),
                     self).show()


def verdicts(found: Paired) -> list[str]:
    """What the paired test says about the main score, in no more sentences than people will read."""
    return _limited([sentence({"sentence": comparison_sentence(each)}) for each in found.comparisons if each["main"]],
                    MOST_SENTENCES)


def _limited(lines: list[str], most: int) -> list[str]:
    """This many lines, and how many there are beyond them."""
    return lines if len(lines) <= most else [*lines[:most], tr("And {count:,} more.", count=len(lines) - most)]


def shown(runs: Sequence[RunFacts]) -> Shown:
    """The evaluations whose scores are shown: of test sets those of the same one where the runs share it, of each
    benchmark the newest."""
    tests = comparability.choose([(run.evaluations, run.summary.config.eval_file) for run in runs])
    found: Shown = {TESTS: tests} if any(tests) else {}
    of_benchmarks = [[each for each in run.evaluations
                      if each.scores and each.benchmark and not each.request.get("test")] for run in runs]
    for benchmark in sorted({each.benchmark for evaluations in of_benchmarks for each in evaluations}):
        found[benchmark] = [next((each for each in evaluations if each.benchmark == benchmark), None)
                            for evaluations in of_benchmarks]
    return found


def run_names(runs: Sequence[RunFacts]) -> list[str]:
    """What each run is called in a comparison: runs with the same name are told apart."""
    return comparability.unique([run.summary.config.name for run in runs])


def score_rows(runs: Sequence[RunFacts], found: Shown) -> tuple[list[str], list[list[Figure]]]:
    """Headings and rows of the tuned models' scores; the base's below each if the runs share it."""
    head = ["", *run_names(runs)]
    rows = []
    for benchmark, evaluations in found.items():
        deciding = {each.get("metric") for one in evaluations if one for each in main_comparisons(
            (one.scores or {}).get("comparisons") or [])}
        for model in ("tuned", "base"):
            scores = [each.model_scores(model) if each else {} for each in evaluations]
            for metric in sorted(METRICS, key=lambda metric: metric not in deciding):
                if any(metric in each for each in scores):
                    title = " ".join(filter(None, (benchmark_label(benchmark) if benchmark else "",
                                                   metric_label(metric))))
                    title += "" if model == "tuned" else f", {tr('base')}"
                    rows.append([Figure(title, tip=metric_help(metric)),
                                 *(score_figure(metric, each.get(metric), model == "tuned") for each in scores)])
    return head, rows


def score_hint(runs: Sequence[RunFacts], found: Shown) -> str:
    """Whether the scores compare, judged by each test set and benchmark that is shown."""
    if not found:
        return tr("None of these runs has been evaluated yet. Press Evaluate… on the right.")
    scored = {name: [each for each in evaluations if each] for name, evaluations in found.items()}
    shared = {name: there for name, there in scored.items() if len(there) > 1}
    troubles = [trouble for name, there in shared.items() if (trouble := _trouble(name, there))]
    if troubles:
        return " ".join(troubles)
    missing = sum(not any(evaluations[place] for evaluations in found.values()) for place in range(len(runs)))
    if missing:
        return ntr("{n:,} of them hasn't been evaluated yet. 95% intervals.",
                   "{n:,} of them haven't been evaluated yet. 95% intervals.", missing)
    if not shared:
        return tr("No two of these runs were tested on the same rows, so no scores can be compared.")
    if any(len(there) < len(runs) for there in scored.values()):
        return tr("Where several runs have a score, it is for the same rows. 95% intervals.")
    return tr("All tested on the same rows. 95% intervals.")


def _trouble(name: str, evaluations: list[Evaluation]) -> str:
    """Why the scores of a test set or of a benchmark don't compare, or ""."""
    if name == TESTS:
        return {comparability.ROWS: tr("Tested on different rows, so these scores can't be compared."),
                comparability.HOW: tr("The rows are the same, but they were asked with a different answer length or "
                                      "system prompt.")
                }.get(comparability.difference(evaluations), "")
    words = {"limit": tr("number of questions"), "shots": tr("examples before a question"),
             "data": tr("source of the questions"), "seed": tr("questions that were drawn")}
    unlike = comparability.unlike([_asked(each) for each in evaluations])
    return tr("{benchmark} wasn't asked in the same way, so its scores can't be compared. What differs: {differences}.",
              benchmark=benchmark_label(name), differences=", ".join(words[key] for key in unlike)) if unlike else ""


def _unpaired(name: str, evaluations: Sequence[Evaluation | None]) -> bool:
    """Whether it is a benchmark whose questions were asked in different ways, or come from different places."""
    return name != TESTS and not {"shots", "data"}.isdisjoint(
        comparability.unlike([_asked(each) for each in evaluations if each]))


def _asked(evaluation: Evaluation) -> dict[str, Any]:
    asked = an_object(evaluation.request.get("benchmark"))
    test = an_object((evaluation.scores or {}).get("test"))
    return comparability.benchmark_asked(asked.get("limit"), asked.get("shots"), test.get("path"),
                                     evaluation.request.get("seed"))
