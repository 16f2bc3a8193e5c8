"""What is wrong with a dataset: what was found in its rows, with buttons to fix it, and the rows that can't be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QGuiApplication, QKeySequence, QPainter, QTextLayout
from PySide6.QtWidgets import (
    QFrame,
    QListView,
    QScrollArea,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolTip,
)

from slmstudio.core.data.health.finding import KINDS
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import ntr, number_text, ptr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Card, plain_page
from slmstudio.gui.common.widgets.banner import ErrorBanner, ProblemsModel
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, plain_tip, show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip

if TYPE_CHECKING:
    from slmstudio.core.data.health.finding import Finding


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


CHIPS = {"bad": "bad", "warn": "warn", "note": "plain"}
"""Severity: kind of the chip."""


class FindingRow(QFrame):
    """One finding: how many rows, what it is called, a sentence, and what can be done."""

    def __init__(self, finding: Finding, card: HealthCard):
        super().__init__()
        self.setProperty("plain", True)
        title = KINDS[finding.kind].title
        chip = Chip(number_text(finding.count), CHIPS[finding.severity])
        name = ElidedLabel(title, "strong", Qt.TextElideMode.ElideRight)
        show = SecondaryButton(tr("Show rows"), tr("Show only these rows in the table."), "small",
                               name=f"health_show_{finding.kind}", clicked=lambda: card.rows_wanted.emit(finding))
        show.setAccessibleName(tr("Show rows: {title}", title=title))
        buttons = [show]
        if finding.fix is not None:
            mend = SecondaryButton(tr("Fix…"), plain_tip(" ".join((finding.fix, tr("You see the changes first.")))),
                                   "small", name=f"health_mend_{finding.kind}",
                                   clicked=lambda: card.mend_wanted.emit(finding.kind))
            mend.setAccessibleName(tr("Fix: {title}", title=title))
            buttons.append(mend)
        column_in(self, row_of(chip, (name, 1)), text_label(finding.sentence, "small", wrap=True),
                  row_of(*buttons, STRETCH), spacing=theme.SPACE_XS, margins=(0, theme.SPACE_XS, 0, theme.SPACE_XS))


class HealthCard(Card):
    """Shows findings, or why there are none to show.

    Attributes:
        strip: how far the check is; `again` begins it again.

    Signals:
        rows_wanted(Finding): the user wants to see its rows.
        mend_wanted(str): the user wants to fix this kind of finding.
    """

    rows_wanted = Signal(object)
    mend_wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__(ptr("of a dataset", "Health"))
        self.chip = Chip(name="health_chip")
        self.header.addWidget(self.chip)
        self.about = text_label("", "small", wrap=True, name="health_about")
        self.strip = ProgressStrip()
        self.banner = ErrorBanner(closable=False)
        self.words = text_label("", "muted", wrap=True, name="health_words")
        self.again = SecondaryButton(tr("Check again"), tr("Look for problems in all rows."), "small",
                                     name="health_again")
        fill(self.body, self.banner, self.words, self.strip, (self.again, 0, Qt.AlignmentFlag.AlignLeft))
        self._make_list()
        self.body.addWidget(self.about)
        self.body.addStretch()
        self.show_nothing()

    def _make_list(self) -> None:
        self.area = named(QScrollArea(), "health_list", tr("Findings"))
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._rows: list[FindingRow] = []
        self.body.addWidget(self.area, 1)

    def _set_state(self, *, chip: str = "", kind: str = "plain", words: str = "", again: bool = False,
                   about: str = "") -> None:
        self.chip.set(chip, kind)
        self.chip.setVisible(bool(chip))
        show_text(self.words, words)
        self.again.setVisible(again)
        show_text(self.about, about)
        self.area.hide()
        self.banner.clear()
        self.strip.end()

    def show_nothing(self) -> None:
        """There is no dataset."""
        self._set_state(words=tr("Nothing to check yet. When you open a dataset, its rows are checked here."))

    def show_working(self, rows: int, about: str) -> None:
        """The rows are being checked."""
        self._set_state(about=about, words=ntr("Checking {n:,} row…", "Checking {n:,} rows…", rows))
        self.strip.start_soon("")

    def show_cancelled(self) -> None:
        self._set_state(words=tr("The check was cancelled, so nothing is known about these rows."), again=True)

    def show_failed(self, error: Exception) -> None:
        self._set_state(again=True)
        self.banner.show_error(error)

    def show_findings(self, findings: Sequence[Finding], rows: int, about: str) -> None:
        """The rows are checked."""
        if findings:
            worst = next(each for each in ("bad", "warn", "note") if any(found.severity == each for found in findings))
            self._set_state(chip=ntr("{n:,} finding", "{n:,} findings", len(findings)),
                            kind=CHIPS[worst], about=about)
        else:
            self._set_state(chip=tr("healthy"), kind="ok", about=about,
                            words=ntr("✓ No problems were found in the only row.",
                                      "✓ No problems were found in {n:,} rows.", rows))
        holder = plain_page()
        column = column_in(holder, margins=(0, 0, theme.SPACE_S, 0))
        self._rows = [FindingRow(finding, self) for finding in findings]
        for row in self._rows:
            column.addWidget(row)
        column.addStretch(1)
        self.area.setWidget(holder)
        self.area.setVisible(bool(findings))
