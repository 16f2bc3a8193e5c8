"""Graphics devices on the PCI bus, and which NVIDIA driver is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from slmstudio.core.hardware.doctor.facts import AMD, INTEL, NVIDIA, Card

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
