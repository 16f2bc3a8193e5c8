"""What the model that answers has learned from, and the adapters that fit it, as far as its place tells."""

from __future__ import annotations

import contextlib
from pathlib import Path

from slmstudio.core import jobs, paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import library
from slmstudio.core.model.gguf.lora import LoraFacts, fitting
from slmstudio.core.run import folder as run_folder


def train_file(gguf: Path) -> tuple[Path, str | None] | None:
    """The dataset that a run learned from, and what was said about its columns; None for a model from elsewhere.

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
        UserError: the model can't be read.
    """
    if model.is_dir() or _run_of(model) is not None:
        return []
    runs = paths.runs_dir()
    found = {path.resolve() for path in runs.glob(f"*/{run_folder.EXPORTS}/*.gguf")} if runs.is_dir() else set()
    found |= {path.resolve() for path in model.parent.glob("*.gguf")}
    found.discard(model.resolve())
    return fitting(model, sorted(found, key=lambda path: path.stat().st_mtime, reverse=True))


def base_for_strength(run: Path) -> Path:
    """A GGUF file of the base that a run's GGUF LoRA fits: Chat puts the LoRA on it at any strength.

    Raises:
        UserError: the run has no GGUF LoRA yet, or no file of its base is known.
    """
    what = tr("The strength of this adapter can't be set yet.")
    loras = list((run / run_folder.EXPORTS).glob(f"*{paths.LORA_ENDING}"))
    if not loras:
        raise UserError(what, tr("Chat sets the strength of a GGUF LoRA, and the run has no such file."),
                        tr("Export the run as GGUF LoRA first."))
    base = Path(jobs.Job(run).request()["model"])
    for found in filter(None, (library.starter_gguf(), *base.glob("*.gguf"), *base.parent.glob("*.gguf"))):
        with contextlib.suppress(UserError):
            if fitting(found, loras):
                return found
    raise UserError(what,
                    tr("That needs a GGUF file of {base} as it was before training, and there isn't one next to "
                       "it.", base=base.name),
                    tr("Open such a file in Chat, and set the strength on the right."))


def _run_of(gguf: Path) -> Path | None:
    if (gguf / jobs.RUN).is_file():
        return gguf
    folder = gguf.parent.parent
    return folder if gguf.parent.name == run_folder.EXPORTS and (folder / jobs.RUN).is_file() else None
