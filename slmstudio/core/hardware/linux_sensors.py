"""What Linux says in small files below /sys: the processor's heat, clock and energy, and the battery.

Only the files that are needed are read, once a second: psutil reads those of every sensor and every core. Elsewhere the
processor's heat can't be read without an administrator's rights; the battery psutil knows.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core.i18n import noop, tr

SYS = "SLMSTUDIO_SYS"
"""Environment variable that names a folder to read instead of /sys, so that other machines can be tried."""
PROCESSOR_DRIVERS = ("k10temp", "zenpower", "coretemp", "cpu_thermal")
"""Linux' drivers for the heat of AMD, AMD, Intel and ARM processors (Documentation/hwmon)."""
WHOLE = ("Tdie", "Tctl", "Package id")
"""Labels of the reading that stands for the whole processor, the best first: AMD's Tctl may be raised by an offset."""
MOST_CLOCKS = 8
"""Cores whose clock is read: each asks its core, and a server has hundreds."""


@dataclass(frozen=True, slots=True)
class Battery:
    """A laptop's battery.

    Attributes:
        percent: charge, 0 to 100.
        plugged: whether the mains feed it; None if the system doesn't say.
    """

    percent: float
    plugged: bool | None


def sys_folder() -> Path:
    return Path(os.environ.get(SYS) or "/sys")


class ProcessorSensors:
    """The processor's own sensors; found once, and then read as often as wanted.

    Attributes:
        limit_c: where the processor slows itself down: the driver's critical temperature, else its high one; None if it
            doesn't say.
    """

    def __init__(self, folder: Path | None = None):
        folder = folder or sys_folder()
        chips = [chip for chip in sorted(folder.glob("class/hwmon/hwmon*"))
                 if text_of(chip / "name") in PROCESSOR_DRIVERS]
        self._heat = [file for chip in chips for file in _whole(chip)]
        limits = [limit for file in self._heat if (limit := _limit(file)) is not None]
        self.limit_c = min(limits, default=None)
        clocks = sorted(folder.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
        self._clocks = clocks[::max(1, len(clocks) // MOST_CLOCKS)]

    def temperature_c(self) -> float | None:
        """The hottest package's temperature, or else the hottest core's."""
        return max((heat / 1000 for file in self._heat if (heat := _number(file)) is not None), default=None)

    def clock_mhz(self) -> float | None:
        """Mean of the cores, or of some of them where there are many."""
        clocks = [clock / 1000 for file in self._clocks if (clock := _number(file)) is not None]
        return sum(clocks) / len(clocks) if clocks else None


def read_battery(folder: Path | None = None) -> Battery | None:
    """This machine's battery; None without one. Mice and headsets have theirs, which don't count."""
    if sys.platform != "linux":
        import psutil

        found = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
        return None if found is None else Battery(found.percent, found.power_plugged)
    supplies = [(supply, text_of(supply / "type")) for supply in (folder or sys_folder()).glob("class/power_supply/*")
                if text_of(supply / "scope") != "Device"]
    batteries = [supply for supply, kind in supplies if kind == "Battery"]
    charges = [charge for battery in batteries if (charge := _number(battery / "capacity")) is not None]
    if not charges:
        return None
    mains = [online for supply, kind in supplies if kind in ("Mains", "USB")
             if (online := _number(supply / "online")) is not None]
    states = {text_of(battery / "status") for battery in batteries}
    plugged = any(mains) if mains else False if "Discharging" in states else \
        True if states & {"Charging", "Full", "Not charging"} else None
    return Battery(min(100.0, sum(charges) / len(charges)), plugged)


def _whole(chip: Path) -> list[Path]:
    """The files that give the heat of a chip as a whole; those of its cores where none does."""
    files = sorted(chip.glob("temp*_input"))
    labels = {file: text_of(file.with_name(file.name.replace("_input", "_label"))) for file in files}
    for label in WHOLE:
        if found := [file for file in files if labels[file].startswith(label)]:
            return found
    return files


def _limit(file: Path) -> float | None:
    for kind in ("crit", "max"):
        value = _number(file.with_name(file.name.replace("input", kind)))
        if value is not None and 60 <= value / 1000 <= 125:  # others are placeholders
            return value / 1000
    return None


def text_of(file: Path) -> str:
    """What a small file of the system says; "" if it can't be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(file: Path) -> float | None:
    """A whole number from a file; None if it can't be read, as from a sensor that sleeps."""
    try:
        with open(file, "rb", buffering=0) as opened:
            return float(int(opened.read(32)))
    except (OSError, ValueError):
        return None


# -- The processor's own energy counters (RAPL). Intel's and AMD's processors use the same interface, whose folders are
# called intel-rapl for both (Documentation/power/powercap/powercap.rst in the kernel's sources). Since CVE-2020-8694
# only root may read them on most systems, because they reveal something about what other programs compute.

UNREADABLE = noop("On this system, only root may read the processor's energy counter (CVE-2020-8694), so the "
                  "processor's share is an estimate.")
MISSING = noop("This system has no energy counter for the processor, so the processor's share is an estimate.")


def processor_energy() -> tuple[float | None, float | None]:
    """Joules that all processor packages have drawn, and where this counter wraps.

    Packages are summed; "psys" (the whole board) and the parts of a package are left out, or they would count twice.

    Returns:
        (None, None) without a counter that can be read. The second is None if the packages wrap at different values, so
        that a drop in the sum means nothing.
    """
    packages = _packages()
    joules = [_micro(folder / "energy_uj") for folder in packages]
    wraps = {_micro(folder / "max_energy_range_uj") for folder in packages}
    total = sum(value for value in joules if value is not None)
    if not joules or None in joules:
        return None, None
    return total, wraps.pop() if len(wraps) == 1 else None


def no_energy_counter() -> str:
    """Why `processor_energy` gives nothing, as a sentence for a user; "" if it does give something."""
    if processor_energy()[0] is not None:
        return ""
    return tr(UNREADABLE) if _packages() else tr(MISSING)


def _packages() -> list[Path]:
    """The folder of each package. "intel-rapl-mmio:0" is another way to the counter of "intel-rapl:0"."""
    found = sorted(sys_folder().glob("class/powercap/intel-rapl:*"))
    return [folder for folder in found if text_of(folder / "name").startswith("package")]


def _micro(file: Path) -> float | None:
    """The kernel counts microjoules."""
    text = text_of(file)
    return int(text) / 1e6 if text.isdecimal() else None
