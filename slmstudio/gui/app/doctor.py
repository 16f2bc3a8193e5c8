"""The doctor: what on this machine gets in the way of training, why, and how to fix it, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import resize_within
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, TaskSlot, run_task
from slmstudio.gui.common.widgets.areas import Card, NoteBar, plain_page
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import IconButton, PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.copy_text import CopyLine
from slmstudio.gui.common.widgets.labels import Chip, breakable, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, fill, grid_in, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip

if TYPE_CHECKING:
    from slmstudio.core.hardware.doctor.facts import Line

# -- A line at the start when something is wrong with the machine, until it was seen.


class DoctorNotice(NoteBar):
    """Says the worst of what can be found at once; hidden while nothing is.

    Signals:
        looked: the machine was looked at.
    """

    looked = Signal()

    def __init__(self, session: Session):
        self._session = session
        self._codes: list[str] = []
        more = SecondaryButton(tr("What to do"), tr("Checks this machine and shows how to fix what is wrong (F9)."),
                               "small", name="notice_doctor")
        close = IconButton("close", tr("Hide this message. F9 shows it again."), name="notice_close")
        super().__init__("notice_text", "warn", (more, close))
        self.setObjectName("window_notice")
        for button in (more, close):
            button.clicked.connect(self._seen)
        more.clicked.connect(lambda: session.go_to("doctor"))

    def look(self) -> None:
        """Look at the machine off the UI thread; a tenth of a second, and no child process."""
        run_task(self, lambda task: _problems(), self._show, lambda error: self.looked.emit())

    def _show(self, problems: list[Line]) -> None:
        told = self._session.settings.told
        new = [line for line in problems if line.code not in told]
        self._codes = [line.code for line in new]
        if new:
            self.say(new[0].title if len(new) == 1 else
                     ntr("{problem} And {n:,} more.", "{problem} And {n:,} more.", len(new) - 1, problem=new[0].title))
        self.looked.emit()

    def _seen(self) -> None:
        self._session.settings.told += self._codes
        self._session.report_settings_changed()
        self.say("")


def _problems() -> list[Line]:
    from slmstudio.core import checkup

    return [line for line in checkup.at_once() if line.state == "problem"]


class DoctorDialog(QDialog):
    """Checks the machine when `check` is called, and shows the lines: what is wrong first, then by topic."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setWindowTitle(tr("Check of this machine"))
        self.lines: list[Line] = []
        self._task = TaskSlot()
        self.summary = text_label("", "heading", wrap=True, name="doctor_summary")
        self.progress = ProgressStrip(cancelled=self.reject)
        self.banner = ErrorBanner(closable=False)
        self.area = QScrollArea()
        self.area.setWidgetResizable(True)
        self.area.setAccessibleName(tr("What was found"))
        column_in(self, self.summary, self.progress, self.banner, (self.area, 1), self._buttons(),
                  spacing=theme.SPACE_M, margins=theme.SPACE_L)
        resize_within(self, parent, 820, 640)
        self.finished.connect(lambda: self._task.cancel())

    def _buttons(self) -> QHBoxLayout:
        self.again = SecondaryButton(tr("Check again"), tr("Check everything again, for example after a fix."),
                                     name="doctor_again", clicked=self.check)
        self.copy = SecondaryButton(tr("Copy report"),
                                    tr("Copy everything as text, to send it to somebody. Names of people, machines and "
                                       "folders, addresses and serial numbers are taken out."), name="doctor_copy",
                                    clicked=self._copy)
        self._copied = text_label("", "small")
        self.close_button = PrimaryButton(tr("Close"), tr("Close this page (Esc). F9 opens it again."),
                                          name="doctor_close", clicked=self.accept)
        return row_of(self.again, self.copy, self._copied, STRETCH, self.close_button)

    def check(self) -> None:
        """Look at the machine, off the UI thread. It takes 5 to 20 s, mostly to load PyTorch in its own process."""
        self.lines = []
        self.banner.clear()
        self.area.setWidget(QWidget())  # empty: its room keeps what is above it at the top
        self._set_working(True)
        self.summary.setText(tr("Checking graphics card, libraries, memory and disk. Nothing is changed."))
        self.progress.start(tr("Checking"))
        self._task.run(self, _visit, self._show, self._failed, self._show_progress)

    def _show_progress(self, done: int, total: int) -> None:
        from slmstudio.core import checkup

        self.progress.set_progress(done, total, "".join(map(tr, checkup.PARTS[done:done + 1])))

    def _show(self, lines: list[Line]) -> None:
        from slmstudio.core.hardware.doctor.facts import TOPICS

        self.lines = lines
        self._set_working(False)
        self.summary.setText(self._summed_up())
        page = plain_page()
        column = column_in(page, spacing=theme.CARD_GAP, margins=theme.FOCUS_RING)
        wrong = [line for state in ("problem", "warning") for line in lines if line.state == state]
        if wrong:
            column.addWidget(_card(tr("Needs attention"), wrong))
        for topic in TOPICS:
            fine = [line for line in lines if line.topic == topic and line.state == "fine"]
            if fine:
                column.addWidget(_card(tr(topic), fine))
        column.addStretch(1)
        self.area.setWidget(page)
        self.close_button.setFocus()

    def _failed(self, error: Exception) -> None:
        self._set_working(False)
        self.copy.setEnabled(False)
        self.again.setFocus()
        self.summary.setText(tr("This machine couldn't be checked."))
        self.banner.show_error(error)

    def _set_working(self, working: bool) -> None:
        self.progress.setVisible(working)
        self.again.setEnabled(not working)
        self.copy.setEnabled(not working)
        self._copied.setText("")

    def _summed_up(self) -> str:
        problems, warnings, fine = (sum(line.state == state for line in self.lines)
                                    for state in ("problem", "warning", "fine"))
        if not problems and not warnings:
            return ntr("Everything is fine: {n:,} check passed.", "Everything is fine: {n:,} checks passed.",
                       fine)
        found = [ntr("{n:,} problem", "{n:,} problems", problems)] if problems else []
        found += [ntr("{n:,} warning", "{n:,} warnings", warnings)] if warnings else []
        return ntr("{found}; {n:,} check passed.", "{found}; {n:,} checks passed.", fine, found=", ".join(found))

    def _copy(self) -> None:
        from slmstudio.core import checkup

        QGuiApplication.clipboard().setText(checkup.report(self.lines))
        self._copied.setText(tr("Copied, without personal data."))


