"""The terminal starts runs of several processes and machines, and refuses what can't be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from slmstudio.core import files, jobs
from slmstudio.core.run.launch import invitation

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
    assert "64 processes asked for" in said["error"]["problems"][0]["message"]
    assert not (tmp_path / "runs").exists()


def test_an_address_without_a_port_is_refused(studio_home):
    status, said, _ = ended(slmstudio("join", "desk", "--id", "1", "--json"))
    assert (status, said["error"]["what"]) == (2, "desk isn't an address with a port.")


@pytest.mark.full
def test_launch_and_join_from_two_terminals(plan, tmp_path):
    runs = tmp_path / "runs"
    first = slmstudio("launch", plan, "--nodes", 2, "--address", "127.0.0.1", "--port", free_port(), "--out", runs,
                      "--json")
    shown = next(line for line in first.stderr if " join " in line)
    job = jobs.Job(next(runs.iterdir()))
    try:
        invited = invitation.read(job.folder)
        assert shown.strip() == invited.command()
        second = slmstudio("join", invited.address, "--id", invited.id, "--json")
        assert next(event for event in job.follow() if event.get("phase") == "working" or event["type"] == "job_ended"
                    )["type"] == "phase"
        job.send("stop")
        for copy in (tmp_path / "home").rglob("join-*/run"):
            (copy / "done").touch()
        status, said, _ = ended(first)
        assert (status, said["outcome"], said["command"]) == (0, "stopped", invited.command())
        assert ended(second)[1]["outcome"] == "finished"
    finally:
        job.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
