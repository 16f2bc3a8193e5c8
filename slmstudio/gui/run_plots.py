"""The plots of one run, whether it is learning now or was finished long ago."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QGridLayout, QScrollArea, QVBoxLayout, QWidget

from slmstudio.core import words
from slmstudio.core.run.history import RunHistory
from slmstudio.gui import theme
from slmstudio.gui.loss_plot import LossPlot
from slmstudio.gui.plot_axis import rate
from slmstudio.gui.plots import Plot
from slmstudio.gui.throttle import Throttle
from slmstudio.gui.widgets import text_label

GB = 1024**3
OVER_STEPS = ("tokens_per_second", "learning_rate", "grad_norm")
OF_THE_GPU = ("temperature_c", "power_w", "memory_used")
LOSS_HEIGHT, SMALL_HEIGHT = 210, 118
WIDE = 900


class RunPlots(QScrollArea):
    """Loss above, the small plots below; they scroll where there is little room.

    Attributes:
        small: the plots below, by their field of `RunHistory.series`. They are made one after the other, each in a
            turn of the event loop, so that the window never stands still for all of them.
    """

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._history = RunHistory()
        self._stale = False
        self._clock_unit = 60.0
        self._throttle = Throttle(self._draw, self)
        self._page = QWidget()
        self._page.setProperty("plain", True)
        self.setWidget(self._page)
        self.loss = LossPlot()
        self.loss.setMinimumHeight(LOSS_HEIGHT)
        self.loss.changed.connect(self.refresh)
        self.small: dict[str, Plot] = {}
        self._to_make = self._recipes()
        self._maker = QTimer(self)
        self._maker.timeout.connect(self._make_next)
        self._maker.start(0)
        self.note = text_label("", "small", wrap=True)
        self.note.setObjectName("no_gpu_note")
        self.note.hide()
        self._arranged: tuple[int, list[str]] = (0, [])
        self._lay_out()

    def _recipes(self) -> dict[str, dict[str, Any]]:
        """Title and options of each small plot, in their order."""
        def whole(unit: str = "") -> dict[str, Any]:
            return {"value_form": lambda value: f"{value:,.0f}{unit}"}

        size = {"value_form": lambda value: words.format_bytes(value * GB)}
        return {
            "tokens_per_second": {"title": self.tr("Tokens per second"), **whole()},
            "temperature_c": {"title": self.tr("GPU temperature, °C"), **whole(" °C"), "floor": None},
            "learning_rate": {"title": self.tr("Learning rate"), "form": rate, "value_form": lambda v: rate(v, v)},
            "grad_norm": {"title": self.tr("Gradient norm")},
            "power_w": {"title": self.tr("GPU power, W"), **whole(" W")},
            "memory_used": {"title": self.tr("GPU memory, GB"), **size},
            "process_memory": {"title": self.tr("Memory of the worker, GB"), **size},
            "cpu_percent": {"title": self.tr("Processor, % of one core"), **whole(" %")},
        }

    def _make_next(self) -> None:
        name = next(iter(self._to_make))
        options = {"floor": 0.0, "x_unit": self.tr("steps"), "x_form": self._at_step, **self._to_make.pop(name)}
        if name not in OVER_STEPS:
            options["x_form"] = self._after
        plot = self.small[name] = Plot(**options, parent=self._page)
        plot.add_curve("value", "train", label=plot.title.text(), width=1.5)
        plot.setMinimumHeight(SMALL_HEIGHT)
        plot.setObjectName(f"plot_{name}")
        plot.hide()
        if not self._to_make:
            self._maker.stop()
        self.refresh()

    def _at_step(self, x: float) -> str:
        return self.tr("step {x}").format(x=f"{x:,.0f}")

    def _after(self, x: float) -> str:
        return self.tr("after {time}").format(time=words.format_duration(x * self._clock_unit))

    def _lay_out(self) -> None:
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        column = QVBoxLayout(self._page)
        column.setContentsMargins(0, 0, theme.SPACE_M, 0)
        column.setSpacing(theme.SPACE_M)
        column.addWidget(self.loss, 3)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(theme.SPACE_L)
        self._grid.setVerticalSpacing(theme.SPACE_M)
        column.addLayout(self._grid, 2)
        column.addWidget(self.note)

    def show_history(self, history: RunHistory) -> None:
        """Show a run from now on."""
        self._history = history
        self.loss.show_all()
        self.refresh()

    def set_note(self, note: str) -> None:
        """Say something below the plots, as why there is no temperature."""
        self.note.setText(note)
        self.note.setVisible(bool(note))

    def refresh(self) -> None:
        """The history has more to show. Cheap: drawing is throttled, and waits until the plots are visible."""
        self._stale = True
        if self.isVisible():
            self._throttle.request()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._stale:
            self._throttle.request()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def _draw(self) -> None:
        self._stale = False
        self.loss.show_losses(self._history)
        series = self._history.series
        longest = max((series[name].x[-1] for name in ("temperature_c", "process_memory") if series[name]), default=0.0)
        unit, self._clock_unit = ((self.tr("h"), 3600.0) if longest >= 3 * 3600 else
                                  (self.tr("min"), 60.0) if longest >= 3 * 60 else (self.tr("s"), 1.0))
        for name, plot in self.small.items():
            over_steps = name in OVER_STEPS
            x_scale, y_scale = 1.0 if over_steps else self._clock_unit, GB if "memory" in name else 1.0
            if not over_steps:
                plot.bottom.unit = unit
            plot.set_data("value", np.array(series[name].x) / x_scale, np.array(series[name].y) / y_scale)
            last = series[name].last()
            plot.set_value("" if last is None else plot.write(last / y_scale))
        self._draw_limits()
        self._arrange()

    def _draw_limits(self) -> None:
        limits = self._history.limits
        slowdown, power, memory = (limits.get(name) for name in ("slowdown_c", "power_limit_w", "memory_total"))
        drawn = {
            "temperature_c": (slowdown, self.tr("limit {limit} °C").format(limit=f"{slowdown or 0:.0f}"),
                              self.tr("At this temperature the GPU slows itself down to protect itself.")),
            "power_w": (power, self.tr("limit {limit} W").format(limit=f"{power or 0:.0f}"),
                        self.tr("The driver lets the GPU draw no more than this.")),
            "memory_used": (None if memory is None else memory / GB,
                            self.tr("of {size}").format(size=words.format_bytes(memory or 0)),
                            self.tr("All the memory of the GPU. A run that needs more ends with an error.")),
        }
        for name in drawn.keys() & self.small.keys():
            self.small[name].set_limit(*drawn[name])

    def _arrange(self) -> None:
        """Put the plots that have something to say into two columns, or three where there is room."""
        gpu = any(self._history.series[name] for name in OF_THE_GPU)
        names = [name for name in self.small if gpu or name not in OF_THE_GPU]
        columns = 3 if self.viewport().width() >= WIDE else 2
        if (columns, names) == self._arranged:
            return
        self._arranged = (columns, names)
        for name, plot in self.small.items():
            self._grid.removeWidget(plot)
            plot.setVisible(name in names)
        for index, name in enumerate(names):
            self._grid.addWidget(self.small[name], index // columns, index % columns)
