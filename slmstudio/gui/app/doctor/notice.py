"""A line at the start when something is wrong with the machine, until it was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.card import NoteBar

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
        more.clicked.connect(self.doctor_wanted)

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
        self._session.settings_changed.emit()
        self.say("")


def _problems() -> list[Line]:
    from slmstudio.core import checkup

    return [line for line in checkup.at_once() if line.state == "problem"]
