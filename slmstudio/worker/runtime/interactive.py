"""`python -m slmstudio.worker --interactive KIND [LOG]`: JSON lines in on stdin, JSON lines out on stdout.

File descriptor 1 is moved aside before anything else is imported; what libraries print goes to stderr. The first
command says which model is wanted; the process is then locked, for that one, before the service is imported.
"""

from __future__ import annotations

import os
import sys

_channel_fd = os.dup(1)
os.dup2(2, 1)

import importlib  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
import queue  # noqa: E402
import threading  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, Protocol  # noqa: E402

from slmstudio.core import files, jobs  # noqa: E402
from slmstudio.core.errors import UserError  # noqa: E402
from slmstudio.core.i18n import tr  # noqa: E402
from slmstudio.core.lock import worker_lock  # noqa: E402
from slmstudio.worker.runtime import log_limit  # noqa: E402

KINDS = {"chat": "slmstudio.worker.gguf_chat.service", "talk": "slmstudio.worker.torch_chat",
         "serve": "slmstudio.worker.serve.serve"}
"""Kind of worker: the module whose `create(emit)` makes its `Service`."""
BEFORE_LOCK = ("serve",)
"""Kinds of worker whose module's `prepare(message, emit)` does what a locked process can't; False asks for another
command."""


class Service(Protocol):
    def handle(self, message: dict[str, Any]) -> None:
        """Carry out one command; long work is fine. Called one at a time.

        Raises:
            UserError: it becomes an "error" message; the worker continues.
        """

    def interrupt(self, message: dict[str, Any]) -> bool:
        """Look at a command the moment it comes, in another thread. True: it is done with.

        "close" comes last, also where stdin just ends: what is running must end soon.
        """


class Channel:
    """The way out. Messages of several threads don't mix."""

    def __init__(self, descriptor: int):
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._lock = threading.Lock()

    def emit(self, type: str, **fields: Any) -> None:
        with self._lock:
            self._file.write(files.dump_line({"protocol": jobs.PROTOCOL, "type": type, **fields}))


def main(kind: str, log: str = "") -> int:
    """Serve until stdin ends or "close" comes. Returns the exit status.

    Args:
        log: the file that this process prints into, to be kept short.
    """
    os.set_inheritable(_channel_fd, False)
    channel = Channel(_channel_fd)
    if kind not in KINDS:
        print(f"unknown kind of worker: {kind}", file=sys.stderr)
        return 2
    messages = _messages(channel.emit)
    first = next(messages, None)
    if kind in BEFORE_LOCK:
        prepare = importlib.import_module(KINDS[kind]).prepare
        while first is not None and not prepare(first, channel.emit):
            first = next(messages, None)
    if first is None:
        return 0
    worker_lock.keep_compiled()
    printed = log_limit.opened(Path(log))
    worker_lock.install(kind, first)
    log_limit.watch(printed)
    service: Service = importlib.import_module(KINDS[kind]).create(channel.emit)
    commands: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(service, first, messages, commands), daemon=True).start()
    while (message := commands.get()) is not None:
        _handle(service, channel.emit, message)
    return 0


def _handle(service: Service, emit: Callable[..., None], message: dict[str, Any]) -> None:
    about = {"id": message["id"]} if "id" in message else {}
    try:
        service.handle(message)
    except UserError as error:
        emit("error", **about, error=error.to_dict())
    except BrokenPipeError:
        raise SystemExit(0) from None  # nobody listens any more
    except Exception as error:
        traceback.print_exc()
        defect = UserError(tr("Something went wrong in SLM Studio itself."), f"{type(error).__name__}: {error}",
                           tr("Copy the details and report them."))
        emit("error", **about, error=defect.to_dict(), details=traceback.format_exc())


def _messages(emit: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """What comes on stdin, to its end or to "close"."""
    for line in sys.stdin.buffer:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            emit("error", error=UserError(tr("A message wasn't a JSON object and was skipped.")).to_dict())
        elif message.get("command") == "close":
            return
        else:
            yield message


def _read(service: Service, first: dict[str, Any], messages: Iterator[dict[str, Any]],
          commands: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    """Hands on what comes. "stop" must not wait in the queue behind what it is to stop."""
    for message in itertools.chain([first], messages):
        if not service.interrupt(message):
            commands.put(message)
    service.interrupt({"command": "close"})
    commands.put(None)
