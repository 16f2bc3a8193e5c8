"""Windows as Wine knows it, on a screen of its own: for tests of the installer."""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

LONGEST = 240  # seconds that anything may take on a machine under load
KEY = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Uninstall\SLMStudio"
BUSY = 4  # the status of a program that found another at work; of a killed one it is still told for a moment

# Writes down how it was started, and runs on while there is a file C:\hold.
FAKE_PYTHON = r"""
Target amd64-unicode
OutFile "${OUTFILE}"
RequestExecutionLevel user
SilentInstall silent
Section
  FileOpen $0 "$EXEDIR\started.part" w
  FileWriteUTF16LE $0 "$CMDLINE"
  FileClose $0
  Rename "$EXEDIR\started.part" "$EXEDIR\started.txt"
  again:
  IfFileExists "C:\hold" 0 done
  Sleep 100
  Goto again
  done:
SectionEnd
"""


class NoMachine(Exception):
    """Wine or the screen doesn't work on this machine at all."""


class Machine:
    """One Wine prefix below `folder`, and one screen. `close` ends what runs on it and removes it.

    Raises:
        NoMachine: Wine or the screen doesn't work here.
    """

    def __init__(self, folder: Path):
        self.folder, self.prefix = folder, folder / "prefix"
        self.screen, display = open_screen()
        (folder / "home").mkdir()
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("UV_", "SLMSTUDIO_", "WINE", "PYTHON", "XDG_"))
                and not name.lower().endswith("_proxy")}
        self.environment = {**kept, "DISPLAY": ":" + display, "HOME": str(folder / "home"), "LC_ALL": "C.UTF-8",
                            "WINEPREFIX": str(self.prefix), "WINEDEBUG": "-all",
                            # Two that ask to be downloaded, and one that writes menu entries for this Linux.
                            "WINEDLLOVERRIDES": "mscoree=;mshtml=;winemenubuilder.exe=d"}
        self.run("wineboot", "-i")
        self.end_programs()
        if not (self.prefix / "user.reg").exists():
            self.screen.kill()
            raise NoMachine("Wine does not start here")
        self.drive = self.prefix / "drive_c"
        self.user = next(path for path in (self.drive / "users").iterdir() if path.name != "Public")
        self.local = self.user / "AppData" / "Local"
        self.start_menu = self.user / "AppData/Roaming/Microsoft/Windows/Start Menu/Programs/SLM Studio.lnk"
        self.desktop = self.user / "Desktop" / "SLM Studio.lnk"
        self.hold = self.drive / "hold"  # while it is there, started fake Pythons run on
        self.fresh = {path.name for path in self.drive.iterdir()}
        shutil.copyfile(self.prefix / "user.reg", folder / "user.reg")
        self.fake_python = folder / "pythonw.exe"
        (folder / "fake.nsi").write_text(FAKE_PYTHON)
        subprocess.run(["makensis", "-V1", f"-DOUTFILE={self.fake_python}", str(folder / "fake.nsi")], check=True)

    def close(self) -> None:
        self.end_programs()
        self.screen.terminate()
        self.screen.wait(LONGEST)
        shutil.rmtree(self.prefix)  # most of a gigabyte, and pytest keeps folders

    def end_programs(self) -> None:
        """All of this prefix, and wait until its registry is written."""
        for option in ("-k", "-w"):
            subprocess.run(["wineserver", option], env=self.environment, timeout=LONGEST, check=False)

    def reset(self) -> None:
        """As it was: nothing installed, no data, no registry keys."""
        self.end_programs()
        shutil.copyfile(self.folder / "user.reg", self.prefix / "user.reg")
        for path in [*(self.drive / name for name in {path.name for path in self.drive.iterdir()} - self.fresh),
                     self.local / "Programs", self.local / "slmstudio"]:
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.start_menu, self.desktop, self.hold):
            path.unlink(missing_ok=True)

    def start(self, program: str | Path, *words: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a program; words that belong to one path are given one by one, or Wine puts quotes around them."""
        return subprocess.Popen(["wine", str(program), *words], env={**self.environment, **variables},
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self, program: str | Path, *words: str, **variables: str) -> int:
        """Run a program to its end; its exit status."""
        return self.start(program, *words, **variables).wait(LONGEST)

    def run_when_free(self, program: str | Path, *words: str, **variables: str) -> int:
        """The same, once what was killed or still removes itself holds the lock no more."""
        status = BUSY
        end = time.monotonic() + LONGEST
        while status == BUSY and time.monotonic() < end:
            status = self.run(program, *words, **variables)
        return status

    def path(self, windows: str) -> Path:
        """Where C:\\Some folder lies."""
        return self.drive.joinpath(*windows.split("\\")[1:])

    def entry(self) -> dict[str, str]:
        """The uninstall entry; empty when there is none."""
        exported = self.drive / "windows" / "temp" / "entry.reg"
        exported.unlink(missing_ok=True)
        self.run("reg", "export", KEY, r"C:\windows\temp\entry.reg", "/y")
        if not exported.exists():
            return {}
        lines = exported.read_text("utf-16").splitlines()
        pairs = (line.split("=", 1) for line in lines if line.startswith('"'))
        return {name.strip('"'): value.removeprefix('"').removesuffix('"').replace('\\"', '"').replace("\\\\", "\\")
                for name, value in pairs}

    def press(self, key: str, title: str, done: Callable[[], object]) -> None:
        """Press a key in the window with this title, as often as it takes until `done`."""
        def press_once() -> object:
            found = subprocess.run(["xdotool", "search", "--onlyvisible", "--name", title], env=self.environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
            for window in found.stdout.split()[:1]:
                subprocess.run(["xdotool", "windowfocus", window, "key", key], env=self.environment,
                               stderr=subprocess.DEVNULL, check=False)
            return wait_for(done, 2)
        wait_for(press_once)
        assert done(), f"{key} in the window {title!r} did not lead on"


def open_screen() -> tuple[subprocess.Popen[bytes], str]:
    """An X server, and the number of its display, which it chooses itself."""
    reading, writing = os.pipe()
    screen = subprocess.Popen(["Xvfb", "-displayfd", str(writing), "-noreset", "-screen", "0", "1024x768x24",
                               "-nolisten", "tcp"], pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    display = b""
    with open(reading, "rb", buffering=0) as answer:
        # To the end of the line: it writes that apart, and would end if nobody read it.
        while not display.endswith(b"\n") and select.select([answer], [], [], LONGEST)[0]:
            part = answer.read(20)
            if not part:
                raise NoMachine("Xvfb does not start here")
            display += part
    return screen, display.decode().strip()


def wait_for(done: Callable[[], object], seconds: float = LONGEST) -> bool:
    """Whether `done` became true in time."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)  # nothing tells of files that a program under Wine writes
    return True


def damage(folder: Path) -> list[str]:
    """What differs from the folder's manifest: files that are missing, changed or too many."""
    manifest = folder / "manifest.sha256"
    if not manifest.exists():
        return ["manifest.sha256"]
    listed = dict(reversed(line.split("  ", 1)) for line in manifest.read_text("utf-8").splitlines())
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")
             if path.is_file() and path != manifest}
    differing = [name for name in listed.keys() & there.keys()
                 if hashlib.sha256(there[name].read_bytes()).hexdigest() != listed[name]]
    return sorted([*differing, *(listed.keys() ^ there.keys())])
