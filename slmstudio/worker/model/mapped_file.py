"""Keeps a mapped file from filling up this process's resident memory."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

TRIM_SECONDS = 0.01
_MADV_DONTNEED = 4  # sys/mman.h


@contextlib.contextmanager
def kept_small(path: Path) -> Iterator[None]:
    """While it lasts, pages of `path` that this process read go back to the system's cache a hundred times a second.

    llama.cpp maps a model's file and reads all of it for every batch, so that the whole file counts as this process's
    memory. The pages are only read and shared with the system's cache: giving them back loses nothing, and reading
    them again costs little as long as the cache has them. Linux only; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_trim, args=(path.resolve(), ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _trim(path: Path, ended: threading.Event) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    while not ended.wait(TRIM_SECONDS):
        for start, length in _shared_mappings(path):
            libc.madvise(start, length, _MADV_DONTNEED)  # a mapping that has gone in the meantime does no harm


def _shared_mappings(path: Path) -> list[tuple[int, int]]:
    """Start and length of the read-only shared mappings of a file; private ones could hold changes (proc(5))."""
    found = []
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if " r--s " not in line:
                continue
            place, permissions, _, _, _, *name = line.rstrip("\n").split(maxsplit=5)
            if permissions == "r--s" and name == [str(path)]:
                start, end = (int(part, 16) for part in place.split("-"))
                found.append((start, end - start))
    return found
