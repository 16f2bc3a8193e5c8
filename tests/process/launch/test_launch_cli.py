"""The terminal starts runs of several processes and machines, and refuses what can't be."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

from slmstudio.cli import commands
from slmstudio.core import files, jobs
from slmstudio.core.run import config_file, launch

pytestmark = pytest.mark.timeout(180)


def slmstudio(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-P", "-m", "slmstudio", *map(str, words)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, dict, str]:
    out, err = process.communicate(timeout=170)
    return process.returncode, json.loads(out.splitlines()[-1]), err


@pytest.fixture
def plan(shared_run, tmp_path, studio_home):
    """A run configuration."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(os.urandom(4096))
    (tmp_path / "rows.jsonl").write_text("".join(
        json.dumps({"instruction": f"What is {n} + 1?", "output": str(n + 1)}) + "\n" for n in range(40)))
    path = tmp_path / "plan.json"
    state = files.read_json(shared_run({}).folder / jobs.RUN)
    state.pop("beside")
    files.write_atomically(path, files.dump_pretty({**state, "processes": 1}))
    return path


def test_more_processes_than_the_machine_has_are_refused_before_anything_is_made(plan, tmp_path):
    status, said, _ = ended(slmstudio("train", plan, "--processes", 64, "--out", tmp_path / "runs", "--json"))
    assert status == 2 and said["error"]["problems"][0]["field"] == "processes"
    assert "64 processes are asked for" in said["error"]["problems"][0]["message"]
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_not_of_a_launched_run_is_refused(plan):
    assert ended(slmstudio("join", plan, "--json"))[0] == 2


@pytest.fixture
def resumed(shared_run, studio_home, tmp_path):
    """A run of two machines that was launched before."""
    for name in ("model", "rows.jsonl"):
        (tmp_path / name).mkdir()
    job = shared_run({}, processes=1, nodes=2)
    state = files.read_json(job.folder / jobs.RUN)
    state.pop("beside")
    files.write_atomically(job.folder / jobs.RUN, files.dump_pretty(state))
    launch.write(job.folder, "127.0.0.1", 4711)
    return job


@pytest.mark.parametrize("state", ["finished", "at work"])
def test_a_run_that_is_finished_or_at_work_is_not_launched_and_stays_as_it_is(resumed, capsys, state):
    job = resumed
    if state == "finished":
        jobs.write_outcome(job.folder, jobs.Outcome("finished", result={"steps": 9}))
    else:
        jobs.write_process_file(job.folder, os.getpid())
    try:
        kept = {path.name: path.read_bytes() for path in job.folder.iterdir()}
        assert commands.main(["launch", str(job.folder), "--address", "127.0.0.1"]) == 2
        said = "is already finished." if state == "finished" else "is already running."
        assert f"{job.folder.name} {said}" in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in job.folder.iterdir()} == kept
    finally:
        (job.folder / jobs.PROCESS).unlink(missing_ok=True)


def test_what_came_of_a_launched_run_is_told_at_its_end(resumed, play, capsys):
    state = files.read_json(resumed.folder / jobs.RUN)
    state |= {"objective": "text", config_file.EVALUATE: True}  # of plain text, nothing is answered
    files.write_atomically(resumed.folder / jobs.RUN, files.dump_pretty(state))
    (resumed.folder / "adapter").mkdir()
    play("start load plan:2 steps:2 finish")
    assert commands.main(["launch", str(resumed.folder), "--address", "127.0.0.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["evaluation"]["headline"]


@pytest.mark.full
def test_launch_and_join_from_two_terminals(plan, tmp_path):
    runs = tmp_path / "runs"
    first = slmstudio("launch", plan, "--nodes", 2, "--address", "127.0.0.1", "--port", free_port(), "--out", runs,
                      "--json")
    next(line for line in first.stderr if " join " in line)
    job = jobs.Job(next(runs.iterdir()))
    try:
        second = slmstudio("join", shutil.copy(job.folder / launch.FILE, tmp_path), "--json")
        assert next(event for event in job.follow() if event.get("phase") == "working" or event["type"] == "job_ended"
                    )["type"] == "phase"
        job.send("stop")
        for copy in (tmp_path / "home").rglob("join-*/run"):
            (copy / "done").touch()
        status, said, _ = ended(first)
        assert (status, said["outcome"], said["command"]) == (0, "stopped", launch.commands(2))
        assert ended(second)[1]["outcome"] == "finished"
    finally:
        job.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
