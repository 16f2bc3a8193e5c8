"""What an export makes: quantization types with size, memory and a proposal, and formats for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QCheckBox, QGridLayout, QWidget

from slmstudio.core import llama, units
from slmstudio.core.export import types
from slmstudio.core.export.types import OTHER_FORMATS, QUANT_TYPES
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.labels import Chip, text_label
from slmstudio.gui.common.widgets.layouts import column_in, fill, grid_of, row_in

if TYPE_CHECKING:
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.facts import ModelFacts

USUAL = ("F16", "Q8_0", "Q4_K_M")
PLAIN = tuple(other.name for other in OTHER_FORMATS)
"""What is made without the chat engine."""
HERE_SHARE = 0.7
"""The share of this machine's memory that a model may take."""


class ExportChoice(QWidget):
    """The boxes to mark.

    Signals:
        changed: other boxes are marked now.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._facts: ModelFacts | None = None
        self._missing = llama.trouble()
        self._targets = list(types.TARGETS)
        self.target = named(ComboBox(), "export_target", tr("Where the file will be used"),
                            tr("The proposed types fit this machine. Any type runs on any machine with enough memory."))
        self._show_targets()
        self.target.currentIndexChanged.connect(self._propose)
        self.more = SecondaryButton(tr("All types"),
                                    tr("Show every type, and formats for vLLM, Ollama and further training."), "small",
                                    name="export_all_types")
        self.more.setCheckable(True)
        self.more.toggled.connect(self._show_rows)
        self.reason = text_label("", "small", wrap=True)
        self.note = text_label("", "small", wrap=True)
        self.boxes: dict[str, QCheckBox] = {}
        self._rows: dict[str, list[QWidget]] = {}
        self._chips: dict[str, Chip] = {}
        self._figures = {kind.name: text_label("", "small") for kind in QUANT_TYPES}
        self._lay_out()
        self._show_rows()

    def _lay_out(self) -> None:
        column = column_in(self)
        head = QWidget()  # speaks of GGUF files alone
        row_in(head, text_label(tr("Used on"), "small"), (self.target, 1), self.more, spacing=None)
        for widget in (head, self.reason):
            column.addWidget(widget)
            widget.setVisible(self._missing is None)
        grid = grid_of(theme.SPACE_M, theme.SPACE_S, stretch=1)
        for number, kind in enumerate(QUANT_TYPES):
            self._add(grid, number, kind.name, kind.name, kind.description, self._figures[kind.name])
        names = {"MERGED": tr("Merged folder"), "ADAPTER": tr("Adapter"), "LORA": tr("GGUF LoRA")}
        for number, other in enumerate(OTHER_FORMATS, len(QUANT_TYPES)):
            self._add(grid, number, other.name, names[other.name], other.description,
                      text_label(other.description, "small", wrap=True))
        fill(column, grid, self.note)
        self.engine = text_label(str(self._missing or ""), "small", wrap=True, name="export_no_engine", tone="warn")
        self.engine.setVisible(self._missing is not None)
        column.addWidget(self.engine)

    def _add(self, grid: QGridLayout, row: int, key: str, name: str, description: str, figures: QWidget) -> None:
        box = named(QCheckBox(name), f"type_{key}", tip=description)
        figures.setToolTip(description)
        box.toggled.connect(self.changed)
        chip = Chip()
        chip.hide()
        self.boxes[key], self._chips[key], self._rows[key] = box, chip, [box, figures]
        grid.addWidget(box, row, 0)
        grid.addWidget(figures, row, 1)
        grid.addWidget(chip, row, 2)

    def names(self) -> list[str]:
        """What is marked, also where it isn't shown."""
        return [name for name, box in self.boxes.items() if box.isChecked()]

    def clear(self) -> None:
        """Forget the model and what was marked for it: without it there are no sizes."""
        self._facts = None
        for box in self.boxes.values():
            box.setChecked(False)
        self.reason.clear()
        self.note.clear()
        self.note.hide()
        for label in self._figures.values():
            label.clear()

    def set_machine(self, machine: Machine | None) -> None:
        """Offer this machine as the place where the file is used."""
        if machine is None or len(self._targets) > len(types.TARGETS):
            return
        cards = [gpu.memory_total for gpu in machine.gpus if gpu.memory_total]
        budget = max(cards) if cards else machine.ram_total
        here = types.Target("here", tr("this computer"), int(HERE_SHARE * budget), not cards)
        self._targets.insert(0, here)
        self._show_targets()
        self._propose()

    def _show_targets(self) -> None:
        names = {"laptop-8": tr("8 GB laptop, CPU"), "laptop-16": tr("16 GB laptop, CPU"),
                 "gpu-8": tr("GPU with 8 GB"), "gpu-12": tr("GPU with 12 GB"),
                 "gpu-24": tr("GPU with 24 GB")}
        with QSignalBlocker(self.target):
            self.target.clear()
            for target in self._targets:
                self.target.addItem(names.get(target.key, target.name), target.key)

    def show_facts(self, facts: ModelFacts, has_adapter: bool) -> None:
        """Show sizes and memory of this model, and mark the proposal where nothing was marked."""
        self._facts = facts
        for kind in QUANT_TYPES:
            self._figures[kind.name].setText(tr("{size} · needs {memory}",
                                                size=units.format_bytes(kind.estimate_bytes(facts)),
                                                memory=units.format_bytes(types.memory_bytes(kind, facts))))
        for other in OTHER_FORMATS:
            self.boxes[other.name].setEnabled(has_adapter or not other.needs_adapter)
            if not self.boxes[other.name].isEnabled():
                self.boxes[other.name].setChecked(False)
        fallen = self._missing is None and any(kind.falls_back(facts.hidden_size) for kind in QUANT_TYPES)
        self.note.setText(tr("This model's rows of {size} weights don't fit the blocks of the small types, so most of "
                             "them are stored in a larger type.", size=facts.hidden_size) if fallen else "")
        self.note.setVisible(fallen)
        self._propose()
        if not self.names():
            self._mark_proposed()

    def _proposal(self) -> types.Proposal | None:
        if self._facts is None or self.target.currentIndex() < 0:
            return None
        return types.propose(self._facts, self._targets[self.target.currentIndex()])

    def _propose(self) -> None:
        proposal = self._proposal()
        name = proposal.type.name if proposal is not None and proposal.type is not None else ""
        self.reason.setText(proposal.reason if proposal is not None else "")
        for key, chip in self._chips.items():
            chip.set(tr("proposed"), "ok")
            chip.setVisible(key == name and self._missing is None)
        self._show_rows()

    def _mark_proposed(self) -> None:
        proposal = self._proposal()
        if proposal is not None and proposal.type is not None and self._missing is None:
            self.boxes[proposal.type.name].setChecked(True)

    def _show_rows(self) -> None:
        for key, widgets in self._rows.items():
            shown = (self.more.isChecked() or key in USUAL or self.boxes[key].isChecked()
                     or not self._chips[key].isHidden())
            if self._missing is not None:
                shown = key in PLAIN
            for widget in widgets:
                widget.setVisible(shown)
