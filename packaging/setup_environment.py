"""Makes the environment and everything in it, step by step. A step leaves its stamp only when it is done."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import IO, NoReturn

import setup_check
import setup_drift
import setup_system
from setup_causes import of_os_error
from setup_console import Console, JsonLines, Stop, Terminal
from setup_language import noop, tr
from setup_llama import Llama
from setup_packages import Packages
from setup_wheels import Wheels

STEPS = (noop("System libraries"), noop("Python environment"), "PyTorch", noop("Libraries"), "llama.cpp",
         noop("GGUF converter"), "SLM Studio", noop("Check"))
"""Told by these names in JSON, and in the user's language elsewhere."""
LOCK, LOG = "setup.lock", "setup.log"
GB = 1e9
ROOM = {"torch": 2 * GB, "requirements": 1.7 * GB, "llama": 0.3 * GB}
"""What a step needs on the disk until it is done: the download, and what is unpacked."""
CARD_ROOM = {**ROOM, "torch": 9 * GB}
"""The same with an NVIDIA card: PyTorch brings CUDA's libraries. README, docs and installer say the sums: 4 and 11."""


def set_up(bootstrap: ModuleType, with_tests: bool, as_json: bool = False, device: str = "") -> int:
    """Do every step that isn't done. Returns the exit status.

    Args:
        bootstrap: the module bootstrap.py, which knows the places and the keys.
        with_tests: also what lint and tests need.
        as_json: tell the progress in JSON lines. device: what chat may compute on, if that is chosen now.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Windows gives a double-click neither
            stream.reconfigure(errors="replace")
    before = signal.signal(signal.SIGTERM, _interrupt)
    if as_json and os.name == "nt":
        threading.Thread(target=_cancel_by_word, daemon=True).start()
    folder = Path(bootstrap.VENV)
    voice, tail = JsonLines() if as_json else Terminal(), ""
    try:
        _refuse_foreign(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / LOCK, "a+") as lock:
            _take(lock)
            (folder / LOG).write_bytes(b"")
            console = Console(STEPS, folder / LOG, lock.fileno(), voice, bootstrap.PYTHON)
            voice.finished(SetUp(bootstrap, console, with_tests, device).run())
    except Stop as stop:
        status, text, tail = 2, str(stop), stop.tail
    except OSError as error:
        status, text = 2, of_os_error(error, folder)
    except KeyboardInterrupt:
        status, text = 130, tr("Interrupted. The same command continues where this one stopped.")
    else:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
    voice.failed(text, tail, folder / LOG, status)
    return status


def _refuse_foreign(folder: Path) -> None:
    """Raises Stop when the folder that a user named holds something else: the environment would take its place."""
    ours = (LOCK, "bootstrap.json", "pyvenv.cfg")
    if not os.environ.get("SLMSTUDIO_ENVIRONMENT") or not folder.exists():
        return
    if any(folder.iterdir()) and not any((folder / name).exists() for name in ours):
        raise Stop(tr("SLMSTUDIO_ENVIRONMENT names {folder}, which has other files in it. Name an empty or a new "
                      "folder, such as {example}, then run the same command again.", folder=folder,
                      example=folder / "slmstudio-environment"))


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _cancel_by_word() -> None:
    """Windows has no signal that a window could send: there the word comes through a pipe, or the pipe's end."""
    if sys.stdin is None or not stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        return
    for line in sys.stdin:
        if line.strip() == "cancel":
            break
    signal.raise_signal(signal.SIGINT)


