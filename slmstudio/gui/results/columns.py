"""The columns of the runs table: any field of run.json, and any score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QFrame, QLineEdit, QListWidget, QListWidgetItem, QWidget

from slmstudio.core import units
from slmstudio.core.i18n import tr
from slmstudio.core.run.run_fields import write
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import label, outcome_chip
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import column_in
from slmstudio.gui.evaluation.tables import METRICS, benchmark_label, figure, metric_label

NAME = "name"
STANDARD = (NAME, "base", "eval_loss", "tuned.chrf", "seconds", "outcome")
LEFT_OUT = ("format", "kind", "protocol", "non_finite")
"""Fields that tell nothing apart."""
POPUP_WIDTH, POPUP_HEIGHT = 340, 420


def score_of(key: str) -> tuple[str, str, str] | None:
    """Benchmark, model and metric of a column that shows a score; None for another one."""
    front, _, metric = key.rpartition(".")
    if metric not in METRICS or not front:
        return None
    benchmark, _, model = front.rpartition(".")
    return benchmark, model, metric


def title(key: str) -> str:
    """A column's name for people."""
    score = score_of(key)
    if score is not None:
        benchmark, model, metric = score
        parts = [benchmark_label(benchmark) if benchmark else "", metric_label(metric),
                 "" if model == "tuned" else tr("base") if model == "base" else model]
        return " ".join(part for part in parts if part)
    return {NAME: tr("Run"), "base": tr("Base"), "eval_loss": tr("Eval loss"), "seconds": tr("Time"),
            "outcome": tr("Outcome"), "created": tr("Created"), "tags": tr("Tags"), "note": tr("Note"),
            "train_loss": tr("Train loss"), "steps": tr("Steps"), "joules": tr("Energy"),
            "rested": tr("Rested"), "peak_c": tr("Highest temperature"),
            "model": tr("Base model, folder"),
            }.get(key, label(key))


def csv_title(key: str) -> str:
    """A column's name in a file, whose figures are bare."""
    return {"seconds": tr("Time (s)"), "joules": tr("Energy (J)"), "rested": tr("Rested (s)"),
            "peak_c": tr("Highest temperature (°C)")}.get(key) or title(key)


def tooltip(key: str) -> str:
    if key == "eval_loss":
        return tr("Loss at the end of the run, on rows it wasn't trained on. Lower is better. Compare only runs with "
                  "the same eval rows.")
    if key == "rested":
        return tr("How long the heat guard made the run rest: because of heat, on battery, or outside its hours.")
    if key == "peak_c":
        return tr("The highest temperature of a card, or of the processor if no card reports one.")
    if score_of(key) is not None:
        return tr("From the evaluation that counts for the run: first of its own held-out rows, then the one with the "
                  "most rows; for benchmarks, the newest. Compare only runs that were tested on the same rows.")
    return f"{title(key)} ({key})" if title(key) != key else key


def cell(key: str, value: Any) -> str:
    """A value as the table shows it."""
    if value is None:
        return "—"
    score = score_of(key)
    if score is not None:
        return figure(score[2], value)
    if key in ("eval_loss", "train_loss"):
        return f"{value:.2f}"
    if key == "peak_c":
        return tr("{degrees:.0f} °C", degrees=value)
    if key in ("seconds", "rested"):
        return units.format_duration(value)
    if key == "joules":
        return units.format_energy(value)
    if key == "outcome":
        return outcome_chip(value)[0]
    if isinstance(value, bool):
        return tr("on") if value else tr("off")
    return " ".join(write([str(each) for each in value] if isinstance(value, list) else value).split())


def is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def sort_key(value: Any) -> tuple[int, Any]:
    """Numbers before words, so that any column can be sorted."""
    if isinstance(value, int | float):
        return 0, float(value)
    return 1, str(value).casefold()


def known_columns(fields: Iterable[str]) -> list[str]:
    """All columns there may be, those one asks for most at first."""
    names = {name for name in fields if name.split(".")[0] not in LEFT_OUT}
    first = [*STANDARD, "created", "tags", "note", "train_loss", "steps", "joules", "rested", "peak_c"]
    scores = sorted(name for name in names if score_of(name) and name not in first)
    rest = sorted(names - set(first) - set(scores), key=lambda name: title(name).casefold())
    return [*first, *scores, *rest]


class ColumnChooser(QFrame):
    """A list of all columns with a mark beside each that is shown.

    Signals:
        changed(list[str]): these columns, in their order.
    """

    changed = Signal(list)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent, Qt.WindowType.Popup)
        self.setProperty("card", True)
        self._chosen: list[str] = []
        self.search = named(QLineEdit(placeholderText=tr("Search the fields")), "column_search",
                            tr("Search the fields"), tr("Type part of a field's name."))
        self.search.textChanged.connect(self._search)
        self.list = named(QListWidget(), "column_list", tr("Columns"))
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.itemChanged.connect(self._mark)
        self.list.itemActivated.connect(_toggle)
        self.standard = SecondaryButton(tr("Reset"), tr("Show the default columns."), "small", name="columns_standard",
                                        clicked=lambda: self._decide(list(STANDARD)))
        column_in(self, text_label(tr("Columns of the table"), "section"), self.search, self.list,
                  (self.standard, 0, Qt.AlignmentFlag.AlignLeft), margins=theme.SPACE_M)
        self.resize(POPUP_WIDTH, POPUP_HEIGHT)

    def open_at(self, place: QPoint, columns: list[str], known: list[str]) -> None:
        """Show the list at a place of the screen."""
        self._chosen = list(columns)
        self._fill([*columns, *(name for name in known if name not in columns)])
        self.search.clear()
        self.move(place)
        self.show()
        self.search.setFocus()

    def _fill(self, names: list[str]) -> None:
        blocked = self.list.blockSignals(True)
        self.list.clear()
        for name in names:
            shown = title(name)
            same = name.replace("_", " ") == shown.casefold() or score_of(name) is not None
            item = QListWidgetItem(shown if same else f"{shown} · {name}")
            item.setData(Qt.ItemDataRole.UserRole, name)
            item.setToolTip(plain_tip(tooltip(name)))
            item.setCheckState(Qt.CheckState.Checked if name in self._chosen else Qt.CheckState.Unchecked)
            if name == NAME:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
            self.list.addItem(item)
        self.list.blockSignals(blocked)

    def _search(self, text: str) -> None:
        wanted = text.casefold()
        for row in range(self.list.count()):
            self.list.item(row).setHidden(wanted not in self.list.item(row).text().casefold())

    def _mark(self, item: QListWidgetItem) -> None:
        name = str(item.data(Qt.ItemDataRole.UserRole))
        kept = [each for each in self._chosen if each != name]
        if item.checkState() == Qt.CheckState.Checked:
            at = kept.index("outcome") if kept and kept[-1] == "outcome" else len(kept)  # the outcome stays the last
            kept.insert(at, name)
        self._chosen = kept
        self.changed.emit(list(kept))

    def _decide(self, columns: list[str]) -> None:
        self._chosen = columns
        self._fill([str(self.list.item(row).data(Qt.ItemDataRole.UserRole)) for row in range(self.list.count())])
        self.changed.emit(list(columns))


def _toggle(item: QListWidgetItem) -> None:
    checked = item.checkState() == Qt.CheckState.Checked
    item.setCheckState(Qt.CheckState.Unchecked if checked else Qt.CheckState.Checked)
