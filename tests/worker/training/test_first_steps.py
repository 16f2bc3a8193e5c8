"""Every run measures its first steps with its longest rows, and learns exactly as if it had not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support import small_runs, tiny_model
from support.small_runs import events
from support.tiers import first_fast

from slmstudio.core import files, jobs
from slmstudio.core.run import measured
from slmstudio.core.run.energy.energy_use import SUPPLY_EFFICIENCY
from slmstudio.worker.runtime.context import StartAnew
from slmstudio.worker.training import train
from slmstudio.worker.training.loop import DeterministicTrainer
from slmstudio.worker.training.trainer import StudioTrainer


@pytest.fixture
def make_job(studio_home, tmp_path, tiny_model, rows_file):
    return small_runs.maker(tmp_path, tiny_model, rows_file, max_steps=5, gradient_accumulation_steps=2)


def figures(job) -> list[tuple]:
    """Everything that a run tells of its steps and evaluations, but for the time it took."""
    timed = {"time", "seconds", "step_seconds", "seconds_left", "tokens_per_second"}
    return [{name: value for name, value in event.items() if name not in timed}
            for event in jobs.Job(job.folder).events() if event["type"] in ("step", "eval")]


def pairs_file(place: Path) -> str:
    rows = [(row["instruction"], row["output"]) for row in tiny_model.ROWS]
    return str(small_runs.write(place, small_runs.rows_of(
        "dpo", [(asked, good * (1 + i % 3), rows[i - 3][1]) for i, (asked, good) in enumerate(rows)])))


RANDOM = {"lora_dropout": 0.2, "neftune_noise_alpha": 5.0}


@pytest.mark.parametrize("changes", first_fast([
    RANDOM, {"objective": "dpo", "lora_dropout": 0.2}, {"method": "full", "learning_rate": 1e-3},
    {"method": "qlora", **RANDOM}, {"packing": True, "gradient_checkpointing": True, **RANDOM},
    {"objective": "orpo", "lora_dropout": 0.2}, {"method": "scratch", "scratch_size": "10M", "max_steps": 3}]))
def test_a_run_learns_as_if_nothing_had_been_tried(make_job, monkeypatch, tmp_path, changes):
    if changes.get("objective"):
        changes = {**changes, "train_file": pairs_file(tmp_path / "pairs.jsonl")}
    tried, plain = make_job(**changes), make_job(**changes)
    train.run(tried)
    passes = []
    monkeypatch.setattr(DeterministicTrainer, "try_micro_batch", lambda self, rows, times: passes.append(times))
    train.run(plain)
    assert passes == [2]
    assert figures(tried) == figures(plain)


def test_the_measurement_is_told_once_and_kept(make_job):
    job = make_job()
    train.run(job)
    (told,) = events(job, "fit_measured")
    assert told["low"] < told["estimate_bytes"] < told["high"] and told["peak_bytes"] > 2**26
    assert 0 < told["longest_tokens"] <= 2 * 128 and told["seconds_per_step"] > 0 and told["tokens_per_second"] > 0
    order = [event["type"] for event in jobs.Job(job.folder).events() if event["type"] in ("step", "fit_measured")]
    assert order == ["step"] * 3 + ["fit_measured"] + ["step"] * 2
    (kept,) = measured.load()
    assert kept.source == "run" and kept.tokens == told["longest_tokens"]
    assert kept.peak_bytes >= told["peak_bytes"] and kept.seconds_per_evaluation > 0 and not kept.ran_out


@pytest.mark.parametrize(("pause", "resume", "why", "drew"), first_fast([
    ("guard_rest", "guard_resume", {"why": "heat"}, 200.0), ("paused", "resumed", {}, 200.0),
    ("paused", "job_started", {}, 200.0), ("guard_rest", "guard_resume", {"why": "hold"}, 101.5)]))
def test_what_a_run_drew_while_it_worked_is_kept_with_the_machine(make_job, pause, resume, why, drew):
    """An earlier attempt of hours has drawn 200 W of the card, and next to nothing while it was paused. Rests between
    steps belong to the work."""
    job = make_job()

    def tell(kind: str, time: int, **fields) -> None:
        files.append_line(job.folder / jobs.EVENTS, {"type": kind, "time": 1e9 + time, **fields})

    for second in range(0, 12_000, 5):
        if second in (3000, 9000):
            tell(pause if second == 3000 else resume, second, **why)
        watts = 3.0 if 3000 <= second < 9000 else 200.0
        tell("sensors", second, gpus=[{"index": 0, "power_w": watts}])
    train.run(job)
    (kept,) = measured.load()
    assert kept.watts == pytest.approx(drew / SUPPLY_EFFICIENCY, rel=0.05)


@pytest.mark.parametrize(("steps", "told"), first_fast([(2, 1), (1, 0)]))
def test_a_run_of_few_steps_is_measured_at_its_end(make_job, steps, told):
    """With a single step, the trial of the longest rows would take as long as the run."""
    job = make_job(max_steps=steps)
    train.run(job)
    assert len(events(job, "fit_measured")) == len(measured.load()) == told


def test_a_file_of_measurements_that_cannot_be_used_ends_no_run(make_job, studio_home):
    place = studio_home / "cache" / "measured"
    place.mkdir(parents=True)
    (place / "measured.json").write_text('{"format": 99}')
    job = make_job(max_steps=3)
    assert train.run(job)["state"] == "finished"
    assert any("isn't kept" in event["message"] for event in events(job, "log"))


def test_rows_that_are_too_long_are_found_after_the_first_step(make_job, monkeypatch, tmp_path):
    """One long row comes late; memory for it is missing, and the ladder is entered after one step."""
    short = [{"instruction": "Who?", "output": f"{i}"} for i in range(40)]
    file = tmp_path / "one-long.jsonl"
    rows = [*short, {"instruction": "Which office?", "output": "The ward office of the city. " * 4}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    honest, seen = StudioTrainer.compute_loss, []

    def compute_loss(self, model, inputs, *args, **kwargs):
        seen.append((self.state.global_step, inputs["input_ids"].numel()))
        if inputs["input_ids"].numel() > 120 and inputs["input_ids"].shape[0] > 1:
            torch.empty(1 << 60, dtype=torch.uint8)  # a real want of memory
        return honest(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(StudioTrainer, "compute_loss", compute_loss)
    job = make_job(train_file=str(file), eval_fraction=0.0, epochs=1, max_steps=None, group_by_length=False,
                   gradient_accumulation_steps=1, seed=2)
    with pytest.raises(StartAnew):
        train.run(job)
    assert events(job, "adjusted")[0]["changes"]["micro_batch_size"] == 1
    assert [event["global_step"] for event in events(job, "step")] == [1]
    assert seen[0][1] < 120 < seen[-1][1]
