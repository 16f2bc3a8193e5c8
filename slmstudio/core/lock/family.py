"""Whether a call that names a process by its number leads to one of the locked worker's own processes.

The filter knows one number, the worker's. Its threads and children have others, and libraries set their processor cores
and end them by these. So the warden is asked, and lets the kernel go on with the call: a number is in a register, which
no other thread can change. (A child's number could be another program's a moment later; the kernel gives numbers out
in turn, so that takes thousands of processes.)
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from slmstudio.core.lock.program import ONE_PROCESS, PROCESS_ARGUMENT


def is_own(name: str, arguments: Sequence[int], caller: int, worker: int) -> bool:
    """Whether a call changes or signals only the worker's own threads and processes: those that descend from it, or
    from the process that asks.

    Args:
        caller: number of the thread that asks.
        worker: number of the process that started this one, which is itself none of the worker's.

    Raises:
        OSError: one of them is gone.
    """
    if name in ONE_PROCESS and arguments[0] & 0xFFFFFFFF != ONE_PROCESS[name]:
        return False
    asks = status_number(caller, "Tgid")
    # As for kill: a group is its first process's number below 0, and 0 is the caller's own group.
    wanted = abs(ctypes.c_int(arguments[PROCESS_ARGUMENT[name]] & 0xFFFFFFFF).value) or os.getpgid(asks)
    found = status_number(wanted, "Tgid")
    while found not in (0, os.getpid()):
        if found in (asks, worker):
            return True
        found = status_number(found, "PPid")
    return False


def status_number(pid: int, field: str) -> int:
    """A number that the kernel tells of a process or thread: "Tgid", its process; "PPid", that one's parent.

    Raises:
        OSError: it's gone.
    """
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
