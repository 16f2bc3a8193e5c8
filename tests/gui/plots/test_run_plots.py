"""The plots: all points kept, few redraws, plain numbers, and words where there is nothing."""

from __future__ import annotations

import itertools
import math
import re
import time
from array import array

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QFontMetricsF
from support.tiers import first_fast

from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import REDRAWS_A_SECOND, Throttle
from slmstudio.gui.plots.canvas import NumberAxis, even_ticks, log_ticks, plain, rate
from slmstudio.gui.plots.plot import Plot
from slmstudio.gui.plots.run_plots import RunPlots


def history(steps: int, gpu: bool = True) -> RunHistory:
    made = RunHistory()
    made.add({"type": "job_started", "time": 0.0})
    for step in range(1, steps + 1):
        made.add({"type": "step", "time": float(step), "global_step": step, "train_loss": 1 + 1 / step,
                  "learning_rate": 1e-4, "grad_norm": 1.0, "tokens_per_second": 3400.0})
        reading = {"temperature_c": 70, "slowdown_c": 88, "power_w": 160, "power_limit_w": 200,
                   "memory_used": 8 * 1024**3, "memory_total": 12 * 1024**3}
        made.add({"type": "sensors", "time": float(step), "gpus": [reading] if gpu else [], "process_memory": 10**9})
        if step % 10 == 0:
            made.add({"type": "eval", "time": float(step), "global_step": step, "eval_loss": 1.5 - step / 1000})
    return made


def shown(plot: Plot, name: str) -> int:
    curve = plot.curves.get(name)
    return 0 if curve is None else len(curve.x)


def draw(qtbot, plots: RunPlots, made: RunHistory) -> RunHistory:
    plots.show_history(made)
    qtbot.waitUntil(plots.is_drawn)
    return made


def test_every_point_is_kept_and_the_card_has_its_limits(qtbot, plots):
    draw(qtbot, plots, history(3000))
    assert shown(plots.loss, "raw") == shown(plots.small["learning_rate"], "learning_rate") == 3000
    assert shown(plots.loss, "eval") == 300
    assert plots.loss.train_chip.isVisible() and "train 1.00" in plots.loss.train_chip.text()
    temperature, memory = plots.small["temperature_c"], plots.small["memory_used"]
    assert temperature.limit.isVisible() and temperature.limit.text() == "limit 88 °C"
    assert (temperature.value.text(), memory.limit.text()) == ("70 °C", "of 12 GB")
    plots.grab()
    low, high = temperature.canvas.viewRange()[1]
    assert low < 70 and high >= 88, "the limit must be in sight"


def test_a_screen_full_of_points_is_painted_and_peaks_stay(qtbot, plots):
    made = history(20_000)
    made.series["train_loss"].y[12_345] = 9.0
    draw(qtbot, plots, made)
    plots.grab()
    _, painted = plots.loss.curves["raw"].item.curve.getData()
    assert len(painted) < 6 * plots.width() and painted.max() == 9.0


def test_the_smoothed_curve_is_of_the_run_that_is_shown_however_long_it_is(qtbot, plots):
    draw(qtbot, plots, history(40))
    longer = history(60)
    longer.series["train_loss"].y[:] = array("d", [9.0] * 60)
    draw(qtbot, plots, longer)
    assert plots.loss.curves["smooth"].y == pytest.approx([9.0] * 60)
    assert plots.loss.train_chip.text().endswith("train 9.00")


def test_without_a_gpu_a_sentence_stands_there(qtbot, plots):
    assert plots.loss.empty.isVisible(), "no step yet"
    draw(qtbot, plots, history(50, gpu=False))
    plots.set_note("No NVIDIA GPU in this machine.")
    assert plots.note.isVisible() and "temperature_c" not in plots.small and not plots.loss.empty.isVisible()
    assert plots.small["process_memory"].isVisible()


def test_reading_a_place(qtbot, plots):
    draw(qtbot, plots, history(100))
    plots.loss.read_at(QPointF(plots.loss.canvas.width() / 2, 40))
    text = plots.loss.readout()
    step = int(re.search(r"step (\d+)", text)[1])
    assert 40 <= step < 60, "the middle of what is shown"
    assert f"train {1 + 1 / step:.3f}" in text and "eval 1.4" in text


def test_smoothing_and_log_scale(qtbot, plots):
    draw(qtbot, plots, history(100))
    plots.loss.weight.setValue(0)
    qtbot.waitUntil(lambda: bool(np.array_equal(plots.loss.curves["smooth"].y, plots.loss.curves["raw"].y)))
    plots.loss.log.setChecked(True)
    assert plots.loss.left.logMode
    plots.grab()  # painting with a logarithmic axis must not warn


def test_a_gap_where_the_loss_was_no_number(qtbot, plots):
    made = history(20)
    made.add({"type": "step", "time": 21.0, "global_step": 21, "train_loss": None})
    draw(qtbot, plots, made)
    assert math.isnan(plots.loss.curves["raw"].y[-1])
    plots.loss.read_at(QPointF(plots.loss.canvas.width() - 20, 40))
    assert "not a number" in plots.loss.readout()
    plots.grab()


