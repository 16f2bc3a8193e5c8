"""The fit check: a short real training of which only the figures are kept."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support import small_runs, tiny_model
from support.tiers import first_fast

from slmstudio.core import files, jobs, paths
from slmstudio.core.data import reader
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.heat_guard import Settings
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.jobs import new
from slmstudio.core.model import facts
from slmstudio.core.run import measured
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory import outlook
from slmstudio.core.run.planning import plan_inputs, planner
from slmstudio.core.run.time_estimate import MEASURED
from slmstudio.worker.runtime.context import Cancelled, JobContext
from slmstudio.worker.training import fit_check
from slmstudio.worker.training.trainer import StudioTrainer


@pytest.fixture
def plan(studio_home, tmp_path, tiny_model):
    """`plan(method="full")`: what the product proposes for the rows of the objective."""

    def make(**overrides) -> RunConfig:
        pairs = [(row["instruction"], row["output"]) for row in tiny_rows()]
        questions = [(asked, good, pairs[place - 3][1]) for place, (asked, good) in enumerate(pairs)]
        file = small_runs.write(tmp_path / "rows.jsonl",
                                small_runs.rows_of(overrides.get("objective", "sft"), questions))
        return planner.configure(plan_inputs.PlanInputs(reader.read_dataset(file), facts.read_model(tiny_model),
                                                read_machine(), None, {"sample_max_tokens": 4, **overrides}))

    return make


def tiny_rows() -> list[dict]:
    return tiny_model.ROWS * 3


def check(config: RunConfig) -> tuple[dict, JobContext]:
    job = new.fit_check(config.to_dict())
    context = JobContext(job.folder, job.request())
    return fit_check.run(context), context


def contents(place: Path) -> dict[str, str]:
    return {str(path): files.sha256_of(path) for path in sorted(place.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("chosen", first_fast([
    {"method": "lora"}, {"method": "full"}, {"method": "qlora"}, {"method": "scratch", "scratch_size": "10M"},
    {"objective": "dpo"}, {"objective": "orpo"}, {"objective": "kto"}, {"packing": False, "micro_batch_size": 2},
    {"eval_fraction": 0.0, "gradient_accumulation_steps": 1, "gradient_checkpointing": True}], fast=1))
def test_a_plan_is_tried_as_it_is_proposed_and_nothing_is_changed(plan, tiny_model, tmp_path, chosen):
    config = plan(**chosen)
    before = contents(tiny_model), files.sha256_of(Path(config.train_file))
    result, job = check(config)
    assert (contents(tiny_model), files.sha256_of(Path(config.train_file))) == before
    assert {path.name for path in job.folder.iterdir()} <= {"request.json", "events.jsonl"}
    assert not paths.runs_dir().exists()
    assert result["fits"] and not result["ran_out"] and result["device"] == "cpu"
    assert result["measured_peak"] > 2**26 and result["seconds_per_step"] > 0 and result["tokens_per_second"] > 0
    assert (result["seconds_per_evaluation"] is None) == (config.eval_fraction == 0)
    assert result["estimate"]["low"] <= result["estimate"]["likely"] <= result["estimate"]["high"]
    found = outlook.look(facts.read_model(tiny_model), config, read_machine(), 20, 2_000)
    assert found.best.measured is not None and found.best.measured.source == "fit_check"
    assert found.best.measured.peak_bytes == result["measured_peak"] and found.time.source == MEASURED
    done = [event["done"] / event["total"] for event in jobs.Job(job.folder).events()
            if event["type"] == "progress" and event["phase"] == "measuring"]
    assert done == sorted(done) and done


def test_the_longest_micro_batch_of_the_run_is_tried(plan, monkeypatch):
    config, seen = plan(packing=True), []
    honest = StudioTrainer.compute_loss

    def compute_loss(self, model, inputs, *args, **kwargs):
        if self.model.training:
            seen.append(inputs["input_ids"].numel())
        return honest(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(StudioTrainer, "compute_loss", compute_loss)
    result, _ = check(config)
    assert seen[0] == seen[1] == max(seen) == result["longest_tokens"]
    assert len(seen) == 2 * min(2, config.gradient_accumulation_steps) + 4


def test_want_of_memory_is_a_result(plan, monkeypatch, tiny_model):
    def compute_loss(self, model, inputs, *args, **kwargs):
        torch.empty(1 << 60, dtype=torch.uint8)  # a real want of memory

    monkeypatch.setattr(StudioTrainer, "compute_loss", compute_loss)
    config = plan()
    result, _ = check(config)
    assert result["ran_out"] and not result["fits"] and result["seconds_per_step"] is None
    assert result["measured_peak"] > 2**26
    (kept,) = measured.load()
    assert kept.ran_out and measured.correction(facts.read_model(tiny_model), config, read_machine(), [kept]) is None


def test_cancel_ends_it_and_keeps_nothing(plan):
    job = new.fit_check(plan().to_dict())
    context = JobContext(job.folder, job.request())
    honest = context.progress

    def progress(done, total, unit, phase):
        if phase == "measuring":
            job.send("cancel")
        honest(done, total, unit, phase)

    context.progress = progress
    with pytest.raises(Cancelled):
        fit_check.run(context)
    assert measured.load() == [] and not (job.folder / "data").exists()


def test_a_rest_for_heat_counts_in_no_time_that_is_measured(plan, monkeypatch):
    asked, rested = 0, 0.0

    def must_rest() -> bool:
        nonlocal asked, rested
        asked += 1
        rested += 1000.0 * (asked % 2 == 0)
        return asked % 2 == 1

    @contextlib.contextmanager
    def cooled(job, *given):
        job.must_rest = must_rest
        yield

    monkeypatch.setattr(fit_check, "cooled", cooled)
    monkeypatch.setattr(fit_check, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + rested))
    told = []  # the events are fewer: at most ten a second
    monkeypatch.setattr(JobContext, "progress", lambda job, done, total, unit, phase: told.append((done, total)))
    result, _ = check(plan())
    assert told[-1][0] >= told[-1][1] - 1  # what is left out for want of time is more
    assert rested >= 4000 and 0 < result["seconds_per_step"] < 900


@pytest.mark.parametrize("mode", ["pause", "off"])
def test_it_rests_for_heat_as_the_run_would_and_waits_for_no_hours(plan, monkeypatch, mode):
    given = []

    @contextlib.contextmanager
    def cooled(job, work, settings, on_cpu):
        given.append((work, settings, on_cpu))
        yield

    monkeypatch.setattr(fit_check, "cooled", cooled)
    check(plan(heat_guard=mode, heat_limit_c=70, train_hours="22:00-06:00", pause_on_battery=True))
    assert given == [("fit_check", Settings(mode, 70), True)]


def test_a_run_that_cannot_be_done_here_is_told_as_it_would_be(plan):
    with pytest.raises(UserError, match="can't be trained on this machine") as error:
        check(RunConfig.from_dict({**plan().to_dict(), "device": "cuda"}))
    assert [problem.field for problem in error.value.problems] == ["device"]
