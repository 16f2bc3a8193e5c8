"""The doctor's lines, one below the other: the state, what was found, why, how to fix it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from slmstudio.core.hardware.doctor.line import Line
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.copy_text import CopyLine
from slmstudio.gui.common.widgets.labels import Chip, breakable, text_label
from slmstudio.gui.common.widgets.layouts import column_of, grid_in

_KINDS = {"fine": "ok", "warning": "warn", "problem": "bad"}


class Rows(QWidget):
    """Lines in a grid of two columns: states, and texts."""

    def __init__(self, lines: list[Line], parent: QWidget | None = None):
        super().__init__(parent)
        words = {"fine": tr("✓ Fine"), "warning": tr("! Warning"), "problem": tr("✕ Problem")}
        grid = grid_in(self, theme.SPACE_M, theme.SPACE_M, stretch=1)
        for row, line in enumerate(lines):
            mark = Chip(words[line.state], _KINDS[line.state])
            mark.setAccessibleName(f"{words[line.state]}: {line.title}")
            grid.addWidget(mark, row, 0, Qt.AlignmentFlag.AlignTop)
            grid.addLayout(self._text(line), row, 1)

    def _text(self, line: Line) -> QVBoxLayout:
        column = column_of(_selectable(line.title, "body" if line.state == "fine" else "strong"),
                           spacing=theme.SPACE_XS)
        if line.why:
            column.addWidget(_selectable(line.why, "small"))
        if line.remedy:
            column.addWidget(_selectable(line.remedy, "body"))
        if line.command:
            command = CopyLine(tr("Command for: {title}", title=line.title))
            command.set_text(line.command)
            column.addWidget(command)
        column.addStretch(1)
        return column


def _selectable(text: str, role: str) -> QLabel:
    label = text_label(breakable(text), role, wrap=True, selectable=True)
    return label
