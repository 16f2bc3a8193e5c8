"""The line at the bottom: the running job, and what the machine's sensors say."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QLabel

from slmstudio.core import units
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import ElidedLabel, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, fill, row_in, row_of
from slmstudio.gui.common.widgets.progress import ProgressBar

BAR_WIDTHS = (40, 180)


class _Gauges(ElidedLabel):
    """A line whose tooltip says more than the line.

    Attributes:
        tip: set it before the text.
    """

    tip = ""

    def _update_tooltip(self) -> None:
        self.setToolTip(plain_tip(self.tip))


class StatusBar(QFrame):
    """Shows `session.job`, and at the right end `session.reading`."""

    def __init__(self, session: Session):
        super().__init__()
        self.setObjectName("status_bar")
        theme.grow(self, "setFixedHeight", theme.STATUS_HEIGHT)
        self._session = session
        self.job = ElidedLabel(tr("Ready"), "small", Qt.TextElideMode.ElideRight, name="status_job")
        self.bar = ProgressBar()
        self.bar.setMinimumWidth(BAR_WIDTHS[0])
        self.bar.setMaximumWidth(BAR_WIDTHS[1])
        self.bar.setAccessibleName(tr("Progress of the running job"))
        self.progress = text_label("", "small", name="status_progress")
        self.right = text_label("", "small", name="status_right")
        self.gauges = named(_Gauges("", "small", Qt.TextElideMode.ElideRight), "status_gauges",
                            tr("What the machine's sensors say"))
        self.gauges.hide()
        self.server = text_label("", "small", name="status_server")
        self.server.setToolTip(tr("The server that other programs can talk to. Stop it in the Results tab."))
        row = row_in(self, spacing=theme.SPACE_L, margins=(theme.SPACE_L, 0, theme.SPACE_L, 0))
        fill(row, self.job, (self.bar, 9), self.progress, STRETCH, self.server,
             row_of(self.gauges, self.right, spacing=theme.SPACE_XS))
        session.job_changed.connect(self._show_job)
        session.reading_changed.connect(self._show_reading)
        session.job_changed.connect(self._show_server)
        self._show_server()
        self._show_job()

    def _show_job(self) -> None:
        job = self._session.job
        self.job.setText(job.name if job else tr("Ready"))
        self.bar.setVisible(job is not None)
        self.progress.setVisible(job is not None)
        self._show_right()
        if job is None:
            return
        self.bar.setRange(0, 1000 if job.total else 0)
        self.bar.setValue(round(1000 * job.done / job.total) if job.total else 0)
        self.progress.setText(job.text or self._progress_text())
        _set_tone(self.progress, "warn" if job.alarming else "")

    def _show_right(self) -> None:
        job = self._session.job
        right = job.right if job else "" if self._session.reading else tr("No run")
        dot = "· " if right and not self.gauges.isHidden() else ""
        self.right.setText(dot + right)
        self.right.setVisible(bool(right))

    def _show_server(self) -> None:
        self.server.setText(tr("Serving {server}", server=self._session.server))
        self.server.setVisible(bool(self._session.server))

    def _progress_text(self) -> str:
        job = self._session.job
        if job is None or not job.total:
            return ""
        percent = tr("{percent}%", percent=int(100 * job.done / job.total))
        if job.seconds_left is None:
            return percent
        return tr("{percent} · {duration} left", percent=percent, duration=units.format_about(job.seconds_left))

    def _show_reading(self) -> None:
        reading = self._session.reading
        if reading is None:
            return
        from slmstudio.gui.app import readings

        self.gauges.tip = readings.tip(reading)
        self.gauges.setText(readings.gauges(reading))
        self.gauges.setAccessibleDescription(self.gauges.tip)
        _set_tone(self.gauges, "bad" if any(card.lost for card in reading.gpus) else
                  "warn" if any(map(readings.trouble, reading.gpus)) else "")
        self.gauges.setVisible(bool(self.gauges.text()))
        self._show_right()


def _set_tone(label: QLabel, tone: str) -> None:
    if label.property("tone") != tone:
        label.setProperty("tone", tone)
        theme.restyle(label)
