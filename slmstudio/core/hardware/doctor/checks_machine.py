"""Judges the machine apart from its graphics card: memory, processor, power, disk, and what the system brings along."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from slmstudio.core import disk_space, program
from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.doctor.facts import TOPICS, Facts, Line
from slmstudio.core.hardware.wsl import FIRST_VERSION
from slmstudio.core.i18n import date_text, ntr, tr
from slmstudio.core.units import format_bytes

MACHINE = TOPICS[2]
GB = 1024**3
ENOUGH_WITHOUT_SWAP = 16 * GB
LITTLE_SHARED = 64 * 1024**2
"""Docker's /dev/shm has this much unless told otherwise."""
SLOW_PROFILES = ("low-power", "quiet", "cool")
"""As the kernel names them: Documentation/ABI/testing/sysfs-class-platform-profile."""


def main_memory(facts: Facts) -> Iterator[Line]:
    """Against twice the graphics card's."""
    machine = facts.machine
    if machine is None:
        return
    size = format_bytes(machine.ram_total)
    if said := " ".join(guidance.main_memory(machine)):
        yield Line("memory", MACHINE, tr("{size} of main memory is less than advised for this graphics card.",
                                         size=size), "warning", said,
                   tr("Training itself works. If merging or exporting a large model runs out of memory, add main "
                      "memory or swap, or choose a smaller model."))
    else:
        yield Line("memory", MACHINE, tr("{size} of main memory.", size=size))


def memory_limit(facts: Facts) -> Iterator[Line]:
    """A container's limit, which programs that ask for the machine's memory don't see."""
    machine = facts.machine
    if machine is None or facts.memory_limit is None or facts.memory_limit >= machine.ram_total:
        return
    yield Line("memory_limit", MACHINE, tr("Only {limit} of {total} of memory can be used on this machine.",
                                           limit=format_bytes(facts.memory_limit),
                                           total=format_bytes(machine.ram_total)), "warning",
               tr("A container or a service limits it. A program that takes more is killed without a message."),
               tr("Raise the limit, in Docker with --memory, or choose models that fit into it."))


def swap(facts: Facts) -> Iterator[Line]:
    """Some room for the moment of an export, where there is little memory."""
    machine = facts.machine
    if machine is None or facts.swap is None or machine.is_wsl:
        return
    if facts.swap or machine.ram_total >= ENOUGH_WITHOUT_SWAP * guidance.ROUND:
        yield Line("swap", MACHINE, tr("{size} of swap.", size=format_bytes(facts.swap)) if facts.swap else
                   tr("There is no swap, and with this much memory, none is needed."))
        return
    yield Line("swap", MACHINE, tr("There is no swap."), "warning",
               tr("With {size} of memory, a merge or an export may briefly need more. Without swap, the system then "
                  "ends it.", size=format_bytes(machine.ram_total)),
               tr("Add a swap file of 8 GB. On Linux, all four commands at once:"),
               "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && "
               "sudo swapon /swapfile" if facts.system == "Linux" else "")


def shared_memory(facts: Facts) -> Iterator[Line]:
    """/dev/shm, by which processes of one run share tensors."""
    if facts.shared_memory is None or facts.shared_memory > LITTLE_SHARED:
        return
    yield Line("shared_memory", MACHINE, tr("/dev/shm has only {size}.", size=format_bytes(facts.shared_memory)),
               "warning",
               tr("Training on several cards passes tensors through it and fails with a bus error when it's full."),
               tr("Start the container with more: --shm-size=2g in Docker."))


def processor(facts: Facts) -> Iterator[Line]:
    machine = facts.machine
    if machine is None:
        return
    if facts.cpu_flags and "avx2" not in facts.cpu_flags:
        yield Line("processor", MACHINE, tr("The processor lacks AVX2."), "problem",
                   tr("{processor} can't run builds of llama.cpp made for AVX2: they crash immediately. PyTorch is "
                      "several times slower.", processor=machine.cpu_name),
                   tr('In a virtual machine, pass the processor through to it (CPU type "host"). Otherwise, use a '
                      "machine whose processor is from 2015 or newer."))
        return
    bf16 = (tr("It computes in bf16.") if machine.cpu_bf16 else
            tr("It has no bf16 arithmetic, so training on it uses fp32."))
    yield Line("processor", MACHINE, ntr("{processor}, {n} core.", "{processor}, {n} cores.", machine.physical_cores,
                                         processor=machine.cpu_name), why=bf16 if facts.system == "Linux" else "")


