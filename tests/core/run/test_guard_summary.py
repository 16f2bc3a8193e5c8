"""What a run's fields ask of the heat guard, how they are changed, and what it did, added up from a run's events."""

from __future__ import annotations

from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.guard_events import of_events

from slmstudio.cli import commands
from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.heat_guard import Settings
from slmstudio.core.hardware.heat_limits import Hours
from slmstudio.core.run import adjust, folder, guard_summary
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.guard_summary import GuardSummary, Interval
from slmstudio.core.run.history import RunHistory
from tests.support.report_run import ReportRun


def event(kind: str, time: float, **more) -> dict:
    return {"type": kind, "time": time, **more}


def rest(time: float, why: str = "heat") -> dict:
    return event("guard_rest", time, why=why)


def resume(time: float, seconds: float, why: str = "heat") -> dict:
    return event("guard_resume", time, why=why, seconds=seconds)


def sensors(time: float, *celsius: int | None, cpu: float | None = None) -> dict:
    return event("sensors", time, gpus=[{"temperature_c": each} for each in celsius], cpu={"temperature_c": cpu})


@pytest.mark.parametrize(("events", "sentence"), [
    ([], ""),
    ([sensors(1, 71)], "No rest was needed. Peak: 71 °C."),
    ([sensors(1, 81), rest(2), sensors(3, 75), resume(62, 60.0), rest(100), resume(400, 300.0), rest(500),
      resume(980, 480.0)], "Rested 14 min in 3 pauses. Peak: 81 °C."),
    ([rest(0), resume(60, 60)], "Rested 1 min in 1 pause."),
    ([sensors(1, 78), rest(0, "hold"), event("guard_hold", 60, seconds=20.0, working=0.7),
      resume(90, 10.0, "hold")], "Rested 30 s between steps. Peak: 78 °C."),
    ([rest(0, "hours"), resume(28800, 28800.0, "hours"), sensors(28801, 66)],
     "Rested 8 h in 1 pause (hours 8 h). Peak: 66 °C."),
    ([rest(0), resume(600, 600.0), rest(700, "battery"), resume(7900, 7200.0, "battery")],
     "Rested 2 h 10 min in 2 pauses (battery 2 h, heat 10 min)."),
])
def test_the_sentence(events, sentence):
    found = of_events(events)
    assert found.sentence() == sentence and found.to_dict()["sentence"] == sentence


def test_the_hottest_of_all_cards_and_of_the_processor_only_without_one():
    assert of_events([sensors(1, 60, 74, cpu=95.0), sensors(2, 70, 71)]).peak_c == 74
    assert of_events([sensors(1, None, cpu=88.0), sensors(2, cpu=85.0)]).peak_c == 88
    assert of_events([event("sensors", 1, gpus=[]), event("sensors", 1, gpus="?", cpu=3)]).peak_c is None


def test_where_the_processor_trains_a_card_that_is_busy_with_something_else_has_no_part_in_the_peak():
    on_cpu = event("plan", 2, device="cpu")
    assert of_events([sensors(1, 84, cpu=70.0), on_cpu, sensors(3, 90, cpu=72.0)]).peak_c == 72
    assert of_events([sensors(1, 84), on_cpu]).peak_c is None
    assert of_events([sensors(1, 84, cpu=95.0), event("plan", 2, device="cuda:0")]).peak_c == 84


def test_a_rest_that_a_crash_ended_lasted_as_long_as_there_were_events():
    found = of_events([rest(100), sensors(130, 60), event("job_started", 5000), rest(5010), resume(5015, 5.0)])
    assert found.seconds == {"heat": 35.0} and found.pauses == 2
    assert found.intervals == [Interval("heat", 0, 30), Interval("heat", 40, 45)]


def test_a_rest_with_another_cause_ends_the_one_before():
    found = of_events([rest(100), rest(160, "battery"), resume(200, 40.0, "battery")])
    assert found.intervals == [Interval("heat", 0, 0), Interval("battery", 60, 100)]


def test_what_is_under_way():
    found = GuardSummary()
    found.add(rest(1, "hold"), 1.0)
    found.add(event("guard_hold", 60, seconds=20.0, working=0.71), 60.0)
    assert found.resting["why"] == "hold" and found.working == 0.71
    found.add(resume(90, 1.0, "hold"), 90.0)
    assert found.resting is None and found.working is None
    found.add(event("power_limit_advised", 91, command="x"), 91.0)
    assert found.power_limit["command"] == "x"


def test_intervals_are_on_the_axis_of_the_plots():
    history = RunHistory()
    for each in (event("job_started", 1000.0), sensors(1001.0, 80), rest(1010.0),
                 event("suspended", 1500.0, seconds=400), resume(1520.0, 510.0), event("job_ended", 1530.0),
                 event("job_started", 9000.0), rest(9005.0)):
        history.add(each)
    assert history.guard.intervals == [Interval("heat", 10.0, 120.0), Interval("heat", 135.0)]
    assert [each["type"] for each in history.told if each["type"].startswith("guard")] == [
        "guard_rest", "guard_resume", "guard_rest"]


