"""Whether a run's checkpoints are its own: made on the base model that run.json names, and inside its folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slmstudio.core import files, program
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.files import an_object, number
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model.weights import fingerprint
from slmstudio.core.run import checkpoints, config_file, folder
from slmstudio.core.run.config import RunConfig


def check(run: Path, record: dict[str, Any], config: RunConfig) -> None:
    """Look before anything is loaded.

    Args:
        record: run.json as it is now.

    Raises:
        UserError: the checkpoints are elsewhere, or were made on another base model; or the base can't be read.
    """
    parent = run / folder.CHECKPOINTS
    if not parent.resolve().is_relative_to(run.resolve()):
        raise UserError(tr("The checkpoints of {run} aren't in its folder.", run=run.name),
                        tr("{folder} is a link to {target}. A run keeps everything in its own folder, so that nothing "
                           "else is read, overwritten or deleted.", folder=parent, target=parent.resolve()),
                        tr("Remove the link, and move the checkpoints to {folder} if they belong to this run.",
                           folder=parent))
    if not checkpoints.all_checkpoints(parent):
        return
    known = an_object(record.get("hashes"))
    base = Path(config.model)
    with os_errors_as(tr("Could not read the base model.")):
        if config_file.WEIGHTS in known:
            same = known[config_file.WEIGHTS] == (fingerprint(base) or known[config_file.WEIGHTS])
        else:  # an older run; versions of one model share config.json, so that this tells less
            same = known.get("config.json") in (None, files.sha256_of(base / "config.json"))
    if not same:
        raise UserError(tr("{run} can't be resumed: its checkpoints were made with a different base "
                           "model.", run=run.name),
                        tr("The model in {folder} isn't the one that the run started with, and what was learned on one "
                           "model means nothing on another.", folder=base),
                        tr("Restore the old base model, or put its folder into run.json; or start a new run with this "
                           "one."))


def nothing_to_resume(run: Path, events: Iterable[dict[str, Any]]) -> str | None:
    """What to say about a run that has no usable checkpoint and starts at step 0; None if it never made a step.

    Raises:
        UserError: checkpoints had been saved, and none of them is left: starting over would hide that they are lost.
    """
    saved = learned = 0
    for event in events:
        saved += event.get("type") == "checkpoint_saved"
        learned = max(learned, int(number(event, "global_step") or 0)) if event.get("type") == "step" else learned
    if saved:
        raise UserError(tr("{run} can't be resumed: all of its checkpoints are gone or damaged.", run=run.name),
                        ntr("It had trained for {n:,} step, and nothing is left to continue from.",
                            "It had trained for {n:,} steps, and nothing is left to continue from.", learned),
                        tr("Put the folder {folder} back if you moved it. To start over from step 0, create a new run "
                           "from the same configuration: {command}", folder=run / folder.CHECKPOINTS,
                           command=program.command("train", run / "run.json")))
    if learned:
        return tr("No checkpoint had been saved before the run was interrupted at step {step:,}, so training starts "
                  "again at step 0.", step=learned)
    return None
