"""Fields of an evaluation that are seldom changed: how long answers may be, the system prompt, which rows are drawn."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLineEdit, QWidget

from slmstudio.core.i18n import ptr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.fields import SpinBox, named, number_field
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import grid_in

LONGEST = 8192
LARGEST_SEED = 2**31 - 1
MOST_SHOTS = 100


class MoreFields(QWidget):
    """
    Signals:
        changed: something else is chosen now.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.longest = spin_box("evaluation_longest", tr("Maximum answer length, tokens"),
                                tr("Longer answers are cut off here. The longer the answers, the longer it takes."), 1,
                                LONGEST)
        self.longest.valueChanged.connect(lambda: self.changed.emit())
        self.system = named(QLineEdit(placeholderText=ptr("system prompt", "none")), "evaluation_system",
                            tr("System prompt"),
                            tr("Used for every question that has none of its own. Enter the one that the model will be "
                               "used with."))
        self.seed = spin_box("evaluation_seed", tr("Seed for drawing rows"),
                             tr("Decides which rows are drawn when not all are used. The same number draws the same "
                                "rows, so that two evaluations can be compared."), 0, LARGEST_SEED)
        grid = grid_in(self, theme.SPACE_M, theme.SPACE_S, stretch=1)
        for row, field in enumerate((self.longest, self.system, self.seed)):
            grid.addWidget(text_label(field.accessibleName(), "small"), row, 0)
            if field is self.system:
                grid.addWidget(field, row, 1)
            else:
                grid.addWidget(field, row, 1, Qt.AlignmentFlag.AlignLeft)

    def values(self) -> dict[str, Any]:
        """Those keys of a request."""
        return {"max_new_tokens": self.longest.value(), "system": self.system.text().strip() or None,
                "seed": self.seed.value()}


def spin_box(name: str, label: str, tooltip: str, least: int, most: int) -> SpinBox:
    """A field for a whole number."""
    box = named(number_field(SpinBox()), name, label, tooltip)
    box.setRange(least, most)
    box.setGroupSeparatorShown(True)
    box.setMinimumWidth(96)
    return box