@pytest.mark.parametrize("steps", first_fast([1201, 1, 2, 2999, 3333], 2))
def test_painting_comes_to_an_end_at_any_length_and_width(qtbot, qapp, plots, steps):
    draw(qtbot, plots, history(steps))
    for width in range(560, 760, 13):
        plots.resize(width, 600)
        qapp.processEvents()  # wouldn't return if each painting asked for another


def test_zooming_stops_following_and_a_double_click_follows_again(qtbot, plots):
    made = draw(qtbot, plots, history(100))
    box = plots.loss.canvas.getPlotItem().getViewBox()
    box.setXRange(10, 20)
    box.sigRangeChangedManually.emit([True, False])
    plots.show_history(made)
    assert box.viewRange()[0][1] > 90, "another run is shown whole"
    box.setXRange(10, 20, padding=0)
    box.sigRangeChangedManually.emit([True, False])
    plots.show_history(longer := history(100))
    box.setXRange(10, 20, padding=0)
    box.sigRangeChangedManually.emit([True, False])
    longer.add({"type": "step", "time": 101.0, "global_step": 101, "train_loss": 1.0})
    plots.refresh()
    qtbot.waitUntil(lambda: shown(plots.loss, "raw") == 101)
    assert box.viewRange()[0] == [10, 20]
    qtbot.mouseDClick(plots.loss.canvas.viewport(), Qt.MouseButton.LeftButton)
    assert box.viewRange()[0][1] > 90


def test_colours_follow_the_theme(qtbot, qapp, plots):
    draw(qtbot, plots, history(20))
    theme.apply(qapp, "dark")
    assert plots.loss.canvas.backgroundBrush().color().name() == theme.DARK["card"]
    assert plots.loss.curves["eval"].item.opts["pen"].color().name() == theme.DARK["eval"]
    theme.apply(qapp, "light")
    assert plots.loss.canvas.backgroundBrush().color().name() == theme.LIGHT["card"]


def test_the_throttle_draws_at_once_then_not_sooner_than_allowed_and_the_last_request(qtbot, qapp):
    drawn: list[tuple[float, int]] = []
    state = {"value": 0}
    throttle = Throttle(lambda: drawn.append((time.monotonic(), state["value"])), qapp)
    for value in range(1, 101):
        state["value"] = value
        throttle.request()
        qapp.processEvents()
    qtbot.waitUntil(lambda: bool(drawn) and drawn[-1][1] == 100)
    assert drawn[0][1] == 1 and len(drawn) >= 2
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(drawn)]
    assert min(gaps) >= 0.8 / REDRAWS_A_SECOND, "a timer may come a few milliseconds early"


def test_plots_that_nobody_sees_are_not_drawn(qtbot, plots):
    plots.hide()
    plots.show_history(history(10))
    drawn: list[int] = []
    another = Throttle(lambda: drawn.append(1), plots)  # what draws as often would have drawn by then
    for times in (1, 2):
        another.request()
        qtbot.waitUntil(lambda times=times: len(drawn) == times)
    assert shown(plots.loss, "raw") == 0
    plots.show()
    qtbot.waitUntil(lambda: shown(plots.loss, "raw") == 10)


def test_the_wheel_scrolls_the_page_and_zooms_only_with_ctrl(qtbot, plots):
    draw(qtbot, plots, history(100))
    assert not plots.loss.canvas.getPlotItem().getViewBox().mouseEnabled()[1]
    assert plots.focusPolicy() != Qt.FocusPolicy.NoFocus


@pytest.mark.parametrize(("low", "high", "count", "ticks"), [
    (0.9, 2.2, 5, [1.0, 1.5, 2.0]), (0, 484, 5, [0, 100, 200, 300, 400]), (0, 3800, 2, [0, 2000]),
    (0, 2e-4, 3, [0, 1e-4, 2e-4]), (5, 5, 3, [5]),
])
def test_round_ticks(low, high, count, ticks):
    assert even_ticks(low, high, count)[1] == pytest.approx(ticks)


def test_ticks_of_a_logarithmic_axis():
    assert log_ticks(0.9, 2.3, 4) == pytest.approx([1.0, 1.5, 2.0])
    assert log_ticks(0.001, 100, 5) == pytest.approx([1e-2, 1e0, 1e2])


@pytest.mark.parametrize(("form", "value", "spacing", "text"), [
    (plain, 2000, 500, "2,000"), (plain, 1.5, 0.25, "1.50"), (plain, -0.0, 1, "0"), (plain, -3, 1, "−3"),
    (rate, 2e-4, 1e-4, "2e-4"), (rate, 1.5e-5, 5e-6, "1.5e-5"), (rate, 0, 1e-4, "0"),
])
def test_numbers_on_axes(form, value, spacing, text):
    assert form(value, spacing) == text


def test_the_unit_stands_behind_the_last_tick_with_room(qapp):
    axis = NumberAxis("bottom", unit="steps")
    [(spacing, values)] = axis.tickValues(0, 500, 600)
    assert axis.tickStrings(values, 1, spacing)[-2:] == ["400 steps", ""]


def test_the_steps_below_a_plot_are_not_cut_where_text_is_large(qtbot, plots, qapp):
    theme.apply(qapp, "light", 150)
    try:
        axis = plots.loss.bottom
        qtbot.waitUntil(lambda: axis.height() >= QFontMetricsF(axis.style["tickFont"]).height())
    finally:
        theme.apply(qapp, "light", 100)
