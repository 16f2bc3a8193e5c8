"""A limit on a process's memory is known, and whether the process is near it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from slmstudio.core import memory_limit

PROBE = """
import resource
from slmstudio.core import memory_limit
assert memory_limit.limit() is None and not memory_limit.is_near() and memory_limit.sentence() == ""
peak = int(open("/proc/self/status").read().partition("VmPeak:")[2].split()[0]) * 1024
for factor in (3, 1.1):
    resource.setrlimit(resource.RLIMIT_AS, (int(peak * factor), resource.RLIM_INFINITY))
    print(memory_limit.is_near(), round(memory_limit.limit() / peak, 1), memory_limit.sentence()[:22])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process has used")
def test_a_process_near_its_limit() -> None:
    found = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["False 3.0 A process may use only", "True 1.1 A process may use only"]


def test_here_is_none() -> None:
    assert memory_limit.limit() is None
