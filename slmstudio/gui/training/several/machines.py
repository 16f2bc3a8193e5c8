"""*Train on several machines…*: asks how many, and shows what to copy to the others and to type there."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QFormLayout, QHBoxLayout, QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.launch import PORT, commands, how_to_join, own_addresses
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import plain_page
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.copy_text import CopyText
from slmstudio.gui.common.widgets.fields import ComboBox, SpinBox, named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, pages_of, row_of

WIDTH, MOST = 560, 16


class MachinesDialog(QDialog):
    """Before the start it asks; while the run waits for the others, it shows how they join. Whoever closes it ends
    nothing: the run is stopped as any other.

    Signals:
        start_wanted(int, str, int): wait for this many machines in all, at this address and port.
    """

    start_wanted = Signal(int, str, int)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._starting = self._waits = False
        self.setWindowTitle(tr("Train on several machines"))
        self.setObjectName("machines_dialog")
        self.setMinimumWidth(WIDTH)
        self.banner = ErrorBanner()
        self._pages = pages_of(self._make_question(), self._make_command())
        column_in(self, self.banner, (self._pages, 1), self._make_buttons(), spacing=theme.SPACE_M,
                  margins=theme.SPACE_L)

    def _make_question(self) -> QWidget:
        page = plain_page()
        self.count = named(SpinBox(), "machines_count", tip=tr("How many machines train together, including this one."))
        self.count.setRange(2, MOST)
        self.address = named(ComboBox(), "machines_address",
                             tip=tr("The address at which the other machines reach this one."))
        self.port = named(SpinBox(), "machines_port",
                          tip=tr("The TCP port on which this machine waits. A firewall must let it through."))
        self.port.setRange(1024, 65535)
        self.port.setValue(PORT)
        form = QFormLayout()
        form.setSpacing(theme.SPACE_M)
        for text, field in ((tr("Machines"), self.count), (tr("Address of this machine"), self.address),
                            (tr("Port"), self.port)):
            field.setAccessibleName(text)
            form.addRow(text, field)
        note = text_label(tr("Do this only on a network that you trust. What the machines send each other, including "
                             "the rows, isn't encrypted. Anyone who can reach their ports can disturb or take over the "
                             "training."), "small", wrap=True, tone="faint")
        column_in(page,
                  text_label(tr("The other machines need the same version of SLM Studio and a copy of the base model. "
                                "The rows are sent to them. The run's folder stays on this machine."), wrap=True), form,
                  note, STRETCH, spacing=theme.SPACE_M)
        return page

    def _make_command(self) -> QWidget:
        page = plain_page()
        self.how = text_label("", wrap=True, name="machines_how")
        self.command = CopyText(tr("Command for the other machines"), 4, wrap=True)
        self.command.field.setObjectName("machines_command")
        column_in(page, self.how, self.command, STRETCH, spacing=theme.SPACE_M)
        return page

    def _make_buttons(self) -> QHBoxLayout:
        self.go = PrimaryButton(tr("Wait for the machines"),
                                tr("Create the run's folder, and start as soon as all machines have joined."),
                                name="machines_start", clicked=self._start)
        self.leave = SecondaryButton(tr("Close"), tr("Close this window. A run that is waiting keeps waiting."),
                                     name="machines_close", clicked=self.close)
        row = row_of(STRETCH, spacing=None)
        for each in (self.leave, self.go):
            each.setAutoDefault(False)
            row.addWidget(each)
        return row

    def open(self) -> None:
        """Ask for another run, or show how to join the one that waits."""
        if not self._waits:
            self.ask()
        super().open()

    def ask(self) -> None:
        self.banner.clear()
        if self.address.count() == 0:
            self.address.addItems(own_addresses())
        self._pages.setCurrentIndex(0)
        self._starting = False
        self.go.setVisible(True)
        self.go.setEnabled(self.address.count() > 0)

    def _start(self) -> None:
        self.banner.clear()
        self.go.setEnabled(False)
        self._starting = True
        self.start_wanted.emit(self.count.value(), self.address.currentText(), self.port.value())

    def update_from(self, history: RunHistory, running: bool) -> None:
        """The run has more to tell. When it begins to wait, what to do is shown once."""
        event, before = history.machines, self._waits
        self._waits = running and "file" in event
        if self._waits and not before:
            self._starting = False
            self._pages.setCurrentIndex(1)
            self.go.setVisible(False)
            wanted = int(event["wanted"])
            self.how.setText(how_to_join(Path(event["file"]), wanted))
            self.command.set_text(commands(wanted))
            if self.parentWidget() is None or self.parentWidget().isVisible():
                super().open()
        elif before and not self._waits:
            self.close()

    def ended(self, outcome: Outcome) -> None:
        """The run has ended; where the dialog still waits for it, it says why."""
        if (self._starting or self._waits) and not outcome.was_successful() and outcome.state != "cancelled":
            self._waits = False
            self.show_error(outcome.user_error())

    def show_error(self, error: Exception) -> bool:
        """The run couldn't be started, or has ended while it waited. Returns whether this dialog is open to show it."""
        if not self.isVisible():
            return False
        self.ask()
        self.banner.show_error(error)
        return True
