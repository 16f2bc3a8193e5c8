"""The process of a run that several processes share: it starts them, waits, and says how the run ended."""

from __future__ import annotations

import secrets
import shutil
import socket
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException

from slmstudio.core import jobs
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.jobs import processes
from slmstudio.core.run import adjust, checkpoints
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.folder import CHECKPOINTS
from slmstudio.core.run.launch import checks, invitation
from slmstudio.worker.launch import failure_cause, first_machine, ranks_of
from slmstudio.worker.runtime import agent_side
from slmstudio.worker.runtime.context import Cancelled, JobContext


def run(job: JobContext) -> jobs.Outcome:
    """Train with as many processes as run.json says, and with as many machines.

    Returns:
        How the run ended.

    Raises:
        UserError: it can't be started.
        Cancelled: the user asked for it while machines were waited for, and nothing was learned before.
    """
    config = adjust.apply(RunConfig.from_dict(job.request), job.folder)
    checks.need(config, read_machine())
    forget(job.folder)
    kills = processes.oom_kills()
    if config.nodes == 1:
        store = ranks_of.open_store(ranks_of.LOOPBACK)
        machines = None
        meeting = ranks_of.Meeting(ranks_of.LOOPBACK, store.port, secrets.token_hex(8), ranks_of.LOOPBACK)
    else:
        machines = first_machine.FirstMachine(job, config, invitation.take(job.folder))
        try:
            meeting = machines.gather()
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
    return _failed(job, config, ended, processes.oom_kills() > kills, machines)


def _done_before(job: JobContext, ended: list[failure_cause.Ended]) -> jobs.Outcome | None:
    """What the first process has done and said, where others fail only after that: as they leave."""
    said = jobs.Job(agent_side.report_folder(job.folder, 0)).outcome()
    if said is None or not (said.was_successful() or said.state == "paused"):
        return None
    for each in ended:
        if each.rank != 0:
            job.log(f"Process {each.rank + 1} ended with {each.code} after the run's work was done.\n{each.log}",
                    "warning")
    return said


def _failed(job: JobContext, config: RunConfig, ended: list[failure_cause.Ended], memory_kill: bool,
            machines: first_machine.FirstMachine | None) -> jobs.Outcome:
    cause = failure_cause.first_cause(ended)
    if machines is not None and cause.kind >= failure_cause.LOST_OTHERS and (told := machines.who_left()):
        return told
    if memory_kill and cause.code == -9:
        job.emit(jobs.MEMORY_KILL)  # the next start uses less
    return failure_cause.outcome_of(cause, job.folder, config.world_size, socket.gethostname() if machines else "",
                            memory_kill)


def forget(folder: Path) -> None:
    """Remove what the processes of an earlier start said about their end; their logs stay, and grow."""
    logs = folder / agent_side.LOGS
    for each in logs.glob("rank-*") if logs.is_dir() else ():
        if each.is_dir():
            shutil.rmtree(each)
