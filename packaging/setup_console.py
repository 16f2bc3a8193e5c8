"""What a user sees while the setup works, and the running of its commands with their output in a log file."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from setup_causes import cause_of
from setup_language import tr

TAIL_LINES = 12
NO_CONSOLE = 0x08000000  # Windows: no console window of its own
LITTLE = 5_000_000  # bytes: nothing can be installed into that
LIFE_SECONDS = 1.0  # between two signs of life


class Stop(Exception):
    """The setup can't continue.

    Args:
        text: what happened, why, and what to do.
        tail: the end of the log, where that says more.
    """

    def __init__(self, text: str, tail: str = ""):
        super().__init__(text)
        self.tail = tail


class Terminal:
    """One line a step, for people."""

    def __init__(self) -> None:
        self._head, self._live = "", bool(sys.stdout and sys.stdout.isatty())

    def plan(self, steps: Sequence[str], log: Path) -> None:
        pass

    def step(self, number: int, total: int, title: str, notice: str) -> None:
        self._head = f"[{number}/{total}] {tr(title)} … " + (f"({notice}) " if notice else "")
        print(self._head, end="", flush=True)

    def life(self, number: int, text: str, seconds: float) -> None:
        if self._live and self._head:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + f"{self._head}{seconds:.0f} s  {text}"[:width].ljust(width), end="", flush=True)

    def done(self, number: int, remark: str, seconds: float, there_already: bool) -> None:
        if self._live:
            print("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r" + self._head, end="")
        took = "" if there_already else f"{seconds:.1f} s"
        print(", ".join(filter(None, [remark, took])), flush=True)

    def broken_off(self) -> None:
        print(tr("not done"), flush=True)

    def finished(self, remarks: Sequence[str]) -> None:
        pass  # each was said at the end of its step

    def failed(self, text: str, tail: str, log: Path, status: int) -> None:
        end = tr("The end of {log}:", log=log)
        print(f"{text}\n{end}\n{tail}" if tail else text, file=sys.stderr, flush=True)


class JsonLines:
    """The same as one JSON object a line on stdout, for the setup window and other programs.

    The last line has it all: what each step did, and the exit status.
    """

    def __init__(self) -> None:
        self._title, self._done = "", list[dict[str, object]]()

    def plan(self, steps: Sequence[str], log: Path) -> None:
        self._say("plan", steps=list(steps), log=str(log))

    def step(self, number: int, total: int, title: str, notice: str) -> None:
        self._title = title
        self._say("step", number=number, total=total, title=title, notice=notice)

    def life(self, number: int, text: str, seconds: float) -> None:
        self._say("progress", number=number, text=text, seconds=round(seconds, 1))

    def done(self, number: int, remark: str, seconds: float, there_already: bool) -> None:
        did = {"remark": remark, "seconds": round(seconds, 1), "there_already": there_already}
        self._done.append({"title": self._title, **did})
        self._say("done", number=number, **did)

    def broken_off(self) -> None:
        pass

    def finished(self, remarks: Sequence[str]) -> None:
        self._say("finished", status=0, remarks=list(remarks), done=self._done)

    def failed(self, text: str, tail: str, log: Path, status: int) -> None:
        self._say("cancelled" if status == 130 else "failed", status=status, text=text, tail=tail, log=str(log),
                  done=self._done)

    def _say(self, event: str, **more: object) -> None:
        print(json.dumps({"event": event, **more}), flush=True)


class Console:
    """Tells the steps, and runs commands.

    Args:
        titles: all steps, in their order.
        log: file that takes what the commands print.
        keep_open: file descriptor of the lock. Each command inherits it, so that the folder stays locked while a
            command of a killed setup is still running.
        voice: tells it to a user or to a program.
        python: the environment's Python, as it is in remedies.
    """

    def __init__(self, titles: Sequence[str], log: Path, keep_open: int, voice: Terminal | JsonLines,
                 python: str = "python3"):
        self.total, self.log, self._keep_open, self._voice = len(titles), log, keep_open, voice
        self._python, self._number, self._started, self._shown = python, 0, 0.0, 0.0
        self._output_starts = 0
        voice.plan(titles, log)

    @contextlib.contextmanager
    def step(self, title: str, notice: str = "") -> Iterator[list[str]]:
        """Tell one step. What the body appends to the list is told at its end."""
        self._number += 1
        self._started = self._shown = time.monotonic()
        self._voice.step(self._number, self.total, title, notice)
        remarks: list[str] = []
        try:
            yield remarks
        except BaseException:
            self._voice.broken_off()
            raise
        self._voice.done(self._number, ", ".join(remarks), time.monotonic() - self._started, False)

    def skip(self, title: str) -> None:
        self._number += 1
        self._voice.step(self._number, self.total, title, "")
        self._voice.done(self._number, tr("already set up"), 0.0, True)

    def run(self, command: list[str], environment: dict[str, str], timeout: float | None = None) -> bool:
        """Run a command to its end; whether it succeeded. A timeout in seconds counts as failure."""
        with open(self.log, "ab") as log:
            log.write(f"\n$ {' '.join(command)}\n".encode())
            log.flush()
            self._output_starts = log.tell()
            options: dict[str, Any] = {"start_new_session": True, "pass_fds": (self._keep_open,)}
            if os.name == "nt":
                options = {"creationflags": NO_CONSOLE}
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                       env=environment, **options)
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
        if shutil.disk_usage(self.log).free < LITTLE:  # not every command says so
            output += "\nNo space left on device"
        tail = "\n".join(f"  {line}" for line in output.splitlines()[-TAIL_LINES:])
        return Stop(f"{what} {cause_of(output, self._python)}", tail)

    def _show_life(self) -> None:
        now = time.monotonic()
        if now - self._shown >= LIFE_SECONDS:
            self._shown = now
            last = (self.output().splitlines() or [""])[-1].strip()
            self._voice.life(self._number, last, now - self._started)


def _end(process: subprocess.Popen[Any]) -> None:
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
