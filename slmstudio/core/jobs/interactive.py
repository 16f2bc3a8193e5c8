"""A worker that answers at once: JSON lines over its stdin and stdout, as long as this process keeps it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

from slmstudio.core import files, jobs, llama, paths
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import processes

CLOSE_SECONDS = 3.0
KEPT_LOGS = 8
"""How many of a kind's newest logs are kept besides a new one."""


class InteractiveWorker:
    """One child process of a kind, "chat" for instance. It ends when this process ends: its stdin closes then.

    `send` may be called from any thread; `receive` belongs to one.

    Attributes:
        log: what the process prints.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self.log = paths.cache_dir() / f"{kind}-worker-{os.getpid()}-{secrets.token_hex(4)}.log"
        self._writing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, or another one once it has ended.

        Raises:
            UserError: it can't be started, or the chat engine is missing, which every kind but "talk" needs.
        """
        if self.kind != "talk":
            llama.need()
        with os_errors_as(tr(processes.NOT_STARTED)):
            if self._process is not None:
                self.log = self.log.with_name(f"{self.kind}-worker-{os.getpid()}-{secrets.token_hex(4)}.log")
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self._remove_older_logs()
            # At the end, whatever was left out before it (worker.runtime.interactive). Never someone else's file or the
            # target of a link.
            with open(self.log, "ab", opener=lambda path, flags: os.open(path, flags | os.O_EXCL, 0o600)) as log:
                self._process = processes.spawn(  # detached: Ctrl-C in a terminal is for the caller alone
                    [*processes.worker_command(), "--interactive", self.kind, str(self.log)], stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=log, env=processes.worker_environment(self.kind))

    def _remove_older_logs(self) -> None:
        logs = sorted(self.log.parent.glob(f"{self.kind}-worker*.log"), key=lambda log: log.lstat().st_mtime)
        for log in logs[:-KEPT_LOGS]:
            with contextlib.suppress(OSError):  # on Windows, while it's written
                log.unlink()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def send(self, message: dict[str, Any]) -> None:
        """Send one message.

        Raises:
            UserError: the worker is gone.
        """
        line = files.dump_line({"protocol": jobs.PROTOCOL, **message})
        if self._process is None:
            raise self.cause_of_death()
        assert self._process.stdin is not None
        try:
            with self._writing:
                self._process.stdin.write(line)
                self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self.cause_of_death() from error

    def receive(self) -> Iterator[dict[str, Any]]:
        """Messages as they come, until the worker ends. Anything that isn't a JSON object is skipped."""
        if self._process is None:
            return
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict):
                    yield message

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Ask it to end, wait a moment, then end it."""
        if self._process is None:
            return
        with contextlib.suppress(UserError):
            self.send({"command": "close"})
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def cause_of_death(self) -> UserError:
        """Why it has ended, as far as that can be known."""
        code = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(1)
        if code == -9:
            why = tr("It was killed, perhaps because memory ran out.")
        elif code is not None and code == -getattr(signal, "SIGBUS", 0):
            why = tr("A file that it was reading, most likely the model, was cut short, or its disk was removed.")
        elif code is not None and code < 0:
            why = tr("Signal {code} ended it: a library crashed, or somebody stopped it.", code=-code)
        elif self._process is None:
            why = tr("It wasn't started.")
        else:
            why = tr("It ended with exit status {code}.", code=code)
        return UserError(tr("The worker process has ended."), why,
                         tr("Load the model again. What the process printed is in {log}.", log=self.log))

    def __enter__(self) -> InteractiveWorker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
