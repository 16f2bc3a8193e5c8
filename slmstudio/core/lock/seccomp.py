"""Installs a filter of system calls in this process, its threads and whatever it starts; none can take it off."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from slmstudio.core.lock import program
from slmstudio.core.lock.program import Processor

PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER = 38, 1
TSYNC, SPEC_ALLOW, TSYNC_ESRCH = 1, 4, 16
"""All threads; without slowing branches down (what kernels before 5.16 did to filtered processes, at a price in speed);
and an error number, not a thread's, where a thread can't be taken along."""


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(processor: Processor, network: bool, named: bool, peers: bool = False) -> int | None:
    """Install the filter.

    Args:
        network: whether sockets are refused.
        named: whether to make a listener that reports each refused call.
        peers: as in `program.build`.

    Returns:
        The listener's file descriptor; None without one.

    Raises:
        OSError: the kernel refuses.
    """
    no_new_privileges()
    flags = TSYNC | SPEC_ALLOW | (program.NEW_LISTENER | TSYNC_ESRCH if named else 0)
    result = _seccomp(processor, program.build(processor, named, network, os.getpid(), peers), flags)
    return result if named else None


def no_new_privileges() -> None:
    """Nothing that is started from here on gains rights, not even a set-uid program. Both filters ask for that.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise _last_error()


def _seccomp(processor: Processor, steps: Sequence[program.Instruction], flags: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    packed = b"".join(step.packed() for step in steps)
    given = _Program(len(steps), packed)
    result = libc.syscall(ctypes.c_long(processor.numbers["seccomp"]), ctypes.c_ulong(SET_MODE_FILTER),
                          ctypes.c_ulong(flags), ctypes.byref(given))
    if result < 0:
        raise _last_error()
    return int(result)


def is_filtered() -> bool:
    """Whether a filter holds in this process already: its own, one it was started with, or a container's."""
    try:
        status = Path("/proc/self/status").read_text(errors="replace")
    except OSError:
        return False
    return "\nSeccomp:\t2" in status


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
