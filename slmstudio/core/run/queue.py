"""Runs that wait their turn: an ordered list of run folders in the studio's home.

The list holds folders and nothing else that can grow old: whether a run waits, works or has failed is read from its
folder each time. Only an entry's turn is remembered, as the process that had last worked on the folder when it was
added: another process since then means that its turn has begun, whoever began it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, jobs, paths, program
from slmstudio.core.errors import Problem, UserError, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.time_estimate import TimeEstimate

FILE, LOCK = "queue.json", "queue.lock"
DONE = ("finished", "stopped", "cancelled")
"""Outcomes that take a run out of the queue; the others stay in it until somebody has seen them."""


@dataclass(frozen=True)
class Entry:
    """One run of the queue.

    Attributes:
        state: "waiting", "running", or how it ended: "failed", "crashed" or "paused" (its memory was freed).
        error: `UserError.to_dict()` of a run that failed.
        time: how long it takes, as it was planned; None if nobody said so.
    """

    folder: Path
    name: str
    state: str
    error: dict[str, Any] | None = None
    time: TimeEstimate | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"run_dir": str(self.folder), "name": self.name, "state": self.state, "error": self.error,
                **(self.time.to_dict() if self.time else {})}


def queue_file() -> Path:
    return paths.home() / FILE


def entries() -> list[Entry]:
    """The queue in its order. Runs that are done, and folders that are gone, are left out.

    Raises:
        UserError: the queue's file is damaged, or a newer program wrote it.
    """
    return [entry for item in _read() if (entry := _entry(item)) is not None]


def add(run: Path, position: int | None = None, time: TimeEstimate | None = None) -> Entry:
    """Put a run at the end, or before the entry at `position`. One that failed in the queue gets another turn.

    Args:
        time: how long it takes, where that is known.

    Raises:
        UserError: it isn't a run, is running, is finished, or is already waiting; or the queue can't be written.
    """
    run = Path(run).absolute()
    job = jobs.Job(run)
    config = RunConfig.from_dict(job.request())
    ended = job.outcome()
    if job.is_alive():
        raise UserError(tr("{run} is already running.", run=config.name), "", tr("Watch it in the Training tab."))
    if ended is not None and ended.state == "finished":
        raise UserError(tr("{run} is already finished.", run=config.name), "",
                        tr("Continue from its result: {command}",
                           command=program.command("continue", run, "--out", "NEXT.json")))
    with _changing() as items:
        known = next((item for item in items if item["folder"] == str(run)), None)
        entry = _entry(known) if known else None
        if entry is not None and entry.state == "waiting":
            raise UserError(tr("{run} is already in the queue.", run=config.name), "",
                            tr("Move it in the queue instead."))
        if known is not None:
            items.remove(known)
        items.insert(len(items) if position is None else max(0, position),
                     {"folder": str(run), "process": _process(run), "error": None,
                      "time": time and time.to_dict()})
    return Entry(run, config.name, "waiting", time=time)


def remove(run: Path) -> None:
    """Take a run out of the queue. Its folder stays, and a running run continues.

    Raises:
        UserError: it isn't in the queue; or the queue can't be written.
    """
    with _changing() as items:
        items.remove(_find(items, run))


def move(run: Path, position: int) -> None:
    """Move a run to another place in the queue, counted from 0 among `entries()`.

    Raises:
        UserError: it isn't in the queue; or the queue can't be written.
    """
    with _changing() as items:
        item = _find(items, run)
        items.remove(item)
        items.insert(max(0, position), item)


def start_next() -> jobs.Job | None:
    """Start the run whose turn is next, unless one is running. One that can't be started is passed over.

    Such a run stays in the queue as "failed", with its error, and doesn't keep the others waiting.

    Returns:
        The job that was started, or None: a run is running, or none waits.

    Raises:
        UserError: the queue can't be read or written.
    """
    with _changing() as items:
        found = [(item, entry) for item in items if (entry := _entry(item)) is not None]
        if folder.running() is not None or any(entry.state == "running" for _, entry in found):
            return None
        for item, entry in found:
            if entry.state != "waiting":
                continue
            job = jobs.Job(entry.folder)
            try:
                job.start()
            except UserError as error:
                item["error"] = error.to_dict()
            else:
                return job
    return None


def at_work() -> jobs.Job | None:
    """The run that is running: of the queue, or any other in the studio's home."""
    own = next((entry for entry in entries() if entry.state == "running"), None)
    return jobs.Job(own.folder) if own is not None else folder.running()


def _entry(item: dict[str, Any]) -> Entry | None:
    """What the run's folder says about it now; None if it is gone, no run any more, or done."""
    run = Path(item["folder"])
    job = jobs.Job(run)
    try:
        name = RunConfig.from_dict(job.request()).name
        ended = job.outcome()
    except formats.NewerFormat as error:
        return Entry(run, run.name, "failed", error.to_dict())
    except (UserError, OSError):
        return None
    if ended is None and job.is_alive():
        return Entry(run, name, "running")
    if ended is not None and ended.state == "finished":
        return None
    if item.get("error"):
        return Entry(run, name, "failed", item["error"])
    if ended is None or _process(run) == item.get("process"):
        return Entry(run, name, "waiting", time=TimeEstimate.from_dict(item.get("time")))
    return None if ended.state in DONE else Entry(run, name, ended.state, ended.error)


def _process(run: Path) -> list[float] | None:
    state = files.read_json(run / jobs.PROCESS)
    return None if state is None else [state.get("pid", 0), state.get("start_ticks", state.get("create_time", 0.0))]


def _find(items: list[dict[str, Any]], run: Path) -> dict[str, Any]:
    wanted = str(Path(run).absolute())
    for item in items:
        if item["folder"] == wanted:
            return item
    raise UserError(tr("{run} isn't in the queue.", run=Path(run).name), "",
                    tr("To see what is in it: {command}", command=program.command("queue", "list")))


def _read() -> list[dict[str, Any]]:
    path = queue_file()
    if not path.exists():
        return []
    state = formats.read("queue", path)
    items = state.get("runs") if state else None
    if not isinstance(items, list) or not all(isinstance(i, dict) and isinstance(i.get("folder"), str) for i in items):
        raise UserError(tr("{file} is damaged.", file=path), tr("It isn't a list of runs."),
                        tr("Remove the file, and add the runs again; the runs themselves aren't touched."),
                        [Problem(tr("It isn't a list of runs."), field="runs")])
    return items


@contextmanager
def _changing() -> Iterator[list[dict[str, Any]]]:
    """The queue's items, to be changed in place; written when the block ends well. One process at a time."""
    import filelock

    with os_errors_as(tr("Could not change the queue.")):
        paths.home().mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(paths.home() / LOCK):
            items = [item for item in _read() if _entry(item) is not None]
            yield items
            files.write_atomically(queue_file(), files.dump_pretty({**formats.stamp("queue"), "runs": items}))
