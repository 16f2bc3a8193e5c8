"""Takes out of a report what says who or where somebody is, so that it can be sent to strangers."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from slmstudio.core import program
from slmstudio.core.hardware.doctor.line import Line

NOBODYS = frozenset({"root", "user", "users", "home", "localhost", "localdomain", "local", "lan", "linux", "windows"})
"""Names that say nothing about a person, and that sentences of the report hold."""
_PATTERNS = (
    (re.compile(r"\bGPU-[0-9a-f-]{8,}", re.IGNORECASE), "<id>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\bhf_\w{8,}"), "<token>"),
    (re.compile(r"\b(?=\w*\d)[0-9a-f]{16,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b", re.IGNORECASE), "<address>"),
    (re.compile(r"(?<![\w:])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}(?![\w:])", re.IGNORECASE), "<address>"),
    (re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])"), "<address>"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<mail>"),
    (re.compile(r"(\bserial(?: number)?\W{1,3})[\w-]+", re.IGNORECASE), r"\1<serial>"),
    (re.compile(r"((?:/home|/Users|/media|/run/media|/mnt/[a-z]/Users)/)[^/\s'\"]+"), r"\1<user>"),
    (re.compile(r"([A-Za-z]:\\Users\\)[^\\\s'\"]+", re.IGNORECASE), r"\1<user>"),
    (re.compile(r"(\\\\)[^\\\s'\"]+\\[^\\\s'\"]+"), r"\1<share>"),
)


@dataclass(frozen=True)
class Personal:
    """What must not be in a report.

    Attributes:
        places: folders, and what is said in their place; the innermost first.
        users, hosts: names of people, and of machines.
    """

    places: tuple[tuple[str, str], ...] = ()
    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


def of_this_machine(home: Path | None, environ: Mapping[str, str] = os.environ) -> Personal:
    """The names of this user and of this machine.

    Args:
        home: the folder with runs and models.
    """
    users = {environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")} | {Path.home().name}
    try:
        import pwd

        entry = pwd.getpwuid(os.getuid())
        full = entry.pw_gecos.split(",")[0]
        users |= {entry.pw_name, full, *full.split()}
    except (ImportError, KeyError):
        pass  # Windows, or a user without an entry
    hosts = {platform.node(), environ.get("HOSTNAME", ""), environ.get("COMPUTERNAME", "")}
    hosts |= {host.split(".")[0] for host in hosts}
    places = {str(Path.home()): "~", sys.prefix: "<environment>", str(program.ROOT): "<program>"}
    if home is not None:
        places[str(home)] = "<runs and models>"
    return Personal(tuple(sorted(places.items(), key=lambda place: -len(place[0]))), _names(users), _names(hosts))


def without(text: str, personal: Personal) -> str:
    """The text without personal data: names of users and machines, their folders, addresses, numbers of devices."""
    for place, instead in personal.places:
        if len(Path(place).parts) > 1:
            text = text.replace(place, instead)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    for names, instead in ((personal.hosts, "<host>"), (personal.users, "<user>")):
        for name in names:
            text = re.sub(rf"(?<![\w<]){re.escape(name)}(?![\w>])", instead, text, flags=re.IGNORECASE)
    return text


def shared(lines: list[Line], personal: Personal) -> list[Line]:
    return [replace(line, title=without(line.title, personal), why=without(line.why, personal),
                    remedy=without(line.remedy, personal), command=without(line.command, personal)) for line in lines]


def _names(found: Iterable[str]) -> tuple[str, ...]:
    """Those that can be told from usual words, the longest first."""
    return tuple(sorted((name for name in found if len(name) > 1 and name.lower() not in NOBODYS),
                        key=lambda name: (-len(name), name)))
