"""Writes a version of a dataset beside the others, and reads back which file it was made from and how."""

from __future__ import annotations

import contextlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, paths
from slmstudio.core.data.health.finding import KINDS
from slmstudio.core.data.reader import Dataset
from slmstudio.core.data.record import Record, as_row
from slmstudio.core.errors import UserError, from_os_error, os_errors_as
from slmstudio.core.i18n import join_sentences, ntr, tr

Step = dict[str, Any]
"""One of {"fix": kind, "choice": choice, "rows": n, "removed": n}, {"edit": line}, {"delete": n}, {"add": n},
{"mix": rows}."""
_NUMBERED = re.compile(r"(.+)-v([0-9]{1,6})", re.DOTALL)
LINEAGE = ".lineage.json"
"""The ending of the file beside a version that says how it was made."""
PACKED = (".gz", ".zst")
MOST_NAME_BYTES = 150
"""The longest file name. Systems allow 255 bytes, and the lineage and the partial file add their endings."""


@dataclass(frozen=True)
class Source:
    """A file that a version was made from.

    Attributes:
        path: where it was; None if it wasn't noted.
        weight: of a mix; `rows`: how many of its rows came from it, or how many rows the file had.
        given: what a user said about the file, as in `read_options.parse`.
    """

    name: str
    path: Path | None = None
    sha256: str = ""
    weight: float | None = None
    rows: int | None = None
    given: str | None = None

    @classmethod
    def of(cls, dataset: Dataset, weight: float | None = None, rows: int | None = None) -> Source:
        return cls(dataset.path.name, dataset.path, dataset.sha256, weight, rows, dataset.line)

    def to_dict(self) -> dict[str, Any]:
        beside = {name: value for name in ("weight", "rows", "given") if (value := getattr(self, name)) is not None}
        return {"source": self.name, "path": str(self.path or ""), "sha256": self.sha256, **beside}


@dataclass(frozen=True)
class Lineage:
    """How a version came to be: the files it was made from, and the steps that were taken."""

    sources: tuple[Source, ...]
    steps: tuple[Step, ...]

    @property
    def decided(self) -> dict[str, str]:
        """What was decided about the findings, by kind."""
        return {step["fix"]: step["choice"] for step in self.steps if "fix" in step and "choice" in step}

    @property
    def before(self) -> Source | None:
        """The one file that it was made from; None if it was mixed from several."""
        return self.sources[0] if len(self.sources) == 1 else None

    @property
    def sentence(self) -> str:
        """As in "290 of 312 rows of ward.jsonl are used. Left out: Duplicate rows (22). Changed: HTML (12)."."""
        source, steps = self.before, self.steps
        if source is None:
            return tr("Mixed from {parts}", parts=", ".join(
                ntr("{name} ({n:,} row)", "{name} ({n:,} rows)", each.rows or 0, name=each.name)
                for each in self.sources))
        gone = _counted((str(step.get("fix")), _whole(step.get("removed"))) for step in steps)
        changed = _counted((str(step.get("fix")), _whole(step.get("rows")) - _whole(step.get("removed")))
                           for step in steps)
        by_hand = _by_hand(steps)
        if source.rows is None or any("add" in step for step in steps):
            made = tr("Made from {name}.", name=source.name)
        else:
            used = source.rows - sum(_whole(step.get(name)) for step in steps for name in ("removed", "delete"))
            made = ntr("{used:,} of {n:,} row of {name} is used.", "{used:,} of {n:,} rows of {name} are used.",
                       source.rows, used=used, name=source.name)
        return join_sentences(made, *([tr("By hand: {steps}.", steps=", ".join(by_hand))] if by_hand else []),
                              *([tr("Left out: {findings}.", findings=gone)] if gone else []),
                              *([tr("Changed: {findings}.", findings=changed)] if changed else []))


def _counted(counts: Iterable[tuple[str, int]]) -> str:
    """Kinds of findings with their rows."""
    return ", ".join(tr("{title} ({rows:,})", title=KINDS[kind].title, rows=rows)
                     for kind, rows in counts if rows > 0 and kind in KINDS)


def _by_hand(steps: tuple[Step, ...]) -> list[str]:
    edited = len({step["edit"] for step in steps if isinstance(step.get("edit"), int)})
    deleted, added = (sum(_whole(step.get(name)) for step in steps) for name in ("delete", "add"))
    return [said for count, said in (
        (edited, ntr("{n:,} row edited", "{n:,} rows edited", edited)),
        (deleted, ntr("{n:,} row deleted", "{n:,} rows deleted", deleted)),
        (added, ntr("{n:,} row added", "{n:,} rows added", added))) if count]


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def lineage_file(path: Path) -> Path:
    return path.with_name(path.name + LINEAGE)


