"""Tests that failed among others are run once more, alone, and that is said."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import run_tests

SOME = """
import os
from pathlib import Path

def test_sound(): pass

def test_disturbed_by_the_others():
    assert "PYTEST_XDIST_WORKER" not in os.environ
"""
BROKEN = """
def test_broken(): assert False
"""


@pytest.mark.parametrize(("source", "status", "failed"), [(SOME, 0, 1), (SOME + BROKEN, 1, 2)])
def test_what_failed_is_run_once_more_alone(tmp_path: Path, capfd, source: str, status: int, failed: int) -> None:
    (tmp_path / "test_some.py").write_text(source)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # what else is installed takes seconds to load
    pytest = [sys.executable, "-P", "-m", "pytest", "-p", "xdist.plugin"]
    ended = run_tests.run(pytest, ["-n", "1", "-q"], str(tmp_path), environment)
    said = capfd.readouterr().out
    assert ended == status, said
    assert f"{failed} {'test' if failed == 1 else 'tests'} failed. Run once more, alone:" in said
    assert said.splitlines()[-1] == (
        "1 test passed only when run alone: test_some.py::test_disturbed_by_the_others")
    assert not (tmp_path / ".pytest_cache").exists()


@pytest.mark.parametrize(("status", "failed", "words", "alone"), [
    (1, 10, ["--full", "tests/core", "-q", "--junitxml=x.xml"], True),
    (1, 11, [], False), (0, 0, [], False),
    (1, 0, [], False),  # pytest itself couldn't keep what failed
    (2, 1, [], False),  # ended by Ctrl+C, or by a file that can't be imported
    (10, 1, ["--full"], False),  # a skip that isn't on the list stays one
    (1, 1, ["-x"], False), (1, 1, ["-qx"], False), (1, 1, ["--maxfail=1"], False)])
def test_only_where_all_have_run_and_few_failed(status: int, failed: int, words: list[str], alone: bool) -> None:
    assert run_tests.are_run_alone(status, [f"test_{number}" for number in range(failed)], words) is alone
