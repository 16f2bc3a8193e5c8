"""A process that trains with others may connect to their addresses, and to nothing else."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from slmstudio.core.jobs import processes
from slmstudio.core.lock import places, proof, seccomp

pytestmark = pytest.mark.skipif(seccomp.here() is None, reason="only Linux has such a lock")
TRIES = """
import json, os, socket, subprocess, sys
from slmstudio.core.lock import worker_lock
state = worker_lock.install("train", {})
port, other = map(int, sys.argv[1:])
def give(make):
    try:
        return make()
    except OSError as error:
        return type(error).__name__
def connect(host, port, family=socket.AF_INET, timeout=5.0):
    with socket.socket(family) as made:
        made.settimeout(timeout)
        made.connect((host, port))
        return made.recv(9).decode()
def send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"here", ("127.0.0.1", port))
def listen():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname(), 5):
            return server.accept()[1][0]
import psutil
print(json.dumps({"state": state.to_dict(), "gave": {
    "peer": give(lambda: connect("127.0.0.1", port)),
    "peer, blocking": give(lambda: connect("127.0.0.1", port, timeout=None)),
    "mapped": give(lambda: connect("::ffff:127.0.0.1", port, socket.AF_INET6)),
    "another address of this machine": give(lambda: connect("127.0.0.2", other)),
    "nobody": give(lambda: connect("192.0.2.1", 80)), "IPv6": give(lambda: connect("::1", port, socket.AF_INET6)),
    "datagram": give(send), "raw": give(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)),
    "its warden": give(lambda: os.kill(worker_lock.warden().pid, 0)),
    "own": give(listen), "Unix datagrams": give(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).close()),
    "interfaces": "lo" in psutil.net_if_addrs(),
    "child": subprocess.run([sys.executable, "-c",
                             "import socket; socket.create_connection(('127.0.0.2', %d), 3)" % other],
                            capture_output=True, text=True).stderr.strip().splitlines()[-1]}}))
"""


def test_peers_alone_are_reached(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as peer, socket.create_server(("127.0.0.2", 0)) as other:
        def answer() -> None:
            while True:
                try:
                    made, _ = peer.accept()
                except OSError:
                    return
                made.sendall(b"welcome")
                made.close()

        threading.Thread(target=answer, daemon=True).start()
        environment = processes.worker_environment() | {"RANK": "0", "MASTER_PORT": "1", "SLMSTUDIO_PEERS": "127.0.0.1",
                                                        "SLMSTUDIO_HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-P", "-c", TRIES, str(peer.getsockname()[1]),
                               str(other.getsockname()[1])], env=environment, capture_output=True, text=True,
                              timeout=60)
        other.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["gave"] == {
        "peer": "welcome", "peer, blocking": "welcome", "mapped": "welcome",
        "another address of this machine": "PermissionError", "nobody": "PermissionError", "IPv6": "PermissionError",
        "datagram": "PermissionError", "raw": "PermissionError", "own": "127.0.0.1", "Unix datagrams": None,
        "interfaces": True,
        "its warden": "PermissionError" if places.version(seccomp.here()) >= 6 else None,
        "child": "PermissionError: [Errno 13] Permission denied"}
    state = said["state"]
    assert (state["enforced"], state["peers"], state["reason"]) == (True, ["127.0.0.1"], "")
    assert (state["tried"], state["gave"]) == ("connect(192.0.2.1)", "EACCES")
    assert "network lock: refused connect" in done.stderr
    assert proof.sentence([state]) == (
        "The system blocked its access to the network except to the machines that trained with it (127.0.0.1), and to "
        "all files but its own.")


def test_without_peers_it_is_said_that_the_network_is_open(tmp_path):
    environment = {**os.environ, "RANK": "0", "MASTER_PORT": "1", "SLMSTUDIO_HOME": str(tmp_path)}
    environment.pop("SLMSTUDIO_PEERS", None)
    done = subprocess.run([sys.executable, "-P", "-c", "import json; from slmstudio.core.lock import worker_lock; "
                           "print(json.dumps(worker_lock.install('train', {}).to_dict()))"],
                          env=processes.worker_environment() | environment, capture_output=True, text=True, timeout=60)
    state = json.loads(done.stdout)
    assert not state["enforced"] and state["reason"].startswith("Several processes share this run's work")
