"""LM Studio finds models in its folder, at models/PUBLISHER/NAME/FILE.gguf."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from slmstudio.core import disk_space, files
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import tr
from slmstudio.core.units import format_bytes

PUBLISHER = "slm-studio"
CHUNK = 8 * 2**20
SPARE_BYTES = 64 * 2**20


def home() -> Path:
    """LM Studio's folder: where its pointer file says, else where it is by default."""
    pointer = Path.home() / ".lmstudio-home-pointer"
    try:
        named = files.read_text(pointer).strip()
    except (OSError, UnicodeDecodeError):
        named = ""
    return Path(named) if named else Path.home() / ".lmstudio"


def target(gguf: Path) -> Path:
    """Where the file goes. The folder's name is the model's, without the quantization type."""
    name = gguf.stem.rpartition("-")[0] or gguf.stem
    return home() / "models" / PUBLISHER / name / gguf.name


def put(gguf: Path, progress: Callable[[int, int], None] = lambda done, total: None,
        cancelled: Callable[[], bool] = lambda: False) -> tuple[Path, bool]:
    """Put a file into LM Studio's folder: by a hard link where both are on one disk, else as a copy. It is there whole
    or not at all; an older one of that name is replaced.

    Returns:
        Where it is, and whether it takes room of its own.

    Raises:
        UserError: too little room, or the folder can't be written to, or it was cancelled.
    """
    place = target(gguf)
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists() and place.samefile(gguf):
            return place, False
        partial.unlink(missing_ok=True)
        try:
            os.link(gguf, partial)
            copied = False
        except OSError:  # another disk, or one without links
            _copy(gguf, partial, progress, cancelled)
            copied = True
        os.replace(partial, place)
        files.fsync_folder(place.parent)
        return place, copied
    except OSError as error:
        raise from_os_error(error, tr("Could not put {file} into LM Studio's folder.", file=gguf.name)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _copy(source: Path, target: Path, progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> None:
    size, free = source.stat().st_size, disk_space.free(target.parent)
    if free < size + SPARE_BYTES:
        raise UserError(tr("There isn't enough space on the disk with LM Studio's folder."),
                        tr("The file takes {size}, but {folder} has only {free} free.", size=format_bytes(size),
                           free=format_bytes(free), folder=target.parent),
                        tr("Free some space, or choose a smaller quantization type."))
    done = 0
    with open(source, "rb", opener=files.regular) as reader, open(target, "wb") as writer:
        while part := reader.read(CHUNK):
            if cancelled():
                raise UserError(tr("The copy was cancelled."), tr("Nothing was left behind."))
            writer.write(part)
            done += len(part)
            progress(done, size)
        writer.flush()
        os.fsync(writer.fileno())