def power(facts: Facts) -> Iterator[Line]:
    if facts.on_battery:
        yield Line("power", MACHINE, tr("This machine is running on battery."), "warning",
                   tr("Most laptops then slow down the processor and the graphics card, and a long run ends when the "
                      "battery is empty."), tr("Plug it in before you train."))
    elif facts.power_profile in SLOW_PROFILES:
        yield Line("power", MACHINE, tr('The power profile is "{profile}".', profile=facts.power_profile), "warning",
                   tr("It slows down the processor and, in some laptops, the graphics card."),
                   tr("Choose a faster one in the system's power settings. On Linux:"),
                   "powerprofilesctl set balanced" if facts.system == "Linux" else "")
    elif facts.on_battery is False or facts.power_profile:
        yield Line("power", MACHINE, tr('Power: profile "{profile}".', profile=facts.power_profile)
                   if facts.power_profile else tr("Power: plugged in."))


# -- The folder with runs and models, its disk, and the caches.

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
                   tr("Remove that permission:"), f"chmod go-rwx {program.shell_line([str(facts.home)])}")


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


# -- What the system brings along: WSL, the clock, the locale, fonts.

SYSTEM = TOPICS[4]
WRITTEN = 1_793_491_200
"""Seconds since 1970 at 1 November 2026, when this was written: no clock can be right before."""
DAY = 86_400


def wsl(facts: Facts) -> Iterator[Line]:
    for note in facts.wsl:
        yield Line("wsl", SYSTEM, note.what, "problem" if note.id == FIRST_VERSION else "warning", note.why,
                   note.remedy)
    if facts.machine and facts.machine.is_wsl and not facts.wsl:
        yield Line("wsl", SYSTEM, tr("This is Linux inside Windows (WSL 2), and it's set up well."),
                   why=tr("Some of the graphics card's readings, such as fan and clocks, don't reach WSL. When its "
                          "memory is full, Windows moves some of it to main memory, and training gets slow instead of "
                          "failing."))


def clock(facts: Facts) -> Iterator[Line]:
    """A wrong clock puts runs in a wrong order, and downloads fail because certificates seem not to be valid."""
    if facts.now is None:
        return
    why = ""
    if facts.now < WRITTEN:
        why = tr("It says {date}, which is before this program was released.", date=_day(facts.now))
    elif facts.newest_file is not None and facts.newest_file > facts.now + DAY:
        why = tr("It says {date}, but some of your files are from {file_date}.", date=_day(facts.now),
                 file_date=_day(facts.newest_file))
    if not why:
        yield Line("clock", SYSTEM, tr("The clock looks right."))
        return
    yield Line("clock", SYSTEM, tr("The clock is wrong."), "warning",
               f"{why} {tr('Runs appear in the wrong order, and downloads may fail.')}",
               tr("Set the date and time, ideally automatically. On Linux:") if facts.system == "Linux" else
               tr("Set the date and time in the system's settings, ideally automatically."),
               "sudo timedatectl set-ntp true" if facts.system == "Linux" else "")


def _day(seconds: float) -> str:
    return date_text(datetime.fromtimestamp(seconds, UTC), "long")


def locale(facts: Facts) -> Iterator[Line]:
    """How file names and texts are encoded."""
    if facts.encoding and facts.encoding.lower().replace("-", "") != "utf8":
        yield Line("locale", SYSTEM,
                   tr("File names are encoded as {encoding}, not UTF-8.", encoding=facts.encoding), "warning",
                   tr("Files with names in Hindi and other scripts can't be opened or written."),
                   tr("Choose a UTF-8 locale and log in again. On Debian and Ubuntu:") if facts.system == "Linux" else
                   tr("Turn on the UTF-8 mode of Windows or Python and start again: set PYTHONUTF8=1."),
                   "sudo update-locale LANG=C.UTF-8 LC_ALL=" if facts.system == "Linux" else "")
    elif facts.locale_fault:
        yield Line("locale", SYSTEM, tr("The chosen locale isn't installed."), "warning",
                   f"{facts.locale_fault} {tr('Libraries fall back to another one and may show warnings.')}",
                   tr("Install it, or choose C.UTF-8. On Debian and Ubuntu:"), "sudo dpkg-reconfigure locales")
    elif facts.encoding:
        yield Line("locale", SYSTEM, tr("File names and texts are UTF-8."))


def fonts(facts: Facts) -> Iterator[Line]:
    if facts.scripts_without_font is None:
        return
    if not facts.scripts_without_font:
        yield Line("fonts", SYSTEM, tr("There are fonts for all Indian scripts."))
        return
    scripts = ", ".join(map(tr, facts.scripts_without_font))
    yield Line("fonts", SYSTEM, tr("There is no font for {scripts}.", scripts=scripts),
               "warning", tr("Their letters appear as boxes; training isn't affected."),
               tr("Install Noto's fonts, then start SLM Studio again. On Debian and Ubuntu:")
               if facts.system == "Linux" else
               tr("Add the language with its fonts in the system's settings, then start SLM Studio again."),
               "sudo apt install fonts-noto-core" if facts.system == "Linux" else "")


CHECKS = (main_memory, memory_limit, swap, shared_memory, processor, power, home, room, speed, privacy, caches, wsl,
          clock, locale, fonts)
