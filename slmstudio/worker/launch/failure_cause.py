"""Who ended a run that several processes share: one of them dies or fails, and the others fail or are ended for it."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.jobs.outcome import memory_advice, resume_advice
from slmstudio.worker.runtime import ending

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
