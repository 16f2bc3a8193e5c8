"""Reads the rows of the files that a run names and saves them in its folder, as `run_rows` reads them; reads damaged
ones again."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slmstudio
from slmstudio.core import disk_space, files, jobs, paths
from slmstudio.core.data import layouts, split
from slmstudio.core.data.read_options import NO_OPTIONS, of_columns
from slmstudio.core.data.reader import Dataset, columns_of, read_as
from slmstudio.core.data.record import Record
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import disk_rows, run_rows
from slmstudio.core.run.rows.disk_rows import RowWriter, raw_lines
from slmstudio.core.run.rows.run_rows import (
    EVALUATION,
    TRAIN,
    DamagedRows,
    Manifest,
    SavedRows,
    Side,
    SourceFile,
    split_of,
)

if TYPE_CHECKING:
    import numpy as np

Progress = Callable[[int, int], None] | None
Cancelled = Callable[[], bool] | None
Dump = Callable[[Record, Any], bytes]

# -- Rows of a large file as a run has saved them, for the next run that learns the same rows of the same file:
# cache/rows/KEY is a run's data folder. KEY is made of everything that decides the rows, so that an entry is right or
# isn't found. A damaged one is removed.

FORMAT = 2
"""Raised whenever the same file yields different rows: older entries are then no longer found, and removed in time."""
LEAST_BYTES = 1 << 20
"""Smaller files aren't cached: they are read in a moment."""
MOST_BYTES = 1 << 30
"""The size of all entries together. Above it, those unused for the longest time are removed, but not the newest."""
OLD_SECONDS = 24 * 3600
"""What has been half written for this long no longer belongs to any process."""


def cache_key(config: RunConfig) -> str | None:
    """Under which the rows of a configuration are kept; None if they aren't: of small files and of folders, and
    where evaluation rows have a file of their own, which must be compared with the others."""
    path = Path(config.train_file)
    if config.eval_file or not path.is_file() or path.stat().st_size < LEAST_BYTES:
        return None
    decides = {"format": FORMAT, "version": slmstudio.__version__, "file": files.sha256_of(path), "name": path.name,
               "map": config.train_map, "split": split_of(config)}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def take_cached(run: Path, key: str, config: RunConfig) -> SavedRows | None:
    """Give a run the rows that are kept under this key; None if there are none, or they can't be used."""
    entry, partial = _folder() / key, run / f".{run_rows.FOLDER}.partial"
    if not entry.is_dir():
        return None
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(entry, partial)
        manifest = Manifest.from_dict(files.read_json(partial / run_rows.MANIFEST) or {})
        own = replace(manifest.sources["train_file"], path=str(Path(config.train_file).absolute()))
        manifest = replace(manifest, sources={"train_file": own})
        files.write_atomically(partial / run_rows.MANIFEST, files.dump_pretty(manifest.to_dict()))
        shutil.rmtree(run / run_rows.FOLDER, ignore_errors=True)
        os.replace(partial, run / run_rows.FOLDER)
        os.utime(entry)
        return run_rows.read(run)
    except (OSError, UserError, KeyError, TypeError, AttributeError, ValueError):
        for damaged in (entry, partial, run / run_rows.FOLDER):
            shutil.rmtree(damaged, ignore_errors=True)
        return None


def put_into_cache(run: Path, key: str) -> None:
    """Keep a run's rows for the next ones, as far as there is room."""
    entry = _folder() / key
    partial = entry.with_name(f".{key}.{os.getpid()}.partial")
    source = run / run_rows.FOLDER
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


# -- The rows of the files that a run names, divided as it asks for.


@dataclass(frozen=True)
class SourceRows:
    """What the files hold.

    Attributes:
        evaluation: rows that are only evaluated: split off, or of a file of their own.
        files: by the field that names them, "train_file" and perhaps "eval_file".
        held_out: of each row of the evaluated file, whether it is evaluated.
    """

    train: Sequence[Record]
    evaluation: Sequence[Record]
    files: dict[str, Dataset]
    held_out: Collection[Any] = ()

    @property
    def layout(self) -> str:
        return self.files["train_file"].layout

    @property
    def evaluated(self) -> Dataset:
        return self.files.get("eval_file", self.files["train_file"])

    def sha256(self, side: str) -> str | None:
        """Not known about rows that nobody keeps."""
        return None


