"""Runs a process to its end, for what it held at most."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from typing import Any


def run(command: Sequence[str], seconds: float, **options: Any) -> tuple[int, int]:
    """
    Args:
        seconds: after which it is killed.
        options: of `subprocess.Popen`.

    Returns:
        Its exit status (negative for a signal), and the most memory that it held, in bytes.

    Raises:
        TimeoutError: it took longer.
    """
    process = subprocess.Popen(command, **options)
    too_long = threading.Event()

    def end() -> None:
        too_long.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.start()
    _, status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if too_long.is_set():
        raise TimeoutError(f"{' '.join(command[-2:])} took longer than {seconds:,.0f} s")
    return process.returncode, usage.ru_maxrss * 1024
