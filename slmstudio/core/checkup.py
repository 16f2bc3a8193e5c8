"""The doctor's visit: gathers the facts, lets a child process import the libraries, and judges."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slmstudio.core import home_folder, llama, paths
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.doctor import gather, line, packages, share
from slmstudio.core.hardware.doctor.facts import Facts
from slmstudio.core.hardware.doctor.gather import examine
from slmstudio.core.hardware.doctor.line import Line
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
    return examine(packages.with_report(facts, report))


def look(*, measure: bool = True) -> Facts:
    """All facts but those that need the libraries loaded.

    Args:
        measure: write to the disk to measure it.
    """
    from dataclasses import replace

    from slmstudio.core.model.hub import on_disk

    home, missing = place()
    caches = [(tr("Models in the hub's cache"), on_disk.hub_cache())]
    if home is not None:
        caches.append((tr("SLM Studio's own cache"), home / "cache"))
    return replace(gather.everything(home, caches, measure=measure), home_missing=missing, engine=llama.trouble())


def at_once() -> list[Line]:
    """What is known in a tenth of a second, without a child process: for the notice at a start."""
    return examine(gather.at_once())


def place() -> tuple[Path | None, UserError | None]:
    """The folder with runs and models, or why there is none."""
    missing = home_folder.missing()
    return (None, missing) if missing is not None else (home_folder.absolute(paths.home()), None)


def shared(lines: list[Line]) -> list[Line]:
    return share.shared(lines, share.of_this_machine(place()[0]))


def report(lines: list[Line]) -> str:
    import slmstudio

    return f"SLM Studio {slmstudio.__version__}, {time.strftime('%Y-%m-%d')}\n\n{line.text(shared(lines))}"


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
