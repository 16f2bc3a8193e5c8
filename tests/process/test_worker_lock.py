"""Real workers under the lock: hostile code reaches nothing, and what they are for works as without it."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from slmstudio.core import jobs
from slmstudio.core.lock import places, seccomp
from slmstudio.core.run import folder

pytestmark = [pytest.mark.skipif(seccomp.here() is None, reason="only Linux has such a lock")]
ROOT = Path(__file__).resolve().parents[2]
UNLOCKED = """
import sys
from pathlib import Path
from slmstudio.core.lock import worker_lock
from slmstudio.worker import __main__ as worker
worker_lock.install = lambda *_: worker_lock.LockState(reason="The test wants it so.")
sys.exit(worker.main(sys.argv[1:]))
"""

TELLING = """
import sys
from slmstudio.core.lock import worker_lock
install = worker_lock.install
def told(*arguments):
    state = install(*arguments)
    print(f"{state.landlock=} {state.files_open=}", file=sys.stderr, flush=True)
    return state
worker_lock.install = told
from slmstudio.worker import __main__ as worker
sys.exit(worker.main(sys.argv[1:]))
"""


def locks(job: jobs.Job) -> list[dict]:
    return [event for event in job.events() if event["type"] == "lock"]


def test_hostile_code_in_a_worker_reaches_nothing_and_is_named_in_its_log(studio_home, tmp_path, monkeypatch):
    monkeypatch.setenv("SLMSTUDIO_WORKER",
                       json.dumps([sys.executable, "-P", str(ROOT / "tests/support/hostile_job.py")]))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests/support'}")
    # By paths that are relative, for what a request names as a whole the worker may read.
    (tmp_path / "outside").write_text("private")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        monkeypatch.chdir(tmp_path)
        unix.bind("socket")
        unix.listen()
        job = jobs.Job.create(tmp_path / "jobs" / "hostile", "hostile", port=tcp.getsockname()[1],
                              inside="", outside="../../outside", socket="../../socket")
        job.start()
        outcome = job.wait()
        for each in (tcp, unix):
            each.settimeout(0.0)
            with pytest.raises(BlockingIOError):
                each.accept()
    assert outcome.state == "finished", f"{outcome.details}\n{job.log_tail()}"
    attempts = outcome.result["attempts"]
    assert len(attempts) == 23
    assert [event["files_open"] for event in locks(job)] in ([""], ["this kernel has no Landlock"]), "no thread is open"
    no_landlock = ["reading a file outside", "writing a file outside"] if not locks(job)[0]["landlock"] else []
    assert [each for each in attempts if not each["blocked"] and each["what"] not in no_landlock] == []
    assert not (tmp_path / "outside.new").exists()
    log = job.log_tail(20_000)
    for call in ("socket(AF_INET, SOCK_STREAM)", "socket(AF_INET6, SOCK_STREAM)", "socket(AF_INET, SOCK_DGRAM)",
                 "socket(AF_INET, SOCK_RAW)", "connect", "io_uring_setup", "-c import socket", "ptrace"):
        assert any("network lock: refused" in line and call in line for line in log.splitlines()), (call, log)
    assert "network lock: look-up of slmstudio.invalid, asked for by process" in log


@pytest.mark.full
def test_a_locked_run_learns_the_same_bits_and_says_that_it_was_locked(studio_home, new_run, monkeypatch):
    weights = {}
    for name in ("locked", "unlocked"):
        if name == "unlocked":
            monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, "-P", "-c", UNLOCKED]))
        job = new_run(name=name, max_steps=3, seed=5, sample_max_tokens=4)
        job.start()
        assert job.wait().state == "finished", job.log_tail()
        files = sorted((job.folder / "adapter").glob("*.safetensors"))
        weights[name] = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
        summary = folder.summarise(job.folder)
        assert job.outcome().totals["events"] == (job.folder / jobs.EVENTS).stat().st_size and summary.steps == 3
        if name == "locked":
            assert [event["enforced"] for event in locks(job)] == [True]
            assert summary.locked.startswith("The system blocked its access to the network")
        else:
            assert summary.locked == "Its access to the network wasn't blocked: The test wants it so."
    assert weights["locked"] == weights["unlocked"] != []


def test_other_workers_lock_themselves_before_they_have_threads(studio_home, tmp_path):
    version = places.version(seccomp.here())
    log = tmp_path / "log"
    for words, given in ((["--interactive", "chat", str(log)], '{"command": "count"}\n{"command": "close"}\n'),
                         (["--libraries", "json"], "")):
        with open(log, "ab") as out:
            subprocess.run([sys.executable, "-P", "-c", TELLING, *words], input=given.encode(), stdout=subprocess.PIPE,
                           stderr=out, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
        assert f"state.landlock={version} state.files_open=''" in log.read_text(), log.read_text()
        log.unlink()


@pytest.mark.full
def test_a_program_that_was_started_by_hand_is_locked_too(studio_home, tmp_path):
    job = jobs.Job.create(tmp_path / "jobs" / "export", "export", run=str(tmp_path), types=[])
    subprocess.run([sys.executable, "-P", "-m", "slmstudio.worker", str(job.folder)], check=False,
                   env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert [event["enforced"] for event in locks(job)] == [True]
