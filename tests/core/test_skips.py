"""A full run has no skip that nobody wrote down, and the tests marked full run only in it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import skips
from hypothesis import settings
from support import tiers

TESTS = Path(skips.__file__).parent
SKIPS = {"skip", "skipif", "importorskip"}


def reasons(source: str) -> list[str]:
    """The reasons that are written out in a module; of an f-string, what stands before the first value."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SKIPS:
            given = [word.value for word in node.keywords if word.arg == "reason"]
            if node.func.attr == "skip":
                given += node.args
            found += [value.value for value in given if isinstance(value, ast.Constant)]
    return found


def test_every_reason_in_the_tests_is_on_the_list() -> None:
    found = {(path.name, reason) for path in TESTS.rglob("*.py") for reason in reasons(path.read_text(encoding="utf-8"))
             if path != Path(__file__)}
    assert len(found) > 20
    assert {(name, reason) for name, reason in found if not skips.is_allowed(reason)} == set()
    assert not skips.is_allowed("the test material is not on this machine")


SOME = '''
import pytest

@pytest.mark.full
def test_long(): pass

def test_short(): pass

@pytest.mark.skipif(True, reason="POSIX permissions")
def test_on_the_list(): pass

@pytest.mark.skipif(True, reason="not today")
def test_left_out(): pass
'''


@pytest.mark.parametrize(("options", "status", "said"), [
    ((), 0, ["1 passed, 2 skipped, 1 deselected"]),
    (("--full",), 10, ["2 passed, 2 skipped", "::test_left_out: Skipped: not today"])])
def test_a_skip_that_is_not_on_the_list_fails_the_full_tier_alone(tmp_path, options, status, said) -> None:
    (tmp_path / "test_some.py").write_text(SOME, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = full\n", encoding="utf-8")
    command = [sys.executable, "-P", "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([*command, *options, str(tmp_path)], env=environment, cwd=tmp_path, capture_output=True,
                          text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert [text for text in said if text not in done.stdout] == []
    assert "::test_on_the_list: Skipped" not in done.stdout


def test_the_fast_tier_draws_the_same_examples_everywhere_and_the_full_one_searches():
    assert settings.default.derandomize is not tiers.full
