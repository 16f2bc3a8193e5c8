"""The process of a run that several processes share: it starts those of this machine, waits, and says how the run
ended. On another machine than the run's first one, it is the process of the "join" job."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException

from slmstudio.core import files, jobs, program
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.jobs import processes
from slmstudio.core.jobs.outcome import memory_advice, resume_advice
from slmstudio.core.model.library import local_models
from slmstudio.core.run import adjust, checkpoints, launch
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.folder import CHECKPOINTS
from slmstudio.worker.launch import ranks_of
from slmstudio.worker.runtime import ending
from slmstudio.worker.runtime.context import Cancelled, JobContext

# -- Who ended a run that several processes share: one of them dies or fails, and the others fail or are ended for
# it.

LAST_LINES = 20
ESCALATED_SECONDS = 4.5
"""From the first process's own word to the end of all: more than that, and the agent has killed some."""
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")


KILLED, SILENT, FAILED, STOPPED, LOST_OTHERS, ENDED = range(6)
"""What a process ended of, the likeliest cause first: a signal; without a word; by its own word; as it was told; since
another one was gone; since the agent asked it to."""


@dataclass(frozen=True)
class Ended:
    """How one of a machine's processes ended.

    Attributes:
        code: its exit status, as subprocess counts it: less than 0 is a signal.
        outcome: what it said itself; None if it had no time to say anything.
        log: the last lines that it printed.
        escalated: whether the agent had to kill what didn't end when it was asked to: then a SIGKILL is its own.
    """

    rank: int
    code: int
    outcome: jobs.Outcome | None
    log: str
    escalated: bool = False

    @property
    def kind(self) -> int:
        """`KILLED` … `ENDED`: the less, the likelier it is the cause."""
        if self.code < 0 and -self.code != signal.SIGTERM:
            return ENDED if self.escalated and -self.code == signal.SIGKILL else KILLED
        if self.outcome is None:
            return SILENT if self.code > 0 else ENDED
        if self.outcome.state == ending.LOST:
            return LOST_OTHERS if self.outcome.error else ENDED
        return FAILED if self.outcome.state == "failed" else STOPPED


def read(folder: Path, codes: Mapping[int, int]) -> list[Ended]:
    """What the processes of this machine left, by rank: `codes` are their exit statuses."""
    places = {rank: ending.report_folder(folder, rank) for rank in sorted(codes)}
    said = [when for place in places.values() if (when := ending.ended_at(place)) is not None]
    escalated = bool(said) and time.monotonic() - min(said) > ESCALATED_SECONDS
    return [Ended(rank, codes[rank], jobs.Job(place).outcome(), last_lines(folder, rank), escalated)
            for rank, place in places.items()]


def last_lines(folder: Path, rank: int) -> str:
    try:
        with open(ending.log_of(folder, rank), "rb") as file:
            file.seek(max(0, file.seek(0, 2) - 8192))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-LAST_LINES:])
    except OSError:
        return ""


def first_cause(ended: list[Ended]) -> Ended:
    return min(ended, key=lambda each: (each.kind, each.rank))


def outcome_of(cause: Ended, folder: Path, world_size: int, memory_kill: bool = False) -> jobs.Outcome:
    """What a user is told.

    Args:
        memory_kill: whether the kernel has killed processes meanwhile because memory ran out.
    """
    which = tr("Process {number} of {count}", number=cause.rank + 1, count=world_size)
    remedy = join_sentences(tr("The run can be resumed."), resume_advice("train", folder))
    if cause.outcome is not None and cause.kind < LOST_OTHERS:
        return cause.outcome
    if cause.kind == LOST_OTHERS and cause.outcome is not None and cause.outcome.error is not None:
        error = cause.outcome.user_error()  # it has checked which of the others are there
    elif cause.kind >= LOST_OTHERS and cause.outcome is not None:
        error = UserError(tr("{process} lost its connection to another one.", process=which),
                          tr("Another process or machine is gone, or the network between them broke."), remedy)
    elif cause.code < 0:
        name = signal.Signals(-cause.code).name
        if name == "SIGKILL" and memory_kill:
            error = UserError(tr("{process} was killed because memory ran out ({signal}).", process=which, signal=name),
                              "", join_sentences(remedy, memory_advice("train")))
        elif name in _CRASHES:
            error = UserError(tr("{process} crashed in a library ({signal}).", process=which, signal=name), "", remedy)
        else:
            error = UserError(tr("{process} was killed ({signal}).", process=which, signal=name)
                              if name == "SIGKILL" else
                              tr("{process} was ended ({signal}).", process=which, signal=name), "", remedy)
    else:
        error = UserError(tr("{process} ended unexpectedly, with exit status {code}.", process=which, code=cause.code),
                          "", remedy)
    return jobs.Outcome("crashed", error.to_dict(), details=cause.log)


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
            meeting = ranks_of.meet(job, launch.write(job.folder), 0)
        except Cancelled:
            if not (kept := checkpoints.all_checkpoints(job.folder / CHECKPOINTS)):
                raise
            return jobs.Outcome("stopped", result={"steps": kept[-1].global_step})  # so it can be resumed
    try:
        codes = ranks_of.train(job.folder, config, meeting)
    except SignalException as error:
        ranks_of.end_by(error)
        raise
    ended = read(job.folder, codes or dict.fromkeys(range(config.processes), 0))
    if not codes:
        outcome = ended[0].outcome
        return outcome or jobs.Outcome("crashed", details=ended[0].log)
    if done := _done_before(job, ended):
        return done
    cause, memory_kill = first_cause(ended), processes.oom_kills() > kills
    if memory_kill and cause.code == -9:
        job.emit(jobs.MEMORY_KILL)  # the next start uses less
    return outcome_of(cause, job.folder, config.world_size, memory_kill)


def _done_before(job: JobContext, ended: list[Ended]) -> jobs.Outcome | None:
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
    meeting = ranks_of.meet(job, launched, number - 1)
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
    cause = first_cause(read(folder, codes))
    if cause.kind >= LOST_OTHERS:
        raise UserError(tr("The run on {host} has ended, or the connection to it broke.", host=launched.host), "",
                        tr("Look on that machine for the reason; it keeps the run."))
    return outcome_of(cause, folder, config.world_size)


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
