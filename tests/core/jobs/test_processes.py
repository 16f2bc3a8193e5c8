"""The environment that a worker gets."""

import platform
import subprocess
import sys

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


def test_freed_memory_stays_with_a_worker():
    if platform.libc_ver()[0] == "glibc":
        done = subprocess.run([sys.executable, "-c", AGAIN], env=processes.worker_environment(), capture_output=True,
                              text=True, check=True)
        assert int(done.stdout) < 1_000


def test_what_the_user_set_for_the_allocator_stays(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=3")
    assert processes.worker_environment()["GLIBC_TUNABLES"] == "glibc.malloc.check=3"
