"""The processor's own energy counters (RAPL), as Linux shows them below /sys/class/powercap.

Intel's and AMD's processors use the same interface, whose folders are called intel-rapl for both
(Documentation/power/powercap/powercap.rst in the kernel's sources). Since CVE-2020-8694 only root may read the counters
on most systems, because they reveal something about what other programs compute. Windows and WSL have none.
"""

from __future__ import annotations

from pathlib import Path

from slmstudio.core.hardware.linux_sensors import sys_folder, text_of
from slmstudio.core.i18n import noop, tr

UNREADABLE = noop("On this system, only root may read the processor's energy counter (CVE-2020-8694), so the "
                  "processor's share is an estimate.")
MISSING = noop("This system has no energy counter for the processor, so the processor's share is an estimate.")


def read() -> tuple[float | None, float | None]:
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


def why_not() -> str:
    """Why `read` gives nothing, as a sentence for a user; "" if it does give something."""
    if read()[0] is not None:
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
