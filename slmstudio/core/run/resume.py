"""Whether a run's checkpoints are its own: made on the base model that run.json names, and inside its folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slmstudio.core import files, program
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.files import an_object
from slmstudio.core.i18n import tr
from slmstudio.core.model.fingerprint import fingerprint
from slmstudio.core.run import checkpoints, folder
from slmstudio.core.run.config import RunConfig


def check(run: Path, record: dict[str, Any], config: RunConfig) -> None:
    """Look before anything is loaded.

    Args:
        record: run.json as it is now.

    Raises:
        UserError: the checkpoints lie elsewhere, or were made on another base model; or the base cannot be read.
    """
    parent = run / folder.CHECKPOINTS
    if not parent.resolve().is_relative_to(run.resolve()):
        raise UserError(tr("The checkpoints of {run} are not in its folder.", run=run.name),
                        tr("{parent} is a link to {parent2}. A run keeps everything in its own folder, so that nothing "
                           "else is read, overwritten or deleted.", parent=parent, parent2=parent.resolve()),
                        tr("Remove the link, and move the checkpoints to {parent} if they are this run's.",
                           parent=parent))
    if not checkpoints.all_checkpoints(parent):
        return
    known = an_object(record.get("hashes"))
    base = Path(config.model)
    try:
        if folder.WEIGHTS in known:
            same = known[folder.WEIGHTS] == (fingerprint(base) or known[folder.WEIGHTS])
        else:  # an older run; versions of one model share config.json, so that this tells less
            same = known.get("config.json") in (None, files.sha256_of(base / "config.json"))
    except OSError as error:
        raise from_os_error(error, tr("Could not read the base model.")) from error
    if not same:
        raise UserError(tr("{run} cannot be resumed: its checkpoints were made on another base model.", run=run.name),
                        tr("The model in {base} isn't the one that the run began with, and what was learned on one "
                           "model means nothing on another.", base=base),
                        tr("Put the old base model back, or name its folder in run.json; or start a new run with this "
                           "one."))


def nothing_to_resume(run: Path, events: Iterable[dict[str, Any]]) -> str | None:
    """What to say of a run that has no usable checkpoint and starts at step 0; None where it never made a step.

    Raises:
        UserError: checkpoints had been saved, and none of them is left: starting over would hide that they are lost.
    """
    saved = learned = 0
    for event in events:
        saved += event.get("type") == "checkpoint_saved"
        learned = max(learned, event["global_step"]) if event.get("type") == "step" else learned
    if saved:
        raise UserError(tr("{run} cannot be resumed: all of its checkpoints are gone or damaged.", run=run.name),
                        tr("It had learned {learned:,} steps, and nothing of that is left to continue from.",
                           learned=learned),
                        tr("Put the folder {run} back if you moved it. To start over from step 0, make a new run from "
                           "the same configuration: {command}", run=run / folder.CHECKPOINTS,
                           command=program.command("train", run / "run.json")))
    if learned:
        return tr("No checkpoint had been saved before the run was interrupted at step {learned:,}, so training starts "
                  "again at step 0.", learned=learned)
    return None