def next_path(source: Path, *, fresh: bool = False) -> Path:
    """Where the next version of a file belongs: NAME-v2.jsonl, -v3 and so on, above every number that is taken.

    Args:
        source: the file, or a version of it.
        fresh: whether `source` is only a name that no file has yet; the numbers begin at 1 then.
    """
    folder = paths.datasets_dir()
    stem = Path(source.stem).stem if source.suffix.lower() in PACKED else source.stem
    found = _NUMBERED.fullmatch(stem)
    name = _cut(found[1] if found else stem)
    taken = {0 if fresh else 1}
    with contextlib.suppress(OSError):  # no such folder yet, or one that writing will complain about
        for each in folder.iterdir():
            its = _NUMBERED.fullmatch(each.name.removesuffix(LINEAGE).removesuffix(".jsonl"))
            if its and _folded(its[1]) == _folded(name):  # some file systems don't tell such names apart
                taken.add(int(its[2]))
    return folder / f"{name}-v{max(taken) + 1}.jsonl"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _cut(name: str) -> str:
    return name.encode("utf-8", "surrogateescape")[:MOST_NAME_BYTES].decode("utf-8", "ignore") or "dataset"


def write(records: Iterable[Record], sources: Sequence[Source], steps: Iterable[Step], *,
          like: Path | None = None, seed: int | None = None) -> Path:
    """Write rows as a new version, and beside it how they came to be. No other file is touched.

    Args:
        sources: what the rows were made from.
        like: names the versions where no source does, as those of a mix.
        seed: of what was drawn.

    Returns:
        the new file.

    Raises:
        UserError: it can't be written.
    """
    first = like or sources[0].path or Path(sources[0].name)
    target = _reserved(first, like is not None)
    made = [each.to_dict() for each in sources]
    lineage = {**(made[0] if len(made) == 1 else {"sources": made}), "steps": list(steps)}
    try:
        write_rows(target, records, lineage if seed is None else {**lineage, "seed": seed})
    except BaseException:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
        raise
    return target


def write_rows(path: Path, records: Iterable[Record], lineage: dict[str, Any] | None = None) -> None:
    """Write the records, and beside the file how they came to be, whole or not at all.

    Args:
        lineage: the source's name and SHA-256, and the steps that were taken.

    Raises:
        UserError: it can't be written.
    """
    with os_errors_as(tr("Could not write {file}.", file=path.name)):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(path, (
            json.dumps(as_row(record), ensure_ascii=False).encode("utf-8") + b"\n" for record in records))
        if lineage is not None:
            files.write_atomically(path.with_name(path.name + LINEAGE), files.dump_pretty(lineage))


def _reserved(first: Path, fresh: bool) -> Path:
    """An empty file with the next free name, so that two programs never write to the same one."""
    target = next_path(first, fresh=fresh)
    with os_errors_as(tr("Could not write {file}.", file=target.name)):
        target.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                target.touch(exist_ok=False)
                return target
            except FileExistsError:  # another program was quicker
                target = next_path(first, fresh=fresh)


def read_lineage(path: Path) -> Lineage | None:
    """How a file came to be; None for one that isn't a version.

    Raises:
        UserError: its lineage can't be read.
    """
    file = lineage_file(path)
    try:
        with os_errors_as(tr("Could not read {file}.", file=file.name)):
            state = json.loads(files.read_bytes(file)) if file.exists() else None
        if state is None:
            return None
        first, *others = map(_source, state.get("sources", [state]))
        return Lineage((first, *others), tuple(map(dict, state["steps"])))
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise UserError(tr("The program can't tell what {name} was made from.", name=path.name),
                        tr("The file next to it, {file}, is damaged.", file=file.name),
                        tr("The rows themselves are fine. To go back, open the file it was made from.")) from error


def _source(state: dict[str, Any]) -> Source:
    if not isinstance(state["source"], str):
        raise TypeError
    kinds = {"path": Path, "sha256": str, "weight": float, "rows": int, "given": str}
    return Source(state["source"], **{name: kind(state[name]) for name, kind in kinds.items() if state.get(name)})


def remove(path: Path) -> bool:
    """Move a version and its lineage to the system's trash. Returns whether it was one that this program wrote.

    A file outside of the datasets folder, or without a lineage, belongs to somebody else and stays.

    Raises:
        UserError: it can't be moved.
    """
    if path.parent != paths.datasets_dir() or not lineage_file(path).exists():
        return False
    from send2trash import TrashPermissionError, send2trash

    try:
        for each in (path, lineage_file(path)):
            if each.exists():
                send2trash(str(each))
    except TrashPermissionError as error:
        raise UserError(tr("{name} couldn't be moved to the trash.", name=path.name),
                        tr("This disk has no trash: {error}.", error=error),
                        tr("Delete the file yourself: {file}", file=path)) from error
    except OSError as error:
        raise from_os_error(error, tr("Could not move {file} to the trash.", file=path.name)) from error
    return True
