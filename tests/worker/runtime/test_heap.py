"""A process that has grown gives back the holes that its steps left."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from slmstudio.core.jobs import processes

FRAGMENTED = """
import ctypes, json, psutil
from slmstudio.worker.training.step_times import Heap
libc, rss = ctypes.CDLL(None), lambda: psutil.Process().memory_info().rss
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
heap, before = Heap(), rss()
blocks = [libc.malloc(200_000) for _ in range(600)]
for block in blocks:
    ctypes.memset(block, 1, 200_000)
for block in blocks[::2]:
    libc.free(block)
full = rss()
heap.between_steps()          # nobody said how much is usual
heap.stay_within(full)
heap.between_steps()          # it hasn't grown
kept = rss()
heap.stay_within(int(0.8 * full))
heap.between_steps()
print(json.dumps({"before": before, "full": full, "kept": kept, "after": rss(), "given_back": heap.given_back}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own function")
def test_holes_are_given_back_once_the_process_has_grown():
    done = subprocess.run([sys.executable, "-P", "-c", FRAGMENTED], capture_output=True, text=True, check=True,
                          env=processes.worker_environment("train"))
    found = json.loads(done.stdout)
    grown = found["full"] - found["before"]
    assert grown > 100 * 10**6 and found["kept"] > found["before"] + 0.9 * grown
    assert found["given_back"] == 1 and found["after"] < found["before"] + 0.65 * grown


PRODUCTS = """
import psutil, torch
torch.set_num_threads(1)
rss = lambda: psutil.Process().memory_info().rss
weights = [torch.randn(shape, dtype=torch.bfloat16) for shape in ((512, 192), (192, 512), (192, 192), (64, 192))]

def work(tokens):
    for weight in weights:
        rows = torch.randn(tokens, weight.shape[1], dtype=torch.bfloat16)
        (rows @ weight.T) @ weight

for tokens in range(200, 210):
    work(tokens)
before = rss()
for tokens in range(210, 250):
    work(tokens)
print(rss() - before)
"""


def test_products_of_ever_other_lengths_do_not_fill_the_memory():
    """Where a processor computes bf16 in hardware, each took half a megabyte for good."""
    done = subprocess.run([sys.executable, "-P", "-c", PRODUCTS], capture_output=True, text=True, check=True,
                          env=processes.worker_environment("train"))
    assert int(done.stdout) < 60 * 10**6
