"""Fetches a benchmark's data from the hub, once and on the user's word, and keeps them for use offline.

    {"kind": "fetch_benchmark", "name": a task or group of lm_eval}

An evaluation whose benchmark says `"fetch": true` does the same before it begins, by this module as a process of its
own. The network is used by a child process alone (`fetch_child`): this one stays offline, and Cancel ends that one in
the middle of a download.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmstudio.core import files, leftovers, paths, units
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.evaluation import benchmark_store as store
from slmstudio.core.formats import NewerFormat
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.lock import worker_lock
from slmstudio.worker.benchmark.tasks import Source, sources_of
from slmstudio.worker.runtime import child
from slmstudio.worker.runtime.context import JobContext

PHASE = "fetching"


def run(job: JobContext) -> dict[str, Any]:
    """
    Returns:
        {"name", "data_sets": how many, "rows", "bytes", "sentence": where they came from}.
    """
    found = fetch(job, job.request["name"])
    return {"name": found.name, "data_sets": len(found.data_sets), "rows": sum(each.rows for each in found.data_sets),
            "bytes": found.bytes, "sentence": found.sentence()}


def fetch(job: JobContext, name: str) -> store.Fetched:
    """Fetch what isn't here yet, or no longer complete. A complete dataset stays, whatever happens to the others.

    Raises:
        UserError: the benchmark isn't known, or the hub can't be reached, or doesn't have it.
        Cancelled: the user asked this job to end.
    """
    known = _known(name)
    job.phase("looking up the benchmark", name)
    wanted = sources_of(name)
    if known and wanted.keys() <= known.tasks.keys():
        job.log(f"The data of {name} are here already: {known.sentence()}.")
        return known
    folders = {task: store.folder_of(source.dataset, source.part, source.options) for task, source in wanted.items()}
    place = paths.benchmarks_dir()
    with os_errors_as(tr("Could not save the benchmark's data.")):
        (place / store.DATA).mkdir(parents=True, exist_ok=True)
        leftovers.remove_dead(place.glob(leftovers.FETCH + "*"))
        left = {folder: wanted[task] for task, folder in folders.items()
                if not store.is_whole(place / store.DATA / folder)}
        if left:
            _download(job, left, place)
        store.write_record(name, folders)
    found = store.find(name)
    assert found is not None
    job.log(f"Fetched {units.format_bytes(found.bytes)}: {found.sentence()}.")
    return found


def _known(name: str) -> store.Fetched | None:
    """What was fetched of the benchmark; None if a part of it isn't whole: then it is fetched again."""
    try:
        return store.find(name)
    except NewerFormat:
        raise
    except UserError:
        return None


def _download(job: JobContext, left: dict[str, Source], place: Path) -> None:
    partial = leftovers.of_fetch(os.getpid())
    shutil.rmtree(partial, ignore_errors=True)
    cache = partial / "hub"
    job.phase(PHASE, ntr("{n:,} dataset from the hub", "{n:,} datasets from the hub", len(left))
              if len(left) > 1 else next(iter(left.values())).dataset)
    job.progress(0, len(left), "data sets", PHASE)
    told = [0, 0.0]

    def poll(report: dict[str, Any]) -> None:
        done, size = int(report.get("done") or 0), sum(files.sizes_below(cache))
        if [done, size] != told:
            told[:] = done, size
            job.emit("progress", phase=PHASE, done=done, total=len(left), unit="data sets", bytes=size,
                     detail=tr("{size} so far", size=units.format_bytes(size)) if size else "")

    request = {"place": str(place / store.DATA), "partial": str(partial), "half_done": [str(partial)],
               "trouble": tr("Could not save the benchmark's data."), "wanted": [
        {"folder": folder, "dataset": source.dataset, "part": source.part, "options": source.options}
        for folder, source in left.items()]}
    environment = {**child.ONLINE, "HF_HOME": str(cache), "HF_HUB_CACHE": str(cache / "hub"),
                   "HF_DATASETS_CACHE": str(cache / "datasets")}
    try:
        child.run(job, "slmstudio.worker.benchmark.fetch_child", request, [], poll, environment,
                  tr("The download of the benchmark ended unexpectedly."))
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    job.progress(len(left), len(left), "data sets", PHASE)


class _Context(JobContext):
    """The evaluation's events. Cancel is for the evaluation: it ends this process."""

    def cancelled(self) -> bool:
        return False


def _work(request: dict[str, Any], report: Callable[..., None]) -> None:
    """Fetch request["name"]; events go to the job in request["folder"]. Raises UserError: as `fetch`."""
    folder = Path(request["folder"])
    worker_lock.install("fetch_benchmark", request, folder)
    fetch(_Context(folder, request), request["name"])


if __name__ == "__main__":
    sys.exit(child.serve(Path(sys.argv[1]), _work))
