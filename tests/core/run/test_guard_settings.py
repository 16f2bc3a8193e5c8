"""What a run's fields ask of the heat guard, and how they are changed."""

from __future__ import annotations

from datetime import time

import pytest

from slmstudio.cli import commands
from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.heat.guard import Settings
from slmstudio.core.hardware.heat.limits import Hours
from slmstudio.core.run import adjust, folder, guard_summary
from slmstudio.core.run.config import RunConfig


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
