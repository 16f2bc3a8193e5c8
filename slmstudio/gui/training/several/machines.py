"""*Train on several machines…*: asks how many, shows what to type on the others, and who has come."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QFormLayout, QHBoxLayout, QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.run.launch.invitation import PORT, Invitation, own_addresses
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
    """Before the start it asks; then it waits with the user, who may close it: the run keeps waiting.

    Signals:
        start_wanted(int, str, int): wait for this many machines in all, at this address and port.
        stop_wanted: don't wait any longer.
    """

    start_wanted = Signal(int, str, int)
    stop_wanted = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setWindowTitle(tr("Train on several machines"))
        self.setObjectName("machines_dialog")
        self.setMinimumWidth(WIDTH)
        self.banner = ErrorBanner()
        self._pages = pages_of(self._make_question(), self._make_waiting())
        column_in(self, self.banner, (self._pages, 1), self._make_buttons(), spacing=theme.SPACE_M,
                  margins=theme.SPACE_L)
        self.ask()

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
        note = text_label(tr("Do this only on a network that you trust. The rows are sent encrypted, but what the "
                             "machines exchange while training isn't. Anyone who can reach their ports can disturb or "
                             "take over the training."), "small", wrap=True, tone="faint")
        column_in(page,
                  text_label(tr("The other machines need the same version of SLM Studio and a copy of the base model. "
                                "The rows are sent to them. The run's folder stays on this machine."), wrap=True), form,
                  note, STRETCH, spacing=theme.SPACE_M)
        return page

    def _make_waiting(self) -> QWidget:
        page = plain_page()
        self.state = text_label("", "section", wrap=True, name="machines_state")
        self.command = CopyText(tr("Command for the other machines"), 4, wrap=True)
        self.command.field.setObjectName("machines_command")
        self.list = text_label("", wrap=True, name="machines_list")
        column_in(page, self.state,
                  text_label(tr("Type this in a terminal on each of the other machines. The id only works for this "
                                "start."), wrap=True), self.command, self.list, STRETCH, spacing=theme.SPACE_M)
        return page

    def _make_buttons(self) -> QHBoxLayout:
        self.go = PrimaryButton(tr("Wait for the machines"),
                                tr("Create the run's folder, and start as soon as all machines have joined."),
                                name="machines_start", clicked=self._start)
        self.stop = SecondaryButton(tr("Stop waiting"), tr("End the run before it begins."), name="machines_stop",
                                    clicked=self.stop_wanted)
        self.leave = SecondaryButton(tr("Close"), tr("Close this window. A run that is waiting keeps waiting."),
                                     name="machines_close", clicked=self.close)
        row = row_of(STRETCH, spacing=None)
        for each in (self.stop, self.leave, self.go):
            each.setAutoDefault(False)
            row.addWidget(each)
        return row

    def ask(self) -> None:
        """Ask for another run."""
        self.banner.clear()
        if self.address.count() == 0:
            self.address.addItems(own_addresses())
        self._pages.setCurrentIndex(0)
        self.go.setVisible(True)
        self.go.setEnabled(self.address.count() > 0)
        self.stop.setVisible(False)

    def _start(self) -> None:
        self.banner.clear()
        self.go.setEnabled(False)
        self.start_wanted.emit(self.count.value(), self.address.currentText(), self.port.value())

    def show_waiting(self, invitation: Invitation, wanted: int) -> None:
        """The run waits for the others."""
        self._pages.setCurrentIndex(1)
        self.go.setVisible(False)
        self.stop.setVisible(True)
        self.command.set_text(invitation.command())
        self.show_machines({"joined": 1, "wanted": wanted, "machines": []})

    def show_machines(self, event: dict[str, Any]) -> None:
        """Take a `machines` event of the run."""
        joined, wanted = event.get("joined"), event.get("wanted")
        there = joined == wanted
        self.state.setText(
            tr("All {count} machines have joined. Training begins.", count=wanted) if there else
            tr("Waiting for machines: {joined} of {wanted} have joined.", joined=joined, wanted=wanted))
        self.stop.setVisible(not there)
        lines = [tr("✓ This machine")]
        for each in event.get("machines") or []:
            host, state = str(each.get("host")), each.get("state")
            if state == "joined":
                lines.append(tr("✓ {machine} has joined.", machine=host))
            elif state == "left":
                lines.append(tr("– {machine} has left.", machine=host))
            else:
                lines.append(tr("✗ {machine} can't take part. {why}", machine=host, why=each.get("message") or ""))
        self.list.setText("\n".join(lines))

    def show_error(self, error: Exception) -> None:
        """It couldn't be started, or has ended while it waited."""
        self.ask()
        self.banner.show_error(error)
