"""Judges the folder with runs and models, its disk, and the caches."""

from __future__ import annotations

from collections.abc import Iterator

from slmstudio.core import disk_space, program, quoting
from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.doctor.facts import Facts
from slmstudio.core.hardware.doctor.line import TOPICS, Line
from slmstudio.core.i18n import tr
from slmstudio.core.units import format_bytes

DISK = TOPICS[3]
MANY_JOBS = 5 * 1024**3
"""Bytes in the folders of short jobs from which clearing them is worth the trouble."""


def home(facts: Facts) -> Iterator[Line]:
    if facts.home_missing is not None:
        error = facts.home_missing
        yield Line("home", DISK, error.what, "problem", error.why, error.remedy)
    elif facts.home_fault is not None:
        error = facts.home_fault
        yield Line("home", DISK, tr("The folder with runs and models can't be written to."), "problem",
                   f"{error.what} {error.why}", f"{error.remedy} {tr('To choose another folder:')}",
                   program.command("place", "FOLDER"))
    elif facts.home is not None:
        yield Line("home", DISK, tr("Runs and models are kept here:"), why=str(facts.home))


def room(facts: Facts) -> Iterator[Line]:
    if facts.free is None:
        return
    little = disk_space.little_room(facts.free)
    if little is None:
        yield Line("room", DISK, tr("{size} is free where runs and models are kept.", size=format_bytes(facts.free)))
    else:
        yield Line("room", DISK, little.what, "problem" if facts.free < disk_space.LEAST_ROOM else "warning",
                   little.why, little.remedy)


def speed(facts: Facts) -> Iterator[Line]:
    """Its kind and how fast it takes a checkpoint. What was measured says more than what a disk says about itself:
    virtual disks call themselves spinning ones."""
    if facts.network:
        why = [tr("Models load at the network's speed, and a run stops when the connection does.")]
        if facts.file_system:
            why.append(tr("File system: {name}.", name=facts.file_system))
        yield Line("disk", DISK, tr("The folder with runs and models is on another machine."), "warning",
                   " ".join(why), tr("Choose a folder on a disk of this machine:"), program.command("place", "FOLDER"))
        return
    if facts.windows_drive:
        return  # said by `wsl`
    slow = facts.write_speed < guidance.SLOW if facts.write_speed is not None else bool(
        facts.rotational and not (facts.machine and facts.machine.is_wsl))
    said = guidance.disk_advice(facts.write_speed) if facts.write_speed is not None else ""
    if slow:
        yield Line("disk", DISK,
                   tr("The disk for runs is slow.") if said else tr("The disk for runs is a spinning disk."), "warning",
                   said or tr("Training waits while a checkpoint is being written, and models load slowly."),
                   tr("If other programs are writing to it now, check again later. Otherwise choose a folder on an "
                      "SSD, ideally NVMe:") if said else tr("Choose a folder on an SSD, ideally NVMe:"),
                   program.command("place", "FOLDER"))
    elif said or facts.rotational is False:
        yield Line("disk", DISK, tr("The disk for runs is an SSD.") if facts.rotational is False else
                   tr("The disk for runs is fast enough."), why=said)


def privacy(facts: Facts) -> Iterator[Line]:
    """Whether other people of the machine can read the user's data."""
    if facts.open_to_others and facts.home is not None:
        yield Line("privacy", DISK, tr("Other users of this machine can read your runs."), "warning",
                   tr("The folder's permissions let everybody look into it, and so see your data and chats."),
                   tr("Remove that permission:"), f"chmod go-rwx {quoting.command([str(facts.home)])}")


def caches(facts: Facts) -> Iterator[Line]:
    for cache in facts.caches:
        size = format_bytes(cache.size)
        yield Line("cache", DISK, tr("{cache}: {size}.", cache=tr(cache.title), size=size) if cache.whole else
                   tr("{cache}: at least {size}.", cache=tr(cache.title), size=size), why=str(cache.folder))
    if facts.jobs_size is not None and facts.jobs_size >= MANY_JOBS and facts.home is not None:
        yield Line("jobs", DISK, tr("Finished short jobs take up {size}.", size=format_bytes(facts.jobs_size)),
                   "warning", tr("Imports, downloads and fit checks leave their folders behind."),
                   tr("While nothing is running, delete what is in {folder}; it isn't needed any more.",
                      folder=facts.home / "cache" / "jobs"))


CHECKS = (home, room, speed, privacy, caches)
