"""Runs a process to its end, for what it held at most."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

LAUNCHER = """
import json, os, signal, sys
pipe, seconds, *command = sys.argv[1:]
os.set_inheritable(int(pipe), False)
pid = os.posix_spawnp(command[0], command, os.environ)
late = []
signal.signal(signal.SIGALRM, lambda *_: (late.append(1), os.kill(pid, signal.SIGKILL)))
signal.setitimer(signal.ITIMER_REAL, float(seconds))
_, status, usage = os.wait4(pid, 0)
found = [os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024, bool(late)]
os.write(int(pipe), json.dumps(found).encode())
"""
"""A small process in between: what `wait4` says of a process begins with what its parent held, and tests hold much."""


def run(command: Sequence[str], seconds: float, **options: Any) -> tuple[int, int]:
    """
    Args:
        seconds: after which it is killed.
        options: of `subprocess.run`.

    Returns:
        Its exit status (negative for a signal), and the most memory that it held, in bytes.

    Raises:
        TimeoutError: it took longer.
    """
    ours, theirs = os.pipe()
    try:
        subprocess.run([sys.executable, "-I", "-S", "-c", LAUNCHER, str(theirs), str(seconds), *command], check=True,
                       pass_fds=[theirs], **options)
        status, peak, is_late = json.loads(os.read(ours, 1024))
    finally:
        os.close(ours)
        os.close(theirs)
    if is_late:
        raise TimeoutError(f"{' '.join(command[-2:])} took longer than {seconds:,.0f} s")
    return status, peak
