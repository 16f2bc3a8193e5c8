"""Fetches a benchmark for an evaluation, in a process of its own: the evaluation's may not use the network."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmstudio.core.lock import worker_lock
from slmstudio.worker.runtime import child
from slmstudio.worker.runtime.context import JobContext


class _Context(JobContext):
    """The evaluation's events. Cancel is for the evaluation: it ends this process."""

    def cancelled(self) -> bool:
        return False


def work(request: dict[str, Any], report: Callable[..., None]) -> None:
    """Fetch request["name"]; events go to the job in request["folder"]. Raises UserError: as `fetch_job.fetch`."""
    folder = Path(request["folder"])
    worker_lock.install("fetch_benchmark", request, folder)
    from slmstudio.worker.benchmark.fetch_job import fetch

    fetch(_Context(folder, request), request["name"])


if __name__ == "__main__":
    sys.exit(child.serve(Path(sys.argv[1]), work))
