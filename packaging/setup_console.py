"""What a person sees while the set-up works: one line a step, and clear words when it cannot go on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

TAIL_LINES = 12
AGAIN = "Then run the same command again: it goes on where it stopped."
# Looked for in the output of a command that failed; the first that is found is told.
CAUSES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("no space left on device", "errno 28", "not enough space on the disk", "disk quota exceeded"),
     "The disk is full. Free some gigabytes"),
    (("certificate_verify_failed", "sslerror", "invalid peer certificate"),
     "The package index shows a certificate that this machine does not trust, as behind a company proxy. "
     "Set PIP_CERT to the file with the company's certificate"),
    (("proxyerror", "407 proxy", "tunnel connection failed"),
     "The proxy refused the connection. Check the address and the password in HTTPS_PROXY"),
    (("name resolution", "getaddrinfo failed", "failed to establish a new connection", "network is unreachable",
      "connecttimeout", "readtimeout", "timed out", "dns error", "connection refused", "connection aborted",
      "connection reset", "could not resolve"),
     "The package index cannot be reached. Connect this machine to the network, or set PIP_FIND_LINKS to a folder "
     "with the packages"),
    (("do not match the hashes", "content-length", "incompleteread", "badzipfile", "is invalid", "hash mismatch",
      "file is not a zip file"),
     "A downloaded file is damaged. Run `.venv/bin/python -m pip cache purge`"),
    (("content-type: text/html", "<html", "<!doctype html"),
     "A web page came instead of a package, as from a proxy or a log-in page of the network. Log in to the network"),
    (("permission denied", "access is denied", "errno 13"),
     "Permission was refused. Give yourself the right to write to this folder, and close programs that use it"),
    (("killed signal", "fatal error: killed", "cannot allocate memory", "out of memory"),
     "Memory ran out while compiling. Close other programs, or set CMAKE_BUILD_PARALLEL_LEVEL=1"),
    (("cmake error", "failed building wheel", "failed-wheel-build", "no cmake_c_compiler", "unable to find a compiler"),
     "Compiling failed. Install a C++ compiler (Debian and Ubuntu: apt install g++ make; Windows: Visual Studio "
     "Build Tools with the C++ workload)"),
    (("no matching distribution", "could not find a version"),
     "The package index offers no build for this machine and Python "
     f"{sys.version_info.major}.{sys.version_info.minor}. Delete .venv and use another Python, 3.11 to 3.13"),
)


class Stop(Exception):
    """The set-up cannot go on. The text says what happened, why, and what to do."""


def cause_of(output: str) -> str:
    """Why a command failed, and what to do, from what it printed; a general remark when the cause is not known."""
    lowered = output.lower()
    for signs, sentence in CAUSES:
        if any(sign in lowered for sign in signs):
            return f"{sentence}. {AGAIN}"
    return f"The last lines of the log say why. {AGAIN}"


class Console:
    """Prints the steps, and runs commands with their output in a log file.

    Args:
        total: how many steps there are.
        log: file that takes what the commands print.
        keep_open: file descriptor of the lock. Each command inherits it, so that the folder stays locked while a
            command is at work whose set-up was killed.
    """

    def __init__(self, total: int, log: Path, keep_open: int):
        self.total, self.log, self._keep_open = total, log, keep_open
        self._number, self._head, self._started = 0, "", 0.0
        self._live = sys.stdout.isatty()
        self._output_starts = 0

    @contextlib.contextmanager
    def step(self, title: str, notice: str = "") -> Iterator[list[str]]:
        """Print the line of one step. What the body appends to the list is told at the line's end."""
        self._number += 1
        self._head = f"[{self._number}/{self.total}] {title} … " + (f"({notice}) " if notice else "")
        self._started = time.monotonic()
        print(self._head, end="", flush=True)
        remarks: list[str] = []
        try:
            yield remarks
        except BaseException:
            self._finish("not done")
            raise
        self._finish(", ".join([*remarks, f"{time.monotonic() - self._started:.1f} s"]))

    def skip(self, title: str) -> None:
        self._number += 1
        print(f"[{self._number}/{self.total}] {title} … there already")

    def run(self, command: list[str], environment: dict[str, str], timeout: float | None = None) -> bool:
        """Run a command to its end; whether it succeeded. A timeout in seconds counts as failure."""
        with open(self.log, "ab") as log:
            log.write(f"\n$ {' '.join(command)}\n".encode())
            log.flush()
            self._output_starts = log.tell()
            options = {} if os.name == "nt" else {"start_new_session": True, "pass_fds": (self._keep_open,)}
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                       env=environment, **options)  # type: ignore[call-overload]
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while deadline is None or time.monotonic() < deadline:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return bool(process.wait(0.1) == 0)
                self._show_life()
            return False
        finally:
            _end(process)

    def output(self) -> str:
        """What the last command printed."""
        with open(self.log, "rb") as log:
            log.seek(self._output_starts)
            return log.read().decode("utf-8", "replace")

    def failure(self, what: str) -> Stop:
        """The error to raise after a command failed."""
        output = self.output()
        tail = "".join(f"\n  {line}" for line in output.splitlines()[-TAIL_LINES:])
        return Stop(f"{what} {cause_of(output)}\nThe end of {self.log}:{tail}")

    def _show_life(self) -> None:
        if self._live and self._head:
            last = (self.output().splitlines() or [""])[-1].strip()
            text = f"{self._head}{time.monotonic() - self._started:.0f} s  {last}"
            width = shutil.get_terminal_size().columns - 1
            print("\r" + text[:width].ljust(width), end="", flush=True)

    def _finish(self, text: str) -> None:
        if self._live:
            print("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r" + self._head, end="")
        print(text, flush=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and the compilers it started."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        process.kill()
        process.wait()
        return
    for number in (signal.SIGINT, signal.SIGKILL):  # pip removes its temporary files after the first
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
