"""A job's last word: its outcome, written once, whoever comes first."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import traceback
from dataclasses import replace

from slmstudio.core import disk_space, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.jobs.outcome import go_on
from slmstudio.core.run import store
from slmstudio.worker.runtime import agent_side, ranks
from slmstudio.worker.runtime.context import JobContext

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
    if not (ranks.is_first() or agent_side.by_agent()) or not _last_word.acquire(blocking=False):
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
                                    go_on(job.request["kind"], job.folder)))


def _write(job: JobContext, outcome: jobs.Outcome) -> None:
    """The last word must not be lost to a full disk: wait for the few bytes it takes."""
    if job.is_gone():
        print("the job's folder is gone, and with it the place for its outcome", file=sys.stderr)
        return
    disk_space.give_reserve(job.folder)
    place = job.folder
    if agent_side.by_agent():
        place = agent_side.report_folder(job.folder, ranks.rank())
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
            if agent_side.by_agent():
                agent_side.say_ended(place)
            return jobs.write_outcome(place, outcome)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            time.sleep(1.0)
