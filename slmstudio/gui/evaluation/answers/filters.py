"""The line above the answers: what is looked for, in which order, and which models are beside each other."""

from __future__ import annotations

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QLineEdit, QWidget

from slmstudio.core.i18n import ptr, tr
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import row_in
from slmstudio.gui.evaluation.answers.rows_model import ORDERS, View, order_label
from slmstudio.gui.evaluation.texts import model_label

SEARCH_AFTER_MS = 200


class RowsFilters(QWidget):
    """
    Signals:
        changed: other rows, or another order, are wanted.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.search = named(QLineEdit(placeholderText=tr("Search questions and answers"), clearButtonEnabled=True),
                            "rows_search", tr("Search questions and answers"),
                            tr("Show rows whose question, answers or reference contain this (Ctrl+F)."))
        tips = {"rows_order": tr("What comes first in the list."),
                "rows_category": tr("Show the rows of one category."),
                "rows_language": tr("Show the rows of one language."),
                "rows_first": tr("The model to compare with."),
                "rows_second": tr("The model to look at.")}
        self.order, self.category, self.language, self.first, self.second = (
            _choice(name, tip) for name, tip in tips.items())
        for order in ORDERS:
            self.order.addItem(order_label(order), order)
        self._against = text_label(ptr("two models", "against"), "small")
        self._wait = QTimer(self, interval=SEARCH_AFTER_MS, singleShot=True)
        self._wait.timeout.connect(self.changed)
        self.search.textChanged.connect(lambda: self._wait.start())
        row = row_in(self, (self.search, 1))
        for widget in (self.order, self.category, self.language, self.second, self._against, self.first):
            row.addWidget(widget)
            if isinstance(widget, ComboBox):
                widget.activated.connect(lambda: self.changed.emit())

    def begin(self, names: list[str], order: str, *, again: bool = False) -> None:
        """Offer the answers of these models; the first two are beside each other.

        Args:
            again: they are of the same evaluation as before: its category and language stay chosen.
        """
        self.order.setCurrentIndex(ORDERS.index(order))
        self.search.clear()
        self._wait.stop()  # whoever begins asks for the rows
        if not again:
            self.category.clear()
            self.language.clear()
        for choice, name in ((self.first, names[0]), (self.second, names[min(1, len(names) - 1)])):
            choice.clear()
            for each in names:
                choice.addItem(model_label(each), each)
            choice.setCurrentIndex(choice.findData(name))
        for widget in (self.first, self._against, self.second):
            widget.setVisible(len(names) > 2)

    def offer(self, categories: list[str], languages: list[str]) -> None:
        """Offer these; what is chosen stays so where it is still there."""
        for choice, every, values in ((self.category, tr("All categories"), categories),
                                      (self.language, tr("All languages"), languages)):
            kept = choice.currentData()
            choice.clear()
            choice.addItem(every, None)
            for value in values:
                choice.addItem(value or tr("(none)"), value)
            choice.setCurrentIndex(max(0, choice.findData(kept)) if kept is not None else 0)
            choice.setVisible(len(values) > 1)

    def names(self) -> list[str]:
        """All models."""
        return [str(self.first.itemData(index)) for index in range(self.first.count())]

    def view(self) -> View:
        """What is wanted now."""
        self._wait.stop()
        return View(str(self.first.currentData()), str(self.second.currentData()), str(self.order.currentData()),
                    self.category.currentData(), self.language.currentData(), self.search.text().strip())


def _choice(name: str, tooltip: str) -> ComboBox:
    choice = named(ComboBox(), name, tooltip.rstrip("."), tooltip)
    choice.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToContents)
    return choice
