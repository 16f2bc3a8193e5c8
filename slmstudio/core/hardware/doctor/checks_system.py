"""Judges what the system brings along: WSL, the clock, the locale, fonts."""

from __future__ import annotations

import time
from collections.abc import Iterator

from slmstudio.core.hardware.doctor.facts import Facts
from slmstudio.core.hardware.doctor.line import Line
from slmstudio.core.hardware.wsl import FIRST_VERSION
from slmstudio.core.i18n import tr

SYSTEM = "System"
WRITTEN = 1_793_491_200
"""Seconds since 1970 at 1 November 2026, when this was written: no clock can be right before."""
DAY = 86_400


def wsl(facts: Facts) -> Iterator[Line]:
    """Linux inside Windows."""
    for note in facts.wsl:
        yield Line("wsl", SYSTEM, note.what, "problem" if note.what == FIRST_VERSION else "warning", note.why,
                   note.remedy)
    if facts.machine and facts.machine.is_wsl and not facts.wsl:
        yield Line("wsl", SYSTEM, "This is Linux inside Windows (WSL 2), and it is set up well.",
                   why="Some of the graphics card's readings, such as fan and clocks, don't reach WSL; when its memory "
                       "is full, Windows moves some of it to main memory, and training gets slow instead of failing.")


def clock(facts: Facts) -> Iterator[Line]:
    """A wrong clock puts runs in a wrong order, and downloads fail because certificates seem not to be valid."""
    if facts.now is None:
        return
    why = ""
    if facts.now < WRITTEN:
        why = tr("It says {strftime}, which is before this program was made.",
                 strftime=time.strftime("%d %B %Y", time.gmtime(facts.now)))
    elif facts.newest_file is not None and facts.newest_file > facts.now + DAY:
        why = tr("It says {strftime}, but some of your files are from {strftime2}.",
                 strftime=time.strftime("%d %B %Y", time.gmtime(facts.now)),
                 strftime2=time.strftime("%d %B %Y", time.gmtime(facts.newest_file)))
    if not why:
        yield Line("clock", SYSTEM, "The clock looks right.")
        return
    yield Line("clock", SYSTEM, "The clock is wrong.", "warning",
               f"{why} Runs appear in a wrong order, and downloads may fail.",
               "Set the date and time, ideally automatically. On Linux:" if facts.system == "Linux" else
               "Set the date and time in the system's settings, ideally automatically.",
               "sudo timedatectl set-ntp true" if facts.system == "Linux" else "")


def locale(facts: Facts) -> Iterator[Line]:
    """How file names and texts are encoded."""
    if facts.encoding and facts.encoding.lower().replace("-", "") != "utf8":
        yield Line("locale", SYSTEM, f"File names are encoded as {facts.encoding}, not UTF-8.", "warning",
                   "Names in Hindi and other scripts can't be opened or written.",
                   "Choose a UTF-8 locale and log in again. On Debian and Ubuntu:" if facts.system == "Linux" else
                   "Switch Windows' or Python's UTF-8 mode on and start again: set PYTHONUTF8=1.",
                   "sudo update-locale LANG=C.UTF-8 LC_ALL=" if facts.system == "Linux" else "")
    elif facts.locale_fault:
        yield Line("locale", SYSTEM, "The chosen locale isn't installed.", "warning",
                   f"{facts.locale_fault} Libraries fall back to another one and may complain.",
                   "Install it, or choose C.UTF-8. On Debian and Ubuntu:", "sudo dpkg-reconfigure locales")
    elif facts.encoding:
        yield Line("locale", SYSTEM, "File names and texts are UTF-8.")


def fonts(facts: Facts) -> Iterator[Line]:
    """For Indian scripts."""
    if facts.scripts_without_font is None:
        return
    if not facts.scripts_without_font:
        yield Line("fonts", SYSTEM, "There are fonts for all Indian scripts.")
        return
    yield Line("fonts", SYSTEM, f"There is no font for {', '.join(facts.scripts_without_font)}.", "warning",
               "Their letters appear as boxes; training isn't affected.",
               "Install Noto's fonts, then start SLM Studio again. On Debian and Ubuntu:" if facts.system == "Linux"
               else "Add the language with its fonts in the system's settings, then start SLM Studio again.",
               "sudo apt install fonts-noto-core" if facts.system == "Linux" else "")


CHECKS = (wsl, clock, locale, fonts)
