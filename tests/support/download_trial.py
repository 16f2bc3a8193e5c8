"""Kills a download again and again, with all its processes, and proves that nothing that was fetched is lost.

A slow hub serves a model of some megabytes. Its job gets SIGKILL at random moments and is started again until the model
is there. What lay on the disk when it was killed must never be asked for again.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from support import model_hub

from slmstudio.core import files, jobs, paths
from slmstudio.core.jobs import new
from slmstudio.core.model.hub import place

REPO = "acme/some-megabytes"
WIDTH = 33_000
"""Of the layers: 3.2 MB."""
POLL = 0.002


@dataclass
class Report:
    """What the trial showed.

    Attributes:
        kills: how many.
        in_files: how many of them while a file was half there.
        models: how many downloads came to their end.
        served: bytes that the hub sent for them.
        size: bytes of the model.
        faults: everything that wasn't as it must be.
    """

    kills: int = 0
    in_files: int = 0
    models: int = 0
    served: int = 0
    size: int = 0
    faults: list[str] = field(default_factory=list)


def run(hub: model_hub.ModelHub, kills: int, seed: int = 0) -> Report:
    """Kill downloads of `REPO` from `hub` so many times: while they begin, in the middle of files, and at their end."""
    report, chance = Report(), random.Random(seed)
    partial = place.partial_of(paths.models_dir() / "some-megabytes")
    aims = [chance.choice(["start", "files", "files", "files", "end"]) for _ in range(kills - 1)] + ["files"]
    job = new.download(REPO)
    while aims:
        held = _held(partial)
        hub.asked_for.clear()
        job.start()
        if not _wait(job, hub, aims[-1], sum(held.values()), chance):
            _check_end(job, hub, report)  # it came to its end before the kill
            shutil.rmtree(paths.models_dir())
            continue
        _kill(job)
        aims.pop()
        report.kills += 1
        report.in_files += any(partial.glob(".*.incomplete"))
        report.faults += _asked_again(hub, held)
        outcome = job.outcome()
        if outcome is None or outcome.state != "crashed":
            report.faults.append(f"a killed download was called {outcome and outcome.state}")
    held = _held(partial)
    hub.asked_for.clear()
    job.start()
    job.wait(lambda event: None)
    report.faults += _asked_again(hub, held)
    _check_end(job, hub, report)
    report.served = hub.served
    return report


def _held(partial: Path) -> dict[str, int]:
    """By file, the bytes that lie on the disk."""
    wanted = place.files_of(place.read_record(partial)).values()
    return {file.name: place.arrived(partial, file) for file in wanted}


def _wait(job: jobs.Job, hub: model_hub.ModelHub, aim: str, held: int, chance: random.Random) -> bool:
    """Wait for the moment of a kill; False when the job came to its end before.

    Args:
        held: bytes that are on the disk.
    """
    left = max(1, sum(map(len, hub.models[REPO].values())) - held)
    more = {"start": 0, "files": chance.randrange(max(1, left // 3)), "end": left - 8 * model_hub.PIECE}
    served = hub.served + more[aim]
    delay = chance.uniform(0.0, {"start": 1.0, "files": 0.0, "end": 0.2}[aim])
    while hub.served < served or (aim == "files" and not hub.asked_for):
        if job.outcome() is not None:
            return False
        time.sleep(POLL)
    time.sleep(delay)
    return job.outcome() is None


def _kill(job: jobs.Job) -> None:
    state = files.read_json(job.folder / jobs.PROCESS)
    assert state is not None
    with contextlib.suppress(psutil.NoSuchProcess):
        worker = psutil.Process(state["pid"])
        tree = [*worker.children(recursive=True), worker]
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(tree, timeout=60)


def _asked_again(hub: model_hub.ModelHub, held: dict[str, int]) -> list[str]:
    first: dict[str, int] = {}
    for name, begin in hub.asked_for:
        first.setdefault(name, begin)
    return [f"{name} was asked for from byte {begin:,}, and {held[name]:,} bytes of it were there"
            for name, begin in first.items() if begin < held.get(name, 0)]


def _check_end(job: jobs.Job, hub: model_hub.ModelHub, report: Report) -> None:
    outcome = job.outcome()
    if outcome is None or outcome.state != "finished" or outcome.result["problem"]:
        report.faults.append(f"the download ended as {outcome}")
        return
    folder = Path(outcome.result["path"])
    wrong = [name for name in place.files_of(place.read_source(folder))
             if (folder / name).read_bytes() != hub.models[REPO][name]]
    if wrong or list(folder.glob(".*")) or list(folder.parent.glob(".*")):
        report.faults.append(f"what was fetched is not whole: {wrong}")
    report.models += 1
    report.size += outcome.result["bytes"]
