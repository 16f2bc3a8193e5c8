"""The process of a run that several processes share: it starts those of this machine, waits, and says how the run
ended. On another machine than the run's first one, it is the process of the "join" job."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException

from slmstudio.core import files, jobs, program
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import processes
from slmstudio.core.model.library import local_models
from slmstudio.core.run import adjust, checkpoints, launch
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.folder import CHECKPOINTS
from slmstudio.worker.launch import failure_cause, machines, ranks_of
from slmstudio.worker.runtime import ending
from slmstudio.worker.runtime.context import Cancelled, JobContext

RUN = "run"
LOOK_SECONDS = 1.0


def run(job: JobContext) -> jobs.Outcome:
    """Train with as many processes as run.json says, and with as many machines.

    Returns:
        How the run ended.

    Raises:
        UserError: it can't be started.
        Cancelled: the user asked for it while machines were waited for, and nothing was learned before.
    """
    if job.request["kind"] == "join":
        return _join(job)
    config = adjust.apply(RunConfig.from_dict(job.request), job.folder)
    launch.need(config, read_machine())
    forget(job.folder)
    kills = processes.oom_kills()
    if config.nodes == 1:
        store = ranks_of.open_store(ranks_of.LOOPBACK)
        meeting = ranks_of.Meeting(store, ranks_of.LOOPBACK, store.port, secrets.token_hex(8), ranks_of.LOOPBACK)
    else:
        try:
            meeting = machines.meet(job, launch.write(job.folder), 0)
        except Cancelled:
            if not (kept := checkpoints.all_checkpoints(job.folder / CHECKPOINTS)):
                raise
            return jobs.Outcome("stopped", result={"steps": kept[-1].global_step})  # so it can be resumed
    try:
        codes = ranks_of.train(job.folder, config, meeting)
    except SignalException as error:
        ranks_of.end_by(error)
        raise
    ended = failure_cause.read(job.folder, codes or dict.fromkeys(range(config.processes), 0))
    if not codes:
        outcome = ended[0].outcome
        return outcome or jobs.Outcome("crashed", details=ended[0].log)
    if done := _done_before(job, ended):
        return done
    cause, memory_kill = failure_cause.first_cause(ended), processes.oom_kills() > kills
    if memory_kill and cause.code == -9:
        job.emit(jobs.MEMORY_KILL)  # the next start uses less
    return failure_cause.outcome_of(cause, job.folder, config.world_size, memory_kill)


def _done_before(job: JobContext, ended: list[failure_cause.Ended]) -> jobs.Outcome | None:
    """What the first process has done and said, where others fail only after that: as they leave."""
    said = jobs.Job(ending.report_folder(job.folder, 0)).outcome()
    if said is None or not (said.was_successful() or said.state == "paused"):
        return None
    for each in ended:
        if each.rank != 0:
            job.log(f"Process {each.rank + 1} ended with {each.code} after the run's work was done.\n{each.log}",
                    "warning")
    return said


def forget(folder: Path) -> None:
    """Remove what the processes of an earlier start said about their end; their logs stay, and grow."""
    logs = folder / ending.LOGS
    for each in logs.glob("rank-*") if logs.is_dir() else ():
        if each.is_dir():
            shutil.rmtree(each)


# -- on another machine than the first --------------------------------------------------------------------------------


def _join(job: JobContext) -> jobs.Outcome:
    """Take part in the run of a launch.json.

    Raises:
        UserError: this machine can't take part, or the others are gone.
        Cancelled: the user asked for it.
    """
    launched, number = launch.read(Path(job.request["file"])), int(job.request["machine"])
    if not 2 <= number <= launched.config.nodes:
        raise UserError(tr("The run has no machine {number}.", number=number), "",
                        tr("Give each machine another number, from 2 to {count}, with --machine.",
                           count=launched.config.nodes))
    folder = job.folder / RUN
    config = replace(launched.config, model=str(_model(job.request["model"], launched.config)), eval_file=None,
                     train_file=str(folder / jobs.RUN), start_from=None)  # the first process reads the rows for all
    launch.need(config, read_machine())
    folder.mkdir(exist_ok=True)
    files.write_atomically(folder / jobs.RUN, files.dump_pretty(config.to_dict()), private=True)
    meeting = machines.meet(job, launched, number - 1)
    job.phase("training", tr("with {host}", host=launched.host))
    with _ends_when_asked(job):
        try:
            codes = ranks_of.train(folder, config, meeting)
        except SignalException as error:
            if not job.cancelled():
                ranks_of.end_by(error)
            raise Cancelled from error
    if not codes:
        return jobs.Outcome("finished", result={"host": launched.host, "run": config.name})
    cause = failure_cause.first_cause(failure_cause.read(folder, codes))
    if cause.kind >= failure_cause.LOST_OTHERS:
        raise UserError(tr("The run on {host} has ended, or the connection to it broke.", host=launched.host), "",
                        tr("Look on that machine for the reason; it keeps the run."))
    return failure_cause.outcome_of(cause, folder, config.world_size)


def _model(chosen: str | None, config: RunConfig) -> Path:
    """The folder of the run's base model on this machine; whether its weights are the same is compared later.

    Raises:
        UserError: there is none.
    """
    name = Path(config.model).name
    same_name = [path for path in local_models() if path.name == name]
    for path in [Path(chosen)] if chosen else [Path(config.model), *same_name]:
        if path.is_dir():
            return path.absolute()
    raise UserError(tr("This machine doesn't have the model {model}.", model=name), "",
                    tr("Copy its folder from the first machine and name it with --model, or fetch it: {command}",
                       command=program.command("models", "get", name)))


@contextlib.contextmanager
def _ends_when_asked(job: JobContext) -> Iterator[None]:
    """Ends this process's work as SIGTERM does as soon as the user asks for it: torchrun's agent offers no other
    way."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(LOOK_SECONDS):
            if job.cancelled():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