def _take(lock: IO[str]) -> None:
    """Wait until no other setup works on this folder. The system frees the lock when its last holder ends."""
    told = False
    while not _try_lock(lock.fileno()):
        if not told:
            print(tr("Another setup is running in this folder. Waiting until it's done."), file=sys.stderr, flush=True)
        told = True
        time.sleep(0.2)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class SetUp:
    """The eight steps."""

    def __init__(self, bootstrap: ModuleType, console: Console, with_tests: bool, device: str = ""):
        self.bootstrap, self.console, self.with_tests = bootstrap, console, with_tests
        self.venv = Path(bootstrap.VENV)
        self.wheels = Wheels(Path(bootstrap.ROOT))
        self.packages = Packages(bootstrap, console, self.wheels)
        self.llama = Llama(self.packages, console, needed=with_tests, choice=device)

    def run(self) -> list[str]:
        """Do them. Returns what has to be said at the end; raises Stop when a step can't be done."""
        fresh = not self._is_sound()
        with self.console.step("System libraries") as remarks:
            self._check_room(fresh)
            compiler = self.with_tests and not self.llama.has_wheel()
            remarks += filter(None, [self.wheels.check(),
                                     setup_system.check(self.console, compiler, fresh, self.with_tests)])
        if fresh:
            self._refuse_at_work()
            with self.console.step("Python environment", self.venv.name):
                self._make_venv()
        else:
            self.console.skip("Python environment")
        self.packages.repair()
        # What pip and uv are asked for depends on the environment's Python, so the keys come after it.
        keys = self.bootstrap.step_keys(self.with_tests)
        said: list[str] = []
        # What ended with a remedy is tried again: the user may have followed it.
        retried = ["llama.cpp"] if self.llama.chosen_now or self.llama.note.exists() else []
        retried += ["PyTorch", "Check"] if os.path.exists(self.bootstrap.NO_CARD) else []
        drifted = setup_drift.steps(self.bootstrap)
        retried += [*drifted, "Check"] if drifted else []
        for names, title, note, work in self._steps():
            wanted = {name: keys[name] for name in names if name in keys}
            again = title in retried
            if not again and wanted.items() <= self.bootstrap.read_stamps().items():
                self.console.skip(title)
                continue
            self._refuse_at_work()
            self._forget({*wanted, "check"})
            with self.console.step(title, note) as remarks:
                remarks += filter(None, [work()])
            said = remarks if title == "Check" else said
            self._stamp(wanted)
        return said

    def _steps(self) -> list[tuple[tuple[str, ...], str, str, Callable[[], str]]]:
        """Stamps, title, notice and work of those that put something into the environment."""
        size = tr("about 2.7 GB") if self.bootstrap.has_nvidia_driver() else tr("0.2 to 2.7 GB")
        notices = ("", "", "") if self.wheels.offline else (size, tr("about 0.4 GB"), self.llama.notice())
        return [
            (("torch",), "PyTorch", notices[0], self._torch),
            (("requirements", "tests"), "Libraries", notices[1], lambda: self.packages.libraries(self.with_tests)),
            (("llama",), "llama.cpp", notices[2], self.llama.install),
            (("converter",), "GGUF converter", "", self.packages.converter),
            (("program",), "SLM Studio", "", self.packages.program),
            (("check",), "Check", "", lambda: setup_check.check(self.bootstrap, self.packages, self.console)),
        ]

    def _torch(self) -> str:
        said = self.packages.torch()
        if self.bootstrap.has_nvidia_driver():
            self._stamp({"nvidia": "yes"})
        return said

    def _check_room(self, fresh: bool) -> None:
        """Raises Stop when the disk hasn't the room that the open steps need."""
        stamps = {} if fresh else self.bootstrap.read_stamps()
        keys = self.bootstrap.step_keys(self.with_tests)
        needs = CARD_ROOM if self.bootstrap.has_nvidia_driver() else ROOM
        needed = sum(size for name, size in needs.items() if name not in stamps)
        free = shutil.disk_usage(self.venv).free
        if any(stamps.get(name) != keys[name] for name in needs) and free < needed:
            raise Stop(tr("The disk with {folder} has {free:.1f} GB free, and setup needs about {needed:.1f} GB. Free "
                          "some space, or set SLMSTUDIO_ENVIRONMENT to a folder on another disk, then run the same "
                          "command again.", folder=self.venv, free=free / GB, needed=needed / GB))

    def _stamp(self, stamps: dict[str, str]) -> None:
        """Add to the stamps; the file is replaced whole, so that a power cut leaves the old or the new one."""
        self._write_stamps({**self.bootstrap.read_stamps(), **stamps})

    def _write_stamps(self, stamps: dict[str, str]) -> None:
        path = Path(self.bootstrap.STAMPS)
        part = path.with_suffix(".part")
        with open(part, "w", encoding="utf-8") as file:
            json.dump(stamps, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)

    def _forget(self, names: set[str]) -> None:
        """Withdraw the stamps of what is about to change: cut off, it must not look like what was before."""
        stamps = self.bootstrap.read_stamps()
        if names & stamps.keys():
            self._write_stamps({name: key for name, key in stamps.items() if name not in names})

    def _refuse_at_work(self) -> None:
        """Raises Stop while the program runs in this environment: a training run would lose libraries on the way."""
        for place in Path("/proc").glob("[0-9]*/cmdline"):  # Windows' installer sees to it there
            with contextlib.suppress(OSError):
                words = place.read_bytes().split(b"\0")
                if words[0].startswith(os.fsencode(self.bootstrap.SCRIPTS)) and any(
                        word in (b"slmstudio", b"slmstudio.worker") for word in words):
                    raise Stop(tr("SLM Studio is running: its window is open, or a run is in progress. Close the "
                                  "window, and let the run end or stop it. Then start it again, and setup "
                                  "continues."))

    def _is_sound(self) -> bool:
        """Whether the environment has a Python that runs, is new enough, and has a whole pip."""
        tag = self.bootstrap.environment_python()
        if not tag or tuple(map(int, tag.split("."))) < self.bootstrap.OLDEST_PYTHON:
            return False
        return self.packages.has_whole_pip()

    def _make_venv(self) -> None:
        for item in self.venv.iterdir():
            if item.name in (LOCK, LOG):
                continue
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink()
        # From inside another environment, its base is meant: that one may go away.
        python = getattr(sys, "_base_executable", sys.executable)
        if os.name == "nt":  # started without a console
            python = str(Path(python).with_name("python.exe"))
        if not self.console.run([python, "-I", "-m", "venv", str(self.venv)], self.packages.environment):
            raise self.console.failure(tr("The Python environment couldn't be created."))