def _visit(task: Task) -> list[Line]:
    from slmstudio.core import checkup

    return checkup.visit(task.progress, task.cancelled)


def _card(title: str, lines: list[Line]) -> Card:
    card = Card()
    fill(card.body, text_label(title, "section"), Rows(lines))
    return card


_KINDS = {"fine": "ok", "warning": "warn", "problem": "bad"}


class Rows(QWidget):
    """Lines in a grid of two columns: states, and texts."""

    def __init__(self, lines: list[Line], parent: QWidget | None = None):
        super().__init__(parent)
        words = {"fine": tr("✓ Fine"), "warning": tr("! Warning"), "problem": tr("✕ Problem")}
        grid = grid_in(self, theme.SPACE_M, theme.SPACE_M, stretch=1)
        for row, line in enumerate(lines):
            mark = Chip(words[line.state], _KINDS[line.state])
            mark.setAccessibleName(f"{words[line.state]}: {line.title}")
            grid.addWidget(mark, row, 0, Qt.AlignmentFlag.AlignTop)
            grid.addLayout(self._text(line), row, 1)

    def _text(self, line: Line) -> QVBoxLayout:
        column = column_of(_selectable(line.title, "body" if line.state == "fine" else "strong"),
                           spacing=theme.SPACE_XS)
        if line.why:
            column.addWidget(_selectable(line.why, "small"))
        if line.remedy:
            column.addWidget(_selectable(line.remedy, "body"))
        if line.command:
            command = CopyLine(tr("Command for: {title}", title=line.title))
            command.set_text(line.command)
            column.addWidget(command)
        column.addStretch(1)
        return column


def _selectable(text: str, role: str) -> QLabel:
    return text_label(breakable(text), role, wrap=True, selectable=True)
