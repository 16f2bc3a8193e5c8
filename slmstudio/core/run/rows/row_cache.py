"""Rows of a large file as a run has kept them, for the next run that learns the same rows of the same file.

    cache/rows/KEY/   a run's data folder (`kept_rows`)

KEY is made of everything that decides the rows, so that an entry is right or isn't found. A damaged one is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import slmstudio
from slmstudio.core import disk_space, files, paths
from slmstudio.core.errors import UserError
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import kept_rows
from slmstudio.core.run.rows.manifest import Manifest, split_of

FORMAT = 2
"""Raised whenever the same file yields different rows: older entries are then no longer found, and removed in time."""
LEAST_BYTES = 1 << 20
"""Smaller files aren't cached: they are read in a moment."""
MOST_BYTES = 1 << 30
"""The size of all entries together. Above it, those unused for the longest time are removed, but not the newest."""
OLD_SECONDS = 24 * 3600
"""What has been half written for this long no longer belongs to any process."""


def key(config: RunConfig) -> str | None:
    """Under which the rows of a configuration are kept; None if they aren't: of small files and of folders, and
    where evaluation rows have a file of their own, which must be compared with the others."""
    path = Path(config.train_file)
    if config.eval_file or not path.is_file() or path.stat().st_size < LEAST_BYTES:
        return None
    decides = {"format": FORMAT, "version": slmstudio.__version__, "file": files.sha256_of(path), "name": path.name,
               "map": config.train_map, "split": split_of(config)}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def take(run: Path, key: str, config: RunConfig) -> kept_rows.Kept | None:
    """Give a run the rows that are kept under this key; None if there are none, or they can't be used."""
    entry, partial = _folder() / key, run / f".{kept_rows.FOLDER}.partial"
    if not entry.is_dir():
        return None
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(entry, partial)
        manifest = Manifest.from_dict(files.read_json(partial / kept_rows.MANIFEST) or {})
        own = replace(manifest.sources["train_file"], path=str(Path(config.train_file).absolute()))
        manifest = replace(manifest, sources={"train_file": own})
        files.write_atomically(partial / kept_rows.MANIFEST, files.dump_pretty(manifest.to_dict()))
        shutil.rmtree(run / kept_rows.FOLDER, ignore_errors=True)
        os.replace(partial, run / kept_rows.FOLDER)
        os.utime(entry)
        return kept_rows.read(run)
    except (OSError, UserError, KeyError, TypeError, AttributeError, ValueError):
        for damaged in (entry, partial, run / kept_rows.FOLDER):
            shutil.rmtree(damaged, ignore_errors=True)
        return None


def put(run: Path, key: str) -> None:
    """Keep a run's rows for the next ones, as far as there is room."""
    entry = _folder() / key
    partial = entry.with_name(f".{key}.{os.getpid()}.partial")
    source = run / kept_rows.FOLDER
    try:
        if disk_space.free(run) < disk_space.LEAST_ROOM + files.size_of(source):
            return
        shutil.copytree(source, partial)
        os.replace(partial, entry)
        make_room(entry, MOST_BYTES)
    except OSError:  # the run has its own
        pass
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def make_room(new: Path, most: int) -> None:
    """Remove what was left half-written, and, above `most` bytes, the entries that haven't been used for the longest
    time. The entry `new` stays, however large it is."""
    entries, total = [], 0
    for path in new.parent.iterdir():
        with contextlib.suppress(OSError):  # another run may remove it meanwhile
            used = path.stat().st_mtime
            if path.name.endswith(".partial"):
                if used < time.time() - OLD_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
                continue
            size = files.size_of(path)
            total += size
            if path != new:
                entries.append((used, size, path))
    for _, size, path in sorted(entries):
        if total <= most:
            break
        shutil.rmtree(path, ignore_errors=True)
        total -= size


def _folder() -> Path:
    return paths.cache_dir() / "rows"
