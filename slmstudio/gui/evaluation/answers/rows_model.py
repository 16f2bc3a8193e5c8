"""The rows of an evaluation as a table, and the line above it that filters and orders them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QAbstractTableModel, QRect, Qt, QTimer, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QLineEdit, QTableView, QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.scores.metrics import METRICS, main_metric
from slmstudio.core.i18n import number_text, ptr, tr
from slmstudio.gui.common.dialogs import write_csv
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.common.widgets import table_cells
from slmstudio.gui.common.widgets.fields import ComboBox, folded, named
from slmstudio.gui.common.widgets.labels import plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import row_in
from slmstudio.gui.common.widgets.table_cells import NO_PARENT, Index
from slmstudio.gui.evaluation.tables import figure, metric_label, model_label

if TYPE_CHECKING:
    from slmstudio.core.evaluation.scoring import Row

LINE, QUESTION, FIRST, SECOND, GAIN = range(5)
ROW_HEIGHT, SHOWN = 32, 200
MOST_WIDTH = 110
"""The most width of a column with scores: a longer heading is elided."""
GAINS, LOSSES, WORST, BEST, FILE = "gain", "loss", "worst", "best", "file"
ORDERS = (GAINS, LOSSES, WORST, BEST, FILE)


def order_label(order: str) -> str:
    return {GAINS: tr("Largest gain first"), LOSSES: tr("Largest loss first"), WORST: tr("Worst answers first"),
            BEST: tr("Best answers first"), FILE: tr("As in the file")}[order]


@dataclass(frozen=True)
class View:
    """Which rows are shown, and how.

    Attributes:
        first, second: names of the two models that are compared; the second is the one that is looked at.
        order: one of ORDERS.
        category, language: None shows all, "" those without one.
        text: occurs in the question, an answer or a reference.
    """

    first: str
    second: str
    order: str = GAINS
    category: str | None = None
    language: str | None = None
    text: str = ""


@dataclass(frozen=True)
class ReadRows:
    rows: list[Row]
    categories: list[str]
    languages: list[str]


def progress_of(task: Task, cancelled: str) -> Callable[[int, int], None]:
    """Tells how far the work of a task is; it raises a UserError with these words where the task was cancelled."""
    def tell(done: int, total: int) -> None:
        if task.cancelled():
            raise UserError(cancelled)
        task.progress(done, total)

    return tell


def read_answers(folder: Path, known: list[Row], task: Task) -> ReadRows:
    """The rows of an evaluation with their scores; those that are `known` aren't scored again where nothing has
    changed.

    Raises:
        UserError: they can't be read, or the task was cancelled.
    """
    from slmstudio.core.evaluation import benchmark_store
    from slmstudio.core.evaluation.answer_rows import read_rows

    tell = progress_of(task, tr("Reading the answers was cancelled."))
    rows = (benchmark_store.read_rows(folder, tell) if benchmark_store.shows_rows(folder) else
            read_rows(folder).scored(tell, known))
    return ReadRows(rows, sorted({row.category or "" for row in rows}), sorted({row.language or "" for row in rows}))


def question(row: Row) -> str:
    """The last user message of a row."""
    return next((m["content"] for m in reversed(row.messages) if m.get("role") == "user"), "")


def row_score(row: Row, model: str) -> tuple[str, float] | None:
    """The score by which a row of its kind is judged, with its metric; None if the model has none."""
    scores = row.scores.get(model, {})
    metric = main_metric(scores, [row.kind])
    return (metric, scores[metric]) if metric else None


def all_scores(row: Row, model: str) -> str:
    """Every score of a model's answer, one per line."""
    return "\n".join(f"{metric_label(metric)} {figure(metric, value)}"
                     for metric, value in row.scores.get(model, {}).items())


def goodness(row: Row, model: str) -> float | None:
    """The row's score, with its sign turned where lower is better."""
    found = row_score(row, model)
    if found is None:
        return None
    return found[1] if METRICS[found[0]].higher_is_better else -found[1]


