"""Keeps the rows of a run in its folder, as `kept_rows` reads them, and mends them where they are damaged."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from slmstudio.core import disk_space, files, jobs
from slmstudio.core.data.read_options import NO_OPTIONS, of_columns
from slmstudio.core.data.reader import columns_of
from slmstudio.core.data.record import Record
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import kept_rows, lines, source_rows
from slmstudio.core.run.rows.disk_rows import RowWriter, raw_lines
from slmstudio.core.run.rows.kept_rows import Damaged, Kept
from slmstudio.core.run.rows.manifest import EVALUATION, TRAIN, Manifest, Side, SourceFile, split_of
from slmstudio.core.run.rows.source_rows import SourceRows

LEVEL = 2
"""gzip's level: files are a third larger than with the usual 6, but written three times as fast."""
SHARE = 0.5
"""Kept rows, compressed, take at most this share of the files' bytes, however short they are."""
CHECK_EVERY = 2000

Progress = Callable[[int, int], None] | None
Cancelled = Callable[[], bool] | None
Dump = Callable[[Record, Any], bytes]


@contextlib.contextmanager
def spooling(run: Path) -> Iterator[Callable[[], RowWriter]]:
    """Makes files in which rows are until they are kept: a million of them would take more than a gigabyte of memory.

    Raises:
        UserError: the disk is full, or refuses.
    """
    place, spools = run / f".{kept_rows.FOLDER}.spool", list[RowWriter]()

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


def write(run: Path, config: RunConfig, rows: SourceRows, cancelled: Cancelled = None) -> Kept:
    """Keep these rows, instead of any that are there.

    Raises:
        UserError: the disk is full, or refuses.
        ReadingCancelled: `cancelled` said so.
    """
    disk_space.require(run, int(SHARE * sum(dataset.bytes for dataset in rows.files.values())))
    place, partial = run / kept_rows.FOLDER, run / f".{kept_rows.FOLDER}.partial"
    try:
        with os_errors_as(tr("Could not save the rows in {run}.", run=run.name)):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            manifest = _described(config, rows, partial, cancelled)
            files.write_atomically(partial / kept_rows.MANIFEST, files.dump_pretty(manifest.to_dict()))
            if place.exists():
                shutil.rmtree(place)
            os.replace(partial, place)
            files.fsync_folder(run)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return kept_rows.opened(run, manifest)


def _described(config: RunConfig, rows: SourceRows, folder: Path | None, cancelled: Cancelled = None,
               dump: Dump = lines.dump) -> Manifest:
    """What is to be said about the rows; they are written on the way, where there is a folder for them."""
    # Where a user said what the columns hold, or how to read them, they tell nobody else.
    evaluated = rows.evaluated
    has_columns = rows.evaluation and not evaluated.given and of_columns(evaluated.options) == NO_OPTIONS
    columns = columns_of(rows.evaluated, rows.held_out, cancelled) if has_columns else None
    train = _written(rows.train, None, folder and kept_rows.file_of(folder, TRAIN), cancelled, dump)
    held_out = _written(rows.evaluation, columns, folder and kept_rows.file_of(folder, EVALUATION), cancelled, dump)
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


def mend(run: Path, config: RunConfig, damage: Damaged, progress: Progress = None, cancelled: Cancelled = None) -> Kept:
    """Read damaged rows from their files again, and keep them.

    Raises:
        Damaged: a file is gone, or is another one by now.
        UserError, ReadingCancelled: as `write`.
    """
    with spooling(run) as store:
        return write(run, config, _again(run, config, damage, progress, cancelled, store)[0], cancelled)


def _again(run: Path, config: RunConfig, damage: Damaged, progress: Progress, cancelled: Cancelled,
           store: Callable[[], RowWriter] | None) -> tuple[SourceRows, Manifest]:
    """The rows that were kept, from their files, and what is to be said about them."""
    manifest = None
    with contextlib.suppress(Damaged):
        manifest = kept_rows.read_manifest(run)
    known = {name: file.sha256 for name, file in manifest.sources.items()} if manifest else \
        jobs.Job(run).request().get("hashes") or {}
    try:
        rows = source_rows.read(config, progress, cancelled, store)
    except ReadingCancelled:
        raise
    except UserError as error:
        raise _still_damaged(damage, error.what) from error
    found = _described(config, rows, None, cancelled)
    other = [dataset.path.name for name, dataset in rows.files.items() if known.get(name) != dataset.sha256]
    same = manifest is None or found.sides == manifest.sides or \
        _described(config, rows, None, cancelled, lines.dump_spaced).sides == manifest.sides
    if other or not same:
        why = (tr("{file} has changed since then.", file=other[0]) if other else
               tr("The file would be split into different rows now."))
        raise _still_damaged(damage, why)
    return rows, found


def _still_damaged(damage: Damaged, why: str) -> Damaged:
    said = tr("They can't be read from their file again.")
    return Damaged(damage.what, join_sentences(said, why), tr(kept_rows.PUT_BACK, folder=kept_rows.FOLDER))


def of_run(run: Path, config: RunConfig, cancelled: Cancelled = None) -> Kept | None:
    """As `read`, but damaged rows are read from their files again, where these are what they were."""
    try:
        return kept_rows.read(run)
    except Damaged as damage:
        rows, manifest = _again(run, config, damage, None, cancelled, None)
        return Kept(rows.train, rows.evaluation, manifest)