def read(config: RunConfig, progress: Progress = None, cancelled: Cancelled = None,
         store: Callable[[], RowWriter] | None = None) -> SourceRows:
    """Read the files and divide their rows.

    Args:
        progress: called with (bytes read, bytes in all) of the file that is being read.
        store: makes files that the rows are kept in; without it they are in memory.

    Raises:
        UserError: a file can't be used, or one can't evaluate what the other teaches.
        ReadingCancelled: `cancelled` said so.
    """
    whole = read_as(Path(config.train_file), config.train_map, progress, cancelled, store or list)
    if not config.eval_file:
        held_out = split.held_out(whole.records, config.eval_fraction, config.split_seed, config.split_by)
        return SourceRows(_part(whole.records, ~held_out), _part(whole.records, held_out), {"train_file": whole},
                          held_out)
    other = read_as(Path(config.eval_file), config.eval_map, progress, cancelled, store or list)
    if layouts.kind(other.layout) != layouts.kind(whole.layout):
        raise UserError(tr("The rows of {test_file} can't evaluate what {train_file} teaches.",
                           test_file=other.path.name, train_file=whole.path.name),
                        f"{whole.path.name}: {layouts.sentence(whole.layout)} "
                        f"{other.path.name}: {layouts.sentence(other.layout)}",
                        tr("Choose evaluation rows of the same kind, or let them be split off."))
    import numpy as np

    train, evaluation = (np.ones(len(each.records), dtype=bool) for each in (whole, other))
    return SourceRows(_part(whole.records, train), _part(other.records, evaluation),
                      {"train_file": whole, "eval_file": other}, evaluation)


def _part(records: list[Record] | RowWriter, wanted: np.ndarray[Any, Any]) -> Sequence[Record]:
    if isinstance(records, RowWriter):
        return records.part(wanted, int(wanted.sum()))
    return list(compress(records, wanted))


# -- The rows in the run's folder: written, and repaired.

LEVEL = 2
"""gzip's level: files are a third larger than with the usual 6, but written three times as fast."""
SHARE = 0.5
"""Saved rows, compressed, take at most this share of the files' bytes, however short they are."""
CHECK_EVERY = 2000


@contextlib.contextmanager
def spooling(run: Path) -> Iterator[Callable[[], RowWriter]]:
    """Makes files in which rows are until they are kept: a million of them would take more than a gigabyte of memory.

    Raises:
        UserError: the disk is full, or refuses.
    """
    place, spools = run / f".{run_rows.FOLDER}.spool", list[RowWriter]()

    def store() -> RowWriter:
        spools.append(RowWriter(place / str(len(spools))))
        return spools[-1]

    try:
        with os_errors_as(tr("Could not save the rows in {run}.", run=run.name)):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            yield store
    finally:
        for each in spools:
            with contextlib.suppress(OSError):  # a write that failed has been reported already
                each.close()
        shutil.rmtree(place, ignore_errors=True)


def write(run: Path, config: RunConfig, rows: SourceRows, cancelled: Cancelled = None) -> SavedRows:
    """Keep these rows, instead of any that are there.

    Raises:
        UserError: the disk is full, or refuses.
        ReadingCancelled: `cancelled` said so.
    """
    disk_space.require(run, int(SHARE * sum(dataset.bytes for dataset in rows.files.values())))
    place, partial = run / run_rows.FOLDER, run / f".{run_rows.FOLDER}.partial"
    try:
        with os_errors_as(tr("Could not save the rows in {run}.", run=run.name)):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            manifest = _described(config, rows, partial, cancelled)
            files.write_atomically(partial / run_rows.MANIFEST, files.dump_pretty(manifest.to_dict()))
            if place.exists():
                shutil.rmtree(place)
            os.replace(partial, place)
            files.fsync_folder(run)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return run_rows.opened(run, manifest)


