"""The doctor's visit: gathers the facts, lets a child process import the libraries, and judges."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slmstudio.core import home_folder, llama, paths, program
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.doctor import gather
from slmstudio.core.hardware.doctor.facts import Facts, Line, report_text
from slmstudio.core.hardware.doctor.gather import examine
from slmstudio.core.i18n import noop, tr
from slmstudio.core.jobs import processes

LIBRARIES = ("torch", "transformers", "accelerate", "peft", "trl", "datasets", "bitsandbytes", "llama_cpp")
"""Modules that training and chat need."""
PARTS = (noop("disk and system"), *LIBRARIES)
"""What is done one after another."""
LOAD_SECONDS = 120.0
"""For one child process; a cold start of all takes 12 s on two cores."""
POLL_SECONDS = 0.1


def visit(progress: Callable[[int, int], None] = lambda done, total: None,
          cancelled: Callable[[], bool] = lambda: False) -> list[Line]:
    """Everything there is to say about this machine. Blocks for 5 to 20 s, nearly all of it in a child process.

    Args:
        progress: called with how many of `PARTS` are done, and how many there are.
        cancelled: asked ten times a second; the answer is then useless.
    """
    progress(0, len(PARTS))
    facts = look()
    names = [name for name in LIBRARIES if name != "llama_cpp" or facts.engine is None]
    report = ask_libraries(names, lambda done: progress(1 + done, len(PARTS)), cancelled)
    progress(len(PARTS), len(PARTS))
    return examine(gather.with_report(facts, report))


def look(*, measure: bool = True) -> Facts:
    """All facts but those that need the libraries loaded.

    Args:
        measure: write to the disk to measure it.
    """
    from slmstudio.core.model.hub import on_disk

    home, missing = place()
    caches = [(tr("Models in the hub's cache"), on_disk.hub_cache())]
    if home is not None:
        caches.append((tr("SLM Studio's own cache"), home / "cache"))
    return replace(gather.everything(home, caches, measure=measure), home_missing=missing, engine=llama.trouble(),
                   engine_build=llama.build())


def at_once() -> list[Line]:
    """What is known in a tenth of a second, without a child process: for the notice at a start."""
    return examine(gather.at_once())


def place() -> tuple[Path | None, UserError | None]:
    """The folder with runs and models, or why there is none."""
    missing = home_folder.missing()
    return (None, missing) if missing is not None else (home_folder.absolute(paths.home()), None)


def shared(lines: list[Line]) -> list[Line]:
    """What the doctor says, without personal data, so that it can be sent to strangers."""
    personal = of_this_machine(place()[0])
    return [replace(line, title=without(line.title, personal), why=without(line.why, personal),
                    remedy=without(line.remedy, personal), command=without(line.command, personal)) for line in lines]


def report(lines: list[Line]) -> str:
    import slmstudio

    return f"SLM Studio {slmstudio.__version__}, {time.strftime('%Y-%m-%d')}\n\n{report_text(shared(lines))}"


def ask_libraries(names: Sequence[str], told: Callable[[int], None] = lambda done: None,
                  cancelled: Callable[[], bool] = lambda: False, seconds: float = LOAD_SECONDS
                  ) -> dict[str, dict[str, Any]]:
    """What each library says when it is imported, by its name. One that crashes or hangs is a finding as well; the
    others are then asked in another process.

    Args:
        told: called before each with how many are done.
    """
    found: dict[str, dict[str, Any]] = {}
    left = list(names)
    while left and not cancelled():
        told(len(found))
        why = _ask(left, found, told, cancelled, seconds)
        if left:
            found[left.pop(0)] = {"error": why}
    return found


def _ask(left: list[str], found: dict[str, dict[str, Any]], told: Callable[[int], None],
         cancelled: Callable[[], bool], seconds: float) -> str:
    """One child process: moves what answers from `left` to `found`. Returns why it ended before all were asked."""
    process = subprocess.Popen([*processes.worker_command(), "--libraries", *left], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=processes.worker_environment(),
                               **processes.detached())
    ended, late = threading.Event(), threading.Event()

    def watch() -> None:
        deadline = time.monotonic() + seconds
        while not ended.wait(POLL_SECONDS):
            if time.monotonic() > deadline:
                late.set()
            if late.is_set() or cancelled():
                process.kill()
                return

    threading.Thread(target=watch, daemon=True).start()
    assert process.stdout is not None
    try:
        for text in process.stdout:
            said = _answer(text)
            if said is not None and left and said.get("library") == left[0]:
                found[left.pop(0)] = said
                if left:
                    told(len(found))
        code = process.wait()
    finally:
        ended.set()
        process.kill()
        process.stdout.close()
        process.wait()
    if late.is_set():
        return tr("It didn't load within {seconds:.0f} s.", seconds=seconds)
    return tr("Loading it crashed the process ({signal}).", signal=_ending(code))


def _answer(text: bytes) -> dict[str, Any] | None:
    """A line from the child; None for what a library has printed."""
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _ending(code: int) -> str:
    if code < 0 and os.name != "nt":
        import signal

        return signal.Signals(-code).name
    return tr("exit status {code}", code=code)


# -- Takes out of a report what says who or where somebody is, so that it can be sent to strangers.

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


def _names(found: Iterable[str]) -> tuple[str, ...]:
    """Those that can be told from usual words, the longest first."""
    return tuple(sorted((name for name in found if len(name) > 1 and name.lower() not in NOBODYS),
                        key=lambda name: (-len(name), name)))
