"""Checkpoints: complete or absent, proven by a manifest, newest good one found, old ones rotated away; and whether a
run can be resumed from its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, program
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.files import an_object, number
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model.weights import fingerprint
from slmstudio.core.run import config_file
from slmstudio.core.run.config import RunConfig

MANIFEST = "manifest.json"
MANIFEST_DIGEST = "manifest.sha256"


@dataclass(frozen=True)
class Checkpoint:
    """
    Attributes:
        path: `checkpoints/step-000200`.
        global_step: optimizer updates done when it was saved.
        eval_loss: the last evaluation before it, if there was one.
    """

    path: Path
    global_step: int
    eval_loss: float | None = None


def folder_name(global_step: int) -> str:
    return f"step-{global_step:06d}"


@contextmanager
def writing(parent: Path, global_step: int, eval_loss: float | None) -> Iterator[Path]:
    """Fill a folder beside the final place; it is sealed, flushed and renamed when the block ends well.

    Raises:
        OSError: the disk is full or gone. Whatever the block raises is raised too. In both cases the
            half-made folder is removed and earlier checkpoints are untouched.
    """
    parent.mkdir(parents=True, exist_ok=True)
    partial = parent / f".{folder_name(global_step)}.partial"
    final = parent / folder_name(global_step)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        seal(partial, global_step, eval_loss)
        if final.exists():  # the same step again: a forced checkpoint right after a scheduled one
            shutil.rmtree(final)
        os.replace(partial, final)
        files.fsync_folder(parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def seal(folder: Path, global_step: int, eval_loss: float | None = None) -> None:
    """Flush every file of `folder` to the disk and write its manifest: names, sizes and SHA-256, itself hashed too."""
    entries = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (MANIFEST, MANIFEST_DIGEST)):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
        entries[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": files.sha256_of(path)}
    manifest = {**formats.stamp("checkpoint"), "global_step": global_step, "eval_loss": eval_loss, "files": entries}
    files.write_atomically(folder / MANIFEST, files.dump_pretty(manifest))
    files.write_atomically(folder / MANIFEST_DIGEST, files.sha256_of(folder / MANIFEST))


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, as a sentence; None when every file is as it was saved.

    Raises:
        UserError: a newer program saved it.
    """
    if folder.is_symlink():
        return tr("It is a link to another place.")
    manifest = formats.read("checkpoint", folder / MANIFEST)
    try:
        expected = files.read_bytes(folder / MANIFEST_DIGEST)
    except OSError:
        expected = b""
    if manifest is None or files.sha256_of(folder / MANIFEST).encode() != expected:
        return tr("Its manifest is missing or was changed.")
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            return tr("{file} is missing.", file=name)
        if path.stat().st_size != entry["bytes"]:
            return tr("{file} has {found:,} bytes instead of {expected:,}.", file=name, found=path.stat().st_size,
                      expected=entry["bytes"])
        if files.sha256_of(path) != entry["sha256"]:
            return tr("{file} was changed after it was saved.", file=name)
    return None


def all_checkpoints(parent: Path) -> list[Checkpoint]:
    """Checkpoints by step, oldest first, without proving them."""
    found = []
    for path in parent.glob("step-*"):
        manifest = files.read_json(path / MANIFEST) or {}
        step = manifest.get("global_step")
        if not isinstance(step, int):
            digits = path.name.removeprefix("step-")
            step = int(digits) if digits.isdigit() else -1
        found.append(Checkpoint(path, step, manifest.get("eval_loss")))
    return sorted(found, key=lambda checkpoint: checkpoint.global_step)


def newest_good(parent: Path, on_damaged: Callable[[Checkpoint, str], None]) -> Checkpoint | None:
    """The newest checkpoint that is proven whole; each damaged one that was passed over is reported.

    Raises:
        UserError: a newer program saved one: what was learned since the one before would be lost.
    """
    for checkpoint in reversed(all_checkpoints(parent)):
        reason = damage(checkpoint.path)
        if reason is None:
            return checkpoint
        on_damaged(checkpoint, reason)
    return None


def rotate(parent: Path, keep: int) -> list[Path]:
    """Remove all but the newest `keep` checkpoints and the one with the lowest eval loss; returns what went."""
    found = all_checkpoints(parent)
    scored = [c for c in found if c.eval_loss is not None]
    kept = {c.path for c in found[-keep:]}
    if scored:
        kept.add(min(scored, key=lambda c: (c.eval_loss, -c.global_step)).path)
    removed = [c.path for c in found if c.path not in kept]
    for path in removed:
        shutil.rmtree(path, ignore_errors=True)
    return removed


def check_own(parent: Path, record: dict[str, Any], config: RunConfig) -> None:
    """Whether a run's checkpoints are its own: made on the base model that run.json names, and inside its folder.

    Args:
        parent: RUN/checkpoints.
        record: run.json as it is now.

    Raises:
        UserError: the checkpoints are elsewhere, or were made on another base model; or the base can't be read.
    """
    run = parent.parent
    if not parent.resolve().is_relative_to(run.resolve()):
        raise UserError(tr("The checkpoints of {run} aren't in its folder.", run=run.name),
                        tr("{folder} is a link to {target}. A run keeps everything in its own folder, so that nothing "
                           "else is read, overwritten or deleted.", folder=parent, target=parent.resolve()),
                        tr("Remove the link, and move the checkpoints to {folder} if they belong to this run.",
                           folder=parent))
    if not all_checkpoints(parent):
        return
    known = an_object(record.get("hashes")).get(config_file.WEIGHTS)
    base = Path(config.model)
    with os_errors_as(tr("Could not read the base model.")):
        found = fingerprint(base)
    if None not in (known, found) and known != found:
        raise UserError(tr("{run} can't be resumed: its checkpoints were made with a different base "
                           "model.", run=run.name),
                        tr("The model in {folder} isn't the one that the run started with, and what was learned on one "
                           "model means nothing on another.", folder=base),
                        tr("Restore the old base model, or put its folder into run.json; or start a new run with this "
                           "one."))


def nothing_to_resume(parent: Path, events: Iterable[dict[str, Any]]) -> str | None:
    """What to say about a run that has no usable checkpoint and starts at step 0; None if it never made a step.

    Raises:
        UserError: checkpoints had been saved, and none of them is left: starting over would hide that they are lost.
    """
    run, saved, learned = parent.parent, 0, 0
    for event in events:
        saved += event.get("type") == "checkpoint_saved"
        learned = max(learned, int(number(event, "global_step") or 0)) if event.get("type") == "step" else learned
    if saved:
        raise UserError(tr("{run} can't be resumed: all of its checkpoints are gone or damaged.", run=run.name),
                        ntr("It had trained for {n:,} step, and nothing is left to continue from.",
                            "It had trained for {n:,} steps, and nothing is left to continue from.", learned),
                        tr("Put the folder {folder} back if you moved it. To start over from step 0, create a new run "
                           "from the same configuration: {command}", folder=parent,
                           command=program.command("train", run / "run.json")))
    if learned:
        return tr("No checkpoint had been saved before the run was interrupted at step {step:,}, so training starts "
                  "again at step 0.", step=learned)
    return None