def arrange(rows: Sequence[Row], view: View, cancelled: Callable[[], bool]) -> list[int]:
    """Indices of the rows that a view shows, in its order; rows without a score come last."""
    wanted = folded(view.text)
    found = []
    for index, row in enumerate(rows):
        if index % 1000 == 0 and cancelled():
            return []
        if _in(view.category, row.category) and _in(view.language, row.language) and (
                not wanted or any(wanted in folded(text) for text in _texts(row))):
            found.append(index)
    if view.order == FILE:
        return found
    by_gain = view.order in (GAINS, LOSSES)
    values = {index: rows[index].gain(view.second, view.first) if by_gain else goodness(rows[index], view.second)
              for index in found}
    known = [index for index in found if values[index] is not None]
    known.sort(key=lambda index: values[index] or 0.0, reverse=view.order in (GAINS, BEST))
    return known + [index for index in found if values[index] is None]


def _in(wanted: str | None, its: str | None) -> bool:
    return wanted is None or (its or "") == wanted


def _texts(row: Row) -> list[str]:
    return [question(row), *row.answers.values(), *row.references]


def rows_as_table(rows: list[Row], models: list[str]) -> list[list[object]]:
    """Headings and rows: everything that is known about each, for a CSV. Headings are English: programs read them."""
    metrics = [metric for metric in METRICS if any(metric in row.scores.get(name, {}) for row in rows
                                                   for name in models)]
    head: list[object] = ["line", "category", "language", "question", "reference"]
    for name in models:
        head += [f"{name} answer", *(f"{name} {METRICS[metric].label}" for metric in metrics)]
    out = [head]
    for row in rows:
        line: list[object] = [row.line, row.category, row.language, question(row), "\n".join(row.references)]
        for name in models:
            scores = row.scores.get(name, {})
            line += [row.answers.get(name, ""), *(scores.get(metric) for metric in metrics)]
        out.append(line)
    return out


class RowsModel(QAbstractTableModel):
    """Rows by their index, so that a hundred thousand of them are shown at once."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.rows: Sequence[Row] = ()
        self.shown: list[int] = []
        self.view = View("base", "tuned")

    def show_rows(self, rows: Sequence[Row], shown: list[int], view: View) -> None:
        self.beginResetModel()
        self.rows, self.shown, self.view = rows, shown, view
        self.endResetModel()

    def row_at(self, place: int) -> Row:
        return self.rows[self.shown[place]]

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.shown)

    def columnCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else 5

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return (tr("Line"), tr("Question"), model_label(self.view.first), model_label(self.view.second),
                    tr("Gain"))[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(section)
        if role == Qt.ItemDataRole.ToolTipRole:
            return (tr("Line in the test file, counted from 1"), tr("The question"),
                    *(plain_tip(tr("The score of {model} for this row", model=model_label(model)))
                      for model in (self.view.first, self.view.second)),
                    tr("How much better the second model did than the first"))[section]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(index.column())
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return None
        row, column = self.row_at(index.row()), index.column()
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(question(row)[:2000] if column == QUESTION else self._tip(row, column))
        if column == LINE:
            return number_text(row.line if row.line is not None else row.id + 1)
        if column == QUESTION:
            return " ".join(question(row)[:SHOWN].split())
        if column == GAIN:
            gain = row.gain(self.view.second, self.view.first)
            return "—" if gain is None else signed(gain)
        found = row_score(row, self._model(column))
        return figure(*found) if found else "—"

    def _model(self, column: int) -> str:
        return self.view.first if column == FIRST else self.view.second

    def _tip(self, row: Row, column: int) -> str:
        if column not in (FIRST, SECOND):
            return ""
        model = self._model(column)
        return all_scores(row, model) or row.skipped.get(model, "")


def signed(value: float) -> str:
    """A difference with its sign: "+31.1", "−0.7"."""
    text = number_text(value, "+,.1f")
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def _alignment(column: int) -> int:
    side = Qt.AlignmentFlag.AlignLeft if column == QUESTION else Qt.AlignmentFlag.AlignRight
    return int(side | Qt.AlignmentFlag.AlignVCenter)


class _Delegate(table_cells.CellDelegate):
    """Where there is no room, questions are cut at the end, not in the middle like paths."""

    def _paint_text(self, painter: QPainter, rect: QRect, text: str, size: int, colour: str, bold: bool,
                    align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
                    elide: Qt.TextElideMode = Qt.TextElideMode.ElideRight) -> None:
        super()._paint_text(painter, rect, text, size, colour, bold, align, elide)


class RowsTable(QTableView):
    """The list at the left of the answers; rows are of one height, so that any number scrolls smoothly."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setObjectName("evaluated_rows")
        self.rows = RowsModel(self)
        self.setModel(self.rows)
        table_cells.dress(self, ROW_HEIGHT, tr("Rows of the test set"))
        self.setItemDelegate(_Delegate(self))
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setWordWrap(False)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header = self.horizontalHeader()
        for column in (LINE, FIRST, SECOND, GAIN):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(QUESTION, QHeaderView.ResizeMode.Stretch)
        self.rows.modelReset.connect(self._fit_columns)
        self._fit_columns()

    def save(self, path: Path, models: list[str], failed: Callable[[Exception], object]) -> None:
        """Write the rows that are shown, in their order, as CSV."""
        rows = [self.rows.rows[index] for index in self.rows.shown]
        run_task(self, lambda task: write_csv(path, rows_as_table(rows, models)), lambda _: None, failed)

    def _fit_columns(self) -> None:
        """Room for the headings, which differ with the language; the name of a model may be too long for that."""
        header = self.horizontalHeader()
        for column, least in ((LINE, 62), (FIRST, 70), (SECOND, 70), (GAIN, 70)):
            header.resizeSection(column, min(max(least, header.sectionSizeHint(column)), MOST_WIDTH))


