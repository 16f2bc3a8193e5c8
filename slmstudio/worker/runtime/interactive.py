"""`python -m slmstudio.worker --interactive KIND [LOG]`: JSON lines in on stdin, JSON lines out on stdout.

File descriptor 1 is moved aside before anything else is imported; what libraries print goes to stderr. The first
command says which model is wanted; the process is then locked, for that one, before the service is imported.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import queue
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.lock import worker_lock

# -- Keeps a worker's log short: what is too much is gone within seconds, so that it doesn't fill the disk over days.

LIMIT = 8 * 2**20
HEAD, TAIL = 2**18, 2**20
LOOK_SECONDS, SOON_SECONDS = 0.5, 0.05
"""Between two looks; the second after a log that was too long."""
LATE_WRITES = 100
"""How often what is printed in the meantime is brought along, before some of it is lost."""
_REPEATED = re.compile(rb"\(the last line ([0-9]+) more times\)\n")


def opened(log: Path) -> FileIO | None:
    """The log, for `watch`; None if it isn't what this process prints into. Call it before the process is locked,
    which then may be kept from opening it."""
    try:
        return FileIO(log, "r+") if os.path.samestat(os.fstat(2), os.stat(log)) else None
    except OSError:
        return None


def watch(file: FileIO | None) -> None:
    """Keep the log short until this process ends. Call it after the process was locked: a thread that is there before
    isn't."""
    if file is not None:
        threading.Thread(target=_watch, args=(file,), name="log limit", daemon=True).start()


def _watch(file: FileIO) -> None:
    left_out, never = 0, threading.Event()
    while True:
        before = left_out
        try:
            left_out = shorten(file, left_out)
        except OSError as error:  # a full disk or a folder that is gone: others say so, and it may pass
            print(f"the log was not shortened: {error}", file=sys.stderr)
            never.wait(60)
        never.wait(LOOK_SECONDS if left_out == before else SOON_SECONDS)


def shorten(file: FileIO, left_out: int = 0) -> int:
    """Bring a log of more than `LIMIT` bytes below it. At every moment the end of it is in the file.

    Args:
        file: opened for reading and writing, unbuffered.

    Returns:
        bytes that were left out in all.

    Raises:
        OSError: it can't be read or written.
    """
    size = os.fstat(file.fileno()).st_size
    if size <= LIMIT:
        return left_out
    file.seek(0)
    head = file.read(LIMIT)
    file.seek(max(len(head), size - LIMIT))
    tail = file.read(size - file.tell())
    cut = size - len(head) - len(tail)
    parts = [b"".join(count_repeated(part.splitlines(keepends=True)))
             for part in ((head, tail) if cut else (head + tail,))]
    if cut or sum(map(len, parts)) > HEAD + TAIL:
        whole = b"".join(parts)
        left_out += cut + len(whole) - len(whole[:HEAD]) - len(whole[HEAD:][-TAIL:])
        parts = [whole[:HEAD], f"\n({left_out:,} bytes are left out here)\n".encode(),
                 whole[HEAD:][-TAIL:]]
    file.seek(0)
    file.write(b"".join(parts))
    for _ in range(LATE_WRITES):  # what came meanwhile is after what was read
        at = file.tell()
        file.seek(size)
        late = file.read(LIMIT)
        if not late:
            break
        size += len(late)
        file.seek(at)
        file.write(late)
    else:
        at = file.tell()
    os.ftruncate(file.fileno(), at)
    os.lseek(2, 0, os.SEEK_END)  # on Windows the process writes where it was, not at the end
    return left_out


def count_repeated(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Equal lines one after the other once, with their number; numbers of before are added up.

    >>> list(count_repeated([b"a\\n", b"a\\n", b"(the last line 5 more times)\\n", b"b\\n"]))
    [b'a\\n', b'(the last line 6 more times)\\n', b'b\\n']
    """
    last, more = b"", 0
    for line in itertools.chain(lines, [b""]):
        if last and (counted := _REPEATED.fullmatch(line)):
            more += int(counted[1])
        elif last and line == last:
            more += 1
        else:
            yield last
            if more:
                yield b"(the last line %d more times)\n" % more
            last, more = line, 0


_channel_fd = os.dup(1)
os.dup2(2, 1)



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
    printed = opened(Path(log))
    worker_lock.install(kind, first)
    watch(printed)
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
