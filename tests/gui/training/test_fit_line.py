"""What is said about a plan's memory, and that it can be measured there."""

from __future__ import annotations

import dataclasses

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel, QPushButton
from support import training_window
from support.training_window import button
from support.window import press, show_widget

from slmstudio.core import paths
from slmstudio.core.hardware.machine import Machine, read_machine
from slmstudio.core.jobs.job import Job
from slmstudio.core.model import facts
from slmstudio.core.run import measured
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory import outlook
from slmstudio.core.run.time_estimate import ALIKE, TimeEstimate
from slmstudio.gui.common.session import JobStatus
from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.training.fit_check import FitLine

tab, planned = training_window.tab, training_window.planned
GB = 2**30
CPU = Machine("Linux", "a processor", 4, 8, 16 * GB, 12 * GB, (), True, False)


@pytest.fixture
def line(qtbot, qapp) -> FitLine:
    return show_widget(qtbot, FitLine())


@pytest.fixture
def look(studio_home, tiny_model, rows_file):
    """`look(free=…, measured={…})`: the outlook of a plan for a tiny model."""

    def make(free: float = 12 * GB, measured_as: dict | None = None) -> outlook.Outlook:
        about, config = facts.read_model(tiny_model), RunConfig(name="n", model="m", train_file=str(rows_file))
        machine = dataclasses.replace(CPU, ram_free=int(free))
        if measured_as is not None:
            measured.record(outlook.measure(about, config, machine, "fit_check", 100, **measured_as))
        return outlook.look(about, config, machine, 160, 16_000)

    return make


def text(where) -> str:
    return where.findChild(QLabel, "plan_fit").text()


def test_what_was_not_measured_says_so(line, look):
    line.show_outlook(look(), can_measure=True)
    assert text(line) == "Not measured yet."
    assert line.measure.isEnabled() and line.measure.text() == "Measure now"
    line.show_outlook(look(), can_measure=False)
    assert not line.measure.isEnabled() and line.line.isVisible()
    line.show_outlook(None, can_measure=True)
    assert not line.measure.isEnabled(), "there is no plan"


def test_what_was_measured_can_be_measured_again(line, look):
    found = look(measured_as={"peak_bytes": int(8.2 * GB), "seconds_per_step": 28.0, "seconds_besides": 0.0})
    line.show_outlook(found, can_measure=True)
    assert text(line) == "" and line.measure.text() == "Measure again" and line.line.property("tone") == ""


def test_what_does_not_fit_is_said_in_red_and_can_be_started(line, look):
    line.show_outlook(look(free=GB / 8), can_measure=True)
    assert "This doesn't fit." in text(line) and "You can still start" in text(line)
    assert line.line.property("tone") == "bad"
    line.show_outlook(look(measured_as={"peak_bytes": 13 * GB, "ran_out": True}), can_measure=True)
    assert text(line).startswith("Memory ran out when this was tried.") and line.line.property("tone") == "bad"


