"""The doctor in the terminal: its exit status, one JSON object, a report to send, and a home that is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from slmstudio.cli import commands
from slmstudio.core import paths

CHILD = """
import json, sys
for name in sys.argv[2:]:
    print(json.dumps({"library": name, "error": FAULT.get(name, ""), "gpu": False}), flush=True)
"""


@pytest.fixture
def libraries(tmp_path: Path, studio_home: Path, monkeypatch: pytest.MonkeyPatch):
    """`libraries(peft="ImportError: x")`: they answer at once, those that are named with an error."""

    def answer(**faults: str) -> None:
        (tmp_path / "child.py").write_text(f"FAULT = {faults!r}\n{CHILD}")
        monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, str(tmp_path / "child.py")]))

    answer()
    return answer


def test_a_problem_is_the_exit_status_and_one_line_of_json(told, libraries):
    libraries(peft="ImportError: no module named x")
    said = told("doctor", status=1)
    assert said["state"] == "problem"
    (found,) = [line for line in said["lines"] if line["code"] == "loads"]
    assert (found["state"], found["topic"], found["why"]) == ("problem", "Libraries", "ImportError: no module named x")
    assert found["remedy"] and found["command"].endswith("setup")


def test_tables_and_then_what_to_do(cli, libraries, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    libraries(trl="OSError: gone")
    out = cli("doctor", status=1).out
    assert "Graphics card" in out and "System" in out
    _, _, to_do = out.partition("\nproblem: The library trl doesn't load. Run setup again")
    assert to_do.splitlines()[1].startswith("    ") and to_do.splitlines()[1].endswith(" setup")


def test_no_problem_is_0_and_the_report_names_nobody(libraries, studio_home, capsys, monkeypatch):
    monkeypatch.setenv("USER", "meeradevi")
    studio_home.mkdir()
    status = commands.main(["doctor", "--copyable"])
    out = capsys.readouterr().out
    assert status == int("[problem]" in out)
    assert out.startswith("SLM Studio ") and "[fine] All libraries for training load." in out
    assert "<runs and models>" in out and str(studio_home) not in out and "meeradevi" not in out
    assert commands.main(["doctor", "--copyable", "--json"]) == status
    as_json = capsys.readouterr().out
    assert "<runs and models>" in as_json and str(studio_home) not in as_json


def test_a_missing_folder_is_a_finding(told, libraries, tmp_path, monkeypatch):
    monkeypatch.delenv("SLMSTUDIO_HOME")
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    paths.place_file().parent.mkdir(parents=True)
    paths.place_file().write_text(json.dumps({"format": 1, "folder": str(tmp_path / "unplugged")}))
    said = told("doctor", status=1)
    (found,) = [line for line in said["lines"] if line["code"] == "home"]
    assert found["state"] == "problem" and str(tmp_path / "unplugged") in found["title"]
    assert not [line for line in said["lines"] if line["code"] in ("room", "disk")]
