"""Fetches a base model from the hub, on the user's word.

    {"kind": "download", "name": what names it, "revision": or null, "endpoint": or null}

The network is used by a child process alone (`fetch_child`). The model arrives in a hidden folder beside its place,
which is renamed when it is whole; whatever ends this process, the next one continues from there. The command
"pause" ends the download and keeps that, "cancel" removes it.
"""

from __future__ import annotations

import collections
import os
import shutil
import time
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, paths, units
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import tr
from slmstudio.core.model.hub import names, place
from slmstudio.core.model.vetting import vet
from slmstudio.core.model.weights import INDEX
from slmstudio.core.run import time_estimate
from slmstudio.core.run.time_estimate import Timing
from slmstudio.core.time_left import ProgressLeft
from slmstudio.worker.runtime import child
from slmstudio.worker.runtime.context import Cancelled, JobContext
from slmstudio.worker.runtime.cooling import Awake

PHASE, CHECKING = "downloading", "checking"
TELL_SECONDS = 0.5
SPEED_SECONDS = 5.0
"""The speed shown is that of this many seconds."""
LEAST_TIMED = 2**20
"""Fewer bytes say nothing about the speed of the network."""
_CHANGED = "changed"
"""In the name of a file that isn't what was fetched."""
_BEFORE_IT_IS_REFUSED = {place.RECORD, "config.json", INDEX}
"""What has arrived when a model is refused for what it is."""


class _Paused(Exception):
    """The user wants to continue later."""


def run(job: JobContext) -> dict[str, Any]:
    """
    Returns:
        {"path", "name", "repo", "commit", "bytes", "fetched": whether anything had to be, "problem": why it can't be
        used as a base model, as `UserError.to_dict` has it, or None}; with "state": "paused" only "repo", "bytes" and
        "total".

    Raises:
        UserError: it can't be downloaded; what has arrived is kept.
        Cancelled: nothing is kept.
    """
    import filelock

    named = names.parse(job.request["name"])
    revision = job.request.get("revision") or named.revision
    endpoint = place.current(job.request.get("endpoint"))
    try:
        folder = place.choose(named.repo, revision)
        locks = paths.cache_dir() / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(locks / f"{folder.name}.lock", blocking=False):
            return _get(job, named.repo, revision, endpoint, folder)
    except filelock.Timeout:
        raise UserError(tr("{repo} is already being downloaded.", repo=named.repo),
                        tr("Another process is working on it."),
                        tr("Wait until it is done, or pause that one.")) from None
    except OSError as error:
        raise from_os_error(error, tr("Could not save {model}.", model=named.repo)) from error


def _get(job: JobContext, repo: str, revision: str | None, endpoint: str, folder: Path) -> dict[str, Any]:
    partial, was_there = place.partial_of(folder), folder.exists()
    if was_there:
        if _is_whole(job, folder):
            job.log(tr("{repo} is already on this machine.", repo=repo))
            return _result(job, folder, fetched=False)
        shutil.rmtree(partial, ignore_errors=True)
        os.replace(folder, partial)  # what is complete of it needn't be downloaded again
    partial.mkdir(parents=True, exist_ok=True)
    if place.read_record(partial) is None:
        place.write_record(partial, repo, revision, endpoint=endpoint)
    try:
        _download(job, repo, revision, endpoint, partial)
        _put_in_place(job, partial, folder, endpoint)
    except _Paused:
        wanted = place.files_of(place.read_record(partial)).values()
        job.log(tr("Paused. What was downloaded is kept."))
        return {"state": "paused", "repo": repo, "bytes": sum(place.arrived(partial, file) for file in wanted),
                "total": sum(file.size for file in wanted)}
    except Cancelled:
        if was_there:
            _put_back(partial, folder)
        else:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    except (UserError, OSError):
        if was_there:
            _put_back(partial, folder)
        elif not any(entry.name not in _BEFORE_IT_IS_REFUSED and entry.stat().st_size for entry in partial.iterdir()):
            shutil.rmtree(partial, ignore_errors=True)
        raise
    return _result(job, folder, fetched=True)


def _put_back(partial: Path, folder: Path) -> None:
    """Give a model that was here before its name again, and the user's own files theirs, as far as they aren't
    fetched."""
    if folder.exists():
        return
    for aside in sorted(partial.glob(f"*.{_CHANGED}-*"), reverse=True):
        original = partial / aside.name.partition(f".{_CHANGED}-")[0]
        if not original.exists():
            aside.replace(original)
    (partial / place.RECORD).unlink(missing_ok=True)
    os.replace(partial, folder)


def _is_whole(job: JobContext, folder: Path) -> bool:
    """Whether a model that was fetched before is still what it was. What isn't is set aside, and fetched again."""
    source = place.read_source(folder) or {}
    known = place.files_of(source)
    job.phase(CHECKING, folder.name)
    damaged = []
    for name, file in known.items():
        job.check_cancelled()
        if not (folder / name).is_file() or (folder / name).stat().st_size != file.size or (
                files.sha256_of(folder / name) != file.sha256):
            damaged.append(name)
    if known and not damaged:
        return True
    for name in damaged:
        if (folder / name).exists():  # somebody may have changed it
            files.put_aside(folder / name, _CHANGED)
    # As the hub lists them: small files by git's hash, large ones by SHA-256.
    listed = [place.RemoteFile(file.name, file.size, "" if file.blob_id else file.sha256, file.blob_id)
              for file in known.values()]
    place.write_record(folder, source["repo"], source.get("revision"), str(source.get("commit")), listed)
    job.log(tr("{folder} is no longer complete ({files}). What is missing is downloaded again.", folder=folder.name,
               files=", ".join(damaged[:3])))
    return False