def test_start_stays_possible_where_it_does_not_fit(qtbot, planned, session):
    with qtbot.waitSignal(planned.planning.planned):
        session.set_machine(dataclasses.replace(read_machine(), ram_free=GB // 8))
    assert "doesn't fit" in text(planned) and button(planned, "start").isEnabled()


def jobs_made() -> list[Job]:
    return [Job(folder) for folder in sorted((paths.cache_dir() / "jobs").glob("*"))]


def test_measure_now_shows_how_far_it_is_and_plans_with_what_it_found(qtbot, planned, session, play):
    play('start load event:{"protocol":1,"time":1,"type":"progress","phase":"measuring","done":3,"total":9,"unit":"p"} '
         "wait:checkpoint finish")
    config = planned.planning.config
    press(qtbot, planned, "measure_fit")
    strip = planned.before.fit.strip
    assert strip.isVisible() and not button(planned, "measure_fit").isVisible()
    qtbot.waitUntil(lambda: text(planned) == "Measuring …" and strip.bar.value() == 333)
    assert session.job is not None and "Fit check" in session.job.name
    (job,) = jobs_made()
    assert job.request()["kind"] == "fit_check" and job.request()["config"] == config.to_dict()
    measured.record(outlook.measure(session.model, config, read_machine(), "fit_check", 100, GB,
                                     seconds_per_step=1.0))
    with qtbot.waitSignal(planned.planning.planned):
        job.send("checkpoint")
    assert not strip.isVisible() and session.job is None
    assert planned.findChild(QLabel, "plan_memory").text() == "1 GB"
    assert button(planned, "measure_fit").text() == "Measure again"


def test_cancel_ends_it_and_nothing_is_told(qtbot, planned, play):
    play("start load wait:cancel cancelled")
    press(qtbot, planned, "measure_fit")
    cancel = planned.before.fit.strip.findChild(QPushButton, "cancel")
    qtbot.mouseClick(cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not planned.before.fit.strip.isVisible())
    assert not planned.banner.isVisible() and button(planned, "measure_fit").isVisible()


def test_a_failure_stands_in_the_tab(qtbot, planned, play):
    play("start load error")
    press(qtbot, planned, "measure_fit")
    qtbot.waitUntil(planned.banner.isVisible)
    assert planned.banner.error.what == "Memory ran out on the GPU."
    assert button(planned, "measure_fit").isVisible()


def test_a_run_at_work_ends_the_measuring(qtbot, planned, play):
    play("start load wait:cancel cancelled")
    press(qtbot, planned, "measure_fit")
    qtbot.waitUntil(lambda: bool(jobs_made()) and jobs_made()[0].is_alive())
    play(training_window.ENDLESS)
    press(qtbot, planned, "start")
    training_window.wait_for_steps(qtbot, planned, 1)
    qtbot.waitUntil(lambda: not planned.before.fit.strip.isVisible())
    assert not button(planned, "measure_fit").isEnabled()
    qtbot.waitUntil(lambda: jobs_made()[0].outcome() is not None)
    assert jobs_made()[0].outcome().state == "cancelled"


@pytest.fixture
def probing(planned, session, play, request):
    """A planned tab that measures by itself, perhaps before the test begins: what its worker does is chosen first."""
    play(request.param)
    session.settings.measure_plans = True
    planned.fit_check._soon.setInterval(1)
    return planned


@pytest.mark.parametrize("probing", ["start load wait:checkpoint error"], indirect=True)
def test_a_plan_whose_time_nobody_knows_is_measured_by_itself_once(qtbot, probing, session):
    focus = QApplication.focusWidget()
    probing.fit_check.probe_soon()
    qtbot.waitUntil(lambda: probing.before.fit.strip.isVisible() and bool(jobs_made()))
    assert QApplication.focusWidget() is focus and button(probing, "start").isEnabled()
    with qtbot.waitSignal(probing.fit_check.followed.ended):
        jobs_made()[0].send("checkpoint")
    qtbot.waitUntil(lambda: not is_busy(probing.fit_check))
    assert not probing.banner.isVisible(), "nobody asked for it"
    probing.fit_check._probe()
    assert len(jobs_made()) == 1 and probing.fit_check.config is None


@pytest.mark.parametrize("probing", ["start load hang"], indirect=True)
def test_start_ends_at_once_what_is_measured_by_itself(qtbot, probing, play):
    probing.fit_check.probe_soon()
    qtbot.waitUntil(lambda: bool(jobs_made()) and jobs_made()[0].is_alive())
    play(training_window.ENDLESS)
    press(qtbot, probing, "start")
    training_window.wait_for_steps(qtbot, probing, 1)
    qtbot.waitUntil(lambda: jobs_made()[0].outcome() is not None)
    assert jobs_made()[0].outcome().state == "cancelled"


@pytest.mark.parametrize("why", ["off", "a job", "known", "measured meanwhile", "too large", "hidden"])
def test_nothing_is_measured_by_itself_where_it_would_be_in_the_way(qtbot, planned, session, why):
    session.settings.measure_plans, takes = why != "off", planned.planning.outlook
    if why == "a job":
        session.set_job(JobStatus("an export", 0, 0), planned)
    elif why == "known":
        planned.planning.outlook = dataclasses.replace(takes, time=TimeEstimate.around(60, ALIKE))
    elif why == "measured meanwhile":
        session.set_machine(read_machine())
        training_window.wait_for_plan(qtbot, planned)
        measured.record(outlook.measure(session.model, planned.planning.config, read_machine(), "run", 100, GB))
    elif why == "too large":
        planned.planning.outlook = dataclasses.replace(takes, free=1)
    elif why == "hidden":
        planned.hide()
    planned.fit_check._probe()
    assert planned.fit_check.config is None
