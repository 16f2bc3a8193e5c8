"""Events become curves and figures, whatever order and shape they come in."""

from __future__ import annotations

import errno
import json
import math
import os
from array import array
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core import files, jobs
from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.hardware.readings import CpuReading, MachineReading
from slmstudio.core.run import folder
from slmstudio.core.run import history as history_module
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.curves import Series, Smoother
from slmstudio.core.run.history import RunHistory


def fold(*events: dict) -> RunHistory:
    history = RunHistory()
    for event in events:
        history.add(event)
    return history


def step(number: int, loss: float | None = 1.0, time: float = 0.0, **fields) -> dict:
    return {"type": "step", "time": time or float(number), "global_step": number, "train_loss": loss, **fields}


def test_curves_and_figures():
    history = fold(
        {"type": "job_started", "time": 10.0},
        {"type": "plan", "time": 11.0, "total_steps": 40},
        {"type": "eval", "time": 12.0, "global_step": 0, "eval_loss": 2.0},
        step(1, 1.9, 13.0, epoch=0.1, learning_rate=1e-4, seconds_left=60.0),
        step(2, 1.8, 14.0, epoch=0.2, learning_rate=2e-4, seconds_left=59.0),
        {"type": "eval", "time": 15.0, "global_step": 2, "eval_loss": 1.5},
    )
    assert list(history.series["train_loss"].x) == [1, 2]
    assert list(history.series["learning_rate"].y) == [1e-4, 2e-4]
    assert list(history.series["eval_loss"].y) == [2.0, 1.5]
    assert (history.step, history.total_steps, history.epoch, history.seconds_left) == (2, 40, 0.2, 59.0)
    assert history.seconds == 5.0 and history.stepping and history.best_eval_loss == 1.5
    assert [event.get("best") for event in history.told if event["type"] == "eval"] == [False, True]


def test_of_many_evaluations_the_best_is_known_without_a_look_at_all_of_them(monkeypatch):
    count, looks, history = 1000, [], RunHistory()
    monkeypatch.setattr(history_module, "math", SimpleNamespace(
        nan=math.nan, isfinite=lambda value: looks.append(value) or math.isfinite(value)))
    for number in range(count):
        history.add({"type": "eval", "global_step": number, "eval_loss": 2.0 - number / count})
        assert history.best_eval_loss == 2.0 - number / count
    assert history.best_step == count - 1 and len(looks) <= count
    history.add({"type": "eval", "global_step": count - 1, "eval_loss": None})  # evaluated again, at its end
    assert history.best_step == count - 2
    history.series["train_loss"].add(5.0, 1.0)
    history.step = 5
    history.add(step(3))  # it was resumed from an early checkpoint
    assert (history.best_step, history.best_eval_loss) == (2, 2.0 - 2 / count)


def test_a_loss_that_is_no_number_leaves_a_gap_and_not_a_lie():
    history = fold(step(1, 1.0), json.loads(files.dump_line(step(2, math.nan))), step(3, 0.9))
    values = history.series["train_loss"].y
    assert math.isnan(values[1]) and history.series["train_loss"].last() == 0.9


def test_a_resumed_attempt_takes_back_what_the_earlier_one_did_behind_its_checkpoint():
    before = [step(n, 2.0) for n in range(1, 6)] + [{"type": "eval", "time": 5.5, "global_step": 5, "eval_loss": 1.0}]
    after = [{"type": "job_started", "time": 1000.0}, step(4, 1.0, 1001.0), step(5, 1.0, 1002.0)]
    history = fold({"type": "job_started", "time": 0.0}, *before, *after)
    assert list(history.series["train_loss"].x) == [1, 2, 3, 4, 5]
    assert list(history.series["train_loss"].y) == [2, 2, 2, 1, 1]
    assert not history.series["eval_loss"]
    assert history.seconds == 5.5 + 2, "the time between the crash and the Resume is no work"


