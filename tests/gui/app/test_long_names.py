"""Names of any length: what has no room is elided, nothing is cut off and nothing pushes the rest out of the window."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QHelpEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QTableView,
    QToolTip,
    QWidget,
)
from support import evaluated_runs
from support.results_window import show

from slmstudio.core import files
from slmstudio.gui.common.widgets.labels import ElidedLabel
from slmstudio.gui.common.widgets.table_cells import dress
from slmstudio.gui.evaluation.choice_parts import ModelBoxes
from slmstudio.gui.results.run_details import OVERVIEW, SCORES

LONG = "ward_office_helpdesk_export_2026-11-24_final_version_checked_by_two_people"
FIELDS = (QLabel, QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit)


def cut(root: QWidget) -> list[str]:
    """The texts in sight that lack room, and the fields that reach beyond what is around them."""
    found = []
    for widget in root.findChildren(QWidget):
        if not isinstance(widget, FIELDS) or not widget.isVisible():
            continue
        text = str(widget.text()) if isinstance(widget, QLabel | QAbstractButton) else widget.accessibleName()
        if isinstance(widget, QLabel) and not isinstance(widget, ElidedLabel):
            wanted = widget.minimumSizeHint() if widget.wordWrap() else widget.sizeHint()
            if text and wanted.width() > widget.width() + 1:
                found.append(f"lacks room: {text}")
        around = widget.parentWidget()
        while around is not None and not around.isWindow():
            place = widget.mapTo(around, QPoint(0, 0)).x()
            if place < -1 or place + widget.width() > around.width() + 1:
                found.append(f"beyond {type(around).__name__}: {text}")
                break
            around = around.parentWidget()
    return found


def long_run(make_run) -> Path:
    run = make_run(LONG)
    evaluated_runs.write(run)
    for kind in ("F16", "Q8_0"):
        files.write_atomically(run / "exports" / f"{LONG}-{kind}.gguf", b"GGUF")
    return run


def test_long_names_in_results(qtbot, tab, make_run):
    runs = [long_run(make_run), long_run(make_run)]
    tab.resize(1280, 640)
    show(qtbot, tab, 2)
    qtbot.waitUntil(lambda: bool(tab.details.exports.exports))

    def nothing_is_cut() -> None:
        assert cut(tab) == []

    qtbot.waitUntil(nothing_is_cut)
    title = tab.details.title
    assert "…" in title.shown_text() and title.toolTip() == f"{LONG}-2"
    for open_part, close in ((tab.details.open_evaluation, lambda: tab.details.tabs.set_current(OVERVIEW)),
                             (tab.details.open_export, tab.details.export.closed.emit),
                             (tab.details.open_serve, tab.details.serve.closed.emit)):
        open_part()
        if open_part == tab.details.open_evaluation:
            boxes = tab.details.findChild(ModelBoxes)
            qtbot.waitUntil(lambda boxes=boxes: len(boxes.boxes) == 4)
        qtbot.waitUntil(nothing_is_cut)
        close()
    tab.details.tabs.set_current(SCORES)
    qtbot.waitUntil(nothing_is_cut)
    tab.table.select(set(runs))
    tab.table.chosen.emit(tab.table.selected())
    qtbot.waitUntil(lambda: tab.curves.pages.currentWidget() is tab.curves.compare)
    qtbot.waitUntil(nothing_is_cut)
    tab.details.evaluation.rows_wanted.emit(tab.table.selected_facts()[0].evaluations[0], "worst")
    qtbot.waitUntil(lambda: tab._pages.currentWidget() is tab.rows and tab.rows.table.isVisible())
    qtbot.waitUntil(nothing_is_cut)


def test_the_name_of_a_run_has_room_before_the_other_columns(qtbot, tab, make_run):
    long_run(make_run)
    tab.resize(1280, 640)
    show(qtbot, tab, 1)
    header = tab.table.horizontalHeader()
    widths = [header.sectionSize(column) for column in range(header.count())]
    assert widths[0] >= 160 and sum(widths) <= tab.table.viewport().width()


def test_a_cell_that_lost_a_part_tells_the_whole(qtbot, tab):
    from PySide6.QtGui import QStandardItem, QStandardItemModel

    table, model = QTableView(), QStandardItemModel(1, 2)
    model.setItem(0, 0, QStandardItem(LONG))
    model.setItem(0, 1, QStandardItem("short"))
    table.setModel(model)
    dress(table, 30, "A table")
    qtbot.addWidget(table)
    table.resize(220, 100)
    table.show()
    before = QToolTip.text()
    for column, told in ((1, before), (0, LONG)):
        place = table.visualRect(model.index(0, column)).center()
        QApplication.sendEvent(table.viewport(), QHelpEvent(
            QEvent.Type.ToolTip, place, table.viewport().mapToGlobal(place)))
        assert QToolTip.text() == told
    assert table.horizontalHeader().textElideMode() == Qt.TextElideMode.ElideRight
