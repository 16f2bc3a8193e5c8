"""How many of the machine's cards train together, and whether that makes the run faster or lets a bigger model fit."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QWidget

from slmstudio.core.hardware.guidance import short_gpu_name
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import RunConfig
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in, column_of

SHARES = ("ddp", "fsdp")


class CardsSection(QWidget):
    """The machine's cards to tick, what several do, and the way to several machines.

    Signals:
        chosen(str, object): a field of the run is to have another value.
        machines_wanted: the user wants to train on several machines.
    """

    chosen = Signal(str, object)
    machines_wanted = Signal()

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
                                           "type there, and waits for them."), "small", name="several_machines",
                                        clicked=self.machines_wanted)
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