def _download(job: JobContext, repo: str, revision: str | None, endpoint: str, partial: Path) -> None:
    job.phase("looking up the model", repo)
    progress, awake = _Progress(job, partial), Awake(job)

    def poll(report: dict[str, Any]) -> None:
        if any(command.get("command") == "pause" for command in job.commands()):
            raise _Paused
        progress.update(report)

    lock = paths.cache_dir() / "locks" / f"{partial.name}.lock"
    request = {"repo": repo, "revision": revision, "endpoint": endpoint, "partial": str(partial), "lock": str(lock),
               "trouble": tr("Could not save {model}.", model=repo)}
    awake.on()
    try:
        child.run(job, "slmstudio.worker.download.fetch_child", request, [], poll, child.ONLINE,
                  tr("The download ended unexpectedly."))
    finally:
        awake.off()
    progress.update({}, last=True)


class _Progress:
    """Tells how much has arrived, from what is on the disk."""

    def __init__(self, job: JobContext, partial: Path):
        self._job, self._partial = job, partial
        self._wanted: list[place.RemoteFile] = []
        self._began, self._since = 0, 0.0
        self._left = ProgressLeft(0.0)
        self._seen: collections.deque[tuple[float, int]] = collections.deque()
        self._waited: Any = None

    def update(self, report: dict[str, Any], last: bool = False) -> None:
        """Look at the disk, at most twice a second.

        Args:
            report: the child's newest.
        """
        if report.get("waiting") and report.get("waited") != self._waited:
            self._waited = report.get("waited")
            self._job.warn("waiting", str(report["waiting"]))
        now = time.monotonic()
        if not (last or ("total" in report and (not self._seen or now - self._seen[-1][0] >= TELL_SECONDS))):
            return
        if not self._wanted:
            self._wanted = list(place.files_of(place.read_record(self._partial)).values())
            self._began, self._since, self._left = self._arrived(), now, ProgressLeft(now)
            self._job.phase(PHASE, "")
        self._report(now, report)
        if last and (arrived := self._arrived() - self._began) >= LEAST_TIMED:
            time_estimate.record(Timing.now(time_estimate.DOWNLOADING, arrived, now - self._since))

    def _arrived(self) -> int:
        return sum(place.arrived(self._partial, file) for file in self._wanted)

    def _report(self, now: float, report: dict[str, Any]) -> None:
        done, total = self._arrived(), sum(file.size for file in self._wanted)
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= SPEED_SECONDS:
            self._seen.popleft()
        (then, before), seconds = self._seen[0], now - self._seen[0][0]
        speed = max(0, done - before) / seconds if then < now else 0.0
        whole = sum((self._partial / file.name).is_file() for file in self._wanted)
        words = [tr("{done} of {total}", done=units.format_bytes(done), total=units.format_bytes(total))]
        words += [tr("{size}/s", size=units.format_bytes(speed))] if speed else []
        if report.get("checking"):
            words = [tr("checking {file}", file=report.get("current"))]
        self._job.emit("progress", phase=PHASE, done=done, total=total, unit="bytes", detail=" · ".join(words),
                       files_done=whole, files=len(self._wanted), bytes_per_second=round(speed),
                       seconds_left=self._left.update(max(0, done - self._began), total - self._began, now))


def _put_in_place(job: JobContext, partial: Path, folder: Path, endpoint: str) -> None:
    """Say where the model is from, and give the whole of it its name."""
    record = place.read_record(partial)
    assert record is not None
    content = []
    for file in place.files_of(record).values():
        job.check_cancelled()
        content.append({**vars(file), "sha256": file.sha256 or files.sha256_of(partial / file.name)})
    source = {**formats.stamp("model source"), "repo": record["repo"], "revision": record["revision"],
              "commit": record["commit"], "endpoint": endpoint, "fetched": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
              "files": content}
    files.write_atomically(partial / place.SOURCE, files.dump_pretty(source))
    os.replace(partial, folder)
    files.fsync_folder(folder.parent)
    (folder / place.RECORD).unlink()


def _result(job: JobContext, folder: Path, fetched: bool) -> dict[str, Any]:
    source = place.read_source(folder) or {}
    problem = None
    try:
        vet.read_vetted(folder)
    except UserError as error:
        problem = error.to_dict()
        job.warn("unusable", tr("It arrived complete, but can't be used as a base model: {reason}",
                                reason=error.why or error.what))
    return {"path": str(folder), "name": folder.name, "repo": source.get("repo"), "commit": source.get("commit"),
            "bytes": sum(file.size for file in place.files_of(source).values()), "fetched": fetched,
            "problem": problem}
