"""The losses of several runs in one plot."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QFrame, QScrollArea, QVBoxLayout, QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.run.curves import SMOOTHING
from slmstudio.core.run.event_text import change_text
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import plain_page
from slmstudio.gui.common.widgets.buttons import SegmentedControl, keep_room
from slmstudio.gui.common.widgets.fields import Slider, named
from slmstudio.gui.common.widgets.labels import plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, clear, column_in, row_of
from slmstudio.gui.plots.canvas import LegendChip
from slmstudio.gui.plots.marks import Mark, PlotMarks
from slmstudio.gui.plots.plot import Plot

# -- The plot that everybody looks at: train and eval loss over steps.

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
        for chip in (self.train_chip, self.eval_chip):
            keep_room(chip)
            chip.hide()
        # In a row of their own: beside large text, there is no room for them.
        column = self.layout()
        assert isinstance(column, QVBoxLayout)
        column.insertLayout(1, row_of(self.train_chip, self.eval_chip, STRETCH))
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


COLOURS = ("train", "eval", "teal", "extra", "pink", "olive", "bad", "grey", "ok")
SHOWN_NAME = 26
"""Characters of a run's name below the plot."""
BOTH, EVAL, TRAIN = range(3)


class ComparePlot(QWidget):
    """One colour a run, named below: eval loss as a thick line with dots, train loss as a thin one."""

    def __init__(self) -> None:
        super().__init__()
        self.plot = Plot(tr("Loss"), x_unit=tr("steps"),
                         x_form=lambda x: tr("step {x:,.0f}", x=x),
                         value_form=lambda value: f"{value:.3f}", empty=tr("None of these runs has a loss yet."),
                         term="eval_loss")
        self._runs: list[tuple[str, RunHistory]] = []
        self.which = SegmentedControl([tr("Both"), tr("Eval"), tr("Train")],
                                      tooltips=[tr("Eval losses as thick lines, train losses as thin ones."),
                                                tr("Losses on rows that the model wasn't trained on."),
                                                tr("Losses on the training rows, smoothed.")], name="compare_losses")
        self.which.changed.connect(self._draw)
        self.log = named(QCheckBox(tr("Log scale")), "compare_log",
                         tip=tr("A logarithmic left axis: small differences at the end become visible."))
        self.log.toggled.connect(self.plot.set_log)
        self.plot.header.insertWidget(1, self.which)
        self.plot.header.insertWidget(2, self.log)
        self._legend = row_of()
        self._legend.setContentsMargins(0, 0, 0, 0)
        column_in(self, (self.plot, 1), self._scrolled(), spacing=None)

    def _scrolled(self) -> QWidget:
        """The names of many runs are scrolled, so that none is left out and the window grows no wider."""
        inner = plain_page()
        inner.setLayout(self._legend)
        area = QScrollArea()
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(inner)
        area.setFixedHeight(LegendChip("train").sizeHint().height() + area.horizontalScrollBar().sizeHint().height()
                            + theme.SPACE_XS)
        return area

    def show_runs(self, names: list[str], histories: list[RunHistory]) -> None:
        """Show the curves of these runs; from the tenth on colours come again, paler."""
        self._runs = list(zip(names, histories, strict=True))
        clear(self._legend)
        for number, (name, history) in enumerate(self._runs):
            chip = LegendChip(COLOURS[number % len(COLOURS)])
            last = history.series["eval_loss"].last()
            short = name if len(name) <= SHOWN_NAME else f"{name[:SHOWN_NAME // 2]}…{name[-SHOWN_NAME // 2:]}"
            chip.show_text(short if last is None else f"{short} {last:.3f}")
            chip.setToolTip(plain_tip(name))
            self._legend.addWidget(chip)
        self._legend.addStretch(1)
        self._draw()

    def _draw(self) -> None:
        self.plot.remove_curves()
        which = self.which.current()
        for number, (name, history) in enumerate(self._runs):
            colour, alpha = COLOURS[number % len(COLOURS)], 1.0 if number < len(COLOURS) else 0.5
            if which in (BOTH, TRAIN):
                self._add(f"{number} train", colour, tr("{name}, train", name=name), history, alpha)
            if which in (BOTH, EVAL):
                series = history.series["eval_loss"]
                label = tr("{name}, eval", name=name) if which == BOTH else name
                self.plot.add_curve(f"{number} eval", colour, label=label, dots=True, alpha=alpha)
                self.plot.set_data(f"{number} eval", np.array(series.x), np.array(series.y))
        self.plot.show_all()

    def _add(self, key: str, colour: str, label: str, history: RunHistory, alpha: float) -> None:
        series = history.series["train_loss"]
        values = np.where(np.isfinite(series.y), series.smoothed(), np.nan)
        self.plot.add_curve(key, colour, label=label, width=1.0, alpha=0.55 * alpha)
        self.plot.set_data(key, np.array(series.x), values)
