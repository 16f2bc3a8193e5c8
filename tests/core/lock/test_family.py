"""A locked process may change and end its own threads and children, and no other process of the same user."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from slmstudio.core.jobs import processes

TRIES = """
import json, multiprocessing, os, resource, signal, subprocess, sys, threading
from slmstudio.core.lock import worker_lock
state = worker_lock.install("export", {})
other = int(sys.argv[1])
import psutil
def give(make):
    try:
        return make()
    except (OSError, psutil.AccessDenied) as error:
        return type(error).__name__
cpu = resource.getrlimit(resource.RLIMIT_CPU)
thread = threading.Thread(target=threading.Event().wait, daemon=True)
thread.start()
def ended(start):
    child = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE)
    child.stdout.readline()
    os.sched_setaffinity(child.pid, os.sched_getaffinity(0))
    psutil.Process(child.pid).nice(11)
    resource.prlimit(child.pid, resource.RLIMIT_CPU, cpu)
    return child
def grandchild():
    child = ended("import subprocess, sys; c = subprocess.Popen(['sleep', '60']); print(c.pid, flush=True); "
                  "sys.exit(-c.wait())")
    os.kill(psutil.Process(child.pid).children()[0].pid, signal.SIGTERM)
    return child.wait()
def own_child():
    child = ended("print('here', flush=True); import time; time.sleep(60)")
    child.kill()
    return child.wait()
def group():
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    os.killpg(child.pid, signal.SIGTERM)
    return child.wait()
def forked():
    child = multiprocessing.get_context("fork").Process(target=threading.Event().wait)
    child.start()
    child.terminate()
    child.join()
    return child.exitcode
print(json.dumps({"named": state.named, "others": {
    "limits": give(lambda: resource.prlimit(other, resource.RLIMIT_CPU, (1, 1))),
    "priority": give(lambda: os.setpriority(os.PRIO_PROCESS, other, 15)),
    "priorities of a user": give(lambda: os.setpriority(os.PRIO_USER, 0, 15)),
    "cores": give(lambda: os.sched_setaffinity(other, [0])),
    "scheduling": give(lambda: os.sched_setscheduler(other, os.SCHED_BATCH, os.sched_param(0))),
    "disk priority": give(lambda: psutil.Process(other).ionice(psutil.IOPRIO_CLASS_IDLE)),
    "signal": give(lambda: os.kill(other, signal.SIGTERM)), "group": give(lambda: os.killpg(other, signal.SIGTERM)),
    "descriptor": give(lambda: signal.pidfd_send_signal(os.pidfd_open(other), signal.SIGTERM)),
    "its warden": give(lambda: os.kill(worker_lock.warden().pid, signal.SIGTERM)),
    "everybody": give(lambda: os.kill(-1, signal.SIGCONT)), "exists": give(lambda: os.kill(os.getpid(), 0)),
}, "own": {
    "limits": give(lambda: resource.prlimit(os.getpid(), resource.RLIMIT_CPU, cpu) and None),
    "priority": give(lambda: psutil.Process().nice(10)), "nice": give(lambda: os.nice(1)),
    "thread's cores": give(lambda: os.sched_setaffinity(thread.native_id, os.sched_getaffinity(0))),
    "thread": give(lambda: signal.pthread_kill(thread.ident, signal.SIGCONT)),
    "child": give(own_child), "grandchild": give(grandchild), "group": give(group), "forked": give(forked)}}))
"""


def test_only_own_processes_are_changed_or_ended(linux, tmp_path):
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        try:
            done = subprocess.run([sys.executable, "-P", "-c", TRIES, str(other.pid)], capture_output=True, text=True,
                                  env=processes.worker_environment() | {"SLMSTUDIO_HOME": str(tmp_path)}, timeout=60)
            assert done.returncode == 0, done.stderr
            said = json.loads(done.stdout)
            if not said["named"]:
                pytest.skip("nobody can be asked about numbers on this kernel")
            refused = dict.fromkeys(said["others"], "PermissionError")
            assert said["others"] == refused | {"disk priority": "AccessDenied", "exists": None}
            assert other.poll() is None
        finally:
            other.kill()
    assert said["own"] == {"limits": None, "priority": None, "nice": 11, "thread's cores": None, "thread": None,
                           "child": -9, "grandchild": 15, "group": -15, "forked": -15}
