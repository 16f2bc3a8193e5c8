"""Looks at the folder with runs and models, and at the caches."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from slmstudio.core import disk_space
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.hardware import guidance, mounts, wsl
from slmstudio.core.hardware.doctor.facts import Cache
from slmstudio.core.i18n import tr

MEASURED = 128 * 1024**2
"""Bytes that are written to measure the disk."""
ROOM_TO_MEASURE = 2 * 1024**3
COUNT_SECONDS = 2.0
"""For all files of one cache; a slow disk with a million files isn't waited for."""


def look(home: Path, root: Path, is_wsl: bool, *, measure: bool) -> dict[str, Any]:
    """Facts of the disk, by their names in `Facts`.

    Args:
        home: absolute; it need not exist.
        measure: write and remove `MEASURED` bytes there.
    """
    nearest = next((path for path in (home, *home.parents) if os.path.exists(path)), home)
    network = mounts.is_network(home, root)
    found: dict[str, Any] = {
        "home": home, "home_fault": fault(nearest), "file_system": mounts.file_system(home, root), "network": network,
        "windows_drive": is_wsl and wsl.on_windows_drive(home, root), "rotational": rotational(nearest, root),
        "open_to_others": home.exists() and open_to_others(home),
    }
    with suppress(OSError):
        found["free"] = disk_space.free(nearest)
    if measure and not network and found["home_fault"] is None and found.get("free", 0) > ROOM_TO_MEASURE:
        with suppress(OSError):
            found["write_speed"] = guidance.write_speed(nearest, MEASURED)
    jobs = home / "cache" / "jobs"
    if jobs.is_dir():
        found["jobs_size"] = count("", jobs).size
    return found


def fault(folder: Path) -> UserError | None:
    """Why nothing can be written to a folder; None when it can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return from_os_error(OSError(error.errno, error.strerror), tr("Could not write there."))


def rotational(folder: Path, root: Path) -> bool | None:
    """Whether a folder's disk says that it spins; None if nobody says (network, several disks in one)."""
    try:
        device = folder.stat().st_dev
    except OSError:
        return None
    place = root / "sys/dev/block" / f"{os.major(device)}:{os.minor(device)}" if hasattr(os, "major") else root / "none"
    for queue in (place / "queue", place.resolve().parent / "queue"):  # of the disk, or of the one with the partition
        with suppress(OSError):
            return (queue / "rotational").read_text().strip() == "1"
    return None


def open_to_others(folder: Path) -> bool:
    """Whether every user of the machine can look into a folder: it and all above it let them."""
    if os.name == "nt":
        return False  # a user's own folder is closed there
    try:
        return bool(folder.stat().st_mode & stat.S_IROTH) and all(
            part.stat().st_mode & stat.S_IXOTH for part in (folder, *folder.parents))
    except OSError:
        return False


def count(title: str, folder: Path) -> Cache:
    size, end = 0, time.monotonic() + COUNT_SECONDS
    for bytes_ in _sizes(folder):
        size += bytes_
        if time.monotonic() > end:
            return Cache(title, folder, size, whole=False)
    return Cache(title, folder, size)


def _sizes(folder: Path) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                yield os.lstat(os.path.join(parent, name)).st_size


def newest(home: Path) -> float | None:
    """When the newest of the user's own files was written, by a look at what is uppermost."""
    times = []
    for pattern in ("*", "runs/*", "chats/*"):
        for path in home.glob(pattern):
            with suppress(OSError):
                times.append(path.lstat().st_mtime)
    return max(times, default=None)
