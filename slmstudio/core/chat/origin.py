"""What the model that answers has learned from, and the adapters that fit it, as far as its place tells."""

from __future__ import annotations

from pathlib import Path

from slmstudio.core import jobs, paths
from slmstudio.core.errors import UserError
from slmstudio.core.model.gguf_lora import LoraFacts, fitting
from slmstudio.core.run import folder as run_folder


def train_file(gguf: Path) -> tuple[Path, str | None] | None:
    """The dataset that a run learned from, and what was said of its columns; None for a model from elsewhere.

    Args:
        gguf: an export of the run, or its folder.
    """
    folder = _run_of(gguf)
    if folder is None:
        return None
    try:
        request = jobs.Job(folder).request()
    except UserError:
        return None
    name, said = request.get("train_file"), request.get("train_map")
    return (Path(name), said if isinstance(said, str) else None) if isinstance(name, str) and name else None


def adapters(model: Path) -> list[LoraFacts]:
    """The GGUF LoRAs of all runs, and those beside the model, that fit it; newest first.

    None for a run's export of the whole model: its adapter is in it already.

    Raises:
        UserError: the model cannot be read.
    """
    if model.is_dir() or _run_of(model) is not None:
        return []
    runs = paths.runs_dir()
    found = {path.resolve() for path in runs.glob(f"*/{run_folder.EXPORTS}/*.gguf")} if runs.is_dir() else set()
    found |= {path.resolve() for path in model.parent.glob("*.gguf")}
    found.discard(model.resolve())
    return fitting(model, sorted(found, key=lambda path: path.stat().st_mtime, reverse=True))


def _run_of(gguf: Path) -> Path | None:
    if (gguf / jobs.RUN).is_file():
        return gguf
    folder = gguf.parent.parent
    return folder if gguf.parent.name == run_folder.EXPORTS and (folder / jobs.RUN).is_file() else None