anything = st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.just([]), st.just({}))


@given(st.lists(st.fixed_dictionaries(
    {"type": st.sampled_from(["guard_rest", "guard_hold", "guard_resume", "sensors", "job_started", "job_ended",
                              "power_limit_advised", "guard_unavailable"])},
    optional=dict.fromkeys(("time", "why", "seconds", "working", "gpus", "cpu", "message"), anything))))
def test_whatever_a_file_holds_it_can_be_added_up(events):
    assert isinstance(of_events(events).sentence(), str)


@pytest.mark.parametrize(("why", "state"), [("heat", "resting"), ("battery", "resting"), ("hold", "running")])
def test_a_run_that_rests_is_listed_so(tmp_path, why, state):
    run = ReportRun(tmp_path)
    run.start()
    run.tell("guard_rest", why=why)
    assert folder.summarise(run.folder).state == state
    run.tell("paused")
    assert folder.summarise(run.folder).state == "paused", "what the person asked for is said first"
    run.tell("resumed")
    run.tell("guard_resume", why=why, seconds=60.0)
    assert folder.summarise(run.folder).state == "running"


def config(**changes) -> RunConfig:
    return RunConfig(name="trial", model="m", train_file="rows.jsonl", **changes)


def test_the_defaults_are_those_of_the_guard():
    assert guard_summary.settings_of(config()) == Settings()


def test_every_field_arrives():
    asked = config(heat_guard="hold", heat_limit_c=78, heat_rest_seconds=5, pause_on_battery=True, train_hours="22-6")
    assert guard_summary.settings_of(asked) == Settings("hold", 78, 5, True, Hours(time(22), time(6)))
    assert set(guard_summary.GUARD_FIELDS) == {
        "heat_guard", "heat_limit_c", "heat_rest_seconds", "pause_on_battery", "train_hours"}


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"heat_guard": "hot"}, "one of pause, hold, off"), ({"heat_limit_c": 39}, "between 40 and 110, or empty"),
    ({"heat_rest_seconds": 0}, "between 1 and 86,400"),
    ({"train_hours": "night"}, "two clock times, such as 22:00-06:00, or empty")])
def test_limits(changes, sentence):
    problem, = config(**changes).problems()
    assert problem.field in changes and f"It must be {sentence}." in str(problem)


def test_a_run_that_does_not_train_takes_them_at_its_next_start(tmp_path, capsys):
    job = folder.create(config(), tmp_path)
    assert commands.main(["guard", str(job.folder), "--limit", "78", "--mode", "hold", "--pause-on-battery",
                          "--hours", "22:00-06:00"]) == 0
    assert adjust.load(job.folder)["values"] == {
        "heat_guard": "hold", "heat_limit_c": 78, "pause_on_battery": True, "train_hours": "22:00-06:00"}
    assert "78" in capsys.readouterr().out
    assert commands.main(["guard", str(job.folder), "--limit", "auto", "--hours", "always"]) == 0
    changed = guard_summary.ask(jobs.Job(job.folder), {})
    assert (changed.heat_limit_c, changed.train_hours, changed.heat_guard) == (None, None, "hold")
    assert not (job.folder / jobs.COMMANDS).exists()
    told = capsys.readouterr().out
    assert "automatic" in told and "always" in told


def test_all_that_does_not_fit_is_said_at_once(tmp_path):
    job = folder.create(config(), tmp_path)
    with pytest.raises(UserError) as caught:
        guard_summary.ask(job, {"heat_limit_c": "hot", "train_hours": "22:00", "heat_rest_seconds": 5})
    assert {problem.field for problem in caught.value.problems} == {"heat_limit_c"}
    with pytest.raises(UserError) as caught:
        guard_summary.ask(job, {"train_hours": "22:00", "heat_rest_seconds": 0})
    assert {problem.field for problem in caught.value.problems} == {"train_hours", "heat_rest_seconds"}
    assert adjust.load(job.folder)["values"] == {}


def test_a_run_that_trains_is_asked_and_keeps_them_if_it_ends_before_its_next_step(tmp_path, monkeypatch):
    job = folder.create(config(), tmp_path)
    monkeypatch.setattr(jobs.Job, "is_alive", lambda self: True)
    guard_summary.ask(job, {"heat_limit_c": "78"})
    command, = (job.folder / jobs.COMMANDS).read_text("utf-8").splitlines()
    assert '"command":"guard"' in command.replace(" ", "") and '"heat_limit_c":78' in command.replace(" ", "")
    assert adjust.load(job.folder)["values"] == {"heat_limit_c": 78}
