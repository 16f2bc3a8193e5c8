"""Lines that are appended batch by batch, so that whoever kills the worker loses one batch at most."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any

from slmstudio.core import files


class Kept:
    """What is already there, and what is added.

    Args:
        path: of the file; half a line at its end, which a kill leaves, is cut off.
        key: what names a line.

    Attributes:
        keys: of all lines.
    """

    def __init__(self, path: Path, key: Callable[[dict[str, Any]], Hashable] = lambda line: line["id"]):
        self._path, self._key = path, key
        _cut_half_line(path)
        self.keys = set(map(key, files.LineReader(path).read()))

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Append a batch and see it on the disk before the next one begins.

        Raises:
            OSError: the disk is full, for instance; the work can continue later from the batches before.
        """
        lines = list(lines)
        with open(self._path, "ab", opener=files.regular) as file:
            file.write(b"".join(map(files.dump_line, lines)))
            file.flush()
            os.fsync(file.fileno())
        self.keys |= set(map(self._key, lines))


def _cut_half_line(path: Path) -> None:
    if not path.exists():
        return
    with open(path, "rb+", opener=files.regular) as file:
        data = file.read()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            file.truncate(end)
