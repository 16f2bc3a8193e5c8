"""What a process says of its own lock, where the system, the machine or the moment isn't as usual."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slmstudio.core.lock import places, proof, worker_lock

BEGIN = """
import errno, json, os, socket, sys, tempfile, threading
from slmstudio.core.lock import places, worker_lock
def out_of(path):
    try:
        return open(path).read()
    except OSError as error:
        return error.strerror
"""
END = "\nprint(json.dumps(state.to_dict()))"


@pytest.fixture
def state(linux, tmp_path, monkeypatch):
    """`state("state = …")`: what the code says as the last line, and all lines before it."""
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "home"))
    (tmp_path / "private").write_text("private")

    def run(code: str, **environment: str) -> tuple[worker_lock.LockState, list[str]]:
        done = subprocess.run([sys.executable, "-P", "-c", BEGIN + code + END], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environment})
        assert done.returncode == 0, done.stderr
        *lines, last = done.stdout.splitlines()
        return worker_lock.LockState(**json.loads(last)), lines

    return run


@pytest.fixture
def with_landlock(linux) -> None:
    if places.version(linux) < 2:
        pytest.skip("this kernel's Landlock can't be used")


def test_threads_that_ran_before_are_told_of(state):
    found, _ = state("threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
                     "state = worker_lock.install('train', {})")
    assert found.enforced and not found.landlock
    assert found.files_open == "2 threads ran before the lock, and Landlock restricts only one of them"


@pytest.mark.parametrize(("change", "reason"), [
    ("places.version = lambda processor: 0", "this kernel has no Landlock"),
    ("places.version = lambda processor: 1", "this kernel's Landlock is too old: with it, no file could be moved "
                                               "to another folder"),
    ("places.version = lambda processor: 7; places.syscall = lambda *_: open('/nowhere')",
     "Landlock failed ([Errno 2] No such file or directory: '/nowhere')"),
])
def test_why_files_are_open_is_said(state, change, reason):
    found, _ = state(f"{change}\nstate = worker_lock.install('train', {{}})")
    assert (found.enforced, found.landlock, found.files_open) == (True, 0, reason)
    assert proof.sentence([found.to_dict()]) == (
        f"The system blocked its access to the network. Files were open to it: {reason}.")


def test_no_path_in_a_request_leaves_the_files_open(state, with_landlock, tmp_path):
    for text in ("/no_think " + "Explain how monsoon rain forms. " * 10, "/" + "x" * 300, "//", "/..", "/"):
        found, lines = state(f"text = {text!r}\n"
                             "state = worker_lock.install('train', {'model': text, 'sample_prompts': [text]})\n"
                             f"print(out_of({str(tmp_path / 'private')!r}))")
        assert found.landlock and not found.files_open, text
        assert lines == ["Permission denied"], text


@pytest.mark.parametrize("change", [
    "os.environ['SLMSTUDIO_HOME'] = '/proc/nowhere/home'",
    "def full(**_): raise OSError(errno.ENOSPC, 'full')\ntempfile.mkdtemp = full",
])
def test_a_disk_that_cannot_be_written_leaves_nothing_open(state, with_landlock, tmp_path, change):
    found, lines = state(f"{change}\nstate = worker_lock.install('chat', {{}})\n"
                         f"print(out_of({str(tmp_path / 'private')!r}))")
    assert found.enforced and found.landlock and lines == ["Permission denied"]


def test_only_a_run_is_shared_by_several_processes(state):
    """A cluster's job has these variables, whatever is started in it."""
    variables = {"RANK": "0", "MASTER_PORT": "29500"}
    assert state("state = worker_lock.install('serve', {})", **variables)[0].enforced
    assert not state("state = worker_lock.install('train', {})", **variables)[0].enforced


def test_the_hubs_library_finds_no_token_and_that_is_no_error(state, with_landlock, tmp_path):
    (tmp_path / "token").write_text("hf_secret")
    found, lines = state("state = worker_lock.install('train', {})\nimport huggingface_hub\n"
                         "print(huggingface_hub.get_token())", HF_TOKEN_PATH=str(tmp_path / "token"), HF_TOKEN="")
    assert found.landlock and lines == ["None"]
