"""Looks at processor, memory, power, locale and fonts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmstudio.core.hardware.linux_sensors import read_battery, text_of
from slmstudio.core.hardware.machine import CPUINFO
from slmstudio.core.i18n import noop, tr

SCRIPTS = {
    noop("Devanagari"): ("hi", "Devanagari"), noop("Bengali"): ("bn", "Bengali"), noop("Tamil"): ("ta", "Tamil"),
    noop("Telugu"): ("te", "Telugu"), noop("Kannada"): ("kn", "Kannada"), noop("Malayalam"): ("ml", "Malayalam"),
    noop("Gujarati"): ("gu", "Gujarati"), noop("Gurmukhi"): ("pa", "Gurmukhi"), noop("Odia"): ("or", "Oriya"),
}
"""Indian scripts: the language by which fontconfig knows them, and their word in the names of Noto's files."""
FONT_FOLDERS = ("usr/share/fonts", "usr/local/share/fonts")
ASK_SECONDS = 10
UNLIMITED = 1 << 60
"""What cgroups of the first version say for "no limit" is above this many bytes."""


def look(root: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    import psutil

    battery = read_battery(root / "sys")
    plugged = battery.plugged if battery else None
    return {
        "cpu_flags": cpu_flags(root, environ), "swap": psutil.swap_memory().total, "memory_limit": memory_limit(root),
        "shared_memory": _size_of(root / "dev/shm"),
        "on_battery": None if plugged is None else not plugged,
        "power_profile": text_of(root / "sys/firmware/acpi/platform_profile"),
        "encoding": sys.getfilesystemencoding(),
        "locale_fault": locale_fault(environ, said(["locale", "-a"])) if sys.platform == "linux" else "",
        "scripts_without_font": scripts_without_font(root),
    }


def cpu_flags(root: Path, environ: Mapping[str, str]) -> frozenset[str] | None:
    """What an x86 processor can do; None if the system doesn't say, and for other processors."""
    chosen = environ.get(CPUINFO)
    found = re.search(r"^flags\s*:(.*)$", text_of(Path(chosen) if chosen else root / "proc/cpuinfo"), re.MULTILINE)
    return frozenset(found[1].split()) if found else None


def memory_limit(root: Path) -> int | None:
    """The least of the limits that control groups put on this process; None without one."""
    limits = []
    for line in text_of(root / "proc/self/cgroup").splitlines():
        controllers, path = line.split(":", 2)[1:] if line.count(":") >= 2 else ("-", "")
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = ("sys/fs/cgroup", "memory.max") if not controllers else (
            "sys/fs/cgroup/memory", "memory.limit_in_bytes")
        inner = Path(path.strip("/"))
        # Inside a container the path is often that of the host, and the container's own group is the uppermost.
        limits += [text_of(root / base / group / name) for group in (inner, *inner.parents)]
    return min((int(limit) for limit in limits if limit.isdigit() and int(limit) < UNLIMITED), default=None)


def locale_fault(environ: Mapping[str, str], installed: str) -> str:
    """A sentence when the locale that was chosen isn't installed.

    Args:
        installed: names of locales, as `locale -a` prints them; "" if nobody says.
    """
    name = next((variable for variable in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(variable)), "")
    if not name or not installed or environ[name] in ("C", "POSIX"):
        return ""
    known = {_plain(each) for each in installed.split()}
    return "" if _plain(environ[name]) in known else tr("{variable} is {locale}, which this system doesn't have.",
                                                        variable=name, locale=environ[name])


def scripts_without_font(root: Path, listing: str | None = None) -> tuple[str, ...] | None:
    """Indian scripts for which no font is installed; None if nobody can say.

    Args:
        listing: what `fc-list : lang` prints; asked for when it isn't given.
    """
    if sys.platform == "win32":
        # Nirmala UI comes with Windows and holds all of them.
        fonts = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "Fonts"
        return () if any(fonts.glob("Nirmala*")) else tuple(SCRIPTS)
    if sys.platform != "linux":
        return None
    if listing is None and root == Path("/"):
        listing = said(["fc-list", ":", "lang"])
    if listing:
        known = set(re.split(r"[|,:=\s]+", listing))
        return tuple(script for script, (language, _) in SCRIPTS.items() if language not in known)
    names = " ".join(file.name for folder in FONT_FOLDERS for file in (root / folder).rglob("*.[to]t[fc]"))
    if not names:
        return None
    return tuple(script for script, (_, word) in SCRIPTS.items() if word not in names)


def said(command: list[str]) -> str:
    """What a small program of the system prints; "" if it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, timeout=ASK_SECONDS, stdin=subprocess.DEVNULL
                              ).stdout.decode("utf-8", "replace")
    except (OSError, subprocess.SubprocessError):
        return ""


def _plain(name: str) -> str:
    """
    >>> _plain("hi_IN.UTF-8") == _plain("hi_IN.utf8")
    True
    """
    place, _, encoding = name.partition(".")
    return f"{place}.{encoding.lower().replace('-', '')}"


def _size_of(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):
        return None
    return found.f_blocks * found.f_frsize
