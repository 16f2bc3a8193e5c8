"""How a job ended: what its outcome.json says, or what the system tells about a process that left none."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import memory_limit, program
from slmstudio.core.errors import UserError
from slmstudio.core.files import an_object, parsed, regular
from slmstudio.core.i18n import join_sentences, noop, tr
from slmstudio.core.jobs import processes

# -- What a user can do about a job that ended badly, by its kind: only some of them can be resumed.


def resume_advice(kind: str, folder: Path, left: Sequence[Path] = ()) -> str:
    """How the work is continued, and what of it is kept.

    Args:
        left: unfinished files that it has left.
    """
    if kind == "train":
        return tr("What was saved is kept. Resume continues from the last checkpoint.")
    if kind == "evaluate":
        return tr("Every answer that was written is kept. To continue, give the folder again: {command}",
                  command=program.command("evaluate", folder))
    if kind == "documents":
        return tr("Every question that was written is kept. Start it again to make the rest.")
    if kind == "download":
        return tr("What was downloaded is kept. Start it again to download the rest.")
    if left:
        return tr("Its unfinished files couldn't be removed: {files}. Start it again.", files=", ".join(map(str, left)))
    return tr("No unfinished files were left behind. Start it again.")


def memory_advice(kind: str, loading: bool = False) -> str:
    """
    Args:
        loading: whether memory ran out while the model was loaded, for which batches and lengths don't matter.
    """
    if loading:
        return tr("Close other programs, or choose a smaller model.")
    if kind == "train":
        return tr("Close other programs, or lower the micro-batch size or the sequence length.")
    if kind == "evaluate":
        return tr("Close other programs, or choose a smaller batch size or model.")
    return tr("Close other programs.")


ENDINGS = ("finished", "stopped", "paused", "cancelled", "failed")
"""States that a worker itself ends in."""
LAST_BYTES = 2**16
"""The last event of a job is in these many bytes at the end of its events."""
_WITHOUT_ERROR = {
    "cancelled": noop("The job was cancelled before anything was saved."),
    "stopped": noop("The job was stopped before anything was saved."),
    "paused": noop("The job was paused before anything was saved."),
    "crashed": noop("The job crashed before anything was saved."),
}
"""By state: what is said about a job whose outcome names no error."""


STATES = (noop("finished"), noop("stopped"), noop("paused"), noop("cancelled"), noop("failed"), noop("crashed"),
          noop("running"), noop("resting"), noop("waiting"), noop("new"))
"""How a run, a job or an entry of the queue is."""


def state_text(state: str) -> str:
    """A state as people read it; that of a later version as it is."""
    return tr(state) if state in STATES else state


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        state: "finished", "stopped" (by the user, its work kept), "paused" (by the user, to free the memory; it
            continues later), "cancelled" (by the user, nothing kept), "failed" (it said why) or "crashed" (the
            process went away without a word).
        error: `UserError.to_dict()` for a failed or crashed job.
        details: the traceback of a defect, for "copy details".
        result: what the job produced, by its kind.
        totals: of a training run, what its events add up to (`run.store`), so that a list of runs needn't read them.
    """

    state: str
    error: dict[str, Any] | None = None
    details: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    totals: dict[str, Any] = field(default_factory=dict)

    def was_successful(self) -> bool:
        return self.state in ("finished", "stopped")

    @property
    def exit_status(self) -> int:
        """The exit status of the command that waited for it: 0 done, 2 the user has to change something, 1 everything
        else: it was cancelled or paused, it crashed, or it met a defect."""
        if self.was_successful():
            return 0
        return 2 if self.state == "failed" and not self.details else 1

    def user_error(self) -> UserError:
        if self.error:
            return UserError.from_dict(self.error)
        return UserError(tr(_WITHOUT_ERROR.get(self.state, noop("The job failed before anything was saved."))))

    @classmethod
    def read(cls, state: dict[str, Any]) -> Outcome:
        """What an outcome.json says; what makes no sense in it counts as not said."""
        name, error, details = (state.get(key) for key in ("state", "error", "details"))
        return cls(name if isinstance(name, str) and name else "failed",
                   {**error, **UserError.from_dict(error).to_dict()} if isinstance(error, dict) else None,
                   details if isinstance(details, str) else "", an_object(state.get("result")),
                   an_object(state.get("totals")))


def last_state(events: Path) -> str | None:
    """The state that a job's last event says it ended in; None if its last event isn't that it ended."""
    try:
        with open(events, "rb", opener=regular) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
            last = parsed(file.read().rstrip().rpartition(b"\n")[2])
    except (OSError, ValueError, RecursionError):
        return None
    event = an_object(last)
    state = event.get("state")
    return state if event.get("type") == "job_ended" and state in ENDINGS else None


def without_file(state: str, path: Path) -> Outcome:
    """The outcome of a job that ended in this state, and whose outcome.json can't be read."""
    if state in ("finished", "stopped"):
        return Outcome(state)
    return Outcome(state, UserError(
        tr("The job ended early."), tr("Its {file} is damaged, so it isn't known why.", file=path.name),
        tr("Its log may say more: {file}", file=path.with_name("worker.log"))).to_dict())


def cause_of_death(process: dict[str, Any], code: int | None, kind: str, remedy: str,
                   loading: Callable[[], bool] = bool) -> UserError:
    """Why a process is gone without an outcome, as far as the system tells.

    Args:
        process: what process.json says.
        code: its exit status, where it is known.
        remedy: how its work is continued.
        loading: says whether it was loading a model.
    """
    if process.get("boot_id") != processes.boot_id():
        return UserError(tr("The machine was restarted while this was running."),
                         tr("A power cut or a reboot ended it."), remedy)
    if processes.oom_kills() > process.get("oom_kills", 0):
        loaded = loading()
        why = tr("Loading the model took more main memory than was free.") if loaded else tr(
            "It needed more memory than the machine has.")
        return UserError(tr("The system ended the worker because memory ran out."), why,
                         join_sentences(memory_advice(kind, loaded), remedy))
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        causes = {
            "SIGKILL": tr("The process was killed (SIGKILL), either by somebody or by the system because memory "
                          "ran out."),
            "SIGSEGV": tr("A library crashed (SIGSEGV)."),
            "SIGTERM": tr("It was asked to end (SIGTERM)."),
        }
        why = causes.get(name) or join_sentences(tr("Signal {name} ended it.", name=name), memory_limit.sentence())
        return UserError(tr("The worker process ended unexpectedly."), why, remedy)
    why = (tr("It ended with exit status {code}.", code=code) if code is not None else
           tr("It was killed, or a library in it crashed."))
    return UserError(tr("The worker process ended unexpectedly."), join_sentences(why, memory_limit.sentence()), remedy)
