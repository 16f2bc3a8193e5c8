"""What the welcome page says about this machine: read off the UI thread, then put in words."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtGui import QFontDatabase

from slmstudio.core import disk_space, home_folder, paths
from slmstudio.core.errors import UserError
from slmstudio.core.hardware import describe
from slmstudio.core.i18n import noop, tr
from slmstudio.core.units import format_bytes

if TYPE_CHECKING:
    from slmstudio.core.hardware.machine import Machine

_System = QFontDatabase.WritingSystem
INDIAN_SCRIPTS = {
    noop("Devanagari"): _System.Devanagari, noop("Bengali"): _System.Bengali, noop("Tamil"): _System.Tamil,
    noop("Telugu"): _System.Telugu, noop("Kannada"): _System.Kannada, noop("Malayalam"): _System.Malayalam,
    noop("Gujarati"): _System.Gujarati, noop("Gurmukhi"): _System.Gurmukhi, noop("Odia"): _System.Oriya,
    noop("Urdu"): _System.Arabic}


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        free: bytes free where things are kept; None when the disk doesn't say.
        unshown: Indian scripts for which there is no font.
        notes: what a user should know of WSL and of the place.
    """

    machine: Machine
    free: int | None
    unshown: tuple[str, ...]
    notes: tuple[UserError, ...] = ()


@dataclass(frozen=True)
class Fact:
    """One line of the page.

    Attributes:
        kind: "ok", "plain" (neither good nor bad) or "warn".
        note: the reason or the remedy, in lower case; may be "".
    """

    name: str
    kind: str
    text: str
    note: str = ""


def read() -> Found:
    """Look at the machine. Takes about a tenth of a second; a driver that must wake its card first takes longer."""
    from slmstudio.core.hardware import wsl
    from slmstudio.core.hardware.machine import read_machine

    home = home_folder.absolute(paths.home())
    try:
        free: int | None = disk_space.free(home)
    except OSError:
        free = None
    return Found(read_machine(), free, unshown_scripts(), tuple(wsl.findings(home)))


def unshown_scripts() -> tuple[str, ...]:
    """Indian scripts that no font of this machine has."""
    known = set(QFontDatabase.writingSystems())
    # Qt doesn't count Noto's font for Odia, which shows it well.
    named = any("oriya" in family.lower() or "odia" in family.lower() for family in QFontDatabase.families())
    return tuple(name for name, system in INDIAN_SCRIPTS.items()
                 if system not in known and not (system == _System.Oriya and named))


def names() -> list[str]:
    """The lines that are always there, while they are being filled in."""
    return [tr("GPU"), tr("Memory"), tr("Disk"), tr("Fonts")]


def facts(found: Found) -> list[Fact]:
    """The lines of the page."""
    memory = Fact(tr("Memory"), "ok", describe.memory_left(found.machine.ram_free, found.machine.ram_total))
    return [_gpu(found.machine), memory, _disk(found.free), _fonts(found.unshown),
            *(Fact(tr("WSL"), "warn", note.what, f"{note.why} {note.remedy}") for note in found.notes)]


def _gpu(machine: Machine) -> Fact:
    if not machine.gpus:
        return Fact(tr("GPU"), "plain", tr("No NVIDIA GPU. Small models can train on the processor, but slowly."),
                    " ".join(part for part in (f"{describe.cpu_chip(machine)}.", machine.gpu_reason) if part))
    gpu = machine.gpus[0]
    left = "" if gpu.memory_free is None or gpu.memory_total is None else \
        describe.memory_left(gpu.memory_free, gpu.memory_total)
    return Fact(tr("GPU"), "warn" if machine.gpu_reason else "ok",
                " · ".join(part for part in (describe.gpu_chip(machine), left) if part), machine.gpu_reason)


def _disk(free: int | None) -> Fact:
    if free is None:
        return Fact(tr("Disk"), "warn", tr("The disk doesn't report its free space."))
    little = disk_space.little_room(free)
    if little is not None:
        return Fact(tr("Disk"), "warn", little.what, f"{little.why} {little.remedy}")
    return Fact(tr("Disk"), "ok", tr("{size} free where your work is kept", size=format_bytes(free)))


def _fonts(unshown: Sequence[str]) -> Fact:
    if not unshown:
        return Fact(tr("Fonts"), "ok", tr("Devanagari, Bengali, Tamil and all other Indian scripts can be shown"))
    if sys.platform == "linux":
        note = tr("Their letters appear as boxes. On Debian and Ubuntu: sudo apt install fonts-noto-core, then start "
                  "SLM Studio again.")
    else:
        note = tr("Their letters appear as boxes. Add the language with its fonts in the system's settings, then start "
                  "SLM Studio again.")
    return Fact(tr("Fonts"), "warn", tr("No font for {scripts}", scripts=", ".join(map(tr, unshown))), note)
