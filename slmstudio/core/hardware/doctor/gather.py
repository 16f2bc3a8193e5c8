"""Finds out the facts, except for what libraries say, and makes lines of them: nothing heavy is imported."""

from __future__ import annotations

import os
import re
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmstudio.core import disk_space
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.hardware import guidance, mounts, wsl
from slmstudio.core.hardware.doctor import (
    checks_graphics,
    checks_libraries,
    checks_machine,
    checks_storage,
    checks_system,
    packages,
    system,
)
from slmstudio.core.hardware.doctor.facts import AMD, INTEL, NVIDIA, Cache, Card, Facts
from slmstudio.core.hardware.doctor.line import Line
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.i18n import tr

# -- Looks at the folder with runs and models, and at the caches.

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
        if _read(folder / "class").startswith(DISPLAY):
            found.append(_card(folder, root))
    return tuple(found)


def kernel_driver(root: Path) -> str | None:
    """The version that the kernel has loaded: "535.183.01"; None if it isn't NVIDIA's."""
    found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", _read(root / KERNEL_DRIVER).partition("\n")[0])
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
    vendor, device = (int(_read(folder / name) or "0", 16) for name in ("vendor", "device"))
    name = _name(vendor, device, root)
    driver = folder / "driver"
    memory = _read(folder / "mem_info_vram_total")  # amdgpu alone says it
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
        for line in _read(root / place).splitlines():
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


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


ROOT = Path("/")


def at_once(root: Path = ROOT, environ: Mapping[str, str] = os.environ) -> Facts:
    """What a start of the window has time for: the cards, their driver, and the build of PyTorch by its note.

    Args:
        root: a tree of files that stands for a machine.
    """
    machine = read_machine({})  # with the cards that a variable hides, which is found then
    driver, cuda = nvidia_driver() if machine.gpus else (None, None)
    return Facts(
        system=machine.system, machine=machine, cards=on_bus(root), driver=driver, driver_cuda=cuda,
        kernel_driver=kernel_driver(root), linux_driver_in_wsl=machine.is_wsl and linux_driver_in_wsl(root),
        visible_devices=environ.get("CUDA_VISIBLE_DEVICES"), torch=packages.torch_build())


def everything(home: Path | None, caches: Sequence[tuple[str, Path]] = (), root: Path = ROOT,
               environ: Mapping[str, str] = os.environ, *, measure: bool = True) -> Facts:
    """All facts but those of loaded libraries; a second or two, most of it for the disk.

    Args:
        home: the folder with runs and models; None when it can't be used.
        caches: title and folder of each cache to be counted.
        measure: also how fast the disk takes a checkpoint.
    """
    facts = at_once(root, environ)
    assert facts.machine is not None
    found = system.look(root, environ)
    if home is not None:
        found |= look(home, root, facts.machine.is_wsl, measure=measure)
        found["newest_file"] = newest(home)
        found["wsl"] = tuple(wsl.findings(home, root, environ))
    return replace(
        facts, **found, now=time.time(), python=sys.version_info[:3], bits=8 * struct.calcsize("P"),
        versions=packages.installed(), pins=packages.tested(),
        caches=tuple(count(title, folder) for title, folder in caches if folder.is_dir()))


CHECKS = (*checks_graphics.CHECKS, *checks_libraries.CHECKS, *checks_machine.CHECKS, *checks_storage.CHECKS,
          *checks_system.CHECKS)


def examine(facts: Facts) -> list[Line]:
    """All checks, in the order of the page."""
    return [line for check in CHECKS for line in check(facts)]
