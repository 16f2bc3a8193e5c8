"""A real training under the guard: what is read of the machine is scripted by the steps it has made."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import heated_machine, small_runs
from support.guard_events import of_events
from support.heated_machine import At, gpu, hot_after, rests_of, story
from support.small_runs import events
from support.tiers import first_fast

from slmstudio.core import i18n, jobs
from slmstudio.core.hardware import heat_guard
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n.catalogue import disguise
from slmstudio.core.run import adjust
from slmstudio.worker.training import heat, step_times, train

machine, make_job = heated_machine.machine, heated_machine.make_job


def weights(result) -> bytes:
    return (Path(result["adapter"]) / "adapter_model.safetensors").read_bytes()


def send_when(job, wanted: At, *commands: str) -> At:
    """Sends commands at the third look after a rest has begun."""
    sent = []

    def at(step: int, look: int) -> MachineReading | None:
        if not sent and len(events(job, "guard_rest")) == 1 and look > 3:
            sent.extend(commands)
            for command in commands:
                jobs.Job(job.folder).send(command)
        return wanted(step, look)

    return at


def test_it_pauses_and_resumes_and_learns_the_same(make_job, machine):
    machine(hot_after())
    plain = train.run(make_job(heat_guard="off"))
    job = make_job()
    machine(hot_after(2, 4, looks=30))
    result = train.run(job)
    assert story(job, "guard_rest", "guard_resume") == [
        ("guard_rest", 2), ("guard_resume", 2), ("guard_rest", 4), ("guard_resume", 4)]
    rest, resume = events(job, "guard_rest", "guard_resume")[:2]
    assert (rest["why"], rest["temperature_c"], rest["limit_c"], rest["gpu"]) == ("heat", 91, 90, 0)
    assert rest["message"].startswith("The GPU is at 91 °C; the limit is 90 °C.")
    assert 2.5 <= resume["seconds"] <= 4.0 and resume["temperature_c"] == 60
    assert resume["message"] == f"The rest is over after {round(resume['seconds'])} s. The GPU is at 60 °C."
    assert max(event["step_seconds"] for event in events(job, "step")) < 2.0
    assert result["train_loss_last"] == plain["train_loss_last"] and weights(result) == weights(plain)
    assert of_events(jobs.Job(job.folder).events()).pauses == 2


@pytest.mark.full
def test_a_rest_lasts_its_shortest_time(make_job, machine):
    job = make_job(heat_rest_seconds=60)
    machine(hot_after(2, 3))
    train.run(job)
    assert [round(event["seconds"]) for event in events(job, "guard_resume")] == [60, 60]


def test_holding_a_temperature(make_job, machine):
    job = make_job(heat_guard="hold", heat_limit_c=70, max_steps=60, eval_steps=100)
    machine(lambda step, look: gpu(72 if step < 40 else 60), step_seconds=4.0)
    train.run(job)
    begin, *updates, end = events(job, "guard_rest", "guard_hold", "guard_resume")
    assert (begin["type"], begin["why"], begin["limit_c"]) == ("guard_rest", "hold", 70)
    assert begin["message"] == "Holding 70 °C: training rests a little after each step."
    assert len(updates) >= 3 and {update["type"] for update in updates} == {"guard_hold"}
    assert updates[1]["working"] < updates[0]["working"] < 1  # it stays too hot, so it rests more
    assert updates[0]["message"] == f"Holding 70 °C: working {updates[0]['working']:.0%} of the time."
    assert (end["type"], end["why"]) == ("guard_resume", "hold")
    found = of_events(jobs.Job(job.folder).events())
    assert found.pauses == 0 and found.rested == pytest.approx(
        sum(event["seconds"] for event in (*updates, end)), abs=0.5)


@pytest.mark.parametrize(("command", "state"), first_fast([("stop", "stopped"), ("free", "paused")]))
def test_stop_and_free_end_a_rest_at_once(make_job, machine, command, state):
    job = make_job()
    machine(send_when(job, hot_after(2, looks=10**6), command))
    result = train.run(job)
    assert (result["state"], result["steps"]) == (state, 2)
    assert story(job, "guard_rest", "checkpoint_saved", "guard_resume") == [
        ("guard_rest", 2), ("guard_resume", 2), ("checkpoint_saved", 2)]


def test_what_a_person_asks_for_while_it_rests(make_job, machine):
    """A checkpoint at once; and a pause goes before the rest, which begins again after it, as it is still hot."""
    job = make_job()
    machine(send_when(job, hot_after(2, looks=12), "checkpoint", "pause", "resume"))
    train.run(job)
    assert story(job, "guard_rest", "guard_resume", "paused", "resumed", "checkpoint_saved")[:7] == [
        ("guard_rest", 2), ("checkpoint_saved", 2), ("guard_resume", 2), ("paused", 2), ("resumed", 2),
        ("guard_rest", 2), ("guard_resume", 2)]


def test_it_rests_between_the_batches_of_an_evaluation(make_job, machine):
    job = make_job(micro_batch_size=1, max_steps=2, eval_steps=1)
    machine(hot_after(1, looks=30))
    train.run(job)
    happened = [event.get("phase") or event["type"] for event in events(
        job, "phase", "eval", "guard_rest", "guard_resume", "step")]
    first = happened.index("step")
    assert happened[first:first + 6] == ["step", "evaluating", "guard_rest", "guard_resume", "eval", "training"]
    assert events(job, "eval")[1]["seconds"] < 2.0 < events(job, "guard_resume")[0]["seconds"]


def test_other_settings_while_it_rests(make_job, machine):
    job = make_job()

    def at(step: int, look: int) -> MachineReading:
        if step == 2 and look == 6:
            jobs.Job(job.folder).send("guard", heat_limit_c=300)
        if step == 2 and look == 12:
            jobs.Job(job.folder).send("guard", heat_limit_c=95, heat_guard="pause")
        return gpu(91 if step == 2 else 60)

    machine(at)
    train.run(job)
    assert story(job, "guard_rest", "guard_changed", "guard_resume", "step")[2:6] == [
        ("guard_rest", 2), ("guard_resume", 2), ("guard_changed", 2), ("step", 3)]
    changed, refused = events(job, "guard_changed", "warning")[::-1]
    assert changed["values"] == {"heat_guard": "pause", "heat_limit_c": 95}
    assert changed["message"] == "Heat guard changed: When it gets hot: pause, Temperature limit, °C: 95."
    assert refused["code"] == "guard_refused" and "between 40 and 110, or empty" in refused["message"]
    assert adjust.load(job.folder)["values"] == {"heat_guard": "pause", "heat_limit_c": 95}


def test_a_single_missing_reading_is_not_taken_for_a_machine_that_says_nothing(make_job, machine):
    job = make_job()
    machine(hot_after())
    now: list[MachineReading | None] = []
    rests = rests_of(job, lambda step, look: now[-1])
    for reading in (gpu(60), None, gpu(60)):
        now.append(reading)
        heat.time.sleep(60)
        rests.piece_done(1)
    assert events(job, "guard_unavailable") == []


def test_a_pause_whose_cause_is_told_no_more_ends_with_a_warning(make_job, machine, monkeypatch):
    monkeypatch.setattr(heat_guard, "UNREAD_SECONDS", 1.0)
    job = make_job()
    machine(hot_after())
    answers = iter([gpu(91)])
    rests = rests_of(job, lambda step, look: next(answers, None))
    looks = 0
    while rests.wait(1, lambda long: None):
        rests.rest(0.1)
        looks += 1
    assert 10 <= looks <= 12
    warning, = events(job, "warning")
    assert (warning["code"], warning["message"]) == (
        "guard_unread", "The machine hasn't reported its temperature for 10 min. Training continues; keep an eye on "
                        "the machine.")
    assert story(job, "guard_rest", "guard_resume") == [("guard_rest", 1), ("guard_resume", 1)]


def test_a_rest_that_is_cut_short_counts_as_long_as_it_was(make_job, machine):
    job = make_job(heat_guard="hold", heat_limit_c=70)
    machine(hot_after())
    rests = rests_of(job, lambda step, look: gpu(74))
    for step in range(40):  # long enough for a rest of some seconds
        rests.work_begins()
        heat.time.sleep(10)
        rests.piece_done(step)
        rested, begun = rests.held, rests.seconds
        if step < 39:
            while seconds := rests.wait(step):
                rests.rest(seconds)
    rests.rest(rests.wait(39))  # a tenth of a second of it, and then a person asks for something
    rests.end(39)
    assert rested - rests.held > 10.0
    assert rests.held == pytest.approx(begun, abs=5.0)  # the time that this test itself takes counts as rested
    assert of_events(jobs.Job(job.folder).events()).rested == pytest.approx(rests.held, abs=0.5)


def test_rests_of_an_evaluation_are_not_taken_for_those_of_a_step(make_job, machine, monkeypatch):
    job, took, learn = make_job(micro_batch_size=1, max_steps=3, eval_steps=1), [], step_times.TimeLeft.took
    monkeypatch.setattr(heat.HeatPauses, "between_batches",
                        lambda self, step, agree: setattr(self, "held", self.held + 1000.0))
    monkeypatch.setattr(step_times.TimeLeft, "took",
                        lambda self, kind, seconds: (took.append((kind, seconds)), learn(self, kind, seconds)))
    machine(hot_after())
    train.run(job)
    steps, evaluations = ([seconds for kind, seconds in took if kind == wanted] for wanted in ("step", "evaluation"))
    assert len(steps) == 3 and max(steps) < 500 and min(evaluations) >= 1000


def test_no_reading_is_said_once_in_the_language_of_the_window(make_job, machine):
    i18n.use(i18n.PSEUDO)
    job = make_job()
    machine(lambda step, look: None, step_seconds=4.0)
    assert train.run(job)["state"] == "finished"
    unavailable, = events(job, "guard_unavailable")
    assert unavailable["message"] == disguise(heat.NO_TEMPERATURE)


@pytest.mark.full
def test_a_limit_that_is_never_reached_again_is_said(make_job, machine):
    job = make_job(heat_limit_c=60)
    machine(lambda step, look: gpu(61 if step == 2 and look < 7000 else 50))
    train.run(job)
    warning, = events(job, "warning")
    assert warning["code"] == "heat_limit_low"
    assert warning["message"].startswith("The GPU is still at 61 °C after a rest of 10 min. Check its fans, or ")


def test_a_lower_power_limit_is_suggested_after_three_pauses(make_job, machine, fake_nvml):
    job = make_job()
    fake_nvml.set(least_power_limit=100_000)
    machine(lambda step, look: gpu(91 if step in (1, 2, 3) and look < 5 else 60, power_limit_w=170.0))
    train.run(job)
    advice, = events(job, "power_limit_advised")
    assert (advice["gpu"], advice["watts"]) == (0, 136) and advice["command"].endswith("nvidia-smi -i 0 -pl 136")
    assert [event["type"] for event in events(job, "guard_rest", "power_limit_advised")] == [
        "guard_rest", "guard_rest", "guard_rest", "power_limit_advised"]


@pytest.mark.full
def test_a_card_that_slows_itself_down_for_a_minute_gets_the_same_advice(make_job, machine, fake_nvml, monkeypatch):
    job = make_job(heat_guard="off", max_steps=8)
    machine(lambda step, look: gpu(94, power_limit_w=170.0, slowed_by=("heat",)), step_seconds=10.0)
    train.run(job)
    assert len(events(job, "power_limit_advised")) == 1 and not events(job, "guard_rest")


@pytest.mark.full
def test_preferences_rest_too(make_job, machine, tmp_path):
    pairs = small_runs.write(tmp_path / "pairs.jsonl", small_runs.rows_of(
        "dpo", [(f"Question {i}?", "Yes.", "No.") for i in range(8)]))
    results = []
    for at in (hot_after(), hot_after(0, 1, 2)):
        machine(at)
        job = make_job(objective="dpo", max_steps=3, train_file=str(pairs))
        results.append(weights(train.run(job)))
    assert results[0] == results[1] and {step for _, step in story(job, "guard_rest")} == {0, 1, 2}