def test_readings_of_a_gpu_and_of_none():
    gpu = {"temperature_c": 78, "slowdown_c": 88, "power_w": None, "memory_used": 8, "memory_total": 12}
    history = fold({"type": "job_started", "time": 0.0},
                   {"type": "sensors", "time": 3.0, "gpus": [gpu], "process_memory": 5, "cpu_percent": 10.0},
                   {"type": "sensors", "time": 4.0, "gpus": [], "process_memory": 6})
    assert list(history.series["temperature_c"].x) == [3.0] and not history.series["power_w"]
    assert list(history.series["process_memory"].y) == [5, 6]
    assert history.limits == {"slowdown_c": 88, "memory_total": 12}
    lost = [{"type": "sensors_unavailable", "reason": "none here"}, {"type": "sensors", "gpus": [{"lost": True}]}]
    assert fold(*lost).sensors_missing == "none here"
    assert fold(*lost, {"type": "sensors", "time": 5.0, "gpus": [gpu]}).sensors_missing == ""


def test_readings_of_two_cards_show_torchs_first():
    reading = MachineReading((GpuReading(1, "RTX 4090", temperature_c=80, slowdown_c=90, memory_used=8),
                              GpuReading(0, "RTX 3060", temperature_c=40)), memory_used=7, memory_total=9)
    history = fold({"type": "sensors", "time": 3.0, **reading.to_dict(), "process_memory": 5})
    assert list(history.series["temperature_c"].y) == [80] and list(history.series["memory_used"].y) == [8]
    assert history.limits == {"slowdown_c": 90}


def test_every_card_and_the_processor_has_curves_of_its_own():
    reading = MachineReading(
        (GpuReading(1, "RTX 4090", temperature_c=80, slowdown_c=90, power_w=400.0, memory_temperature_c=88),
         GpuReading(0, "RTX 3060", temperature_c=40, slowdown_c=95, memory_used=3)), CpuReading(temperature_c=61.5))
    lost = MachineReading((GpuReading(1, "RTX 4090", lost=True), GpuReading(0, "RTX 3060", temperature_c=41)))
    history = fold({"type": "job_started", "time": 0.0}, {"type": "sensors", "time": 3.0, **reading.to_dict()},
                   {"type": "sensors", "time": 4.0, **lost.to_dict()})
    points = {name: (list(series.x), list(series.y)) for name, series in history.series.items() if series}
    assert points == {"temperature_c": ([3.0], [80]), "power_w": ([3.0], [400]), "memory_temperature_c": ([3.0], [88]),
                      "temperature_c@1": ([3.0, 4.0], [40, 41]), "memory_used@1": ([3.0], [3]),
                      "cpu_temperature_c": ([3.0], [61.5])}
    assert history.limits == {"slowdown_c": 90, "slowdown_c@1": 95}
    assert history.machine.cards == [(1, "RTX 4090"), (0, "RTX 3060")]


def test_rests_lie_on_both_axes_and_the_guard_is_as_it_was_changed():
    rest = {"type": "guard_rest", "time": 8.0, "global_step": 4, "why": "heat", "message": "Hot."}
    changed = {"type": "guard_changed", "time": 9.0, "values": {"heat_limit_c": 70, "train_hours": None}}
    resume = {"type": "guard_resume", "time": 12.0, "global_step": 4, "seconds": 4.0}
    history = fold({"type": "job_started", "time": 2.0}, rest, changed, resume)
    assert [(each.start, each.end, each.first_step, each.last_step) for each in history.guard.intervals] == [
        (6.0, 10.0, 4, 4)]
    assert history.guard.changed == {"heat_limit_c": 70, "train_hours": None}


def test_phases_until_the_first_step():
    history = fold(
        {"type": "phase", "phase": "reading data", "detail": "a.jsonl"},
        {"type": "phase", "phase": "tokenizing"},
        {"type": "progress", "phase": "tokenizing", "done": 30, "total": 300, "unit": "rows"},
    )
    assert history.phases == ["reading data", "tokenizing"]
    assert (history.done, history.total, history.unit) == (30, 300, "rows") and not history.stepping


@given(st.lists(st.dictionaries(
    st.sampled_from(["type", "time", "global_step", "train_loss", "eval_loss", "gpu", "done", "total_steps", "samples",
                      "seconds", "gpus", "cpu", "values"]),
    st.one_of(st.none(), st.booleans(), st.text(max_size=5), st.integers(-5, 5), st.floats(), st.lists(st.none()),
              st.sampled_from(["step", "eval", "sensors", "plan", "progress", "job_started", "paused", "sample",
                               "changed", "suspended", "overfitting", "adjusted", "best_used"]),
              st.dictionaries(st.sampled_from(["temperature_c"]), st.text())))))
