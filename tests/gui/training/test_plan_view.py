"""The plan in the middle of the tab: what it takes, the ways to train, and that nothing moves when it changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtWidgets import QApplication, QLabel
from support import training_window
from support.training_window import button, wait_for_plan
from support.window import press, settle, show_widget, text

from slmstudio.core import i18n
from slmstudio.core.data import reader
from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.hardware.readings import CpuReading, MachineReading
from slmstudio.core.model import facts
from slmstudio.core.run.planning.row_counts import LostRows, RowCounts
from slmstudio.core.units import format_about
from slmstudio.gui.common import theme
from slmstudio.gui.training.guard_section import guard_text
from slmstudio.gui.training.plan_view import PlanView
from slmstudio.gui.training.planning import Planning
from slmstudio.gui.training.tab import TrainingTab

tab, planned, run = training_window.tab, training_window.planned, training_window.run


@pytest.fixture
def view(qtbot, session) -> PlanView:
    made = PlanView(session, Planning(session))
    made.planning = made._planning
    return show_widget(qtbot, made)


def test_rows_that_would_be_lost_are_said_with_the_length_that_keeps_them(view):
    counts = RowCounts(59, 11, 30, 28, 10, True)
    view.lost.show_lost(LostRows(counts, False, 1024, 1408, 30, 2 * 10**9, None, 8192, 1375))
    assert view.lost.isVisible() and "28 of 87 rows" in view.lost.text.text()
    view.lost.keep.click()
    assert view.planning.overrides == {"max_length": 1408}
    assert not view.lost.cut.isVisible()
    view.lost.leave_out.click()
    assert view.planning.overrides == {"max_length": 1408, "overlong_rows": "leave_out"}
    view.lost.show_lost(LostRows(counts, True, 1024, 1408, 30, 2 * 10**9, None, 8192, 1375))
    assert view.lost.keep.isVisible() and not view.lost.leave_out.isVisible()
    view.lost.cut.click()
    assert view.planning.overrides["overlong_rows"] == "cut"
    counts = replace(counts, left_out=30)
    view.lost.show_lost(LostRows(counts, False, 8192, None, 0, 0, None, 8192, 9000))
    assert view.lost.isVisible() and not view.lost.keep.isVisible() and not view.lost.leave_out.isVisible()
    view.lost.show_lost(None)
    assert not view.lost.isVisible()


def test_what_start_would_do_is_in_large_figures(planned, session):
    choice, counts = planned.planning.current, planned.planning.counts
    assert text(planned, "plan_rows") == f"{counts.learned} rows learned"
    assert text(planned, "plan_rows_note") == "1 row is held out. Nothing is cut." and counts.evaluated == 1
    assert text(planned, "plan_time").lower() == choice.time.text()
    assert "MB" in text(planned, "plan_memory") and "free, estimated" in text(planned, "plan_memory_note")
    session.settings.price_per_kwh, session.settings.currency = 700_000.0, "INR"
    session.report_settings_changed()
    assert "Wh · ₹" in text(planned, "plan_energy") and "CO₂, estimated" in text(planned, "plan_energy_note")
    assert format_about(choice.training.likely) in planned.findChild(QLabel, "plan_energy").toolTip()
    assert button(planned, "start").text() == f"Start · {choice.time.text()}"
    assert [text(planned, f"course_{at}") for at in range(3)] == [what for what, _ in choice.course()]
    assert not planned.watch.isVisible() and not planned.run.isVisible(), "the whole width is the plan's"


def test_another_choice_is_planned_at_once_and_taken_back(qtbot, planned):
    planning, cards = planned.planning, planned.before.cards
    normal = planning.config
    assert [key for key, card in cards.items() if card.isEnabled()] == ["normal", "thorough"]
    assert [key for key, chip in planned.before._chips.items() if chip.isVisible()] == [planning.choices.recommended]
    qtbot.mouseClick(cards["thorough"], Qt.MouseButton.LeftButton)
    assert planning.choice == "thorough" and planning.config.epochs == 2 * normal.epochs and not planning.is_busy()
    assert planned.plan.rows["epochs"].reason.text().startswith("From the choice “Thorough”.")
    assert "epochs" not in planning.config.chosen and planned.plan.badge.text() == "all as proposed"
    assert planned.plan.reset.isVisible()
    qtbot.keyClick(planned, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert planning.config == normal and cards["normal"].radio.isChecked()
    for key, chosen in ((Qt.Key.Key_Right, "thorough"), (Qt.Key.Key_Right, "normal"), (Qt.Key.Key_Left, "thorough")):
        qtbot.keyClick(next(card.radio for card in cards.values() if card.radio.isChecked()), key)
        assert planning.choice == chosen and cards[chosen].radio.isChecked()
    press(qtbot, planned, "start")
    qtbot.waitUntil(lambda: planned.followed.job is not None)
    assert planned.followed.job.request()["epochs"] == 2 * normal.epochs


def places(tab: TrainingTab) -> dict[str, QPoint]:
    """Where the parts of the plan are, without letting anything happen meanwhile."""
    for _ in range(3):  # what moves because of the size is laid out in another pass
        tab.grab()
        QApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest)
    names = ("plan_rows", "plan_time", "plan_why", "course_0", "course_2", "plan_heat")
    parts = {name: tab.findChild(QLabel, name) for name in names}
    parts |= tab.before.cards | {"queue": tab.before.queue, "fit": tab.before.fit}
    return {name: QPoint(each.mapTo(tab, QPoint())) for name, each in parts.items() if each.isVisible()}


def test_nothing_moves_from_planning_to_ready_to_refused(qtbot, tab, session, tiny_model, rows_file):
    planned = tab
    session.set_model(facts.read_model(tiny_model))
    session.set_dataset(reader.read_dataset(rows_file))
    planning = places(tab)
    assert tab.planning.config is None and tab.before.state.isVisible() and not tab.before.start.isEnabled()
    wait_for_plan(qtbot, tab)
    ready = places(tab)
    assert ready == planning
    planned.before.cards["thorough"].radio.click()
    assert places(planned) == ready
    planned.planning.decide("learning_rate", "7")
    assert not button(planned, "start").isEnabled() and text(planned, "plan_problem").startswith("Learning rate: ")
    assert places(planned) == ready
    planned.planning.decide("learning_rate", "1e-4")
    assert planned.before.state.isVisible() and places(planned) == ready, "being planned again"
    wait_for_plan(qtbot, planned)
    assert not planned.before.state.isVisible() and not text(planned, "plan_problem")


@pytest.fixture(params=[("en", 150), ("hi", 100), ("hi", 150)], ids=str)
def large(request, qapp) -> Iterator[None]:
    language, percent = request.param
    i18n.use(language)
    theme.apply(qapp, "light", percent)
    yield
    i18n.use("en")
    theme.apply(qapp, "light", 100)


def test_it_holds_where_text_is_large(large, qtbot, request):
    planned = request.getfixturevalue("planned")
    planned.resize(1256, 580)
    settle()
    page = planned.before.cards["normal"].parentWidget().parentWidget()
    assert page.width() >= page.minimumSizeHint().width(), "nothing is cut at the right"
    assert planned.minimumSizeHint().width() <= 1256
    assert button(planned, "start").isVisible() and not button(planned, "start").geometry().intersects(
        button(planned, "queue").geometry())


def test_what_protects_the_machine_is_said(view, session):
    config = training_window.RunConfig(name="n", model="m", train_file="t")
    cpu = MachineReading(cpu=CpuReading(temperature_c=50.0, limit_c=100.0))
    for fields, reading, said in (
            ({}, None, "Rests when it gets too hot."),
            ({}, MachineReading((GpuReading(0, "RTX 3060", temperature_c=46, slowdown_c=95),)), "Pauses at 90 °C."),
            ({}, MachineReading(),
             "This machine doesn't report its temperature, so the run never pauses for heat."),
            ({}, cpu, "Pauses at 95 °C."), ({"heat_guard": "off"}, cpu, "Only warns when it gets hot."),
            ({"heat_guard": "hold", "heat_limit_c": 74, "train_hours": "22:00-06:00", "pause_on_battery": True}, cpu,
             "Holds 74 °C. Trains between 22:00 and 06:00 only. Pauses on battery."),
            ({"heat_guard": "hold"}, cpu, "Holds 92 °C.")):
        assert guard_text(replace(config, **fields), reading) == said
        view.planning.config = replace(config, **fields)
        session.set_reading(reading)
        assert text(view, "plan_heat") == f"{said} Continues when this window is closed."


def test_every_control_is_explained(planned, unexplained):
    assert not unexplained(planned.before)
