"""What Chat opens for a finished run: what it has learned, and beside it the base, so that the difference is seen."""

from __future__ import annotations

from pathlib import Path

from slmstudio.core import jobs, llama
from slmstudio.core.chat import memory
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.facts import read_model
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run.config import RunConfig

EXPORT_TYPE = "Q8_0"
"""Of the file that is made where somebody would rather chat with GGUF files: nearly as exact as the weights."""
BYTES_PER_WEIGHT, BYTES_IN_4_BITS, ROOM = 2.0, 0.6, 1.2


def of_run(run: Path) -> list[Path]:
    """The newest export of a run, else the run itself, which the worker loads as adapter on its base; then the base,
    where both fit into the memory that is free. Without the chat engine, exports can't be opened.

    Raises:
        UserError: the run has no result, or can't be read.
    """
    config = RunConfig.from_dict(jobs.Job(run).request())
    if run_folder.result_folder(run) is None:
        raise UserError(tr("{run} has no result yet.", run=config.name),
                        tr("It wasn't finished, or its result was deleted."),
                        tr("Finish the run first, or choose another one."))
    tuned = next(iter(run_folder.exported(run)), run) if llama.trouble() is None else run
    base = Path(config.model)
    try:
        weights = read_model(base).parameters
    except UserError:
        return [tuned]  # the base was moved or deleted; the worker says so where it needs it
    each = weights * (BYTES_IN_4_BITS if config.method == "qlora" else BYTES_PER_WEIGHT) * ROOM
    return [tuned, base] if each + weights * BYTES_PER_WEIGHT * ROOM < memory.free_bytes() else [tuned]


def without_export() -> list[tuple[str, Path]]:
    """Names and folders of the runs that can be talked to and have no GGUF file, the newest first."""
    return [(name, run) for name, run, _ in _finished() if not run_folder.exported(run)]


def without_engine() -> list[tuple[str, Path]]:
    """What can be talked to without the chat engine: all runs that have a result, the newest first, then their bases.
    """
    runs = _finished()
    bases = dict.fromkeys(base for *_, base in runs if base.is_dir())
    return [*((name, run) for name, run, _ in runs), *((tr("{name} (base)", name=base.name), base) for base in bases)]


def _finished() -> list[tuple[str, Path, Path]]:
    """Name, folder and base of each run that has a result, the newest first."""
    found = [(str(request.get("name") or run.name), run, Path(str(request.get("model") or "")))
             for run, request in run_folder.requests() if run_folder.result_folder(run) is not None]
    return sorted(found, key=lambda each: (each[1] / jobs.RUN).stat().st_mtime, reverse=True)
