"""A process that torchrun's agent started for a run, as opposed to one that is a run's only process.

The agent is the job's process: it holds the folder's lock, is in process.json and writes the outcome. Each process
that it starts says how it ended in a folder of its own, and all but the first print into logs of their own.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from pathlib import Path

from slmstudio.core import files, jobs
from slmstudio.worker.runtime import child
from slmstudio.worker.runtime.ranks import AGENT

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
