"""What a base model is, and whether it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from slmstudio.core import units
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import ElidedLabel, plain_tip, text_label
from slmstudio.gui.common.widgets.share_bar import Share, ShareBar

if TYPE_CHECKING:
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.run.memory import MemoryEstimate

PARTS = {"weights": "train", "adapter": "extra", "gradients": "pink", "optimizer": "teal", "activations": "eval",
         "logits": "olive", "fragmentation": "edge", "overhead": "grey"}
"""The parts of an estimate, and their colours."""


class FactsTable(QWidget):
    """One row of figures under their names, and the folder below."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        names = (self.tr("Family"), self.tr("Parameters"), self.tr("Context"), self.tr("Vocabulary"), self.tr("Layers"),
                 self.tr("Disk"), self.tr("Licence"))
        tips = (self.tr("The architecture's name: {name}"), self.tr("Numbers that the model consists of."),
                self.tr("Tokens that the model can see at once."), self.tr("Different tokens that the model knows."),
                self.tr("Decoder layers, each of hidden size {name}."), self.tr("Size of the weight files."),
                self.tr("As the model names it. Read it before you use the model at work."))
        self._tips = tips
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(theme.SPACE_L)
        grid.setVerticalSpacing(theme.SPACE_S)
        self.values = []
        for column, (name, stretch) in enumerate(zip(names, (2, 2, 2, 2, 1, 2, 3), strict=True)):
            grid.addWidget(text_label(name, "small"), 0, column)
            value = ElidedLabel("", "body", Qt.TextElideMode.ElideRight)
            value.setAccessibleName(name)
            self.values.append(value)
            grid.addWidget(value, 2, column)
            grid.setColumnStretch(column, stretch)
        for line in (1, 3):
            grid.addWidget(_rule(), line, 0, 1, len(names))
        self.folder = ElidedLabel("", "small")
        grid.addWidget(self.folder, 4, 0, 1, len(names))

    def show_facts(self, facts: ModelFacts) -> None:
        context, licence = f"{facts.context_length:,}", facts.licence or self.tr("not stated")
        shown = (facts.family, units.format_count(facts.parameters), context, f"{facts.vocabulary_size:,}",
                 str(facts.layers), units.format_bytes(facts.disk_bytes), licence)
        names = (facts.architecture, "", "", "", f"{facts.hidden_size:,}", "", "")
        for label, text, tip, name in zip(self.values, shown, self._tips, names, strict=True):
            label.setText(text)
            label.setToolTip(plain_tip(tip.format(name=name)))
        self.folder.setText(str(facts.path))


class FitView(QWidget):
    """The memory that training takes, part by part, against what the machine has free."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.title = text_label("", "section")
        self.bar = ShareBar()
        self.bar.setObjectName("fit_bar")
        self.total = text_label("", "strong")
        self.total.setObjectName("fit_total")
        self.free = text_label("", "small")
        self.verdict = text_label("", "body", wrap=True)
        self.verdict.setObjectName("fit_verdict")
        self.frame = QFrame()
        inner = QVBoxLayout(self.frame)
        inner.setContentsMargins(10, 10, 10, 10)
        inner.addWidget(self.verdict)
        right = QHBoxLayout()
        right.setSpacing(theme.SPACE_S)
        right.addWidget(self.total)
        right.addWidget(self.free)
        row = QHBoxLayout()
        row.setSpacing(theme.SPACE_S)
        row.addWidget(self.bar, 1)
        row.addLayout(right)
        row.setAlignment(right, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.SPACE_M)
        column.addWidget(self.title)
        column.addLayout(row)
        column.addWidget(self.frame)

    def show_estimate(self, title: str, estimate: MemoryEstimate, machine: Machine) -> None:
        """Compare `estimate` (bytes) with the first GPU's free memory, or the machine's where there is none."""
        self.title.setText(title)
        gpu = machine.gpus[0] if machine.gpus else None
        free = (gpu.memory_free if gpu and gpu.memory_free is not None else machine.ram_free)
        where = self.tr("on the GPU") if gpu else self.tr("in this machine")
        self.bar.show_shares([Share(amount, PARTS[name], f"{self._name(name)} {units.format_bytes(amount)}")
                              for name in PARTS if (amount := getattr(estimate, name))], free)
        span = _span(estimate.low, estimate.high)
        self.total.setText(span)
        self.free.setText(self.tr("of {free} free").format(free=units.format_bytes(free)))
        if estimate.high <= free:
            kind, text = "ok", self.tr("It fits: about {span} are needed, {free} are free {where}.")
        elif estimate.low <= free:
            kind, text = "warn", self.tr("It may just fit: {span} are needed, {free} are free {where}. A shorter "
                                         "sequence length or a smaller micro-batch in Training makes room.")
        else:
            kind, text = "bad", self.tr("It does not fit as it is: {span} are needed, {free} are free {where}. Close "
                                        "other programs, lower the sequence length in Training, or choose a smaller "
                                        "model.")
        self.verdict.setText(text.format(span=span, free=units.format_bytes(free), where=where))
        self.frame.setProperty("banner", kind)
        self.frame.setProperty("verdict", kind)
        theme.restyle(self.frame)
        theme.restyle(self.verdict)

    def _name(self, part: str) -> str:
        return {"weights": self.tr("weights"), "adapter": self.tr("adapter"), "gradients": self.tr("gradients"),
                "optimizer": self.tr("optimizer"), "activations": self.tr("activations"),
                "logits": self.tr("logits"), "fragmentation": self.tr("fragmentation"),
                "overhead": self.tr("libraries")}[part]


def _span(low: int, high: int) -> str:
    """"7.9–8.6 GB", or both with their units where those differ."""
    first, last = units.format_bytes(low), units.format_bytes(high)
    if first == last:
        return first
    number, unit = first.split(" ", 1)
    return f"{number}–{last}" if last.endswith(f" {unit}") else f"{first} – {last}"


def _rule() -> QFrame:
    rule = QFrame()
    rule.setProperty("rule", True)
    return rule
