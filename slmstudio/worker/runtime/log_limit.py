"""Keeps a worker's log short: what is too much is gone within seconds, so that it doesn't fill the disk over days.

The process prints straight into the file, so that what a crash says last is in it. A thread looks at its size now and
then and, where that is too much, counts lines that repeat and leaves out the middle; the beginning and the end stay.
Between two looks the log grows as fast as the process prints.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path

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
