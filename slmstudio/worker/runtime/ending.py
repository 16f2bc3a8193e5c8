"""How the process of a job ends: its outcome, written once, whoever comes first.

Of a run that several processes share, torchrun's agent is the job's process: it holds the folder's lock, is in
process.json and writes the outcome. Each process that it starts says how it ended in a folder of its own, and all but
the first print into logs of their own.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path

from slmstudio.core import disk_space, files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.jobs.outcome import resume_advice
from slmstudio.core.run import store
from slmstudio.worker.runtime import child, ranks
from slmstudio.worker.runtime.context import JobContext

AGENT = "SLMSTUDIO_AGENT"
"""Environment variable with the pid of our own agent, where that started this process."""
ADDRESS = "SLMSTUDIO_ADDRESS"
"""Environment variable with this machine's address, as the others of the run reach it."""
LOGS = "logs"
_ENDED = "ended"
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9


def by_agent() -> bool:
    """Whether an agent of ours started this process."""
    return AGENT in os.environ


def log_of(folder: Path, rank: int) -> Path:
    """What a process prints: the first one into the job's own log."""
    return folder / jobs.LOG if rank == 0 else folder / LOGS / f"rank-{rank}.log"


def report_folder(folder: Path, rank: int) -> Path:
    """Where a process says how it ended."""
    return folder / LOGS / f"rank-{rank}"


def say_ended(place: Path) -> None:
    """Leave in a report folder when its process ended, by the machine's own clock, which nobody sets."""
    files.write_atomically(place / _ENDED, repr(time.monotonic()))


def ended_at(place: Path) -> float | None:
    """What `say_ended` left, in seconds as `time.monotonic` counts them; None if it left nothing."""
    try:
        return float((place / _ENDED).read_text())
    except (OSError, ValueError):
        return None


def begin(folder: Path, rank: int) -> None:
    """End with the agent from now on, even if that is killed, and print into the process's own log."""
    agent = int(os.environ[AGENT])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        if os.getppid() != agent:
            os._exit(1)
    else:
        threading.Thread(target=child.end_with, args=(agent,), daemon=True).start()
    if rank != 0:
        log = log_of(folder, rank)
        log.parent.mkdir(exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        sys.stdout.flush()
        sys.stderr.flush()
        for standard in (1, 2):
            os.dup2(descriptor, standard)
        os.close(descriptor)


LOST = "lost"
"""State of a process that an agent started with others, and that ended because one of them did."""
_last_word = threading.Lock()


def write_outcome(job: JobContext, outcome: jobs.Outcome) -> None:
    """End the job with this outcome. Does not return where `give_up` came first: that ends the process."""
    with _last_word:
        _write(job, outcome)


def give_up(job: JobContext, error: UserError) -> None:
    """End the job and this process at once, from a thread beside one that hangs and can't be interrupted.

    Returns only where the outcome is being written already, and in a process that doesn't speak for the job where no
    agent of ours listens to it: torchrun ends those with the one that does.
    """
    if not (ranks.is_first() or by_agent()) or not _last_word.acquire(blocking=False):
        return
    _write(job, jobs.Outcome("failed", error.to_dict()))
    sys.stdout.flush()
    os._exit(1)


def gpu_gone(job: JobContext, why: str = "") -> UserError:
    """What to say when the card failed in the middle.

    Args:
        why: what the card's driver said about it.
    """
    return UserError(tr("The GPU stopped working during the job."),
                     why or tr("Its driver reports an error that no program can recover from: the card was "
                               "disconnected or reset, or a kernel crashed."),
                     join_sentences(tr("If it happens again, check the temperature, the power supply and the driver."),
                                    resume_advice(job.request["kind"], job.folder)))


def _write(job: JobContext, outcome: jobs.Outcome) -> None:
    """The last word must not be lost to a full disk: wait for the few bytes it takes."""
    if job.is_gone():
        print("the job's folder is gone, and with it the place for its outcome", file=sys.stderr)
        return
    disk_space.give_reserve(job.folder)
    place = job.folder
    if by_agent():
        place = report_folder(job.folder, ranks.rank())
    else:
        job.emit("job_ended", state=outcome.state)
        if job.request["kind"] == "train":
            try:
                outcome = replace(outcome, totals=store.to_keep(job.folder))
            except Exception:  # the outcome is written whatever happens; who lists the runs then reads the events
                traceback.print_exc()
    while True:
        try:
            place.mkdir(parents=True, exist_ok=True)
            if by_agent():
                say_ended(place)
            return jobs.write_outcome(place, outcome)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            time.sleep(1.0)
