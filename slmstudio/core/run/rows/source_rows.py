"""The rows of the files that a run names, divided as it asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core.data import given, layouts
from slmstudio.core.data.reader import Dataset, Record
from slmstudio.core.errors import UserError
from slmstudio.core.run import schedule
from slmstudio.core.run.config import RunConfig


@dataclass(frozen=True)
class SourceRows:
    """What the files hold.

    Attributes:
        train: rows to learn.
        evaluation: rows that are only evaluated: split off, or of a file of their own.
        files: by the field that names them, "train_file" and perhaps "eval_file".
    """

    train: list[Record]
    evaluation: list[Record]
    files: dict[str, Dataset]

    @property
    def layout(self) -> str:
        return self.files["train_file"].layout

    @property
    def evaluated(self) -> Dataset:
        """The file that the evaluation rows come from."""
        return self.files.get("eval_file", self.files["train_file"])

    def sha256(self, side: str) -> str | None:
        """Not known of rows that nobody keeps."""
        return None


def read(config: RunConfig, progress: Callable[[int, int], None] | None = None,
         cancelled: Callable[[], bool] | None = None) -> SourceRows:
    """Read the files and divide their rows.

    Args:
        progress: called with (bytes read, bytes in all) of the file that is being read.

    Raises:
        UserError: a file cannot be used, or one cannot evaluate what the other teaches.
        ReadingCancelled: `cancelled` said so.
    """
    whole = given.read(Path(config.train_file), config.train_map, progress, cancelled)
    train, held_out = schedule.divided(whole.records, config)
    if not config.eval_file:
        return SourceRows(train, held_out, {"train_file": whole})
    other = given.read(Path(config.eval_file), config.eval_map, progress, cancelled)
    if layouts.kind(other.layout) != layouts.kind(whole.layout):
        raise UserError(f"{other.path.name} cannot evaluate what {whole.path.name} teaches.",
                        f"{layouts.sentence(whole.layout)} Of the other file: {layouts.sentence(other.layout)}",
                        "Choose evaluation rows of the same kind, or let them be split off.")
    return SourceRows(train, other.records, {"train_file": whole, "eval_file": other})
