"""The window of the setup, with a child that plays what it is told: steps, failure, cancelling, closing, the end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

tk = pytest.importorskip("tkinter", reason="this Python was built without tkinter")

import setup_causes  # noqa: E402
import setup_child  # noqa: E402
import setup_environment  # noqa: E402
import setup_looks  # noqa: E402
import setup_page  # noqa: E402
import setup_texts  # noqa: E402
import setup_window  # noqa: E402
from setup_texts import TEXTS  # noqa: E402

LIMIT = 60  # seconds; for a machine under load
PLAN = {"event": "plan", "steps": ["System libraries", "PyTorch", "Check"], "log": ""}
FAKE = '''
import json, os, signal, sys
folder, *scenes = sys.argv[1:]
played = len(os.listdir(folder))
open(os.path.join(folder, str(played)), "w").close()
signal.signal(signal.SIGTERM, lambda *_: os._exit(130))
for item in json.loads(scenes[min(played, len(scenes) - 1)]):
    if item == "wait":
        signal.pause()
    elif isinstance(item, int):
        sys.exit(item)
    else:
        print(item if isinstance(item, str) else json.dumps(item), flush=True)
'''


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    """A virtual screen of its own."""
    read, write = os.pipe()
    try:
        server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x1024x24", "-nolisten",
                                   "tcp"], pass_fds=(write,), stderr=subprocess.DEVNULL)
    except OSError:
        pytest.skip("Xvfb is not installed")
    os.close(write)
    with os.fdopen(read) as answer:
        number = answer.readline().strip()
    if not number:
        server.wait(LIMIT)
        pytest.skip("Xvfb does not start here")
    yield f":{number}"
    server.terminate()
    server.wait(LIMIT)


@pytest.fixture
def make(screen: str, tmp_path: Path) -> Iterator[Callable[..., setup_window.SetupWindow]]:
    """`make(scene, scene, ...)`: a window; its first setup plays the first scene, the next one the second."""
    made: list[setup_window.SetupWindow] = []

    def build(*scenes: list[object], linger: int = 0) -> setup_window.SetupWindow:
        (tmp_path / "fake.py").write_text(FAKE, "utf-8")
        (tmp_path / "played").mkdir(exist_ok=True)
        command = [sys.executable, str(tmp_path / "fake.py"), str(tmp_path / "played"), *map(json.dumps, scenes)]
        root = tk.Tk(screenName=screen, className="slmstudio")
        made.append(setup_window.SetupWindow(root, command, "Downloads nothing.", linger=linger))
        return made[-1]

    yield build
    for window in made:
        if window._child is not None:
            window._child.kill()
        if not gone(window):
            window._leave()


def gone(window: setup_window.SetupWindow) -> bool:
    try:
        return not window.root.winfo_exists()
    except tk.TclError:
        return True


def until(window: setup_window.SetupWindow, condition: Callable[[], bool]) -> None:
    """Let the window live until something is so."""
    deadline = time.monotonic() + LIMIT

    def look() -> None:
        if condition() or time.monotonic() > deadline:
            window.root.quit()
        else:
            window.root.after(20, look)

    window.root.after(0, look)
    window.root.mainloop()
    assert condition()


def rows(window: setup_window.SetupWindow) -> list[tuple[str, str]]:
    """Title and remark of each step, as they are on the screen."""
    return [(str(title.cget("text")), str(note.cget("text"))) for _, title, note in window.page._rows]


def buttons(window: setup_window.SetupWindow) -> list[str]:
    return [str(button.cget("text")) for button in (window.page.second, window.page.main) if button.winfo_manager()]


def message(window: setup_window.SetupWindow) -> str:
    label = window.page.message
    return str(label.cget("text")) if label.winfo_manager() else ""


def step(number: int, title: str) -> dict[str, object]:
    return {"event": "step", "number": number, "total": 3, "title": title, "notice": ""}


def done(number: int, remark: str = "", there_already: bool = False) -> dict[str, object]:
    return {"event": "done", "number": number, "remark": remark, "seconds": 74.2, "there_already": there_already}


WORKING = [PLAN, step(1, "System libraries"), done(1, there_already=True), step(2, "PyTorch"),
           {"event": "progress", "number": 2, "text": "Downloading torch … 812 MB", "seconds": 12.4}, "wait"]
FINISHING = [PLAN, step(1, "System libraries"), done(1), step(2, "PyTorch"), done(2, "torch 2.13.0"), step(3, "Check"),
             done(3), {"event": "finished", "remarks": ["PyTorch sees your card."]}]


def test_the_steps_are_shown_and_cancelling_keeps_what_is_done(make):
    window = make(WORKING, FINISHING, linger=60)
    window.start()
    until(window, lambda: window.page.line.cget("text") == "Downloading torch … 812 MB")
    assert rows(window) == [("System libraries", "already set up"), ("PyTorch", "12 s"), ("Check", "")]
    assert [each.state for each in window.progress.steps] == ["done", "working", "waiting"]
    assert 0 < float(window.page._bar.place_info()["relwidth"]) < 1
    assert buttons(window) == [TEXTS["cancel"]] and message(window) == ""

    window.page.second.invoke()
    assert window.page.second.instate(["disabled"]) and window.page.line.cget("text") == TEXTS["cancelling_text"]
    until(window, lambda: window.progress.state == "cancelled")
    assert message(window) == TEXTS["cancelled"] and window.status == 130
    assert buttons(window) == [TEXTS["close"], TEXTS["go_on"]] and window._child is None

    window.page.main.invoke()
    until(window, lambda: window.progress.state == "finished" and window._child is None)
    assert rows(window)[1] == ("PyTorch", "torch 2.13.0 · 1 min 14 s")
    assert message(window).splitlines() == [TEXTS["done"], "PyTorch sees your card."]
    assert buttons(window)[1].startswith("Open SLM Studio (")
    window.page.main.invoke()
    assert gone(window) and window.open_wanted and window.status == 0


@pytest.mark.full
def test_a_failure_is_told_and_tried_again_and_the_program_opens_by_itself(make, tmp_path):
    log = tmp_path / "setup.log"
    log.write_text("$ pip install torch\nनहीं मिला\n", "utf-8")
    plan = {**PLAN, "log": str(log)}
    failing = [plan, step(1, "System libraries"), {"event": "failed", "text": "The disk is full.", "log": str(log)}, 2]
    window = make(failing, FINISHING)
    window.start()
    until(window, lambda: window._child is None and window.progress.state == "failed")
    assert message(window) == "The disk is full." and window.status == 2
    assert buttons(window) == [TEXTS["close"], TEXTS["again"]]
    assert window.progress.steps[0].state == "failed"
    window.page.copy.invoke()
    assert window.root.clipboard_get(type="UTF8_STRING") == log.read_text("utf-8")
    assert window.page.copy.cget("text") == TEXTS["copied"]
    window.page.toggle.invoke()
    assert window.page.log.text.get("1.0", "end-1c") == log.read_text("utf-8")
    log.open("a", encoding="utf-8").write("more\n")
    until(window, lambda: window.page.log.text.get("1.0", "end-1c").endswith("more\n"))
    window.page.toggle.invoke()
    assert not window.page.log.frame.winfo_manager() and window.page.toggle.cget("text") == TEXTS["show"]

    window.page.main.invoke()
    window.root.mainloop()  # until the window closes itself
    assert gone(window) and window.open_wanted and window.status == 0


@pytest.mark.full
def test_closing_asks_while_it_works(make):
    window = make(WORKING)
    window.start()
    until(window, lambda: window.progress.working() is not None)
    window.close()
    assert message(window) == TEXTS["ask"] and buttons(window) == [TEXTS["stop"], TEXTS["keep_on"]]
    window.page.main.invoke()
    assert message(window) == "" and buttons(window) == [TEXTS["cancel"]]
    window.close()
    child = window._child
    window.page.second.invoke()
    window.root.mainloop()
    assert gone(window) and not window.open_wanted and window.status == 130
    assert child._process.poll() == 130


@pytest.mark.full
def test_a_set_up_that_dies_or_cannot_start_is_a_failure(make):
    window = make([PLAN, step(1, "System libraries"), "Traceback (most recent call last):", "MemoryError", 1])
    window.start()
    until(window, lambda: window._child is None)
    assert window.progress.state == "failed" and "status 1. MemoryError" in message(window) and window.status == 2
    window._command = ["/nowhere/python"]
    window.page.main.invoke()
    assert "couldn't be started: No such file" in message(window)
    assert buttons(window) == [TEXTS["close"], TEXTS["again"]]


@pytest.mark.full
def test_a_set_up_that_does_not_hear_is_ended(make, monkeypatch):
    monkeypatch.setattr(setup_window, "CANCEL_PATIENCE_MS", 1)
    monkeypatch.setattr(setup_child.Child, "cancel", lambda self: None)
    window = make(WORKING)
    window.start()
    until(window, lambda: window.progress.working() is not None)
    window.page.second.invoke()
    until(window, lambda: window._child is None)
    assert window.progress.state == "cancelled"


def test_what_waits_for_another_set_up_says_so_and_odd_lines_do_no_harm():
    progress = setup_child.Progress()
    for line in ("Another setup is running in this folder. Waiting until it's done.", "{", "[1]", '{"event": "new"}'):
        progress.take(setup_child._event(line))
    assert progress.state == "working" and progress.said[1:] == ["{", "[1]"]
    assert progress.share() == 0.0
    progress.take(step(2, "PyTorch"))
    assert progress.text == "" and progress.working().title == "PyTorch"


def test_a_failure_is_told_without_the_log_and_with_a_button_instead_of_a_command():
    progress = setup_child.Progress(log="/x/setup.log")
    progress.take({"event": "failed", "log": "/x/setup.log",
                   "text": f"PyTorch couldn't be installed. The disk is full. {setup_causes.AGAIN}",
                   "tail": "  $ pip\n  no space left"})
    assert progress.text == f"PyTorch couldn't be installed. The disk is full. {setup_child.AGAIN_HERE}"


@pytest.mark.full
def test_the_program_opens_with_the_files_that_were_double_clicked(screen, tmp_path, monkeypatch):
    (tmp_path / "packaging").mkdir()
    lines = "".join(json.dumps(event) + "\n" for event in FINISHING)
    (tmp_path / "packaging" / "bootstrap.py").write_text(f"print({lines!r})", "utf-8")
    opened: list[list[str]] = []
    bootstrap = SimpleNamespace(ROOT=str(tmp_path), has_nvidia_driver=lambda: True, installed=dict,
                                open_window=lambda words: opened.append(words) or 0)
    monkeypatch.setenv("DISPLAY", screen)
    monkeypatch.setattr(setup_window, "LINGER_SECONDS", 1)
    assert setup_window.main(bootstrap, ["/home/a/model.gguf"]) == 0
    assert opened == [["/home/a/model.gguf"]]
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    assert "3.3\u00a0GB, most of it for your NVIDIA card, and needs 11\u00a0GB" in setup_window.amount(bootstrap)
    bootstrap.installed = lambda: {"how": "bundle"}
    assert "nothing is downloaded" in setup_window.amount(bootstrap)


@pytest.mark.parametrize("file", ["README.md", "docs/linux.md", "docs/windows.md", "packaging/windows/words.nsh"])
def test_all_say_what_the_setup_needs(file):
    figures = *setup_texts.DOWNLOADS.values(), *(f"{sum(room.values()) / setup_environment.GB:g}" for room in
                                                 (setup_environment.ROOM, setup_environment.CARD_ROOM))
    said = (Path(setup_window.__file__).parents[1] / file).read_text("utf-8")
    assert [figure for figure in figures if not re.search(rf"\b{re.escape(figure)}( or 11)? GB", said)] == []


def test_the_colours_are_the_programs_own():
    from slmstudio.gui.common import theme

    for mine, theirs in ((setup_looks.LIGHT, theme.LIGHT), (setup_looks.DARK, theme.DARK)):
        assert mine.items() <= theirs.items()


def test_long_texts_do_not_burst_the_window(make):
    long = "A sentence that goes on. " * 200
    window = make([{**PLAN}, step(1, "System libraries"), done(1, "installed " + "libxcb-cursor0 " * 30),
                   {"event": "failed", "text": long, "log": ""}, 2])
    window.start()
    until(window, lambda: window._child is None)
    window.root.update_idletasks()
    assert message(window).endswith("…") and rows(window)[0][1].endswith("…")
    assert window.root.winfo_reqwidth() <= window.page.looks.px(setup_page.WIDTH + 60)
    assert window.root.winfo_reqheight() <= window.page.looks.px(900)
