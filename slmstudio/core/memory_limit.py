"""A limit that somebody has set on the memory of this program (`ulimit -v`). Where it is reached, libraries fail in any
way: a file can't be mapped, a thread can't be started, the process ends. Children have their parent's limit."""

from __future__ import annotations

import sys
from pathlib import Path

from slmstudio.core import units
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

NEAR = 0.8
"""Share of the limit: what was asked for in vain isn't counted in what a process has used."""


def limit() -> int | None:
    """Bytes of addresses that a process may use; None where there is no such limit, as on Windows."""
    try:
        import resource
    except ImportError:
        return None
    found = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if found == resource.RLIM_INFINITY else found


def is_near() -> bool:
    """Whether this process has used nearly as much as it may."""
    most = limit()
    if most is None or sys.platform != "linux":
        return False
    peak = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").partition("VmPeak:")[2].split()[0]
    return int(peak) * 1024 > NEAR * most


def reached(remedy: str) -> UserError:
    """What to say where a process failed at its limit.

    Args:
        remedy: how its work is continued.
    """
    return UserError(tr("The memory limit of this program was reached."), sentence(), remedy)


def sentence() -> str:
    """What the limit is, in a sentence or two; "" where there is none."""
    most = limit()
    return "" if most is None else tr("A process may use only {size} here (ulimit -v). Raise or remove that limit.",
                                      size=units.format_bytes(most))
