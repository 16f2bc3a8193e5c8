"""What differs where Linux runs inside Windows (WSL), and what to do about it.

Every fact is read from files below a `root`, so that tests can pretend to be such a machine. According to Microsoft,
the driver belongs in Windows only, and its libraries appear in /usr/lib/wsl/lib; WSL gets half of the memory unless
.wslconfig says otherwise; and files on Windows' drives are reached through a slow protocol.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.hardware.linux_sensors import text_of
from slmstudio.core.i18n import tr
from slmstudio.core.units import format_bytes

# -- Which kind of file system a folder is on. Known on Linux only.

NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.rclone"})


def file_system(path: Path, root: Path = Path("/")) -> str:
    """The type that the kernel gives for the mount that `path` is below, as in "ext4"; "" if nobody says.

    Args:
        path: absolute; it need not exist.
        root: where `proc` is.
    """
    found, kind = -1, ""
    for line in text_of(root / "proc" / "mounts").splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1]))
        # If two mounts share a mount point, the later one hides the earlier one.
        if path.is_relative_to(point) and len(point.parts) >= found:
            found, kind = len(point.parts), fields[2]
    return kind


def is_network(path: Path, root: Path = Path("/")) -> bool:
    """Whether `path` is on another machine, as far as it can be told: a network mount, or a path with two slashes."""
    return str(path).startswith("\\\\") or file_system(path, root) in NETWORK


LITTLE_MEMORY = 16 * 1024**3
"""Below this many bytes the share that WSL was given is worth a word."""
WINDOWS_DRIVES = frozenset({"9p", "drvfs", "virtiofs"})
FIRST_VERSION = "wsl_first_version"
DRIVER_LIBRARY = "usr/lib/wsl/lib/libcuda.so.1"
_ROOT = Path("/")


class Finding(UserError):
    """What a user should know or fix.

    Attributes:
        id: which one it is, the same in every language and version, so that it can be told once.
    """

    def __init__(self, id: str, what: str, why: str, remedy: str):
        super().__init__(what, why, remedy)
        self.id = id

    def __reduce__(self) -> Any:
        return (type(self), (self.id, self.what, self.why, self.remedy))


def is_wsl(root: Path = _ROOT, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this is Linux inside Windows: Microsoft's kernel names itself so; one's own leaves WSL_INTEROP."""
    kernel = text_of(root / "proc/sys/kernel/osrelease") + text_of(root / "proc/version")
    return "microsoft" in kernel.lower() or bool(kernel and environ.get("WSL_INTEROP"))


def is_first_version(root: Path = _ROOT) -> bool:
    """Whether it is WSL 1, which has no kernel of its own: "4.4.0-19041-Microsoft", with a capital letter."""
    return re.search(r"-Microsoft\b", text_of(root / "proc/sys/kernel/osrelease")) is not None


def on_windows_drive(folder: Path, root: Path = _ROOT) -> bool:
    """Whether `folder` is on a Windows drive, as /mnt/c is. Ask only where `is_wsl()`."""
    return file_system(folder, root) in WINDOWS_DRIVES


def findings(place: Path, root: Path = _ROOT, environ: Mapping[str, str] = os.environ) -> list[Finding]:
    """What a user should know or fix; nothing where this isn't WSL.

    Args:
        place: the folder with runs and models, absolute.
    """
    if not is_wsl(root, environ):
        return []
    if is_first_version(root):
        return [Finding(FIRST_VERSION, tr("This is WSL 1, which SLM Studio doesn't support."),
                        tr("It can't reach a graphics card, and its files are slow."),
                        tr("In PowerShell, convert it to WSL 2: wsl --set-version NAME 2 (wsl --list --verbose shows "
                           "the names)."))]
    found = [_no_driver(root), slow_place(place, root), _little_memory(root)]
    return [finding for finding in found if finding is not None]


def slow_place(place: Path, root: Path = _ROOT) -> Finding | None:
    """What to say about a place that is on a drive of Windows. Ask only where `is_wsl()`."""
    if not on_windows_drive(place, root):
        return None
    return Finding("wsl_slow_place",
                   tr("The folder for runs and models is on a Windows drive, which is slow from inside WSL."),
                   tr("{folder} is reached through Windows: loading models and writing checkpoints takes much "
                      "longer.", folder=place),
                   tr("Choose a folder on the Linux side in Settings, for example in your home folder."))


def _no_driver(root: Path) -> Finding | None:
    if (root / DRIVER_LIBRARY).exists():
        return None
    return Finding("wsl_no_driver", tr("WSL can't reach an NVIDIA driver in Windows."),
                   tr("{file} is missing.", file=f"/{DRIVER_LIBRARY}"),
                   tr("If this machine has an NVIDIA card: install NVIDIA's driver in Windows, then run wsl "
                      "--shutdown in PowerShell and start again. Never install a Linux driver inside WSL: it would "
                      "replace it."))


def _little_memory(root: Path) -> Finding | None:
    match = re.search(r"^MemTotal:\s+(\d+) kB", text_of(root / "proc/meminfo"), re.MULTILINE)
    if match is None or (total := int(match[1]) * 1024) >= LITTLE_MEMORY or _memory_is_set(root):
        return None
    # Half of the machine's was given: so half as much again leaves Windows a quarter.
    more = max(2, round(1.5 * total / 1024**3))
    return Finding("wsl_little_memory", tr("WSL has only part of this machine's memory."),
                   tr("It has {size}; unless told otherwise, Windows gives it half of all memory.",
                      size=format_bytes(total)),
                   tr("If the machine has more, write these two lines into the file .wslconfig in your Windows user "
                      "folder: [wsl2] and, below it, memory={more}GB. Then run wsl --shutdown in PowerShell and "
                      "start again.", more=more))


def _memory_is_set(root: Path) -> bool:
    """Whether a user of Windows chose WSL's memory already."""
    try:
        files = list((root / "mnt/c/Users").glob("*/.wslconfig"))
    except OSError:
        return False
    return any(re.search(r"^\s*memory\s*=", text_of(file), re.MULTILINE | re.IGNORECASE) for file in files)
