"""The rows of a run, kept in its folder: what it learns and what it is only evaluated on, as they were when it began.

    data/train.jsonl.gz   a `Record` on each line, without what is empty
    data/eval.jsonl.gz    the same, with all columns that the file has ("columns"), for the test that is made of them
    data/manifest.json    how many they are, their SHA-256, and of which files they came

The folder is complete or absent. A file that is edited, moved or lost later changes nothing. Runs of before have none.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import disk_space, files, formats, jobs
from slmstudio.core.data.jsonl import as_row
from slmstudio.core.data.record import Record
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.data.whole_rows import columns_of
from slmstudio.core.errors import UserError, from_os_error, os_errors_as
from slmstudio.core.i18n import noop, tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import lines, source_rows
from slmstudio.core.run.rows.disk_rows import DiskRows, Spool, raw_lines
from slmstudio.core.run.rows.manifest import EVALUATION, SIDES, TRAIN, Manifest, Side, SourceFile, split_of
from slmstudio.core.run.rows.source_rows import SourceRows

FOLDER, MANIFEST = "data", "manifest.json"
LEVEL = 2
"""Of gzip: a third larger than the usual 6 at thrice the speed."""
SHARE = 0.5
"""Of the files' bytes that kept rows take at most, compressed, however short they are."""
CHECK_EVERY = 2000
BLOCK = 1 << 20
"""Bytes that are looked at together."""
PUT_BACK = noop("Restore the run's folder {folder}, or the file as it was, from a copy; or start a new run.")
_NOT_AGAIN = noop("They can't be read from their file again.")

Progress = Callable[[int, int], None] | None
Cancelled = Callable[[], bool] | None
Dump = Callable[[Record, Any], bytes]


class Damaged(UserError):
    """The rows aren't what they were when they were kept."""


@dataclass(frozen=True)
class Kept:
    """
    Attributes:
        train: rows to learn. They and the next are read from the run's folder as they are asked for, and proven each
            time: `Damaged` is raised where they aren't what they were.
        evaluation: rows that are only evaluated.
    """

    train: Sequence[Record]
    evaluation: Sequence[Record]
    manifest: Manifest

    @property
    def layout(self) -> str:
        return self.manifest.sides[TRAIN].layout

    @property
    def source(self) -> SourceFile:
        return self.manifest.sources["train_file"]

    def sha256(self, side: str) -> str | None:
        return self.manifest.sides[side].sha256


# -- keeping them --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def spooling(run: Path) -> Iterator[Callable[[], Spool]]:
    """Makes files in which rows are until they are kept: a million of them would take more than a gigabyte of memory.

    Raises:
        UserError: the disk is full, or refuses.
    """
    place, spools = run / f".{FOLDER}.spool", list[Spool]()

    def store() -> Spool:
        spools.append(Spool(place / str(len(spools))))
        return spools[-1]

    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        yield store
    except OSError as error:
        raise from_os_error(error, tr("Could not save the rows in {run}.", run=run.name)) from error
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
    place, partial = run / FOLDER, run / f".{FOLDER}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        manifest = _described(config, rows, partial, cancelled)
        files.write_atomically(partial / MANIFEST, files.dump_pretty(manifest.to_dict()))
        if place.exists():
            shutil.rmtree(place)
        os.replace(partial, place)
        files.fsync_folder(run)
    except OSError as error:
        raise from_os_error(error, tr("Could not save the rows in {run}.", run=run.name)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _kept(run, manifest)


def _described(config: RunConfig, rows: SourceRows, folder: Path | None, cancelled: Cancelled = None,
               dump: Dump = lines.dump) -> Manifest:
    """What is to be said of the rows; they are written on the way, where there is a folder for them."""
    # Where a user said what the columns hold, they tell nobody else.
    has_columns = rows.evaluation and not rows.evaluated.given
    columns = columns_of(rows.evaluated, rows.held_out, cancelled) if has_columns else None
    train = _written(rows.train, None, folder and _file(folder, TRAIN), cancelled, dump)
    held_out = _written(rows.evaluation, columns, folder and _file(folder, EVALUATION), cancelled, dump)
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
           store: Callable[[], Spool] | None) -> tuple[SourceRows, Manifest]:
    """The rows that were kept, from their files, and what is to be said of them."""
    manifest = None
    with contextlib.suppress(Damaged):
        manifest = read_manifest(run)
    known = {name: file.sha256 for name, file in manifest.sources.items()} if manifest else \
        jobs.Job(run).request().get("hashes") or {}
    try:
        rows = source_rows.read(config, progress, cancelled, store)
    except ReadingCancelled:
        raise
    except UserError as error:
        raise Damaged(damage.what, f"{tr(_NOT_AGAIN)} {error.what}", tr(PUT_BACK, folder=FOLDER)) from error
    found = _described(config, rows, None, cancelled)
    other = [dataset.path.name for name, dataset in rows.files.items() if known.get(name) != dataset.sha256]
    same = manifest is None or found.sides == manifest.sides or \
        _described(config, rows, None, cancelled, lines.dump_spaced).sides == manifest.sides
    if other or not same:
        why = (tr("{file} was changed since.", file=other[0]) if other else
               tr("The file would be split into different rows now."))
        raise Damaged(damage.what, f"{tr(_NOT_AGAIN)} {why}", tr(PUT_BACK, folder=FOLDER))
    return rows, found


