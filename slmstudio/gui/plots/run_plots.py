"""The plots of one run, whether it is learning now or was finished long ago."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QScrollArea

from slmstudio.core import units
from slmstudio.core.hardware.guidance import short_gpu_name
from slmstudio.core.hardware.heat_limits import HELD_BELOW_C, Heat, heats
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import number_text, tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.curves import of_card
from slmstudio.core.run.guard_summary import CAUSES, HOLD, as_changed, settings_of
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import Throttle
from slmstudio.gui.common.widgets.areas import keep_bar_room, plain_page
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in, grid_of
from slmstudio.gui.plots.canvas import rate
from slmstudio.gui.plots.compare_plot import LossPlot
from slmstudio.gui.plots.marks import Level, Shade
from slmstudio.gui.plots.plot import Plot

# -- The heat guard in the plots of a run: where it acts, as lines, and its rests, as shades.


def heat_levels(history: RunHistory, config: RunConfig | None) -> dict[str, list[Level]]:
    """By plot (`temperature_c`, `cpu_temperature_c`), the guard's lines; none where it looks at nothing.

    Args:
        config: of the run; what was changed in it since is taken from its history.
    """
    if config is None or not history.machine.newest:
        return {}
    settings = settings_of(as_changed(config, history.guard.changed))
    if settings.mode == "off":
        return {}
    holds = settings.mode == "hold"
    found: dict[str, list[Level]] = {}
    for heat in heats(MachineReading.from_event(history.machine.newest), settings.limit_c, holds,
                      config.device == "cpu"):
        level = Level(heat.limit_c - HELD_BELOW_C * holds, _words(heat, holds))
        plot = found.setdefault("cpu_temperature_c" if heat.what == "cpu" else "temperature_c", [])
        if level not in plot:
            plot.append(level)
    return found


def _words(heat: Heat, holds: bool) -> str:
    limit, memory = f"{heat.limit_c - HELD_BELOW_C * holds:.0f}", heat.what == "memory"
    if holds:
        return tr("memory: hold {limit} °C", limit=limit) if memory else tr("hold {limit} °C", limit=limit)
    return tr("memory: pause at {limit} °C", limit=limit) if memory else tr("pause at {limit} °C", limit=limit)


def rests(history: RunHistory, clock_unit: float | None) -> list[Shade]:
    """Its pauses; holding a temperature isn't a pause.

    Args:
        clock_unit: seconds in a unit of the plot's x axis; None if that counts steps.
    """
    found = []
    for each in history.guard.intervals:
        start, end = (each.start, each.end) if clock_unit else (each.first_step, each.last_step)
        if each.why == HOLD or start is None:
            continue
        seconds = (history.seconds if each.end is None else each.end) - each.start
        text = tr("Rested {time}: {cause}", time=units.format_duration(seconds),
                  cause=tr(CAUSES.get(each.why, each.why)))
        if clock_unit is None:
            found.append(Shade(start, start if end is None else end, text))
        else:
            found.append(Shade(start / clock_unit, (history.seconds if end is None else end) / clock_unit, text))
    return found


GB = 1024**3
OVER_STEPS = ("tokens_per_second", "learning_rate", "grad_norm")
OF_THE_GPU = ("temperature_c", "power_w", "memory_used")
CARD_COLOURS = ("train", "eval", "teal", "pink", "extra", "olive", "grey", "ok")
LOSS_HEIGHT = 210
WIDE = 900
REST = 3.0
"""Times as long as a round of drawing took, nothing is drawn."""


class RunPlots(QScrollArea):
    """Loss above, the small plots below; they scroll where there is little room.

    Attributes:
        small: the plots below, by their field of `RunHistory.series`; those of a card are made once it has readings.

    Plots are made and drawn one after the other, each in a turn of the event loop of its own, so that the window never
    stands still for all of them; and drawing takes no more than a quarter of the time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._history = RunHistory()
        self._config: RunConfig | None = None
        self._drawn: dict[str, tuple[str, ...]] = {}
        self._stale = False
        self._clock_unit = 60.0
        self._throttle = Throttle(self._begin_drawing, self)
        self._page = plain_page()
        self.setWidget(self._page)
        self.loss = LossPlot()
        self.loss.setMinimumHeight(LOSS_HEIGHT)
        self.loss.changed.connect(self.refresh)
        self.setAccessibleName(tr("Plots of the run"))
        self.small: dict[str, Plot] = {}
        self._options = self._recipes()
        self._to_draw: list[str] = []
        self._spent = 0.0
        self._turn = QTimer(self, timeout=self._next)
        self._turn.start(0)
        self.note = text_label("", "small", wrap=True, name="no_gpu_note")
        self.note.hide()
        self._arranged: tuple[int, list[str]] = (0, [])
        self._lay_out()

    def _recipes(self) -> dict[str, dict[str, Any]]:
        """Title and options of each small plot, in their order."""
        def whole(unit: str = "") -> dict[str, Any]:
            return {"value_form": lambda value: number_text(value, ",.0f") + unit}

        size = {"value_form": lambda value: units.format_bytes(value * GB)}
        return {
            "tokens_per_second": {"title": tr("Tokens per second"), "term": "tokens_per_second", **whole()},
            "temperature_c": {"title": tr("GPU temperature, °C"), **whole(" °C"), "floor": None},
            "cpu_temperature_c": {"title": tr("Processor temperature, °C"), **whole(" °C"), "floor": None},
            "learning_rate": {"title": tr("Learning rate"), "term": "learning_rate", "form": rate,
                              "value_form": lambda v: rate(v, v)},
            "grad_norm": {"title": tr("Gradient norm"), "term": "gradient_norm"},
            "power_w": {"title": tr("GPU power, W"), **whole(" W")},
            "memory_used": {"title": tr("GPU memory, GB"), **size},
            "process_memory": {"title": tr("Memory of the worker, GB"), **size},
            "cpu_percent": {"title": tr("Processor, % of one core"), **whole("%")},
        }

    def _next(self) -> None:
        """Make or draw one plot."""
        if missing := self._missing():
            self._make_one(missing[0])
        elif self._to_draw:
            began = time.perf_counter()
            self._draw(self._to_draw.pop(0))
            self._spent += time.perf_counter() - began
        else:
            self._turn.stop()
            self._throttle.rest(REST * self._spent)
            self._spent = 0.0
            if self._stale:
                self._throttle.request()

    def _missing(self) -> list[str]:
        return [name for name in self._names() if name not in self.small]

    def _make_one(self, name: str) -> None:
        options = {"floor": 0.0, "x_unit": tr("steps"), "x_form": self._at_step, **self._options[name]}
        if name not in OVER_STEPS:
            options["x_form"] = self._after
        plot = self.small[name] = Plot(**options, parent=self._page)
        plot.setObjectName(f"plot_{name}")
        plot.hide()
        self.refresh()

    def _at_step(self, x: float) -> str:
        return tr("step {x:,.0f}", x=x)

    def _after(self, x: float) -> str:
        return tr("after {time}", time=units.format_duration(x * self._clock_unit))

    def _lay_out(self) -> None:
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        keep_bar_room(self)
        self._grid = grid_of(theme.SPACE_L, theme.SPACE_M)
        column_in(self._page, (self.loss, 3), (self._grid, 2), self.note, spacing=theme.SPACE_M,
                  margins=(0, 0, theme.SPACE_M, 0))

    def show_history(self, history: RunHistory, config: RunConfig | None = None) -> None:
        """Show a run from now on.

        Args:
            config: of the run; without it nobody knows where its heat guard acts.
        """
        self._history, self._config = history, config
        self.loss.show_all()
        self.refresh()

    def set_note(self, note: str) -> None:
        """Say something below the plots, as why there is no temperature."""
        show_text(self.note, note)

    def is_drawn(self) -> bool:
        """Whether all plots are made, and show what the history has."""
        return not (self._stale or self._turn.isActive() or self._missing())

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

    def _begin_drawing(self) -> None:
        if self._turn.isActive() or not self.isVisible():
            return  # the next round begins when this one is done, or when somebody looks
        self._stale = False
        self._arrange()
        self._set_clock()
        self._to_draw = ["loss", *(name for name in self._arranged[1])]
        self._turn.start(0)

    def _set_clock(self) -> None:
        """Seconds, minutes or hours below the curves over time."""
        series = self._history.series
        longest = max((series[name].x[-1] for name in
                       ("temperature_c", "cpu_temperature_c", "process_memory") if series[name]), default=0.0)
        unit, self._clock_unit = ((tr("h"), 3600.0) if longest >= 3 * 3600 else
                                  (tr("min"), 60.0) if longest >= 3 * 60 else (tr("s"), 1.0))
        for name in self.small.keys() - set(OVER_STEPS):
            self.small[name].bottom.unit = unit

    def _draw(self, name: str) -> None:
        if name == "loss":
            self.loss.show_losses(self._history)
            return
        plot, history, keys = self.small[name], self._history, self._keys(name)
        self._make_curves(name, keys)
        x_scale, y_scale = 1.0 if name in OVER_STEPS else self._clock_unit, GB if "memory" in name else 1.0
        newest = {}
        for key in keys:
            series = history.series[key]
            plot.set_data(key, np.array(series.x) / x_scale, np.array(series.y) / y_scale)
            if (last := series.last()) is not None:
                newest[key] = plot.write(last / y_scale)
        plot.set_value(newest.get(name, "") if len(keys) == 1 else "")
        plot.legend.show_entries([] if len(keys) == 1 else [
            (CARD_COLOURS[place % len(CARD_COLOURS)], f"{self._label(key)}: {newest.get(key, '—')}")
            for place, key in enumerate(keys)])
        if name in OF_THE_GPU:
            self._draw_limit(name)
        if name in ("temperature_c", "cpu_temperature_c"):
            plot.set_levels(heat_levels(history, self._config).get(name, []))
        if name in ("temperature_c", "cpu_temperature_c", "tokens_per_second"):
            plot.set_shades(rests(history, None if name in OVER_STEPS else self._clock_unit))

    def _keys(self, name: str) -> list[str]:
        """The series in a plot: one for each card, and for one card alone the heat of its memory too."""
        if name not in OF_THE_GPU:
            return [name]
        series, cards = self._history.series, len(self._history.machine.cards)
        keys = [key for place in range(cards) if series.get(key := of_card(name, place))]
        if name == "temperature_c" and cards == 1 and series["memory_temperature_c"]:
            keys.append("memory_temperature_c")
        return keys or [name]

    def _label(self, key: str) -> str:
        """What a curve is called beside others."""
        if key == "memory_temperature_c":
            return tr("memory")
        name, _, place = key.partition("@")
        cards = self._history.machine.cards
        if len(cards) < 2:
            return tr("GPU") if "temperature" in name else self.small[name].title.text()
        number, card = cards[int(place or 0)]
        same = len({each for _, each in cards}) == 1
        return tr("GPU {number}", number=number) if same else tr("GPU {number}, {card}", number=number,
                                                                 card=short_gpu_name(card))

    def _make_curves(self, name: str, keys: list[str]) -> None:
        """One curve a series, in its colour; others are of the run before."""
        labels = [self._label(key) if len(keys) > 1 else self.small[name].title.text() for key in keys]
        if self._drawn.get(name) != (wanted := (*keys, *labels)):
            self._drawn[name] = wanted
            self.small[name].remove_curves()
            for place, (key, label) in enumerate(zip(keys, labels, strict=True)):
                self.small[name].add_curve(key, CARD_COLOURS[place % len(CARD_COLOURS)], label=label, width=1.5)

    def _draw_limit(self, name: str) -> None:
        slowdown, power, memory = (self._limit(limit) for limit in ("slowdown_c", "power_limit_w", "memory_total"))
        value, text, tooltip = {
            "temperature_c": (slowdown, tr("limit {limit:.0f} °C", limit=slowdown or 0),
                              tr("At this temperature the GPU slows itself down to protect itself.")),
            "power_w": (power, tr("limit {limit:.0f} W", limit=power or 0),
                        tr("The driver lets the GPU draw no more than this.")),
            "memory_used": (None if memory is None else memory / GB,
                            tr("of {size}", size=units.format_bytes(memory or 0)),
                            tr("All the memory of the GPU. A run that needs more ends with an error.")),
        }[name]
        self.small[name].set_limit(value, text, tooltip)

    def _limit(self, name: str) -> float | None:
        """The lowest one of all cards."""
        limits = self._history.limits
        found = (limits.get(of_card(name, place)) for place in range(len(self._history.machine.cards)))
        return min((limit for limit in found if limit is not None), default=None)

    def _names(self) -> list[str]:
        """The plots that have something to say, in their order."""
        series = self._history.series
        gpu = any(series[key] for name in OF_THE_GPU for key in self._keys(name))
        names = [name for name in self._options if (gpu or name not in OF_THE_GPU) and name != "cpu_temperature_c"]
        if series["cpu_temperature_c"]:
            names.insert(len(names) if gpu else 1, "cpu_temperature_c")  # without a card, in place of the card's
        return names

    def _arrange(self) -> None:
        """Put the plots into two columns, or three where there is room."""
        names = [name for name in self._names() if name in self.small]
        columns = 3 if self.viewport().width() >= WIDE else 2
        if (columns, names) == self._arranged:
            return
        self._arranged = (columns, names)
        for name, plot in self.small.items():
            self._grid.removeWidget(plot)
            plot.setVisible(name in names)
        for index, name in enumerate(names):
            self._grid.addWidget(self.small[name], index // columns, index % columns)
