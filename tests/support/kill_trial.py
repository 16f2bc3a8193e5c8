"""Kills a training run again and again, while it learns and while it saves, and proves that nothing is lost.

    python tests/support/kill_trial.py [--training 50] [--saving 50] [--suspend 60] [--full-disk 12] [--keep FOLDER]

A tiny model learns with dropout, accumulation and packed rows. Its worker gets SIGKILL at random moments and is started
again, until it is through. Then its losses and its weights must be bit for bit those of a run that nobody touched, and
no kill may have cost more than one save interval. `--suspend` stops one more run (SIGSTOP) for that many seconds.
`--full-disk` fills the disk at another write each time.
Linux and macOS; workers are forked from a process that has PyTorch loaded, which makes a start cheap.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from slmstudio.core import jobs
from slmstudio.core.jobs import processes
from slmstudio.core.run import checkpoints, folder
from slmstudio.core.run.config import RunConfig

SAVE_STEPS = 3
STEPS = 30
POLL = 0.0005


@dataclass
class Report:
    """What the trials showed.

    Attributes:
        kills: by kind, "training" and "saving".
        most_redone: steps that one kill cost, at most.
        runs: how many runs were killed and came to their end.
        identical: whether losses and weights of all of them were bit-identical to the untouched run.
        faults: everything that wasn't as it must be.
    """

    kills: dict[str, int] = field(default_factory=lambda: {"training": 0, "saving": 0})
    most_redone: int = 0
    runs: int = 0
    identical: bool = True
    faults: list[str] = field(default_factory=list)


class Trial:
    """Makes runs of one configuration in `parent`, and workers on them."""

    def __init__(self, parent: Path, seed: int):
        from support import tiny_model

        self.parent, self.random = parent, random.Random(seed)
        self._model = tiny_model.build(parent / "model")
        self._rows = parent / "rows.jsonl"
        rows = [{"instruction": f"{row['messages'][-2]['content'] if 'messages' in row else row['instruction']} {i}",
                 "output": row["messages"][-1]["content"] if "messages" in row else row["output"]}
                for i in range(6) for row in tiny_model.ROWS]
        self._rows.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["slmstudio.worker.training.train", "slmstudio.worker.__main__"])
        environment = processes.worker_environment()
        os.environ.update({key: value for key, value in environment.items() if key.startswith("HF_")})

    def new_run(self, where: Path | None = None) -> jobs.Job:
        config = RunConfig(
            name="kill-trial", model=str(self._model), train_file=str(self._rows), max_steps=STEPS, micro_batch_size=2,
            gradient_accumulation_steps=2, max_length=128, lora_rank=256, lora_dropout=0.1, packing=True,
            learning_rate=5e-3,
            eval_fraction=0.1, eval_steps=10, save_steps=SAVE_STEPS, sample_max_tokens=4, device="cpu", threads=1)
        return folder.create(config, where or self.parent / "runs")

    def start(self, job: jobs.Job) -> Any:
        # As `Job.start` does; the worker itself signs process.json.
        (job.folder / jobs.OUTCOME).unlink(missing_ok=True)
        process = self._context.Process(target=_work, args=(job.folder,))
        process.start()
        return process

    def finish(self, job: jobs.Job) -> jobs.Outcome:
        self.start(job).join()
        outcome = job.outcome()
        assert outcome is not None
        return outcome

    def kill_when(self, job: jobs.Job, ready: Callable[[], bool], delay: float) -> bool:
        """Start a worker, wait until `ready`, wait `delay` seconds, kill it; False when it came to its end before."""
        process = self.start(job)
        looks = 0
        while not ready():
            looks += 1
            if looks % 64 == 0 and not process.is_alive():
                return False
            time.sleep(POLL)
        time.sleep(delay)
        alive = bool(process.is_alive())
        process.kill()
        process.join()
        return alive and not (job.folder / jobs.OUTCOME).exists()


def _work(folder_: Path) -> None:
    """In the forked process: what `python -m slmstudio.worker FOLDER` does."""
    os.setsid()
    log = open(folder_ / jobs.LOG, "ab")  # noqa: SIM115  it is the process' own output from here on
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    from slmstudio.worker import __main__ as worker

    os._exit(worker.run_job(folder_))


def losses(job: jobs.Job) -> dict[int, float]:
    """The loss of each step, as the last attempt at it measured it."""
    return {event["global_step"]: event["train_loss"] for event in job.events() if event["type"] == "step"}


def steps_made(job: jobs.Job) -> int:
    return max(losses(job), default=0)


def weights(job: jobs.Job) -> bytes:
    return (job.folder / folder.ADAPTER / "adapter_model.safetensors").read_bytes()


def run_trial(parent: Path, training: int, saving: int, seed: int = 0,
              say: Callable[[str], None] = lambda line: None) -> Report:
    """Kill `training` times between two saves and `saving` times in the middle of one."""
    trial, report = Trial(parent, seed), Report()
    untouched = trial.new_run()
    outcome = trial.finish(untouched)
    assert outcome.state == "finished", outcome
    wanted_losses, wanted_weights = losses(untouched), weights(untouched)
    seconds = [e["step_seconds"] for e in untouched.events() if e["type"] == "step"]
    interval = SAVE_STEPS * sorted(seconds)[len(seconds) // 2]
    job: jobs.Job | None = None
    plan = ["training"] * training + ["saving"] * saving
    trial.random.shuffle(plan)
    while plan:
        job = job or trial.new_run()
        if not _one_kill(trial, job, plan[-1], interval, report):
            _compare(job, wanted_losses, wanted_weights, report)  # it came to its end before the kill
            job = None
            continue
        report.kills[plan.pop()] += 1
        say(f"{sum(report.kills.values())} kills, at most {report.most_redone} steps redone, {report.runs} runs done")
    if job is not None:
        trial.finish(job)
        _compare(job, wanted_losses, wanted_weights, report)
    return report


def _one_kill(trial: Trial, job: jobs.Job, kind: str, interval: float, report: Report) -> bool:
    parent = job.folder / folder.CHECKPOINTS
    before = steps_made(job)
    began = (job.folder / jobs.EVENTS).stat().st_size if (job.folder / jobs.EVENTS).exists() else 0
    if kind == "saving":
        made = {path.name for path in parent.glob("step-*")}
        killed = trial.kill_when(
            job, lambda: _is_saving(parent, made),
            trial.random.uniform(0.0, 0.03))
    else:
        killed = trial.kill_when(job, lambda: _has_stepped(job, began), trial.random.uniform(0.0, 3 * interval))
    if not killed:
        return False
    made_steps = steps_made(job)
    saved = checkpoints.newest_good(parent, lambda c, why: report.faults.append(f"{c.path.name}: {why}"))
    redone = made_steps - (saved.global_step if saved else 0)
    report.most_redone = max(report.most_redone, redone)
    # A kill in the middle of a save loses that save: what lies between the save before and this one is redone.
    if redone > SAVE_STEPS:
        report.faults.append(f"{redone} steps must be redone after step {made_steps} (before: {before})")
    found = job.outcome()
    if found is None or found.state != "crashed":
        report.faults.append(f"a killed run was called {found and found.state}")
    return True


def _is_saving(parent: Path, made: set[str]) -> bool:
    """Whether a checkpoint is being written that wasn't there before."""
    try:
        names = os.listdir(parent)
    except FileNotFoundError:
        return False
    return any(name.endswith(".partial") and name[1:].removesuffix(".partial") not in made for name in names)


