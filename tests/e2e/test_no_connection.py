"""The whole way under strace, with CI unset: nobody even tries to connect beyond this machine."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from slmstudio.core.lock import seccomp

pytestmark = [
    pytest.mark.timeout(1500), pytest.mark.full,
    pytest.mark.skipif(seccomp.here() is None, reason="only Linux has such a lock"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]
CALLS = "connect,sendto,sendmsg,sendmmsg,bind"
ADDRESS = re.compile(r'sa_family=(AF_\w+)(?:.*?(?:inet_addr\("|AF_INET6, (?:.*?)")([0-9a-fA-F.:]+)")?')
LOOPBACK = ("127.", "::1")


def beyond(trace: str) -> list[str]:
    """Lines of a trace in which an address outside of this machine is named, as the call that was tried."""
    found = []
    for line in trace.splitlines():
        for family, address in ADDRESS.findall(line):
            local = family in ("AF_UNIX", "AF_UNSPEC", "AF_NETLINK") or address.startswith(LOOPBACK)
            if not local:
                found.append(line)
    return found


def test_a_connection_would_be_noticed():
    line = '7 connect(3, {{sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("{}")}}, 16) = -1 EACCES'
    six = '7 connect(3, {{sa_family=AF_INET6, sin6_port=htons(80), inet_pton(AF_INET6, "{}", &sin6_addr)}}, 28) = 0'
    assert beyond(line.format("192.0.2.1")) and beyond(six.format("2001:db8::1"))
    assert not beyond(line.format("127.0.0.1")) and not beyond(six.format("::1"))
    assert not beyond('7 connect(5, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT')


@pytest.fixture
def traced(studio_home, tmp_path, monkeypatch) -> Callable[..., subprocess.Popen[str]]:
    """`traced("plan", …)`: the command in a terminal, followed with all its processes into trace.txt."""
    monkeypatch.delenv("CI", raising=False)
    probe = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("strace may not watch a process here")

    def start(*words: object) -> subprocess.Popen[str]:
        command = ["strace", "-f", "-A", "-e", f"trace={CALLS}", "-o", str(tmp_path / "trace.txt"),
                   sys.executable, "-P", "-m", "slmstudio", *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})

    return start


def test_nothing_connects_beyond_this_machine(traced, families, rows_file, tmp_path):
    def done(*words: object) -> dict:
        with traced(*words) as process:
            out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err[-3000:]
        return json.loads(out.splitlines()[-1])

    run_json = tmp_path / "run.json"
    done("plan", "--model", families / "llama3", "--data", rows_file, "--out", run_json, "--set", "max_steps=2",
         "--set", "device=cpu", "--json")
    run = done("train", run_json, "--json")["run_dir"]
    done("evaluate", run, "--json")
    gguf = done("export", run, "--type", "Q8_0", "--json")["files"][0]["path"]
    done("chat", gguf, "--prompt", "Hello!", "--max-tokens", 4, "--json")
    done("report", run, "--out", tmp_path / "report.html", "--json")
    _serve_once(traced("serve", gguf, "--json"))
    trace = (tmp_path / "trace.txt").read_text(errors="replace")
    assert beyond(trace) == []
    assert "bind(" in trace, "the server was watched"
    jobs = list(Path(run).rglob("events.jsonl"))
    assert len(jobs) >= 3
    for events in jobs:
        lock = [event for event in map(json.loads, events.read_text().splitlines()) if event["type"] == "lock"]
        assert [event["enforced"] for event in lock] == [True], events


def _serve_once(process: subprocess.Popen[str]) -> None:
    """Ask the server one question, then end it."""
    with process:
        said = json.loads(process.stdout.readline())
        address = urllib.parse.urlsplit(said["url"])
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {said['api_key']}"})
        assert connection.getresponse().status == 200
        connection.close()
        os.kill(said["pid"], 15)
        process.communicate(timeout=60)
