"""A second start of the window: the first one comes forward and opens what was named, dead or alive."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.wait import until

from slmstudio.core import paths
from slmstudio.gui.app import single_instance
from slmstudio.gui.app.single_instance import SingleInstance

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, studio_home: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="slm-"))  # the path of a socket has at most 108 letters
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    paths.home().mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def start(runtime: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start(FILES)`: a start of the program, as a double-click makes it."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*named: str, folder: Path = ROOT) -> subprocess.Popen[str]:
        begun.append(subprocess.Popen(
            [sys.executable, "-m", "slmstudio", *named], cwd=folder, text=True, stderr=subprocess.PIPE,
            env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}))
        return begun[-1]

    yield begin
    for each in begun:
        each.kill()
        each.wait()
        each.stderr.close()


def listens(process: subprocess.Popen[str], runtime: Path) -> None:
    """Wait until a window is open and can be reached."""
    until(lambda: any(each.is_socket() for each in runtime.iterdir()), "a window that listens", ended=process.poll)


def opened() -> list[str]:
    """The datasets that the window has open, as it remembers them."""
    file = paths.home() / "settings.json"
    known = json.loads(file.read_text("utf-8")).get("datasets", []) if file.is_file() else []
    return [Path(each["path"]).name for each in known]


def test_a_second_start_hands_its_files_over_and_ends(start, runtime, qapp, rows_file: Path):
    first = start()
    listens(first, runtime)
    second = start(f".{os.sep}{rows_file.name}", folder=rows_file.parent)
    assert second.wait(60) == 0 and second.stderr.read() == ""
    until(lambda: opened() == [rows_file.name], "the file in the first window", ended=first.poll)
    first.send_signal(signal.SIGKILL)
    first.wait()
    third = start()
    until(lambda: SingleInstance()._lock.getLockInfo()[0] == third.pid, "a window after a crash", ended=third.poll)
    assert SingleInstance().hand_over([], seconds=60)


def test_a_window_that_hangs_swallows_no_start(start, runtime, qapp):
    first = start()
    listens(first, runtime)
    first.send_signal(signal.SIGSTOP)
    later = SingleInstance()
    assert not later.claim() and not later.hand_over([], seconds=0.2) and not later.claim()


def test_another_home_folder_has_a_window_of_its_own(runtime, qapp, monkeypatch, tmp_path: Path):
    first = SingleInstance()
    assert first.claim() and not SingleInstance().claim()
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "other"))
    assert SingleInstance().claim()
    first.move()
    assert not SingleInstance().claim(), "the window is that folder's now"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows' pipes belong to their user")
def test_a_folder_that_others_can_write_to_is_not_used(runtime, monkeypatch, tmp_path: Path):
    runtime.chmod(0o777)
    monkeypatch.setattr(single_instance.tempfile, "gettempdir", lambda: str(tmp_path))
    assert single_instance.place().parent == tmp_path / f"slmstudio-{os.getuid()}"
    (tmp_path / f"slmstudio-{os.getuid()}").chmod(0o777)
    with pytest.raises(PermissionError):
        single_instance.place()
