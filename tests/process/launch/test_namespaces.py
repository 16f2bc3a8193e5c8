"""Two machines, each in a network name space of its own, with a cable between them: they find each other, check the
way between them, and say so when it is closed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slmstudio.core import jobs
from slmstudio.core.jobs import new
from slmstudio.core.run import launch

pytestmark = [pytest.mark.timeout(240), pytest.mark.full]
PROBE = Path(__file__).parents[2] / "support" / "launch_probe.py"
FIRST, SECOND = "10.77.31.1", "10.77.31.2"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def spaces():
    """Two name spaces with a cable between them, by name."""
    if sys.platform != "linux" or shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("this machine lets nobody make a network name space")
    tag = secrets.token_hex(2)
    names = [f"slm-{tag}-{number}" for number in (1, 2)]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", f"v1{tag}", "netns", names[0], "type", "veth", "peer", f"v2{tag}", "netns", names[1])
    except subprocess.CalledProcessError:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        pytest.skip("this machine lets nobody make a network name space")
    for name, device, address in zip(names, (f"v1{tag}", f"v2{tag}"), (FIRST, SECOND), strict=True):
        ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "set", device, "up")
    yield names
    for name in names:
        ip("netns", "del", name)


@pytest.fixture
def start(monkeypatch, spaces):
    """Starts a job on the first or on the second machine."""
    def begin(job: jobs.Job, machine: int) -> None:
        monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps(
            ["ip", "netns", "exec", spaces[machine], sys.executable, "-P", str(PROBE)]))
        job.start()

    return begin


@pytest.fixture
def first(shared_run, tmp_path, studio_home, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(os.urandom(4096))
    job = shared_run({"*": "check"}, processes=1, nodes=2)
    monkeypatch.setattr(launch, "own_addresses", lambda: [FIRST])
    launch.write(job.folder, FIRST)
    return job


def wait_for_phase(job: jobs.Job, phase: str) -> None:
    event = next(event for event in job.follow() if event["type"] == "job_ended" or event.get("phase") == phase)
    assert event["type"] == "phase", job.outcome()


def test_machines_in_name_spaces_of_their_own_check_the_way_and_train(first, start):
    start(first, 0)
    wait_for_phase(first, "waiting for machines")
    second = new.join(first.folder / launch.FILE)
    start(second, 1)
    wait_for_phase(first, "working")
    locks = [event for event in first.events() if event["type"] == "lock"]
    assert [(each["enforced"], each["peers"]) for each in locks] == [(True, [FIRST, SECOND])]
    first.send("stop")
    (second.folder / "run" / "done").touch()
    assert (first.wait().state, second.wait().state) == ("stopped", "finished")


def test_a_way_that_drops_everything_is_named_by_who_joins(first, start, spaces):
    start(first, 0)
    wait_for_phase(first, "waiting for machines")
    ip("-n", spaces[0], "route", "add", "blackhole", f"{SECOND}/32")  # what the first machine answers is lost
    second = new.join(first.folder / launch.FILE)
    start(second, 1)
    assert FIRST in second.wait().user_error().what
    first.send("stop")
    assert first.wait().state == "cancelled"
