"""Several cards or machines for one run: the cards to tick, and the dialog that says how other machines join."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QDialog, QFormLayout, QHBoxLayout, QWidget

from slmstudio.core.hardware.guidance import short_gpu_name
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.launch import PORT, commands, how_to_join, own_addresses
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import plain_page
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.copy_text import CopyText
from slmstudio.gui.common.widgets.fields import ComboBox, SpinBox, named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, pages_of, row_of

SHARES = ("ddp", "fsdp")


class CardsSection(QWidget):
    """The machine's cards to tick, what several do, and the way to several machines.

    Signals:
        chosen(str, object): a field of the run is to have another value.
    """

    chosen = Signal(str, object)

    def __init__(self) -> None:
        super().__init__()
        self.boxes: list[QCheckBox] = []
        self._cards: tuple[str, ...] = ()
        self._showing = self._editable = self._windows = False
        self._config: RunConfig | None = None
        self._title = text_label(tr("Cards that train together"), "small")
        self._ticks = column_of(spacing=theme.SPACE_XS)
        self.share = SegmentedControl([tr("Faster"), tr("Bigger")],
                                      tooltips=[tr("Each card holds the whole model and learns from its share of each "
                                                   "batch (DDP)."),
                                                tr("The cards share weights, gradients and optimizer, so a bigger "
                                                   "model fits (FSDP).")], name="cards_share")
        self.share.setAccessibleName(tr("What several cards are for"))
        self.share.changed.connect(lambda index: self._choose("parallelism", SHARES[index]))
        self.why = text_label("", "small", wrap=True, name="cards_why", tone="faint")
        self.machines = SecondaryButton(tr("Train on several machines…"),
                                        tr("Let other machines on your network take part in this run. Shows what to "
                                           "type there, and waits for them."), "small", name="several_machines")
        column_in(self, self._title, self._ticks, self.share, self.why, (self.machines, 0, Qt.AlignmentFlag.AlignLeft),
                  spacing=theme.SPACE_XS)
        self.set_machine(None)

    def set_machine(self, machine: Machine | None) -> None:
        """Offer the cards of this machine, one below the other; a single one needs no choice."""
        windows = machine is not None and machine.system == "Windows"
        cards = tuple(short_gpu_name(gpu.name) for gpu in machine.gpus) if machine else ()
        self._windows = windows and len(cards) > 1
        if cards != self._cards:
            self._cards = cards
            for box in self.boxes:
                self._ticks.removeWidget(box)
                box.deleteLater()
            self.boxes = [self._box(number, name) for number, name in enumerate(cards)] if len(cards) > 1 else []
        self._show()

    def set_editable(self, on: bool) -> None:
        """Let the user choose, or only look."""
        self._editable = on
        self._show()

    def _box(self, number: int, name: str) -> QCheckBox:
        box = named(QCheckBox(f"{number + 1}: {name}"), f"card_{number + 1}",
                    tip=tr("Tick the cards that train together. They are used in this order."))
        box.clicked.connect(lambda on: self._choose("processes", number + 1 if on else max(1, number)))
        self._ticks.addWidget(box)
        return box

    def show_config(self, config: RunConfig, editable: bool) -> None:
        """Show what a run says."""
        self._config, self._editable = config, editable
        self._show()

    def _show(self) -> None:
        several, config = len(self.boxes) > 1, self._config
        together = several and config is not None and config.processes > 1
        if config is not None:
            self._showing = True
            for number, box in enumerate(self.boxes):
                box.setChecked(number < config.processes and config.device != "cpu")
            self.share.set_current(SHARES.index(config.parallelism) if config.parallelism in SHARES else 0)
            self._showing = False
        self._title.setVisible(several)
        self.share.setVisible(together)
        for box in self.boxes:
            box.setEnabled(self._editable and not self._windows)
        self.share.setEnabled(self._editable)
        self.why.setVisible(several)
        if self._windows:
            self.why.setText(tr("On Windows, training uses only one card, because NCCL isn't available there. In "
                                "WSL2, it uses all of them."))
        elif config is None or not together:
            self.why.setText(tr("Training uses one card. If you tick more, they train together, with the same "
                                "effective batch size."))
        elif config.parallelism == "ddp":
            self.why.setText(tr("Each card holds the whole model and learns from its share of each batch. What is "
                                "learned stays the same."))
        else:
            self.why.setText(tr("The cards share the model, so it can be too big for a single card. Slower than "
                                "“Faster”."))

    def _choose(self, name: str, value: object) -> None:
        if not self._showing:
            self.chosen.emit(name, value)


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
