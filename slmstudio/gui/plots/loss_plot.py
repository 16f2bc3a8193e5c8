"""The plot that everybody looks at: train and eval loss over steps."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox

from slmstudio.core.i18n import tr
from slmstudio.core.run.curves import SMOOTHING
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import change_text
from slmstudio.gui.common.widgets.fields import Slider, named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.plots.legend import LegendChip
from slmstudio.gui.plots.marks import Mark, PlotMarks
from slmstudio.gui.plots.plot import Plot

WEIGHT_WIDTH = 34
"""Pixels for a number such as 0.90."""


class LossPlot(Plot):
    """Train and eval loss over steps, with smoothing and a logarithmic axis.

    Signals:
        changed: smoothing is different now; the curves want to be drawn again.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__(tr("Loss"), x_unit=tr("steps"),
                         x_form=lambda x: tr("step {x:,.0f}", x=x),
                         value_form=lambda value: f"{value:.3f}",
                         empty=tr("The loss appears with the first step."), term="eval_loss")
        self.add_curve("raw", "train", label=tr("train"), width=1, alpha=0.35)
        self.add_curve("smooth", "train", label=tr("train, smoothed"))
        self.add_curve("eval", "eval", label=tr("eval"), dots=True)
        self.marks = PlotMarks(self.canvas.getPlotItem())
        self.train_chip, self.eval_chip = LegendChip("train"), LegendChip("eval")
        self._add_switches()

    def _add_switches(self) -> None:
        self.weight = named(Slider(Qt.Orientation.Horizontal), "smoothing", tr("Smoothing of the train loss"),
                            tr("How much of the average so far each point of the thick line keeps. Raise it when the "
                               "thin line jumps too much to see a trend; 0 shows it as it is."))
        self.weight.setRange(0, 99)
        self.weight.setValue(round(SMOOTHING * 100))
        theme.grow(self.weight, "setFixedWidth", 80)
        self._weight_text = text_label("", "small")
        theme.grow(self._weight_text, "setMinimumWidth", WEIGHT_WIDTH)
        self.weight.valueChanged.connect(self._set_weight)
        self.log = named(QCheckBox(tr("Log scale")), "log_scale",
                         tip=tr("Equal distances for equal ratios: small changes late in a run become visible."))
        self.log.toggled.connect(self.set_log)
        for place, widget in enumerate((self.train_chip, self.eval_chip), 1):
            self.header.insertWidget(place, widget)
        for widget in (text_label(tr("Smoothing"), "small"), self.weight, self._weight_text, self.log):
            self.header.addWidget(widget)
        self._set_weight(self.weight.value())

    def _set_weight(self, percent: int) -> None:
        self._weight_text.setText(f"{percent / 100:.2f}")
        self.changed.emit()

    def show_losses(self, history: RunHistory) -> None:
        train, evaluated = history.series["train_loss"], history.series["eval_loss"]
        smooth = train.smoothed(self.weight.value() / 100)
        x = np.array(train.x)
        self.set_data("raw", x, np.array(train.y))
        self.set_data("smooth", x, np.array(smooth))
        self.set_data("eval", np.array(evaluated.x), np.array(evaluated.y))
        self.marks.show(self._marks(history))
        for chip, text, loss in ((self.train_chip, tr("train {loss}"), smooth[-1] if smooth else None),
                                 (self.eval_chip, tr("eval {loss}"), evaluated.last())):
            chip.setVisible(loss is not None)
            chip.show_text("" if loss is None else text.format(loss=f"{loss:.2f}"))

    def _marks(self, history: RunHistory) -> list[Mark]:
        """Where something was changed by hand, and where eval loss turned upwards."""
        marks = [Mark(float(step), change_text(event), "muted") for event in history.changes
                 if isinstance(step := event.get("global_step"), int) and step <= history.step]
        if history.overfit_step is not None:
            text = tr("lowest eval loss, step {step:,}", step=history.overfit_step)
            marks.append(Mark(float(history.overfit_step), text, "warn"))
        return marks
