"""What is wrong with a dataset: every problem at once, each with its line."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QGuiApplication, QKeySequence, QPainter, QTextLayout
from PySide6.QtWidgets import QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QToolTip

from slmstudio.core.errors import Problem
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.banner import ProblemsModel
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import Chip, text_label
from slmstudio.gui.common.widgets.layouts import fill, row_of


class FindingsCard(Card):
    """The problems of a file, or the words that there are none.

    Signals:
        line_wanted(int, str): the user wants to see this line; if there are several files, in the one with this name.
    """

    line_wanted = Signal(int, str)

    def __init__(self) -> None:
        super().__init__(tr("Rows that can't be used"))
        self.chip = Chip(name="findings_chip")
        self.header.addWidget(self.chip)
        self.good = text_label("", "muted", wrap=True, name="findings_good")
        self.list = named(QListView(), "findings_list", tr("Problems in the file"))
        self.list.setUniformItemSizes(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setItemDelegate(_ProblemDelegate(self.list))
        self.problems = ProblemsModel(self)
        self.list.setModel(self.problems)
        self.list.doubleClicked.connect(self._activated)
        self.copy = SecondaryButton(tr("Copy all"),
                                    tr("Copy every problem with its line, so that you can fix the file in an editor."),
                                    "small", name="findings_copy", clicked=self.copy_all)
        add_key(self.list, QKeySequence.StandardKey.Copy, self._copy_current, inside=True)
        self._hint = text_label(tr("These rows are skipped. Your file is never changed."), "small", wrap=True)
        fill(self.body, self.good, (self.list, 1),
             row_of((self._hint, 1), (self.copy, 0, Qt.AlignmentFlag.AlignBottom), spacing=None))
        self.body.addStretch()
        theme.THEME.changed.connect(self.list.viewport().update)

    def show_problems(self, problems: list[Problem], rows: int) -> None:
        """Show every problem of a file with `rows` usable rows."""
        self.problems.set_problems(tuple(problems))
        count = len(problems)
        if count:
            self.chip.set(ntr("{n:,} finding", "{n:,} findings", count), "warn")
        else:
            self.chip.set(tr("no problems"), "ok")
        self.good.setText(ntr("✓ The only row can be used.", "✓ All {n:,} rows can be used.", rows))
        self.good.setVisible(not count)
        for widget in (self.list, self._hint, self.copy):
            widget.setVisible(bool(count))

    def copy_all(self) -> None:
        QGuiApplication.clipboard().setText("\n".join(str(problem) for problem in self.problems.problems))

    def _copy_current(self) -> None:
        index = self.list.currentIndex()
        if index.isValid():
            QGuiApplication.clipboard().setText(str(self.problems.problems[index.row()]))

    def _activated(self, index: QModelIndex) -> None:
        problem = self.problems.problems[index.row()]
        QGuiApplication.clipboard().setText(str(problem))
        QToolTip.showText(self.cursor().pos(), tr("Copied."), self.list)
        if problem.line is not None:
            self.line_wanted.emit(problem.line, problem.file or "")


class _ProblemDelegate(QStyledItemDelegate):
    """The line in lower case, the message below it in two lines at most."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        small = QFontMetrics(theme.base_font(theme.SMALL_SIZE)).height()
        return QSize(0, small + 2 * theme.line_height() + 12)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem,
              index: QModelIndex | QPersistentModelIndex) -> None:
        rect: QRect = option.rect
        state = option.state
        problem: Problem = index.model().problems[index.row()]  # type: ignore[attr-defined]
        painter.save()
        if state & (QStyle.StateFlag.State_Selected | QStyle.StateFlag.State_MouseOver):
            selected = bool(state & QStyle.StateFlag.State_Selected)
            painter.fillRect(rect, theme.colour("accent_ground" if selected else "hover"))
        painter.setPen(theme.colour("line"))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        inner = rect.adjusted(2, 5, -2, -5)
        painter.setFont(theme.base_font(theme.SMALL_SIZE))
        height = painter.fontMetrics().height()
        painter.setPen(theme.colour("warn"))
        place = painter.fontMetrics().elidedText(self.place(problem), Qt.TextElideMode.ElideMiddle, inner.width())
        painter.drawText(QRect(inner.left(), inner.top(), inner.width(), height), 0, place)
        painter.setFont(theme.base_font())
        painter.setPen(theme.colour("ink"))
        text = _two_lines(problem.message[:1].upper() + problem.message[1:], painter.fontMetrics(), inner.width())
        painter.drawText(inner.adjusted(0, height, 0, 0), 0, text)
        theme.draw_item_focus(painter, option)
        painter.restore()

    def place(self, problem: Problem) -> str:
        rows = ntr("{n:,} row", "{n:,} rows", len(problem.lines)) if problem.lines else ""
        line = ""
        if problem.line is not None:
            line = (tr("from line {number:,}", number=problem.line) if rows else
                    tr("line {number:,}", number=problem.line))
        column = tr("column {number:,}", number=problem.column) if problem.column and not rows else ""
        return ", ".join(part for part in (problem.file or "", rows, line, column, problem.field or "")
                         if part)


def _two_lines(text: str, metrics: QFontMetrics, width: int) -> str:
    """Break `text` once; the second line is elided where there is more of it."""
    layout = QTextLayout(text, theme.base_font())
    layout.beginLayout()
    line = layout.createLine()
    line.setLineWidth(width)
    layout.endLayout()
    first, rest = text[:line.textLength()], text[line.textLength():]
    return first if not rest else f"{first.rstrip()}\n{metrics.elidedText(rest, Qt.TextElideMode.ElideRight, width)}"
