"""A job that prints without end and crashes: its log stays short and still says why."""

from __future__ import annotations

import json
import os
import sys

from slmstudio.core import jobs
from slmstudio.worker.runtime import interactive

STARTED_AS = """
import sys
from slmstudio.worker import __main__ as worker
worker.KINDS["noise"] = "noise"
sys.exit(worker.main(sys.argv[1:]))
"""
NOISE = """
import os
import time
from slmstudio.worker.runtime import interactive

def run(job):
    print("first words")
    for number in range(60_000):
        print("warning: number", number, "x" * 500)
    until_short()
    job.emit("phase", phase="the end")
    for number in range(50_000):
        print("the same words again " * 20)
    until_short()
    print("last words", flush=True)
    os.abort()

def until_short():
    while os.fstat(2).st_size > interactive.LIMIT:
        time.sleep(0.01)
"""


def test_the_log_of_a_job_is_bounded_and_its_end_says_why(tmp_path, monkeypatch) -> None:
    (tmp_path / "start.py").write_text(STARTED_AS)
    (tmp_path / "noise.py").write_text(NOISE)
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, str(tmp_path / "start.py")]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    job = jobs.Job.create(tmp_path / "job", "noise")
    job.start()
    outcome = job.wait()
    assert outcome.state == "crashed" and outcome.error is not None
    assert "last words" in outcome.details and "Fatal Python error: Aborted" in outcome.details
    text = (job.folder / jobs.LOG).read_text("utf-8")
    assert len(text) < 2 * interactive.LIMIT, "52 MB were printed"
    assert "first words\n" in text[:1000] and "bytes are left out here" in text
