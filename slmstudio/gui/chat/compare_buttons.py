"""How many models are asked, and whether their names are hidden."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.votes.store import MOST_ANSWERS
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.layouts import row_in


class CompareButtons(QWidget):
    """Side by side, blind, one more, one less.

    Signals:
        count_wanted(int): this many models are wanted.
        blind_changed(bool): hide names, or show them.
    """

    count_wanted = Signal(int)
    blind_changed = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._count = 1
        self.compare = SecondaryButton(tr("Side by side"),
                                       tr("Ask two models each question, such as the base and the one you trained."),
                                       "small", clicked=lambda on: self.count_wanted.emit(2 if on else 1))
        self.blind = SecondaryButton(tr("Blind"),
                                     tr("Hide which model gave which answer until you have voted. Each question then "
                                        "starts a new conversation."), "small")
        for button in (self.compare, self.blind):
            button.setCheckable(True)
        self.more = IconButton("plus", tr("Ask one more model (up to four)"),
                               clicked=lambda: self.count_wanted.emit(self._count + 1))
        self.fewer = IconButton("minus", tr("Remove the last model"),
                                clicked=lambda: self.count_wanted.emit(self._count - 1))
        row = row_in(self)
        for name, widget in (("compare", self.compare), ("remove_lane", self.fewer), ("add_lane", self.more),
                             ("blind", self.blind)):
            widget.setObjectName(name)
            row.addWidget(widget)
        self.blind.toggled.connect(self.blind_changed)
        self.show_count(1)

    def show_count(self, count: int) -> None:
        """Say how many models are asked now."""
        self._count = count
        self.compare.setChecked(count > 1)
        if count == 1:
            self.blind.setChecked(False)
        self.blind.setVisible(count > 1)
        self.more.setVisible(1 < count < MOST_ANSWERS)
        self.fewer.setVisible(count > 2)