SEARCH_AFTER_MS = 200


class RowsFilters(QWidget):
    """
    Signals:
        changed: other rows, or another order, are wanted.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.search = named(QLineEdit(placeholderText=tr("Search questions and answers"), clearButtonEnabled=True),
                            "rows_search", tr("Search questions and answers"),
                            tr("Show rows whose question, answers or reference contain this (Ctrl+F)."))
        tips = {"rows_order": tr("What comes first in the list."),
                "rows_category": tr("Show the rows of one category."),
                "rows_language": tr("Show the rows of one language."),
                "rows_first": tr("The model to compare with."),
                "rows_second": tr("The model to look at.")}
        self.order, self.category, self.language, self.first, self.second = (
            _choice(name, tip) for name, tip in tips.items())
        for order in ORDERS:
            self.order.addItem(order_label(order), order)
        self._against = text_label(ptr("two models", "against"), "small")
        self._wait = QTimer(self, interval=SEARCH_AFTER_MS, singleShot=True)
        self._wait.timeout.connect(self.changed)
        self.search.textChanged.connect(lambda: self._wait.start())
        row = row_in(self, (self.search, 1))
        for widget in (self.order, self.category, self.language, self.second, self._against, self.first):
            row.addWidget(widget)
            if isinstance(widget, ComboBox):
                widget.activated.connect(lambda: self.changed.emit())

    def begin(self, names: list[str], order: str, *, again: bool = False) -> None:
        """Offer the answers of these models; the first two are beside each other.

        Args:
            again: they are of the same evaluation as before: its category and language stay chosen.
        """
        self.order.setCurrentIndex(ORDERS.index(order))
        self.search.clear()
        self._wait.stop()  # whoever begins asks for the rows
        if not again:
            self.category.clear()
            self.language.clear()
        for choice, name in ((self.first, names[0]), (self.second, names[min(1, len(names) - 1)])):
            choice.clear()
            for each in names:
                choice.addItem(model_label(each), each)
            choice.setCurrentIndex(choice.findData(name))
        for widget in (self.first, self._against, self.second):
            widget.setVisible(len(names) > 2)

    def offer(self, categories: list[str], languages: list[str]) -> None:
        """Offer these; what is chosen stays so where it is still there."""
        for choice, every, values in ((self.category, tr("All categories"), categories),
                                      (self.language, tr("All languages"), languages)):
            kept = choice.currentData()
            choice.clear()
            choice.addItem(every, None)
            for value in values:
                choice.addItem(value or tr("(none)"), value)
            choice.setCurrentIndex(max(0, choice.findData(kept)) if kept is not None else 0)
            choice.setVisible(len(values) > 1)

    def names(self) -> list[str]:
        """All models."""
        return [str(self.first.itemData(index)) for index in range(self.first.count())]

    def view(self) -> View:
        """What is wanted now."""
        self._wait.stop()
        return View(str(self.first.currentData()), str(self.second.currentData()), str(self.order.currentData()),
                    self.category.currentData(), self.language.currentData(), self.search.text().strip())


def _choice(name: str, tooltip: str) -> ComboBox:
    choice = named(ComboBox(), name, tooltip.rstrip("."), tooltip)
    choice.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToContents)
    return choice
