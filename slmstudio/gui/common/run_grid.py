"""What the page of a run is laid out with: a column, and figures that line up."""

from __future__ import annotations

import math
from collections.abc import Mapping

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from slmstudio.core import i18n
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import column_in, fill, row_in
from slmstudio.gui.common.widgets.meaning import MeaningButton


def page_and_column() -> tuple[QWidget, QVBoxLayout]:
    """A page that is scrolled, and its column."""
    page = QWidget()
    column = column_in(page, spacing=theme.SPACE_M, margins=(0, 0, theme.SPACE_S, 0))
    return page, column


class Grid(QGridLayout):
    """A few rows of figures or sentences that line up.

    Args:
        columns: beside the first; one column takes text, several take figures.
    """

    def __init__(self, columns: int):
        super().__init__()
        self._columns = columns
        self.setHorizontalSpacing(theme.SPACE_L)
        self.setVerticalSpacing(theme.SPACE_XS)
        for column in range(1, columns + 1):
            self.setColumnStretch(column, 1)

    def set_rows(self, rows: list[tuple[str, ...]], strong_row: int = -1,
                 terms: Mapping[str, str] | None = None) -> None:
        """Show other rows.

        Args:
            terms: key of what a text at the head of a row or a column means.
        """
        while (item := self.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
                widget.hide()
        for number, row in enumerate(rows):
            for column, text in enumerate(row):
                figures = self._columns > 1
                head = column == 0 or (figures and number == 0)
                role = "small" if head and number != strong_row else "strong" if number == strong_row else "body"
                sentence = text.endswith((".", "।", "۔"))  # is read to its end; a path is known by both of its ends
                label = text_label(text, role, wrap=sentence) if head or figures or sentence else ElidedLabel(
                    text, role)
                if head and not figures:
                    label.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
                if figures and column:
                    label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                term = (terms or {}).get(text) if head else None
                if term is None:
                    self.addWidget(label, number, column)
                    continue
                pair = QWidget()
                line = row_in(pair, spacing=2)
                if figures:
                    line.addStretch(1)
                fill(line, label, MeaningButton(term))
                if not figures:
                    line.addStretch(1)
                # Beside a sentence of several lines, both stay on the first.
                self.addWidget(pair, number, column,
                               Qt.AlignmentFlag.AlignTop if not figures else Qt.AlignmentFlag(0))


def number_text(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:.2f}" if math.isfinite(value) else tr("not a number")


def perplexity_text(loss: float | None) -> str:
    """exp(loss): among how many equally likely tokens the model would have to choose."""
    return "—" if loss is None or not loss < 50 else i18n.number_text(math.exp(loss), ",.1f")
