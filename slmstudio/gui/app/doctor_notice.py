"""A line at the start when something is wrong with the machine, until it was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.note_bar import NoteBar

if TYPE_CHECKING:
    from slmstudio.core.hardware.doctor.line import Line


class DoctorNotice(NoteBar):
    """Says the worst of what can be found at once; hidden while nothing is.

    Signals:
        doctor_wanted: open the doctor.
        looked: the machine was looked at.
    """

    doctor_wanted = Signal()
    looked = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None):
        self._session = session
        self._titles: list[str] = []
        more = SecondaryButton("", "", "small")
        close = IconButton("close", "")
        super().__init__("notice_text", "warn", (more, close), parent)
        self.setObjectName("window_notice")
        more.setText(tr("What to do"))
        more.setToolTip(tr("Checks this machine and shows how to fix what is wrong (F9)."))
        more.setObjectName("notice_doctor")
        more.clicked.connect(self._seen)
        more.clicked.connect(self.doctor_wanted)
        hide = tr("Hide this message. F9 shows it again.")
        close.setToolTip(hide)
        close.setAccessibleName(hide)
        close.setObjectName("notice_close")
        close.clicked.connect(self._seen)

    def look(self) -> None:
        """Look at the machine off the UI thread; a tenth of a second, and no child process."""
        run_task(self, lambda task: _problems(), self._show, lambda error: self.looked.emit())

    def _show(self, problems: list[Line]) -> None:
        told = self._session.settings.told
        self._titles = [line.title for line in problems if line.title not in told]
        if self._titles:
            self.say(self._titles[0] if len(self._titles) == 1 else tr("{problem} And {count} more.",
                                                                       problem=self._titles[0],
                                                                       count=len(self._titles) - 1))
        self.looked.emit()

    def _seen(self) -> None:
        self._session.settings.told += self._titles
        self._session.settings_changed.emit()
        self.say("")


def _problems() -> list[Line]:
    from slmstudio.core import checkup

    return [line for line in checkup.at_once() if line.state == "problem"]