def _has_stepped(job: jobs.Job, began: int) -> bool:
    """Whether the events since byte `began` hold a step of this attempt."""
    path = job.folder / jobs.EVENTS
    if not path.exists():
        return False
    with open(path, "rb") as file:
        file.seek(began)
        return b'"type": "step"' in file.read()


def _compare(job: jobs.Job, wanted_losses: dict[int, float], wanted_weights: bytes, report: Report) -> None:
    outcome = job.outcome()
    report.runs += 1
    if outcome is None or outcome.state != "finished":
        report.faults.append(f"{job.folder.name} was lost: {outcome}")
        report.identical = False
    elif losses(job) != wanted_losses or weights(job) != wanted_weights:
        report.faults.append(f"{job.folder.name} went another way than the untouched run")
        report.identical = False


def suspend_trial(parent: Path, seconds: float, seed: int = 0) -> dict[str, Any]:
    """Stop a worker for `seconds` with SIGSTOP, let it go on, and compare with a run nobody touched."""
    trial = Trial(parent, seed)
    untouched, job = trial.new_run(), trial.new_run()
    trial.finish(untouched)
    process = trial.start(job)
    while steps_made(job) < STEPS // 2 and process.is_alive():
        time.sleep(POLL)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGCONT)
    process.join()
    steps = [event for event in job.events() if event["type"] == "step"]
    after = [event for event in steps if event["global_step"] > STEPS // 2 + 1]
    return {
        "told_seconds": sum(e["seconds"] for e in job.events() if e["type"] == "suspended"),
        "longest_step_seconds": max(event["step_seconds"] for event in steps),
        "most_seconds_left_after": max(event["seconds_left"] for event in after),
        "identical": losses(job) == losses(untouched) and weights(job) == weights(untouched),
    }


def full_disk_trial(parent: Path, levels: int, seed: int = 0) -> dict[str, Any]:
    """Fill a small disk so that it is full at another write of a run each time, free it, and compare with a run on a
    disk with room. `levels` amounts of space are left, from none to a whole checkpoint.

    Raises:
        PermissionError: no small file system can be mounted here.
    """
    trial = Trial(parent, seed)
    untouched = trial.new_run()
    trial.finish(untouched)
    size = sum(p.stat().st_size for p in (untouched.folder / folder.CHECKPOINTS / "step-000030").iterdir())
    disk = parent / "disk"
    disk.mkdir()
    faults, told = [], 0
    for level in range(levels):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={8 * size}", "tmpfs", str(disk)],
                          capture_output=True).returncode:
            raise PermissionError("no small file system can be mounted here")
        try:
            job = trial.new_run(disk)
            process = trial.start(job)
            _fill_for_a_while(job, disk, size * level // max(1, levels - 1))
            process.join()
            told += any(e.get("code") == "disk_full" for e in job.events())
            outcome = job.outcome()
            if outcome is None or outcome.state != "finished":
                faults.append(f"level {level}: {outcome}")
            elif weights(job) != weights(untouched):
                faults.append(f"level {level}: other weights")
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)
    return {"levels": levels, "told": told, "faults": faults}


