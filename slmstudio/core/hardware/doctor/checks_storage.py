"""Judges the folder with runs and models, its disk, and the caches."""

from __future__ import annotations

from collections.abc import Iterator

from slmstudio.core import disk_space, program, quoting
from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.doctor.facts import Facts
from slmstudio.core.hardware.doctor.line import Line
from slmstudio.core.units import format_bytes

DISK = "Disk"
MANY_JOBS = 5 * 1024**3
"""Bytes in the folders of short jobs from which on clearing them is worth the trouble."""


def home(facts: Facts) -> Iterator[Line]:
    """Whether the folder can be used."""
    if facts.home_missing is not None:
        error = facts.home_missing
        yield Line("home", DISK, error.what, "problem", error.why, error.remedy)
    elif facts.home_fault is not None:
        error = facts.home_fault
        yield Line("home", DISK, "The folder with runs and models can't be written to.", "problem",
                   f"{error.what} {error.why}", f"{error.remedy} Another folder is chosen like this:",
                   program.command("place", "FOLDER"))
    elif facts.home is not None:
        yield Line("home", DISK, "Runs and models are kept here:", why=str(facts.home))


def room(facts: Facts) -> Iterator[Line]:
    """What is free."""
    if facts.free is None:
        return
    little = disk_space.little_room(facts.free)
    if little is None:
        yield Line("room", DISK, f"{format_bytes(facts.free)} are free where runs and models are kept.")
    else:
        yield Line("room", DISK, little.what, "problem" if facts.free < disk_space.LEAST_ROOM else "warning",
                   little.why, little.remedy)


def speed(facts: Facts) -> Iterator[Line]:
    """Its kind and how fast it takes a checkpoint. What was measured says more than what a disk says of itself:
    virtual disks call themselves spinning ones."""
    if facts.network:
        yield Line("disk", DISK, "The folder with runs and models lies on another machine.", "warning",
                   f"Models load at the network's speed, and a run stops when the connection does"
                   f"{f' (file system {facts.file_system})' if facts.file_system else ''}.",
                   "Choose a folder on a disk of this machine:", program.command("place", "FOLDER"))
        return
    if facts.windows_drive:
        return  # said by `wsl`
    slow = facts.write_speed < guidance.SLOW if facts.write_speed is not None else bool(
        facts.rotational and not (facts.machine and facts.machine.is_wsl))
    said = guidance.disk_advice(facts.write_speed) if facts.write_speed is not None else ""
    if slow:
        yield Line("disk", DISK, "The disk for runs is slow." if said else "The disk for runs is a spinning disk.",
                   "warning", said or "Training waits while a checkpoint is written, and models load slowly.",
                   f"{'If other programs write to it now, check again later. Else choose' if said else 'Choose'} "
                   "a folder on an SSD, best NVMe:", program.command("place", "FOLDER"))
    elif said or facts.rotational is False:
        kind = "an SSD" if facts.rotational is False else "fast enough"
        yield Line("disk", DISK, f"The disk for runs is {kind}.", why=said)


def privacy(facts: Facts) -> Iterator[Line]:
    """Whether other people of the machine can read the user's data."""
    if facts.open_to_others and facts.home is not None:
        yield Line("privacy", DISK, "Other users of this machine can read your runs.", "warning",
                   "The permissions of the folder let everybody look into it, with your data and chats.",
                   "Remove that permission:", f"chmod go-rwx {quoting.command([str(facts.home)])}")


def caches(facts: Facts) -> Iterator[Line]:
    """Where they lie and how large they are."""
    for cache in facts.caches:
        about = "" if cache.whole else "at least "
        yield Line("cache", DISK, f"{cache.title}: {about}{format_bytes(cache.size)}.", why=str(cache.folder))
    if facts.jobs_size is not None and facts.jobs_size >= MANY_JOBS and facts.home is not None:
        yield Line("jobs", DISK, f"Finished short jobs take {format_bytes(facts.jobs_size)}.", "warning",
                   "Imports, downloads and fit checks leave their folders behind.",
                   f"While nothing is running, delete what is in {facts.home / 'cache' / 'jobs'}; it isn't needed "
                   "any more.")


CHECKS = (home, room, speed, privacy, caches)
