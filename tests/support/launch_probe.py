"""A worker whose runs are small enough to see what happens around the processes that share one:
`python launch_probe.py JOB_FOLDER`. No model and no PyTorch is in it, but for the preflight.

What each process does stands in the variable LAUNCH_PROBE, a JSON object by rank ("*" is every other): "work" works
until the first process is told to stop, "fail" raises, "refuse" raises what a person can mend, "leave" ends without a
word, "lost" fails as one whose neighbour is gone, "neighbour" does so once process 1 is really gone; "check" makes the
preflight first; "check other torch" and "check other model" make it with another report; "late" never
comes to it. Each leaves its pid in the folder LAUNCH_PROBE_BESIDE, before it is locked; the first machine's run calls
it "beside", so that its processes may look there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from slmstudio.core.errors import UserError
from slmstudio.core.run import config_file
from slmstudio.core.run.config import RunConfig
from slmstudio.worker import __main__ as worker
from slmstudio.worker.runtime import ranks
from slmstudio.worker.runtime.context import JobContext


def run(job: JobContext) -> dict[str, Any]:
    todo = json.loads(os.environ["LAUNCH_PROBE"])
    mine = todo.get(str(ranks.rank()), todo.get("*", "work"))
    print(f"process {ranks.rank()} is to {mine}", flush=True)
    if mine == "fail":
        raise RuntimeError("no such luck")
    if mine == "refuse":
        raise UserError("The moon is in the wrong phase.", "", "Wait for a week.")
    if mine == "leave":
        os._exit(7)
    if mine == "neighbour":
        _until_neighbour_is_gone(job)
    if mine in ("lost", "neighbour"):
        raise ranks.FirstFailed
    if mine.startswith("check"):
        _check(job, mine)
    job.phase("working", f"{ranks.world_size()} of them, pid {os.getpid()}")
    done = job.folder / "done"
    while not done.exists():
        if mine != "late" and job.cancelled():
            done.touch()
        time.sleep(0.02)
    return {"state": "stopped", "rank": ranks.rank(), "agent": os.getppid()}


def _until_neighbour_is_gone(job: JobContext) -> None:
    job.phase("working")
    other = Path(job.request["beside"]) / "pid-1"
    while not other.exists() or psutil.pid_exists(int(other.read_text() or os.getpid())):
        time.sleep(0.02)


def _check(job: JobContext, what: str) -> None:
    from slmstudio.worker.training import preflight

    preflight.SECONDS = float(os.environ.get("LAUNCH_PROBE_SECONDS", preflight.SECONDS))
    honest = preflight.report
    other = {"check other torch": {"versions": {**config_file.versions(), "torch": "1.0"}},
             "check other model": {"model": "another"}}.get(what, {})
    preflight.report = lambda *of: honest(*of) | other
    preflight.check(job, RunConfig.from_dict(job.request))


if __name__ == "__main__":
    sys.modules["launch_probe"] = sys.modules["__main__"]
    worker.KINDS["train"] = "launch_probe"
    if "RANK" in os.environ:
        Path(os.environ["LAUNCH_PROBE_BESIDE"], f"pid-{ranks.rank()}").write_text(str(os.getpid()))
    sys.exit(worker.main(sys.argv[1:]))
