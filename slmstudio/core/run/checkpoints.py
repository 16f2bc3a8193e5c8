"""Checkpoints: complete or absent, proven by a manifest, newest good one found, old ones rotated away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core import files, formats
from slmstudio.core.i18n import tr

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
