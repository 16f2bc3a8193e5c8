"""When one of the ranks fails, the others end too, in words that name it, and the run can be resumed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import wait
from support.two_rank_runs import SETTINGS, events, furthest, losses, make, said_by

from slmstudio.core import jobs
from slmstudio.core.run.config import RunConfig

pytestmark = pytest.mark.full

ENDLESS = {"max_steps": 100_000, "eval_steps": 10**6, "sample_max_tokens": 0}


def failed(run: Path) -> jobs.Outcome:
    outcome = jobs.Job(run).outcome()
    assert outcome is not None and outcome.state == "failed", outcome
    return outcome


@pytest.mark.parametrize("parallelism", ["ddp", "fsdp"])
def test_a_killed_rank_is_named(zygote, tiny_model, tmp_path, parallelism):
    run = make(tiny_model, tmp_path, **ENDLESS, processes=3, parallelism=parallelism)
    pids = zygote.start(run, 3)
    wait.until(lambda: len(events(run, "step")) > 2, "steps")
    os.kill(pids[2], signal.SIGKILL)
    codes = zygote.wait()
    assert codes[0] == 1 and codes[2] == -signal.SIGKILL, said_by(run, 3)
    error = failed(run).error
    assert error["what"] == "Process 3 ended unexpectedly."
    assert "3 processes" in error["why"] and "Resume" in error["remedy"]


def test_without_the_first_rank_the_others_end(zygote, tiny_model, tmp_path):
    run = make(tiny_model, tmp_path, **ENDLESS, processes=3)
    pids = zygote.start(run, 3)
    wait.until(lambda: len(events(run, "step")) > 2, "steps")
    os.kill(pids[0], signal.SIGKILL)
    assert zygote.wait() == [-signal.SIGKILL, 1, 1], said_by(run, 3)
    assert jobs.Job(run).outcome().state == "crashed"


@pytest.mark.parametrize(("parallelism", "kills"), [
    ("ddp", 4), *(pytest.param(each, 10, marks=pytest.mark.full) for each in ("ddp", "fsdp"))])
def test_killed_at_random_moments_a_run_ends_as_one_untouched(zygote, tiny_model, tmp_path, parallelism, kills):
    whole, cut = (make(tiny_model, tmp_path, save_steps=1, max_steps=5 * kills, lora_dropout=0.1, processes=2,
                       parallelism=parallelism) for _ in range(2))
    assert zygote.run(whole, 2) == [0, 0]
    chance = random.Random(17)
    for _ in range(kills):
        outcome = jobs.Job(cut).outcome()
        if outcome is not None and outcome.state == "finished":
            break
        (cut / jobs.OUTCOME).unlink(missing_ok=True)
        known, more = len(events(cut, "step")), chance.randint(1, 5)
        pids = zygote.start(cut, 2)
        wait.until(lambda known=known, more=more: len(events(cut, "step")) >= known + more or (
            cut / jobs.OUTCOME).exists(), "steps")
        os.kill(pids[chance.randint(0, 1)], signal.SIGKILL)
        zygote.wait()
    (cut / jobs.OUTCOME).unlink(missing_ok=True)
    assert zygote.run(cut, 2) == [0, 0], said_by(cut, 2)
    assert furthest_in_order(cut, whole) == 0.0


def furthest_in_order(run: Path, other: Path) -> float:
    """As `furthest`, of a run that made some steps twice."""
    found, wanted = losses(run), losses(other)
    return max(abs(found[kind][step] - loss) for kind, each in wanted.items() for step, loss in each.items())


@pytest.mark.parametrize(("plant", "what"), [
    ("out_of_memory_on_rank_1", "In process 2: Memory ran out."),
    ("no_number_on_rank_1", "The loss of step 3 isn't a number (NaN or Inf)."),
    ("rank_1_hangs", "Process 2 doesn't respond."),
])
def test_what_went_wrong_on_another_rank_is_said(zygote, tiny_model, tmp_path, plant, what):
    run = make(tiny_model, tmp_path, processes=2)
    pids = zygote.start(run, 2, plant)
    if plant == "rank_1_hangs":
        wait.until(lambda: (run / jobs.OUTCOME).exists(), "the outcome")
        os.kill(pids[1], signal.SIGKILL)
    assert zygote.wait()[0] == 1
    outcome = failed(run)
    assert outcome.error["what"] == what, said_by(run, 2)
    assert "Resume" in outcome.error["remedy"]
    assert [event["global_step"] for event in events(run, "step")] == [1, 2]


@pytest.mark.parametrize("parallelism", ["ddp", "fsdp"])
def test_the_rows_without_a_number_are_named_whichever_rank_has_them(zygote, tiny_model, tmp_path, parallelism):
    run = make(tiny_model, tmp_path, processes=2, parallelism=parallelism)
    assert zygote.run(run, 2, "no_number_on_rank_1") == [1, 1]
    error = failed(run).error
    assert error["what"] == "The loss of step 3 isn't a number (NaN or Inf)." and error["problems"], said_by(run, 2)


def test_the_others_wait_for_a_first_rank_at_work(zygote, tiny_model, tmp_path):
    run = make(tiny_model, tmp_path, processes=2)
    assert zygote.run(run, 2, "slow_first_rank") == [0, 0], said_by(run, 2)


def test_torchrun_starts_the_ranks(tiny_model, tmp_path):
    """The real thing, as `python -m torch.distributed.run` does it."""
    run, alone = (make(tiny_model, tmp_path, processes=count) for count in (2, 1))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for folder, command in ((alone, []), (run, torchrun)):
        done = subprocess.run([sys.executable, "-P", *command, "-m", "slmstudio.worker", str(folder)], cwd=tmp_path,
                              env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    assert furthest(run, alone) <= 1e-6


@pytest.mark.parametrize(("changes", "field"), [
    ({"method": "qlora"}, "parallelism"), ({"objective": "dpo"}, "parallelism"),
    ({"optimizer": "adamw_8bit"}, "optimizer")])
def test_what_cards_cannot_share_is_refused(changes, field):
    config = RunConfig(**{"name": "trial", "model": "m", "train_file": "f", **SETTINGS, **changes, "processes": 2,
                          "parallelism": "fsdp"})
    assert [problem.field for problem in config.problems()] == [field]
    assert not RunConfig.from_dict({**config.to_dict(), "parallelism": "ddp"}).problems()
