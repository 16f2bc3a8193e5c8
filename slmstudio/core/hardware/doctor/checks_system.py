"""Judges what the system brings along: WSL, the clock, the locale, fonts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from slmstudio.core.hardware.doctor.facts import Facts
from slmstudio.core.hardware.doctor.line import TOPICS, Line
from slmstudio.core.hardware.wsl import FIRST_VERSION
from slmstudio.core.i18n import date_text, tr

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


CHECKS = (wsl, clock, locale, fonts)
