"""Looks at the system: processor, memory, power, locale, fonts, and graphics devices with their driver."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmstudio.core.hardware.doctor.facts import AMD, INTEL, NVIDIA, Card
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
        "locale_fault": locale_fault(environ, printed_by(["locale", "-a"])) if sys.platform == "linux" else "",
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
        listing = printed_by(["fc-list", ":", "lang"])
    if listing:
        known = set(re.split(r"[|,:=\s]+", listing))
        return tuple(script for script, (language, _) in SCRIPTS.items() if language not in known)
    names = " ".join(file.name for folder in FONT_FOLDERS for file in (root / folder).rglob("*.[to]t[fc]"))
    if not names:
        return None
    return tuple(script for script, (_, word) in SCRIPTS.items() if word not in names)


def printed_by(command: list[str]) -> str:
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


# -- Graphics devices on the PCI bus, and which NVIDIA driver is there.

PCI = "sys/bus/pci/devices"
NAMES = ("usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids")
DISPLAY = "0x03"
"""First digits of the class of VGA, 3D and display controllers."""
SMALL = 3 * 1024**3
"""Bytes of memory of its own below which an AMD device counts as a part of the processor."""
KERNEL_DRIVER = "proc/driver/nvidia/version"
LINUX_DRIVER = ("usr/lib/x86_64-linux-gnu/libcuda.so.1", "usr/lib64/libcuda.so.1")
_WINDOWS_CLASS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"


def on_bus(root: Path) -> tuple[Card, ...]:
    """All graphics devices, as the kernel of Linux or the registry of Windows names them."""
    if sys.platform == "win32" and root == Path("/"):
        return _of_windows()
    found = []
    try:
        devices = sorted((root / PCI).iterdir())
    except OSError:
        return ()
    for folder in devices:
        if text_of(folder / "class").startswith(DISPLAY):
            found.append(_card(folder, root))
    return tuple(found)


def kernel_driver(root: Path) -> str | None:
    """The version that the kernel has loaded: "535.183.01"; None if it isn't NVIDIA's."""
    found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", text_of(root / KERNEL_DRIVER).partition("\n")[0])
    return found[0] if found else None


def linux_driver_in_wsl(root: Path) -> bool:
    """Whether a Linux driver is in the way of Windows' own. Ask only where `wsl.is_wsl()`."""
    return any((root / place).exists() for place in LINUX_DRIVER)


def nvidia_driver() -> tuple[str | None, tuple[int, int] | None]:
    """Version of the driver's library, and the newest CUDA that it supports; None for what it doesn't say."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None, None
    version, cuda = None, None
    try:
        version = str(pynvml.nvmlSystemGetDriverVersion())
        number = int(pynvml.nvmlSystemGetCudaDriverVersion())  # 12020 is CUDA 12.2
        cuda = (number // 1000, number % 1000 // 10)
    except pynvml.NVMLError:
        pass  # what was said before stays
    finally:
        pynvml.nvmlShutdown()
    return version, cuda


def _card(folder: Path, root: Path) -> Card:
    vendor, device = (int(text_of(folder / name) or "0", 16) for name in ("vendor", "device"))
    name = _name(vendor, device, root)
    driver = folder / "driver"
    memory = text_of(folder / "mem_info_vram_total")  # amdgpu alone says it
    if vendor == INTEL:
        integrated = folder.name.partition(":")[2].startswith("00:")  # Arc cards sit behind a bridge
    else:
        integrated = vendor == AMD and (int(memory) < SMALL if memory.isdigit() else _sounds_integrated(name))
    return Card(vendor, device, name, driver.resolve().name if driver.exists() else "", integrated)


def _sounds_integrated(name: str) -> bool:
    """Whether it is called as AMD calls what is a part of a processor: "Radeon 780M", "Radeon Graphics"."""
    return re.search(r"\bGraphics\b|\b\d{3}M\b|Mobile Series", name) is not None


def _name(vendor: int, device: int, root: Path) -> str:
    """By the list that Linux distributions keep; the name in brackets is the one on the box."""
    for place in NAMES:
        inside = False
        for line in text_of(root / place).splitlines():
            if not line.startswith("\t"):
                inside = line.startswith(f"{vendor:04x}  ")
            elif inside and line.startswith(f"\t{device:04x}  "):
                name = line.split("  ", 1)[1].strip()
                bracketed = re.search(r"\[(.+)\]", name)
                return bracketed[1] if bracketed else name
    return ""


def _of_windows() -> tuple[Card, ...]:
    if sys.platform != "win32":
        return ()
    import winreg

    found = []
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _WINDOWS_CLASS) as devices:
        for number in range(winreg.QueryInfoKey(devices)[0]):
            try:
                with winreg.OpenKey(devices, winreg.EnumKey(devices, number)) as key:
                    name = str(winreg.QueryValueEx(key, "DriverDesc")[0])
                    numbers = re.search(r"ven_([0-9a-f]{4})&dev_([0-9a-f]{4})",
                                        str(winreg.QueryValueEx(key, "MatchingDeviceId")[0]), re.IGNORECASE)
            except OSError:
                continue
            if numbers is not None:
                vendor = int(numbers[1], 16)
                short = re.sub(r"^(NVIDIA|AMD|Intel)(\(R\))?\s+|\(TM\)|\(R\)", "", name)
                integrated = (vendor == INTEL and "Arc" not in name) or (vendor == AMD and _sounds_integrated(name))
                found.append(Card(vendor, int(numbers[2], 16), short, "nvidia" if vendor == NVIDIA else "", integrated))
    return tuple(found)
