"""A job whose disk fills ends with a sentence about that, whatever its kind: room for its outcome was kept."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.small_disk import mounted

from slmstudio.core import disk_space, jobs
from slmstudio.core.errors import from_os_error

WORKER = """
import sys, types
from pathlib import Path
from slmstudio.worker import __main__ as worker

def run(job):
    with open(job.folder / "half done", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

def run_library(job):
    try:
        run(job)
    except OSError:
        raise RuntimeError("a library's own words") from None

kind = sys.argv[2]
sys.modules["filler"] = types.SimpleNamespace(run=run_library if kind == "evaluate" else run)
worker.KINDS[kind] = "filler"
sys.exit(worker.run_job(Path(sys.argv[1])))
"""
"""The worker, with a job that fills the disk."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    with mounted(tmp_path / "disk", "size=1m") as place:
        yield place


@pytest.mark.parametrize("kind", ["import", "evaluate"])
def test_the_outcome_is_written(disk: Path, kind: str) -> None:
    job = jobs.Job.create(disk / "job", kind, gguf="none.gguf", out=str(disk / "out"), models=[], test=None)
    ended = subprocess.run([sys.executable, "-P", "-c", WORKER, str(job.folder), kind], capture_output=True, text=True,
                           timeout=60)
    assert ended.returncode == 1, ended.stderr
    outcome = job.outcome()
    assert outcome is not None and outcome.state == "failed"
    full, error = from_os_error(OSError(errno.ENOSPC, ""), ""), outcome.user_error()
    assert error.why == full.why and error.remedy
    assert [event["state"] for event in job.events() if event["type"] == "job_ended"] == ["failed"]
    assert not (job.folder / disk_space.RESERVE).exists()