def test_no_event_breaks_it(events):
    history = fold(*events)
    for series in history.series.values():
        assert list(series.x) == sorted(series.x) and len(series.x) == len(series.y)
    assert history.seconds >= 0


def test_smoothing_starts_at_the_first_value_and_passes_gaps():
    smoother = Smoother(0.9)
    values = array("d", [2.0, math.nan, 2.0])
    assert list(smoother.extend(values)) == pytest.approx([2.0, 2.0, 2.0])
    values.append(1.0)
    #  0.9^3·… worked by hand: weights 0.1·0.9², 0.1·0.9, 0.1 over 1 - 0.9³
    assert smoother.extend(values)[3] == pytest.approx((0.1 * (0.81 * 2 + 0.9 * 2 + 1)) / (1 - 0.729))
    assert list(Smoother(0.0).extend(array("d", [3.0, 1.0]))) == [3.0, 1.0]
    with pytest.raises(ValueError, match=r"below 1"):
        Smoother(1.0)


def test_series_keep_rising():
    series = Series()
    for x in (1, 2, 3, 2):
        series.add(x, 10 * x)
    assert list(series.x) == [1, 2] and list(series.y) == [10, 20]


def test_a_series_is_smoothed_as_its_points_are_now():
    series = Series()
    for x, y, weight in ((1, 2.0, 0.9), (2, 1.0, 0.9), (2, 5.0, 0.9), (3, 0.5, 0.5), (4, 1.5, 0.5)):
        series.add(x, y)
        assert series.smoothed(weight) == Smoother(weight).extend(series.y)


def test_a_damaged_run_is_still_summarised(tmp_path):
    job = folder.create(RunConfig(name="n", model="m", train_file="t"), tmp_path)
    with open(job.folder / jobs.EVENTS, "wb") as file:
        file.write(b'{"type": "job_started", "time": "noon"}\n\xff\xfe\n')
        file.write(files.dump_line(step(1, 1.5, 10.0)) + files.dump_line(step(2, 1.25, 12.0)))
    jobs.write_outcome(job.folder, jobs.Outcome("finished"))
    (run,) = folder.all_runs(tmp_path)
    assert (run.steps, run.train_loss, run.state, run.seconds) == (2, 1.25, "finished", 2.0)


@pytest.mark.parametrize(("losses", "result", "after"), [
    ([], {}, None),
    ([2.5], {}, None),
    ([2.5], {"eval_loss_after": None}, None),
    ([2.5, 1.5], {}, 1.5),
    ([2.5, 1.5, None], {"eval_loss_after": None}, math.nan),
    ([2.5, 1.5, 1.75], {"eval_loss_after": 1.5}, 1.5),
    ([2.5, 1.5], {"eval_loss_after": 0.0}, 0.0),
    ([2.5, 1.5], {"eval_loss_after": "low"}, 1.5),
    ([2.5, 1.5], {"eval_loss_after": True}, 1.5),
])
def test_the_loss_of_the_base_is_never_that_of_the_result(tmp_path, losses, result, after):
    job = folder.create(RunConfig(name="n", model="m", train_file="t"), tmp_path)
    for number, loss in enumerate(losses):
        files.append_line(job.folder / jobs.EVENTS, {"time": 1.0, "type": "eval", "global_step": number,
                                                     "eval_loss": loss})
    jobs.write_outcome(job.folder, jobs.Outcome("stopped", result=result))
    run = folder.summarise(job.folder)
    assert run.eval_loss_before == (losses[0] if losses else None)
    assert run.eval_loss_after == pytest.approx(after, nan_ok=True)


@pytest.mark.parametrize("created", ["2026-11-24T10:00", None, True, [1], -5, 0, 1e300, math.nan, math.inf])
def test_a_run_that_does_not_say_when_it_was_made_is_as_old_as_its_file(tmp_path, created):
    job = folder.create(RunConfig(name="n", model="m", train_file="t"), tmp_path)
    record = job.folder / jobs.RUN
    record.write_text(json.dumps({**files.read_json(record), "created": created}))
    assert folder.summarise(job.folder).created == record.stat().st_mtime


