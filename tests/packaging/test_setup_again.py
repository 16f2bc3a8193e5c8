"""`slmstudio setup`: the program sets its own environment up again."""

from __future__ import annotations

import os
import subprocess
import sys

import bootstrap
import pytest

from slmstudio.cli import commands
from slmstudio.core import program
from slmstudio.core.errors import UserError


@pytest.mark.skipif(not bootstrap.is_ready(False), reason="this environment was not made by the set-up")
def test_a_complete_environment_stays_as_it_is():
    command = [sys.executable, "-P", "-m", "slmstudio", "setup"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("SLM Studio is set up."), done


@pytest.mark.skipif(os.name == "nt", reason="there the setup is a process of its own")
@pytest.mark.parametrize("words", [[], ["--json"], ["--chat-device", "vulkan"]])
def test_the_terminal_becomes_the_setup(studio_home, monkeypatch, words):
    became = []
    monkeypatch.setattr(os, "execv", lambda path, command: became.append((path, command)))
    commands.main(["setup", *words])
    (path, command), = became
    assert path == command[0] and command == [*program.setup_words(), *words]


def test_a_copy_without_the_set_up_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(program, "BOOTSTRAP", tmp_path / "bootstrap.py")
    with pytest.raises(UserError, match="can't set itself up"):
        program.setup_words()
