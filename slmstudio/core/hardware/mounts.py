"""Which kind of file system a folder is on. Known on Linux only."""

from __future__ import annotations

import re
from pathlib import Path

NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.rclone"})


def file_system(path: Path, root: Path = Path("/")) -> str:
    """The type that the kernel gives for the mount that `path` is below, as in "ext4"; "" if nobody says.

    Args:
        path: absolute; it need not exist.
        root: where `proc` is.
    """
    try:
        text = (root / "proc" / "mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found, kind = -1, ""
    for line in text.splitlines():
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
