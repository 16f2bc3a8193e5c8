"""The doctor's visit: libraries that are asked in a child process, and this very machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from slmstudio.core import checkup, llama
from slmstudio.core.hardware.doctor import facts

CHILD = """
import json, os, sys, time
for name in sys.argv[2:]:
    if name == "crash":
        os.abort()
    if name == "quit":
        sys.exit(3)
    if name == "hang":
        time.sleep(600)
    print("half a line", end="")
    print("\\n" + json.dumps({"library": name, "error": "", "gpu": True}), flush=True)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries that are only names: "crash", "quit" and "hang" do what they say."""
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, str(tmp_path / "child.py")]))


def test_each_library_answers_and_the_progress_is_told(child):
    told: list[int] = []
    found = checkup.ask_libraries(["a", "b"], told.append)
    assert found == {name: {"library": name, "error": "", "gpu": True} for name in ("a", "b")}
    assert told == [0, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="looks at Linux's own way")
def test_one_that_crashes_does_not_take_the_others_along(child):
    found = checkup.ask_libraries(["a", "crash", "b", "quit", "c"])
    assert list(found) == ["a", "crash", "b", "quit", "c"]
    assert found["crash"] == {"error": "Loading it crashed the process (SIGABRT)."}
    assert found["quit"] == {"error": "Loading it crashed the process (exit status 3)."}
    assert found["c"]["gpu"] is True


def test_one_that_hangs_is_a_finding(child):
    found = checkup.ask_libraries(["hang", "b"], seconds=1.0)
    assert found["hang"] == {"error": "It didn't load within 1 s."} and found["b"]["error"] == ""


def test_nobody_waits_for_a_cancelled_visit(child):
    asked = []

    def cancelled() -> bool:
        asked.append(None)
        return len(asked) > 2

    assert len(checkup.ask_libraries(["hang", "b"], cancelled=cancelled)) < 2


def test_what_the_real_child_says_of_what_is_missing():
    found = checkup.ask_libraries(["json", "no_such_library"])
    assert found["json"] == {"library": "json", "error": ""}
    assert found["no_such_library"]["error"] == "ModuleNotFoundError: No module named 'no_such_library'"


def test_a_start_is_told_of_what_is_cheap(studio_home):
    lines = checkup.at_once()
    assert {each.topic for each in lines} <= {"Graphics card", "Memory and processor"}
    assert {each.code for each in lines} >= {"driver", "torch"}


def test_this_machine(studio_home):
    told: list[tuple[int, int]] = []
    lines = checkup.visit(lambda *said: told.append(said))
    assert told[0] == (0, 9) and told[-1] == (9, 9)
    codes = {each.code for each in lines}
    assert codes >= {"driver", "torch", "python", "loads", "known_faults", "memory", "processor", "home", "room",
                     "clock"}
    said = {each.code: each for each in lines}
    assert said["loads"].state == "fine" and said["known_faults"].state == "fine", said["loads"]
    for each in lines:
        assert each.topic in facts.TOPICS and each.state in facts.STATES and each.title
        assert each.state == "fine" or each.remedy
        assert set(each.to_dict()) == {"code", "topic", "title", "state", "why", "remedy", "command"}
    assert not studio_home.exists()  # it has looked, and made nothing


def test_the_report_has_no_names(studio_home, monkeypatch):
    monkeypatch.setenv("USER", "meeradevi")
    lines = [facts.Line("home", "Disk", "Runs are kept here:", why=str(studio_home)),
             facts.Line("x", "System", "meeradevi lacks a thing.", "warning", "Why.", "Mend it.", "mend --it")]
    report = checkup.report(lines)
    assert "meeradevi" not in report and str(studio_home) not in report
    assert report.endswith("[warning] <user> lacks a thing.\n    Why.\n    Mend it.\n    Command: mend --it\n")


def test_a_missing_engine_is_not_asked(studio_home, no_engine):
    assert llama.trouble() is not None
    assert checkup.look(measure=False).engine is not None