def test_a_run_that_the_system_keeps_to_itself_hides_no_other(tmp_path, monkeypatch):
    """Its folder may not be looked into, or a file of it can't be read."""
    names = ("shut", "odd", "fine")
    shut, odd, fine = (folder.create(RunConfig(name=name, model="m", train_file="t"), tmp_path) for name in names)
    (odd.folder / jobs.EVENTS).mkdir()
    real = os.stat

    def refuse(path, *args, **kwargs):
        if str(path).startswith(str(shut.folder)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refuse)
    seen = {}
    runs = list(folder.all_runs(tmp_path, lambda path, error: seen.update({path: error})))
    assert [run.folder for run in runs] == [fine.folder]
    assert seen.keys() == {shut.folder, odd.folder}
    assert "Permission was denied." in seen[shut.folder].why and "It is a folder" in seen[odd.folder].why
    assert {path for path, _ in folder.requests(tmp_path)} == {odd.folder, fine.folder}
    assert folder.running(tmp_path) is None


def test_samples_are_kept_by_step_and_a_resumed_attempt_takes_the_later_ones_back():
    def sample(step, answer):
        return {"type": "sample", "global_step": step, "samples": [{"prompt": "p", "answer": answer}, "odd"]}

    history = fold(sample(0, "a"), step(1), sample(1, "b"), sample(1, "asked for"), step(2), sample(2, "c"),
                   {"type": "sample", "global_step": 3, "samples": None})
    assert [(s["global_step"], s["samples"][0]["answer"]) for s in history.samples] == [
        (0, "a"), (1, "asked for"), (2, "c")]
    assert all(len(s["samples"]) == 1 for s in history.samples)
    history.add({"type": "job_started", "time": 100.0})
    history.add(step(2, time=101.0))
    assert [s["global_step"] for s in history.samples] == [0, 1]


def test_overfitting_is_marked_until_it_gets_better_after_all():
    def evaluated(number, loss):
        return {"type": "eval", "global_step": number, "eval_loss": loss}

    turned = {"type": "overfitting", "global_step": 10, "eval_loss": 1.0, "message": ""}
    history = fold(evaluated(5, 1.2), evaluated(10, 1.0), evaluated(15, 1.3), turned)
    assert (history.overfit_step, history.best_step) == (10, 10)
    history.add(evaluated(20, 0.9))
    assert (history.overfit_step, history.best_step) == (None, 20)
    assert fold().best_step is None


def test_the_length_follows_the_changes_and_the_plan():
    history = fold({"type": "plan", "total_steps": 100}, step(1),
                   {"type": "changed", "global_step": 1, "learning_rate": 1e-4, "total_steps": 40, "asked": {}})
    assert history.total_steps == 40 and len(history.changes) == 1
    history.add({"type": "warning", "code": "change_refused", "message": "No."})
    assert history.change_refused == "No."
    history.add({"type": "changed", "global_step": 2, "total_steps": None})
    assert history.total_steps == 40 and not history.change_refused
    history.add({"type": "plan", "total_steps": 60})
    assert history.total_steps == 60


def test_the_time_asleep_is_no_work():
    history = fold({"type": "job_started", "time": 0.0}, step(1, time=10.0),
                   {"type": "suspended", "time": 3610.0, "seconds": 3600.0},
                   {"type": "sensors", "time": 3612.0, "process_memory": 5}, step(2, time=3620.0))
    assert history.seconds == 20.0 and history.suspended_seconds == 3600.0
    assert list(history.series["process_memory"].x) == [12.0]
    history.add({"type": "job_started", "time": 5000.0})
    history.add(step(3, time=5010.0))
    assert history.seconds == 30.0, "what was slept before counts in no later attempt"


def test_adjustments_and_the_weights_that_are_the_result():
    history = fold({"type": "adjusted", "reason": "out_of_memory", "changes": {"micro_batch_size": 2}},
                   {"type": "best_used", "global_step": 40, "eval_loss": 1.0})
    assert history.adjustments[0]["changes"] == {"micro_batch_size": 2} and history.used_step == 40
    assert [event["type"] for event in history.told] == ["adjusted", "best_used"]
