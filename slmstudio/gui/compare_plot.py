"""The eval losses of several runs in one plot."""

from __future__ import annotations

import numpy as np
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from slmstudio.core.run.history import RunHistory
from slmstudio.gui import theme
from slmstudio.gui.legend import LegendChip
from slmstudio.gui.plots import Plot

COLOURS = ("train", "eval", "teal", "extra", "bad", "grey")


class ComparePlot(QWidget):
    """One line a run, told apart by colour and named below."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.plot = Plot(self.tr("Eval loss"), x_unit=self.tr("steps"),
                         x_form=lambda x: self.tr("step {x}").format(x=f"{x:,.0f}"),
                         value_form=lambda value: f"{value:.3f}", empty=self.tr("None of these runs was evaluated."))
        self._legend = QHBoxLayout()
        self._legend.setSpacing(theme.SPACE_S)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.plot, 1)
        column.addLayout(self._legend)

    def show_runs(self, names: list[str], histories: list[RunHistory]) -> None:
        """Show as many runs as there are colours."""
        self.plot.remove_curves()
        while (item := self._legend.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        for number, (name, history, colour) in enumerate(zip(names, histories, COLOURS, strict=False)):
            series, key = history.series["eval_loss"], str(number)
            self.plot.add_curve(key, colour, label=name, dots=True)
            self.plot.set_data(key, np.array(series.x), np.array(series.y))
            chip = LegendChip(colour)
            chip.show_text(name)
            self._legend.addWidget(chip)
        self._legend.addStretch(1)
