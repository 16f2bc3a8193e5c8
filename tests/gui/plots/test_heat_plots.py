"""Heat in the plots: several cards, the processor, where the guard acts, and the rests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPointF
from PySide6.QtWidgets import QLabel

from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.hardware.readings import CpuReading, MachineReading
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.plots.plot import Plot
from slmstudio.gui.plots.run_plots import RunPlots

CARD = GpuReading(0, "NVIDIA GeForce RTX 3060", temperature_c=70, slowdown_c=93, power_w=160.0, power_limit_w=170.0,
                  memory_used=8 * 1024**3, memory_total=12 * 1024**3)
SECOND = GpuReading(1, "NVIDIA GeForce RTX 4090", temperature_c=61, slowdown_c=90, power_w=300.0)
REST = {"type": "guard_rest", "global_step": 20, "why": "heat", "message": "Hot."}
CONFIG = RunConfig(name="n", model="m", train_file="t")


def history(*cards: GpuReading, cpu: CpuReading | None = None, events: dict[int, dict[str, object]] | None = None,
            seconds: int = 40) -> RunHistory:
    """A step and a reading a second; `events` come at their second."""
    reading = MachineReading(cards, cpu or CpuReading()).to_dict()
    made = RunHistory()
    made.add({"type": "job_started", "time": 0.0})
    for second in range(1, seconds + 1):
        at = {"time": float(second)}
        made.add({"type": "step", **at, "global_step": second, "train_loss": 1.0, "tokens_per_second": 3400.0})
        made.add({"type": "sensors", **at, **reading, "process_memory": 10**9})
        if second in (events or {}):
            made.add({**events[second], **at})
    return made


def draw(qtbot, plots: RunPlots, made: RunHistory, config: RunConfig | None = CONFIG) -> None:
    plots.show_history(made, config)
    qtbot.waitUntil(plots.is_drawn)


def levels(plots: RunPlots, name: str = "temperature_c") -> list[tuple[float, str]]:
    return [(level.y, level.text) for level in plots.small[name].levels.shown]


def legend(plot: Plot) -> str:
    return plot.legend.findChild(QLabel).accessibleName()


def test_the_guards_limit_is_drawn_beside_the_cards_own(qtbot, plots):
    draw(qtbot, plots, history(CARD))
    assert levels(plots) == [(88, "pause at 88 °C")] and plots.small["temperature_c"].limit.text() == "limit 93 °C"
    plots.grab()
    low, high = plots.small["temperature_c"].canvas.viewRange()[1]
    assert low < 70 and high >= 93
    assert high >= 88 + 0.2 * (88 - 70), "there is room for the words above the line"


@pytest.mark.parametrize(("fields", "expected"), [
    ({"heat_limit_c": 78}, [(78, "pause at 78 °C")]),
    ({"heat_guard": "hold", "heat_limit_c": 74}, [(74, "hold 74 °C")]),
    ({"heat_guard": "off"}, []),
])
def test_as_the_run_was_told_and_as_it_was_changed(qtbot, plots, fields, expected):
    draw(qtbot, plots, history(CARD), RunConfig(name="n", model="m", train_file="t", **fields))
    assert levels(plots) == expected
    draw(qtbot, plots, history(CARD, events={9: {"type": "guard_changed", "values": fields}}))
    assert levels(plots) == expected


def test_several_cards_are_several_curves_with_names(qtbot, plots):
    draw(qtbot, plots, history(CARD, SECOND))
    plot = plots.small["temperature_c"]
    assert {name: curve.y[-1] for name, curve in plot.curves.items()} == {"temperature_c": 70, "temperature_c@1": 61}
    assert legend(plot) == "GPU 0, RTX 3060: 70 °C, GPU 1, RTX 4090: 61 °C"
    assert plot.legend.isVisible() and plot.value.text() == "" and levels(plots) == [
        (88, "pause at 88 °C"), (85, "pause at 85 °C")]
    assert list(plots.small["memory_used"].curves) == ["memory_used"], "the second says nothing of its memory"
    plot.read_at(QPointF(plot.canvas.width() / 2, 40))
    assert "GPU 1, RTX 4090 61 °C" in plot.readout()
    draw(qtbot, plots, history(CARD))
    assert list(plot.curves) == ["temperature_c"] and not plot.legend.isVisible() and plot.value.text() == "70 °C"


def test_the_heat_of_a_cards_memory_lies_beside_its_own(qtbot, plots):
    draw(qtbot, plots, history(replace(CARD, memory_temperature_c=92, memory_limit_c=105)))
    assert legend(plots.small["temperature_c"]) == "GPU: 70 °C, memory: 92 °C"
    assert levels(plots) == [(88, "pause at 88 °C"), (100, "memory: pause at 100 °C")]


def test_without_a_card_the_processor_is_shown_in_its_place(qtbot, plots):
    draw(qtbot, plots, history(cpu=CpuReading(temperature_c=66.0, limit_c=100.0)))
    shown = plots.small["cpu_temperature_c"]
    assert shown.isVisible() and "temperature_c" not in plots.small
    assert shown.y() == plots.small["tokens_per_second"].y() and shown.x() > plots.small["tokens_per_second"].x()
    assert shown.value.text() == "66 °C" and levels(plots, "cpu_temperature_c") == [(95, "pause at 95 °C")]
    draw(qtbot, plots, history())
    assert not shown.isVisible(), "a machine that tells none has no empty plot"


def test_rests_lie_in_the_shade_over_time_and_over_steps(qtbot, plots):
    resume = {"type": "guard_resume", "global_step": 20, "why": "heat", "seconds": 10.0}
    held = {"type": "guard_rest", "global_step": 35, "why": "hold", "message": "Holding."}
    draw(qtbot, plots, history(CARD, events={20: REST, 30: resume, 35: held}))
    plot = plots.small["temperature_c"]
    over_time, over_steps = plot.shades.shown, plots.small["tokens_per_second"].shades.shown
    assert [(shade.start, shade.end, shade.text) for shade in over_time] == [(20, 30, "Rested 10 s: heat")]
    assert [(shade.start, shade.end) for shade in over_steps] == [(20, 20)] and not plots.loss.shades.shown
    plot.read_at(QPointF(plot.canvas.width() * 0.65, 40))
    assert over_time[0].text in plot.readout()
    draw(qtbot, plots, history(CARD, events={20: REST}))
    assert [(shade.start, shade.end) for shade in plot.shades.shown] == [(20, 40)], "one that lasts reaches to now"


def test_a_dense_curve_of_tall_zigzags_is_painted_in_pieces_and_another_as_one_line(qtbot, plots):
    plot = plots.small["process_memory"]
    plot.add_curve("x", "train")
    x = np.arange(3000.0)
    for y, mode in ((x % 2, "on"), (x, "auto"), (np.full(3000, np.nan), "auto"), (np.ones(3000), "auto")):
        plot.set_data("x", x, y)
        assert plot.curves["x"].item.curve.opts["segmentedLineMode"] == mode
    plot.set_data("x", x[:1000], x[:1000] % 2)
    assert plot.curves["x"].item.curve.opts["segmentedLineMode"] == "auto"
