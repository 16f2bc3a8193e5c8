"""What was measured on this machine: kept, found again, and used to correct estimates."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from slmstudio.core import formats, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.jobs import new
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.model import facts as model_facts
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import measured
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.measured import Correction, Measurement
from slmstudio.core.run.memory import fit_badge, outlook
from slmstudio.core.run.memory.formula import estimate
from slmstudio.core.run.time_estimate import MEASURED, TimeEstimate

GB = 2**30
CARD = Gpu(0, "NVIDIA GeForce RTX 3060", 12 * GB, 11 * GB, (8, 6))
MACHINE = Machine("Linux", "a processor", 4, 8, 16 * GB, 12 * GB, (CARD,), True, False)
CPU = dataclasses.replace(MACHINE, gpus=())


@pytest.fixture
def facts(studio_home: Path, tiny_model: Path) -> ModelFacts:
    """A model of 1.5 B parameters, as far as a plan is concerned."""
    return dataclasses.replace(
        model_facts.read_model(tiny_model), parameters=1_543_714_304, layers=28, hidden_size=1536,
        intermediate_size=8960, heads=12, kv_heads=2, head_dim=128, vocabulary_size=151_936)


@pytest.fixture
def config(rows_file: Path) -> RunConfig:
    return RunConfig(name="n", model="m", train_file=str(rows_file), precision="bf16", micro_batch_size=4,
                     max_length=1024)


def measure(facts: ModelFacts, config: RunConfig, times: float = 1.0, machine: Machine = MACHINE, **figures: object
            ) -> Measurement:
    """What is measured where a run takes `times` what the formula says, libraries aside."""
    found = outlook.measure(facts, config, machine, "fit_check", config.micro_batch_size * config.max_length, 0,
                             **figures)
    return dataclasses.replace(found, peak_bytes=round(found.overhead_bytes + times * found.parts_bytes))


def test_what_was_measured_is_found_for_the_same_run_only(facts, config, rows_file):
    measured.record(measure(facts, config, seconds_per_step=2.0, seconds_per_evaluation=10.0))
    best = outlook.best_estimate(facts, config, MACHINE)
    assert best.measured is not None and best.measured.seconds_per_step == 2.0
    assert measured.find(facts, dataclasses.replace(config, epochs=9), MACHINE, measured.load()) == best.measured
    for other in ({"micro_batch_size": 2}, {"method": "full"}, {"seed": 1}, {"max_length": 512}):
        assert measured.find(facts, dataclasses.replace(config, **other), MACHINE, measured.load()) is None
    assert measured.find(facts, config, CPU, measured.load()) is None
    os.utime(rows_file, (1, 1))  # other rows, as far as anybody can tell
    assert measured.find(facts, config, MACHINE, measured.load()) is None


def test_a_new_measurement_replaces_the_one_of_the_same_run_and_the_oldest_go(facts, config, monkeypatch):
    monkeypatch.setattr(measured, "MOST", 3)
    for seed in (1, 2, 3, 4, 4, 4):
        measured.record(measure(facts, dataclasses.replace(config, seed=seed), seconds_per_step=float(seed)))
    assert [each.rows["seed"] for each in measured.load()] == [2, 3, 4]


@pytest.mark.parametrize("content", [b"{broken", b"[1, 2]", b"\xff\x00"])
def test_a_damaged_file_is_put_aside_by_the_next_measurement(facts, config, studio_home, content):
    place = studio_home / "cache" / "measured"
    place.mkdir(parents=True, exist_ok=True)
    file = place / "measured.json"
    file.write_bytes(content)
    assert measured.load() == [] and file.read_bytes() == content, "looking changes nothing"
    measured.record(measure(facts, config))
    assert len(measured.load()) == 1
    (aside,) = place.glob("measured.json.damaged-*")
    assert aside.read_bytes() == content


def test_entries_that_make_no_sense_are_passed_over(facts, config, studio_home):
    measured.record(measure(facts, config, seconds_per_step=1.0))
    file = studio_home / "cache" / "measured" / "measured.json"
    state = json.loads(file.read_bytes())
    good = state["measurements"][0]
    state["measurements"] = [7, {}, {**good, "tokens": "many"}, {**good, "seconds_per_step": "long"}, good]
    file.write_text(json.dumps(state))
    assert [each.seconds_per_step for each in measured.load()] == [None, 1.0]


def test_a_newer_file_is_neither_used_nor_changed(facts, config, studio_home):
    (studio_home / "cache" / "measured").mkdir(parents=True, exist_ok=True)
    (studio_home / "cache" / "measured" / "measured.json").write_text('{"format": 2, "measurements": []}')
    assert measured.load() == []
    with pytest.raises(formats.NewerFormat):
        measured.record(measure(facts, config))
    assert json.loads((studio_home / "cache" / "measured" / "measured.json").read_bytes())["format"] == 2


# -- corrections -------------------------------------------------------------------------------------------


def test_the_same_run_again_takes_what_was_measured(facts, config):
    plain = estimate(facts, config, "cuda")
    known = [measure(facts, config, times=1.1)]
    best = outlook.best_estimate(facts, config, MACHINE, known)
    peak = known[0].peak_bytes
    assert best.estimate.total == pytest.approx(peak, abs=10)
    assert (best.estimate.low, best.estimate.high) == (int(0.97 * peak), int(1.05 * peak))
    assert best.estimate.weights == plain.weights, "they are known to the byte"
    assert best.estimate.activations > 1.1 * plain.activations
    assert best.corrected_by == 1


def test_other_rows_of_the_same_settings_correct_at_once(facts, config):
    plain = estimate(facts, config, "cuda")
    known = [measure(facts, dataclasses.replace(config, seed=7), times=1.2)]
    best = outlook.best_estimate(facts, config, MACHINE, known)
    assert best.measured is None and best.corrected_by == 1
    parts = plain.total - plain.overhead
    assert best.estimate.total == pytest.approx(plain.overhead + 1.2 * parts, rel=1e-6)
    assert best.estimate.overhead == plain.overhead
    assert best.estimate.high - best.estimate.total == pytest.approx((plain.high - plain.total) / 2, abs=10)


def test_three_similar_runs_correct_and_two_do_not(facts, config):
    plain = estimate(facts, config, "cuda")
    known = [measure(facts, dataclasses.replace(config, max_length=length), times)
             for length, times in ((256, 0.9), (512, 0.8), (2048, 1.3))]
    assert outlook.best_estimate(facts, config, MACHINE, known[:2]).estimate == plain
    best = outlook.best_estimate(facts, config, MACHINE, known)
    parts = plain.total - plain.overhead
    assert best.corrected_by == 3
    assert best.estimate.total == pytest.approx(plain.overhead + 0.9 * parts, rel=1e-6)
    assert best.estimate.high == pytest.approx(best.estimate.total + 0.4 * parts, rel=1e-6), "they span more"
    for other in (dataclasses.replace(config, method="full"), dataclasses.replace(config, device="cpu")):
        assert outlook.best_estimate(facts, other, MACHINE, known).corrected_by == 0
    another = dataclasses.replace(facts, family="Phi-3")
    assert outlook.best_estimate(another, config, MACHINE, known).corrected_by == 0


def test_what_is_far_off_is_clamped_and_what_says_nothing_is_left_out(facts, config):
    other = dataclasses.replace(config, seed=3)
    for times, factor in ((9.0, 1.5), (0.1, 0.7)):
        known = [measure(facts, other, times)]
        assert measured.correction(facts, config, MACHINE, known) == Correction(factor, factor, factor, 1)
    without = ({"ran_out": True}, {"parts_bytes": 1, "overhead_bytes": 2}, {"versions": {"torch": "0"}})
    for change in without:
        known = [dataclasses.replace(measure(facts, other), **change)]
        assert measured.correction(facts, config, MACHINE, known) is None, change


def test_short_rows_do_not_teach_that_long_ones_need_little(facts, config):
    """The longest micro-batch has a fourth of the planned length: the formula is asked about that."""
    plain = estimate(facts, dataclasses.replace(config, max_length=256), "cuda")
    known = outlook.measure(facts, dataclasses.replace(config, seed=3), MACHINE, "run", 4 * 256, plain.total)
    found = measured.correction(facts, config, MACHINE, [known])
    assert found is not None and found.factor == pytest.approx(1.0)


# -- the outlook -------------------------------------------------------------------------------------------


def test_the_time_is_that_of_steps_and_evaluations(facts, config):
    measured.record(measure(facts, config, seconds_per_step=2.0, seconds_per_evaluation=10.0, seconds_besides=5.0))
    ten = dataclasses.replace(config, max_steps=10, eval_steps=4)
    seconds = 5 + 10 * 2 + 6 * 10  # evaluations before, at 4, at 8, at the end, and two of other strengths
    assert outlook.look(facts, ten, MACHINE, 100, 9_000).time == TimeEstimate.around(seconds, MEASURED)
    assert outlook.look(facts, dataclasses.replace(ten, seed=5), MACHINE, 100, 9_000).time.source != MEASURED


@pytest.mark.parametrize(("free", "fits"), [(99, "fits"), (0.1, "no"), (None, "tight")])
def test_whether_it_fits(facts, config, free, fits):
    card = dataclasses.replace(CARD, memory_free=None if free is None else int(free * GB))
    found = outlook.look(facts, config, dataclasses.replace(MACHINE, gpus=(card,)), 100, 9_000)
    assert found.judgement.level == fits and found.device == "cuda"
    assert found.to_dict()["fits"] == fits


def test_where_memory_ran_out_it_does_not_fit_unless_more_is_free(facts, config):
    measured.record(dataclasses.replace(measure(facts, config), ran_out=True, peak_bytes=20 * GB))
    assert outlook.look(facts, config, MACHINE, 100, 9_000).judgement.level == "no"
    other_rows = dataclasses.replace(config, seed=3)
    assert outlook.best_estimate(facts, other_rows, MACHINE).estimate.high == int(1.05 * 20 * GB)
    smaller = dataclasses.replace(config, micro_batch_size=2)
    assert outlook.best_estimate(facts, smaller, MACHINE).estimate == estimate(facts, smaller, "cuda")
    roomy = dataclasses.replace(MACHINE, gpus=(dataclasses.replace(CARD, memory_free=40 * GB),))
    assert outlook.look(facts, config, roomy, 100, 9_000).judgement.level == "fits"


# -- the result of a fit check -----------------------------------------------------------------------------


@pytest.fixture
def killed(studio_home: Path, tiny_model: Path, rows_file: Path) -> Job:
    """A fit check whose worker is gone without a word."""
    job = new.fit_check(RunConfig(name="n", model=str(tiny_model), train_file=str(rows_file)).to_dict())
    jobs.write_process_file(job.folder, 2**22 - 3)
    file = job.folder / jobs.PROCESS
    file.write_text(json.dumps({**json.loads(file.read_bytes()), "create_time": 1.0}))
    events = [{"type": fit_badge.EXPECTED, "low": 1, "likely": 2, "high": 3, "free": 5 * GB, "device": "cpu"},
              {"type": "sensors", "process_memory": 4 * GB}, {"type": "sensors", "process_memory": 3 * GB}]
    (job.folder / jobs.EVENTS).write_text("".join(json.dumps({"protocol": 1, **each}) + "\n" for each in events))
    return job


def test_a_worker_that_the_system_killed_for_its_memory_ran_out_of_it(killed):
    file = killed.folder / jobs.PROCESS
    file.write_text(json.dumps({**json.loads(file.read_bytes()), "oom_kills": -1}))  # one more since it began
    outcome = killed.outcome()
    assert outcome is not None and outcome.state == "crashed"
    assert fit_badge.of_job(killed, outcome) == {
        "estimate": {"low": 1, "likely": 2, "high": 3}, "measured_peak": 4 * GB, "seconds_per_step": None,
        "seconds_per_evaluation": None, "tokens_per_second": None, "longest_tokens": None, "fits": False,
        "free": 5 * GB, "device": "cpu", "ran_out": True}
    (kept,) = measured.load()
    assert kept.ran_out and kept.peak_bytes == 4 * GB


def test_other_ends_are_told_as_they_are(killed):
    outcome = killed.outcome()
    assert outcome is not None
    for ended, what in ((outcome, "ended unexpectedly"), (Outcome("cancelled"), "was cancelled"),
                        (Outcome("failed", UserError("No row.").to_dict()), "No row")):
        with pytest.raises(UserError, match=what):
            fit_badge.of_job(killed, ended)
    assert measured.load() == []


def test_a_short_trial_says_nothing_of_the_whole_run(facts: ModelFacts, config: RunConfig):
    short = dataclasses.replace(config, max_steps=10)
    found = measure(facts, short)
    assert measured.find(facts, short, MACHINE, [found]) is found
    assert measured.find(facts, dataclasses.replace(config, max_steps=8), MACHINE, [found]) is found
    assert measured.find(facts, config, MACHINE, [found]) is None