# -- reading them --------------------------------------------------------------------------------------------


def read(run: Path) -> Kept | None:
    """The rows that a run keeps; None where it keeps none.

    Raises:
        Damaged: they aren't what they were.
        UserError: they can't be read, or a newer program wrote them.
    """
    manifest = read_manifest(run)
    if manifest is None:
        return None
    for side in SIDES:
        _prove(run, side, manifest)
    return _kept(run, manifest)


def _kept(run: Path, manifest: Manifest) -> Kept:
    def side(name: str) -> DiskRows:
        return DiskRows(lambda: _proven(run, name, manifest), manifest.sides[name].rows,
                        lambda line: _loaded(run, name, line)[0])

    return Kept(side(TRAIN), side(EVALUATION), manifest)


def of_run(run: Path, config: RunConfig, cancelled: Cancelled = None) -> Kept | None:
    """As `read`, but damaged rows are read from their files again, where these are what they were."""
    try:
        return read(run)
    except Damaged as damage:
        rows, manifest = _again(run, config, damage, None, cancelled, None)
        return Kept(rows.train, rows.evaluation, manifest)


def read_manifest(run: Path) -> Manifest | None:
    """What is said of a run's rows, without reading them; None where it keeps none. Raises as `read`."""
    if not (run / FOLDER).is_dir():
        return None
    with os_errors_as(tr("Could not read the rows of {run}.", run=run.name)):
        state = files.read_json(run / FOLDER / MANIFEST)
    if state is None:
        raise _damaged(run, tr("{file} is missing or isn't a JSON object.", file=MANIFEST))
    try:
        return Manifest.from_dict(formats.check("rows", state, tr("The list of the rows in {run}", run=run.name)))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _damaged(run, tr("{file} is incomplete.", file=MANIFEST)) from error


def head(run: Path, side: str, most: int) -> list[Record]:
    """The first rows of a side, of up to about `most` bytes; the rest isn't read, nor is the SHA-256 looked at."""
    found = []
    for line in _lines(run, side):
        found.append(_loaded(run, side, line)[0])
        most -= len(line)
        if most <= 0:
            break
    return found


def evaluation_rows(run: Path) -> Iterator[Any]:
    """The rows to be evaluated as their file had them; else as rows that `core.data.reader` reads. Raises as `read`."""
    manifest = read_manifest(run)
    for line in _proven(run, EVALUATION, manifest) if manifest is not None else ():
        record, columns = _loaded(run, EVALUATION, line)
        yield as_row(record) if columns is None else columns


def _proven(run: Path, side: str, manifest: Manifest) -> Iterator[bytes]:
    """The lines of a side; at their end it is known whether they are what they were."""
    digest, count = hashlib.sha256(), 0
    for line in _lines(run, side):
        digest.update(line)
        count += 1
        yield line
    _compare(run, side, manifest, count, digest.hexdigest())


def _prove(run: Path, side: str, manifest: Manifest) -> None:
    """See that a side is what it was. Raises as `read`."""
    digest, count = hashlib.sha256(), 0
    with _opened(run, side) as file:
        while block := file.read(BLOCK):
            digest.update(block)
            count += block.count(b"\n")
    _compare(run, side, manifest, count, digest.hexdigest())


def _compare(run: Path, side: str, manifest: Manifest, count: int, sha256: str) -> None:
    known = manifest.sides[side]
    if (count, sha256) != (known.rows, known.sha256):
        raise _damaged(run, tr("{file} was changed after it was written.", file=_file(run / FOLDER, side).name))


def _lines(run: Path, side: str) -> Iterator[bytes]:
    with _opened(run, side) as file:
        yield from file


@contextlib.contextmanager
def _opened(run: Path, side: str) -> Iterator[gzip.GzipFile]:
    """A side's file, unpacked; what is wrong with it is said in words. Raises as `read`."""
    path = _file(run / FOLDER, side)
    try:
        with open(path, "rb", opener=files.regular) as packed, gzip.GzipFile(fileobj=packed) as file:
            yield file
    except FileNotFoundError as error:
        raise _damaged(run, tr("{file} is missing.", file=path.name)) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _damaged(run, tr("{file} is cut off or was changed.", file=path.name)) from error
    except OSError as error:
        raise from_os_error(error, tr("Could not read the rows of {run}.", run=run.name)) from error


def _loaded(run: Path, side: str, line: bytes) -> tuple[Record, Any]:
    try:
        return lines.load(line)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(run, tr("{file} has a line that isn't a row.", file=_file(run / FOLDER, side).name)) from error


def _file(folder: Path, side: str) -> Path:
    return folder / f"{side}.jsonl.gz"


def _damaged(run: Path, why: str) -> Damaged:
    return Damaged(" ".join((tr("The rows that {run} keeps are damaged.", run=run.name), why)), "",
                   tr(PUT_BACK, folder=FOLDER))
