"""The rows of a run, kept in its folder: what it learns and what it is only evaluated on, as they were when it began.

    data/train.jsonl.gz   a `Record` on each line, without what is empty
    data/eval.jsonl.gz    the same, with all columns that the file has ("columns"), for the test set made from them
    data/manifest.json    how many there are, their SHA-256, and which files they came from

The folder is complete or absent. A file that is edited, moved or lost later changes nothing. Older runs have none.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmstudio.core import files, formats
from slmstudio.core.data import split as split_rows
from slmstudio.core.data.record import Record, as_row
from slmstudio.core.errors import Problem, UserError, from_os_error, os_errors_as
from slmstudio.core.i18n import noop, tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import disk_rows
from slmstudio.core.run.rows.disk_rows import DiskRows

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset

# -- What a run's folder says about the rows that it keeps: how many, from which files, and their checksums.

TRAIN, EVALUATION = "train", "eval"
SIDES = (TRAIN, EVALUATION)
NAMED_PROBLEMS = 20
"""Problems of a file that are kept with their lines; all of them are counted."""


@dataclass(frozen=True)
class Side:
    """The rows that are learned, or those that are evaluated.

    Attributes:
        layout: of the file that they come from.
        sha256: of their lines, uncompressed, in hexadecimal.
    """

    rows: int
    layout: str
    sha256: str


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when its rows were kept.

    Attributes:
        sha256: of its bytes, in hexadecimal.
        problems: how many rows had problems and were left out. named: the first of these.
        mapping: which columns were read as what, if the user chose that.
    """

    path: str
    bytes: int
    sha256: str
    encoding: str
    problems: int = 0
    named: tuple[Problem, ...] = ()
    mapping: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return Path(self.path).name

    @classmethod
    def of(cls, dataset: Dataset) -> SourceFile:
        return cls(str(dataset.path.absolute()), dataset.bytes, dataset.sha256, dataset.encoding,
                   len(dataset.problems), tuple(dataset.problems[:NAMED_PROBLEMS]),
                   dict(getattr(dataset, "mapping", None) or {}))


@dataclass(frozen=True)
class Manifest:
    """
    Attributes:
        sides: "train" and "eval".
        sources: by the field of the configuration that names the file.
        split: `eval_fraction`, `split_seed` and `split_by` where the evaluation rows were split off; otherwise empty. A
            run from before `split_by` has none.
    """

    sides: dict[str, Side]
    sources: dict[str, SourceFile]
    split: dict[str, Any]

    def is_of(self, config: RunConfig) -> bool:
        """Whether the configuration still asks for these rows."""
        asked = {name: str(Path(path).absolute()) for name in ("train_file", "eval_file")
                 if (path := getattr(config, name))}
        split = self.split and {"split_by": split_rows.ROWS, **self.split}
        return split == split_of(config) and asked == {name: file.path for name, file in self.sources.items()}

    def to_dict(self) -> dict[str, Any]:
        sources = {name: {"name": file.name, **asdict(file)} for name, file in self.sources.items()}
        return {**formats.stamp("rows"), "sides": {name: asdict(side) for name, side in self.sides.items()},
                "sources": sources, "split": self.split}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Manifest:
        """Raises KeyError, TypeError, AttributeError, ValueError: the state is damaged."""
        sides = {name: Side(int(each["rows"]), str(each["layout"]), str(each["sha256"]))
                 for name, each in state["sides"].items()}
        sources = {name: SourceFile(
            str(each["path"]), int(each["bytes"]), str(each["sha256"]), str(each["encoding"]), int(each["problems"]),
            tuple(Problem(**problem) for problem in each["named"]), dict(each["mapping"]))
            for name, each in state["sources"].items()}
        if sides.keys() != set(SIDES) or "train_file" not in sources:
            raise ValueError("not all is there")
        return cls(sides, sources, dict(state["split"]))


def split_of(config: RunConfig) -> dict[str, Any]:
    """How the configuration splits rows off; empty if they have a file of their own."""
    if config.eval_file:
        return {}
    return {"eval_fraction": config.eval_fraction, "split_seed": config.split_seed, "split_by": config.split_by}


FOLDER, MANIFEST = "data", "manifest.json"
BLOCK = 1 << 20
"""Bytes that are read at a time."""
PUT_BACK = noop("Restore the run's folder {folder}, or the file as it was, from a copy; or start a new run.")


class DamagedRows(UserError):
    """The rows aren't what they were when they were kept."""


@dataclass(frozen=True)
class SavedRows:
    """
    Attributes:
        train: rows to learn. These and the next are read from the run's folder on demand, and verified each time:
            `DamagedRows` is raised if they have changed.
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


def read(run: Path) -> SavedRows | None:
    """The rows that a run keeps; None if it keeps none.

    Raises:
        DamagedRows: they aren't what they were.
        UserError: they can't be read, or a newer program wrote them.
    """
    manifest = read_manifest(run)
    if manifest is None:
        return None
    for side in SIDES:
        _prove(run, side, manifest)
    return opened(run, manifest)


def opened(run: Path, manifest: Manifest) -> SavedRows:
    def side(name: str) -> DiskRows:
        return DiskRows(lambda: _proven(run, name, manifest), manifest.sides[name].rows,
                        lambda line: _loaded(run, name, line)[0])

    return SavedRows(side(TRAIN), side(EVALUATION), manifest)


def read_manifest(run: Path) -> Manifest | None:
    """What is said about a run's rows, without reading them; None if it keeps none. Raises as `read`."""
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
    """The rows to be evaluated, as they were in their file, or else as `core.data.reader` reads them. Raises as
    `read`."""
    manifest = read_manifest(run)
    for line in _proven(run, EVALUATION, manifest) if manifest is not None else ():
        record, columns = _loaded(run, EVALUATION, line)
        yield as_row(record) if columns is None else columns


def _proven(run: Path, side: str, manifest: Manifest) -> Iterator[bytes]:
    """The lines of a side; at the end it is known whether they are unchanged."""
    digest, count = hashlib.sha256(), 0
    for line in _lines(run, side):
        digest.update(line)
        count += 1
        yield line
    _compare(run, side, manifest, count, digest.hexdigest())


def _prove(run: Path, side: str, manifest: Manifest) -> None:
    """Check that a side is unchanged. Raises as `read`."""
    digest, count = hashlib.sha256(), 0
    with _opened(run, side) as file:
        while block := file.read(BLOCK):
            digest.update(block)
            count += block.count(b"\n")
    _compare(run, side, manifest, count, digest.hexdigest())


def _compare(run: Path, side: str, manifest: Manifest, count: int, sha256: str) -> None:
    known = manifest.sides[side]
    if (count, sha256) != (known.rows, known.sha256):
        raise _damaged(run, tr("{file} was changed after it was written.", file=file_of(run / FOLDER, side).name))


def _lines(run: Path, side: str) -> Iterator[bytes]:
    with _opened(run, side) as file:
        yield from file


@contextlib.contextmanager
def _opened(run: Path, side: str) -> Iterator[gzip.GzipFile]:
    """A side's file, unpacked; errors are described in words. Raises as `read`."""
    path = file_of(run / FOLDER, side)
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
        return disk_rows.load(line)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(run, tr("{file} has a line that isn't a row.", file=file_of(run / FOLDER, side).name)) from error


def file_of(folder: Path, side: str) -> Path:
    return folder / f"{side}.jsonl.gz"


def _damaged(run: Path, why: str) -> DamagedRows:
    return DamagedRows(" ".join((tr("The rows that {run} keeps are damaged.", run=run.name), why)), "",
                   tr(PUT_BACK, folder=FOLDER))
