"""Names in the log what a locked process tries: each attempt once, and again at its 10th, 100th … time.

A filter of system calls sees the socket that a look-up of a name would use, not the name. So a locked Python process
names what it looks up itself, by an audit hook, which can't be taken off. C code that looks up a name by itself, and
other programs that it starts, are named by their socket only.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from slmstudio.core.lock.seccomp import ONE_PROCESS, PROCESS_ARGUMENT

# -- Whether a call that names a process by its number leads to one of the locked worker's own processes.


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


BEGIN = "network lock:"
"""How its lines in the log begin."""
DIFFERENT = 500
"""This many different attempts are named; of further ones that there were more."""
MOST_NAME = 160
LOOK_UPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"})
"""Audit events whose first argument is what is looked up, or begins with it."""
HERE = ("", "localhost")


class Attempts:
    """What was named how often: a log must not grow with attempts."""

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()

    def tell(self, line: str) -> None:
        """One more attempt that this line says."""
        if line not in self._times and len(self._times) >= DIFFERENT:
            line = "more attempts of other kinds"
        self._times[line] += 1
        times = self._times[line]
        if re.fullmatch("10*", str(times)):
            counted = f" ({times:,} times)" if times > 1 else ""
            with suppress(OSError):
                os.write(2, f"{time.strftime('%H:%M:%S')} {BEGIN} {line}{counted}\n".encode())


def name_look_ups() -> None:
    """From now on, and for good, name each host that this process looks up."""
    attempts = Attempts()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in LOOK_UPS and (name := _looked_up(arguments[0])):
            attempts.tell(f"look-up of {name}, asked for by process {os.getpid()}")

    sys.addaudithook(hook)


def _looked_up(host: Any) -> str:
    """The name, printable and cut; "" for this machine and for a numeric address, which needs no look-up."""
    if isinstance(host, tuple):
        host = host[0] if host else ""
    text = host.decode("utf-8", "replace") if isinstance(host, bytes) else str(host or "")
    with suppress(ValueError):
        ipaddress.ip_address(text)
        return ""
    return "" if text in HERE else printable(text)[:MOST_NAME]


def printable(text: str) -> str:
    """With a question mark for what would move the cursor or end the line."""
    return "".join(each if each.isprintable() else "?" for each in text)
