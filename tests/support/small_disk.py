"""A file system that is soon full."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(place: Path, options: str = "size=2m") -> Iterator[Path]:
    """A new file system at `place`; skips the test where that isn't possible."""
    if sys.platform != "linux":
        pytest.skip("tmpfs is of Linux")
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip("a small file system cannot be mounted here: " + done.stderr.decode().strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, left: int = 0) -> Path:
    """A file that takes all room but `left` bytes."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), open(ballast, "ab", buffering=0) as file:
        while (room := shutil.disk_usage(disk).free - left) > 0:
            file.write(b"\1" * room)
    return ballast
