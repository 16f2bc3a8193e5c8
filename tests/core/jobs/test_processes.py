"""The environment that a worker gets."""

import json
import platform
import subprocess
import sys

import pytest

from slmstudio.core import jobs
from slmstudio.core.jobs import processes

AGAIN = """
import resource

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

list(map(bytearray, [20_000_000]))
before = faults()
for _ in range(3):
    bytearray(20_000_000)
print(faults() - before)
"""
"""Pages asked of the system while 20 MB are taken three times more: 4,881 where they are given back each time."""


@pytest.mark.parametrize(("kind", "stays"), [("train", True), ("fit_check", True), ("", False), ("evaluate", False)])
def test_freed_memory_stays_with_a_worker_that_trains(kind, stays):
    if platform.libc_ver()[0] == "glibc":
        done = subprocess.run([sys.executable, "-c", AGAIN], env=processes.worker_environment(kind),
                              capture_output=True, text=True, check=True)
        assert (int(done.stdout) < 1_000) == stays


def test_a_job_is_started_in_the_environment_of_its_kind(tmp_path, monkeypatch):
    say = "import os, sys; open(sys.argv[1] + '/said', 'w').write(os.environ.get('GLIBC_TUNABLES', ''))"
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, "-c", say]))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    for kind, said in (("train", processes.KEEPS_MEMORY), ("evaluate", "")):
        job = jobs.Job.create(tmp_path / kind, kind)
        job.start()
        job.wait()
        assert (job.folder / "said").read_text() == said


def test_what_the_user_set_for_the_allocator_stays(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=3")
    assert processes.worker_environment("train")["GLIBC_TUNABLES"] == "glibc.malloc.check=3"