def _described(config: RunConfig, rows: SourceRows, folder: Path | None, cancelled: Cancelled = None,
               dump: Dump = disk_rows.dump) -> Manifest:
    """What is to be said about the rows; they are written on the way, where there is a folder for them."""
    # Where a user said what the columns hold, or how to read them, they tell nobody else.
    evaluated = rows.evaluated
    has_columns = rows.evaluation and not evaluated.given and of_columns(evaluated.options) == NO_OPTIONS
    columns = columns_of(rows.evaluated, rows.held_out, cancelled) if has_columns else None
    train = _written(rows.train, None, folder and run_rows.file_of(folder, TRAIN), cancelled, dump)
    held_out = _written(rows.evaluation, columns, folder and run_rows.file_of(folder, EVALUATION), cancelled, dump)
    return Manifest({TRAIN: Side(len(rows.train), rows.layout, train),
                     EVALUATION: Side(len(rows.evaluation), rows.evaluated.layout, held_out)},
                    {name: SourceFile.of(dataset) for name, dataset in rows.files.items()}, split_of(config))


def _written(records: Sequence[Record], columns: Iterable[Any] | None, path: Path | None, cancelled: Cancelled,
             dump: Dump) -> str:
    digest = hashlib.sha256()
    with _packed(path) as write_line:
        for number, line in enumerate(raw_lines(records, columns, dump)):
            if number % CHECK_EVERY == 0 and cancelled is not None and cancelled():
                raise ReadingCancelled(tr("Saving the rows was cancelled."))
            digest.update(line)
            write_line(line)
    return digest.hexdigest()


@contextlib.contextmanager
def _packed(path: Path | None) -> Iterator[Callable[[bytes], object]]:
    """Takes lines into a compressed file, or nowhere."""
    if path is None:
        yield len
        return
    with open(path, "wb") as file:
        # No name and no time in it: the same rows are the same bytes.
        with gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as packed:
            yield packed.write
        file.flush()
        os.fsync(file.fileno())


def repair(run: Path, config: RunConfig, damage: DamagedRows, progress: Progress = None,
           cancelled: Cancelled = None) -> SavedRows:
    """Read damaged rows from their files again, and keep them.

    Raises:
        DamagedRows: a file is gone, or is another one by now.
        UserError, ReadingCancelled: as `write`.
    """
    with spooling(run) as store:
        return write(run, config, _reread(run, config, damage, progress, cancelled, store)[0], cancelled)


def _reread(run: Path, config: RunConfig, damage: DamagedRows, progress: Progress, cancelled: Cancelled,
            store: Callable[[], RowWriter] | None) -> tuple[SourceRows, Manifest]:
    """The rows that were kept, from their files, and what is to be said about them."""
    manifest = None
    with contextlib.suppress(DamagedRows):
        manifest = run_rows.read_manifest(run)
    known = {name: file.sha256 for name, file in manifest.sources.items()} if manifest else \
        jobs.Job(run).request().get("hashes") or {}
    try:
        rows = read(config, progress, cancelled, store)
    except ReadingCancelled:
        raise
    except UserError as error:
        raise _still_damaged(damage, error.what) from error
    found = _described(config, rows, None, cancelled)
    other = [dataset.path.name for name, dataset in rows.files.items() if known.get(name) != dataset.sha256]
    same = manifest is None or found.sides == manifest.sides or \
        _described(config, rows, None, cancelled, disk_rows.dump_spaced).sides == manifest.sides
    if other or not same:
        why = (tr("{file} has changed since then.", file=other[0]) if other else
               tr("The file would be split into different rows now."))
        raise _still_damaged(damage, why)
    return rows, found


def _still_damaged(damage: DamagedRows, why: str) -> DamagedRows:
    said = tr("They can't be read from their file again.")
    return DamagedRows(damage.what, join_sentences(said, why), tr(run_rows.PUT_BACK, folder=run_rows.FOLDER))


def of_run(run: Path, config: RunConfig, cancelled: Cancelled = None) -> SavedRows | None:
    """As `read`, but damaged rows are read from their files again, where these are what they were."""
    try:
        return run_rows.read(run)
    except DamagedRows as damage:
        rows, manifest = _reread(run, config, damage, None, cancelled, None)
        return SavedRows(rows.train, rows.evaluation, manifest)
