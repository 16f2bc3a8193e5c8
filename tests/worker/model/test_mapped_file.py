"""A mapped file that is read doesn't stay in this process's memory."""

from __future__ import annotations

import mmap
import sys

import psutil
import pytest
from support.wait import until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can be told so")
SIZE = 64 * 2**20


def shared_bytes() -> int:
    return int(psutil.Process().memory_info().shared)


def test_read_pages_go_back(tmp_path) -> None:
    from slmstudio.worker.parity.parity import pages_released

    path = tmp_path / "a file with spaces"
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        before = shared_bytes()
        assert sum(mapped[::4096]) == 0
        assert shared_bytes() - before > SIZE // 2
        with pages_released(path):
            until(lambda: shared_bytes() - before <= SIZE // 8)
            assert mapped[1] == 1 and mapped[SIZE - 1] == 255  # what was given back is read again
