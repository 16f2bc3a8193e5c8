"""A worker whose job is small enough to see who speaks for it: `python rank_probe.py JOB_FOLDER`.

Rank 0 works until it is told to stop; the other ranks are done at once.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from slmstudio.worker import __main__ as worker
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.runtime.ranks import rank


def run(job: JobContext) -> dict[str, Any]:
    job.phase("working", f"rank {rank()}")
    while rank() == 0 and not job.cancelled():
        time.sleep(0.02)
    return {"rank": rank(), "commands": len(job.commands())}


if __name__ == "__main__":
    sys.modules["rank_probe"] = sys.modules["__main__"]
    worker.KINDS["probe"] = "rank_probe"
    sys.exit(worker.main(sys.argv[1:]))
