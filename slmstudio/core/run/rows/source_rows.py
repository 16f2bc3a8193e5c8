"""The rows of the files that a run names, divided as it asks for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmstudio.core.data import layouts, split
from slmstudio.core.data.reader import Dataset, Record, read_as
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows.disk_rows import RowWriter

if TYPE_CHECKING:
    import numpy as np


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


def read(config: RunConfig, progress: Callable[[int, int], None] | None = None,
         cancelled: Callable[[], bool] | None = None, store: Callable[[], RowWriter] | None = None) -> SourceRows:
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
