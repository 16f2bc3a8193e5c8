"""What a killed export, import or download leaves half done is removed, or it is said where it lies."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from support.wait import until

from slmstudio.core import files, jobs, leftovers, paths

WORKER = """
import os, subprocess, sys, time
from pathlib import Path
from slmstudio.core import files, jobs, leftovers

folder = Path(sys.argv[1])
request = jobs.Job(folder).request()
if request["kind"] == "export":
    made = [Path(request["run"]) / "exports" / f".pune-{kind}.{os.getpid()}.partial" for kind in ("F16", "MERGED")]
else:
    made = [leftovers.of_import(Path(request["out"]), os.getpid()) if request["kind"] == "import"
            else leftovers.of_fetch(os.getpid())]
for path in made:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.startswith(".pune-F16"):
        path.write_bytes(b"half")
    else:
        path.mkdir()
        (path / "model.safetensors").write_bytes(b"half")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(folder / "x.request.json")])
files.append_line(folder / jobs.EVENTS, {"protocol": 1, "type": "made", "made": list(map(str, made)),
                                         "child": child.pid})
time.sleep(600)
"""


@pytest.fixture
def at_work(studio_home, tmp_path, monkeypatch):
    """A job whose worker is in the middle of it, and the event in which it says what it has made."""
    def make(kind: str) -> tuple[jobs.Job, dict]:
        (tmp_path / "worker.py").write_text(WORKER)
        monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, str(tmp_path / "worker.py")]))
        out = {"out": str(tmp_path / "models" / "my [new] model")} if kind == "import" else {}
        job = jobs.Job.create(tmp_path / "job", kind, run=str(tmp_path / "run"), **out)
        job.start()
        event = next(event for event in job.follow() if event["type"] == "made")
        assert all(Path(path).exists() for path in event["made"])
        jobs_made.append(job)
        return job, event

    jobs_made: list[jobs.Job] = []
    yield make
    for job in jobs_made:
        job.kill()


@pytest.fixture
def killed(at_work):
    """The same after somebody has killed the worker."""
    def make(kind: str) -> tuple[jobs.Job, dict]:
        job, event = at_work(kind)
        os.kill(job._process.pid, signal.SIGKILL)
        job._process.wait(60)
        return job, event

    return make


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("kind", ["export", "import", "fetch_benchmark"])
def test_whoever_learns_of_the_kill_removes_it(kind, killed):
    job, event = killed(kind)
    places = {Path(path).parent for path in event["made"]}
    for place in places:
        (place / "older.gguf").write_text("kept")
        (place / ".other.1.partial").write_text("of another process")
    outcome = jobs.Job(job.folder).outcome()
    assert outcome.state == "crashed"
    assert outcome.error["remedy"] == "No unfinished files were left behind. Start it again."
    for place in places:
        assert sorted(path.name for path in place.iterdir()) == [".other.1.partial", "older.gguf"]
    until(lambda: has_ended(event["child"]), "what the worker had started is killed too")


def test_a_cancel_that_has_to_kill_removes_it_too(at_work):
    job, event = at_work("export")
    job.kill()
    assert not any(Path(path).exists() for path in event["made"])


def test_what_cannot_be_removed_is_named(killed):
    """The number of the dead process is another one's by now, whose files these may be."""
    job, event = killed("import")
    mine = leftovers.of_import(Path(job.request()["out"]), os.getpid())
    Path(event["made"][0]).rename(mine)
    state = {**files.read_json(job.folder / jobs.PROCESS), "pid": os.getpid(), "create_time": 0.0}
    files.write_atomically(job.folder / jobs.PROCESS, files.dump_pretty(state))
    error = jobs.Job(job.folder).outcome().error
    assert error["remedy"] == f"Its unfinished files couldn't be removed: {mine}. Start it again." and mine.exists()


@pytest.mark.parametrize("damage", [{}, {"kind": "export"}, {"kind": "export", "run": 7}, {"kind": ["export"]},
                                    {"kind": "import", "out": None}])
def test_a_damaged_request_names_nothing(damage, studio_home):
    assert leftovers.find(damage, 7) == []
    leftovers.remove(paths.home(), damage, 7)