def _fill_for_a_while(job: jobs.Job, disk: Path, left: int) -> None:
    """Once it learns, leave `left` bytes; when nothing has happened for a while, give all back."""
    while not losses(job) and not (job.folder / jobs.OUTCOME).exists():
        time.sleep(POLL)
    with contextlib.suppress(OSError):
        (disk / "ballast").write_bytes(b"\0" * max(0, shutil.disk_usage(disk).free - left))
    quiet, before = 0, -1
    while quiet < 40 and not (job.folder / jobs.OUTCOME).exists():
        time.sleep(0.05)
        now = steps_made(job)
        quiet, before = (quiet + 1, now) if now == before else (0, now)
    (disk / "ballast").unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", type=int, default=50)
    parser.add_argument("--saving", type=int, default=50)
    parser.add_argument("--suspend", type=float, default=0.0)
    parser.add_argument("--full-disk", type=int, default=0, help="how many amounts of space to leave; needs root")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where the runs are kept; else they are removed")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        parent = options.keep or Path(temporary)
        parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        report = run_trial(parent / "kills", options.training, options.saving, options.seed,
                           lambda line: print(line, file=sys.stderr))
        print(json.dumps({**report.__dict__, "seconds": round(time.monotonic() - started)}))
        fine = report.identical and not report.faults
        if options.suspend:
            found = suspend_trial(parent / "suspend", options.suspend, options.seed)
            print(json.dumps(found))
            fine = fine and found["identical"]
        if options.full_disk:
            full = full_disk_trial(parent / "full", options.full_disk, options.seed)
            print(json.dumps(full))
            fine = fine and not full["faults"]
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
