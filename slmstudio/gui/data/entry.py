"""One dataset on the list of the Data tab, with what was chosen for it and what is known about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.versions.edits import Edits
    from slmstudio.gui.data.health.work import Report


@dataclass(eq=False)
class DataEntry:
    """One dataset of this session, and how it is split.

    Attributes:
        eval_fraction: share of its rows that is split off; the usual one at first.
        lost_eval: the file with its evaluation rows, where that couldn't be read this time; `lost_said`: what was said
            about its columns.
        report: what was found in its rows.
        edits: what was changed by hand, and isn't written.
        by_shape: its columns were read as a user chose for another file with the same ones.
    """

    dataset: Dataset
    eval_dataset: Dataset | None = None
    eval_fraction: float = field(init=False)
    split_seed: int = 0
    split_by: str = "rows"
    lost_eval: Path | None = None
    lost_said: str = ""
    report: Report | None = None
    edits: Edits | None = None
    by_shape: bool = False

    def __post_init__(self) -> None:
        self.eval_fraction = self.usual_share

    @property
    def usual_share(self) -> float:
        """The share that is split off unless a user says otherwise."""
        from slmstudio.core.data.split import usual_share

        return usual_share(len(self.dataset.records))

    def take_rows(self, dataset: Dataset) -> None:
        """Be of another version of the dataset. A share that nobody chose is then the usual one of that."""
        is_usual = self.eval_fraction == self.usual_share
        self.dataset = dataset
        if is_usual:
            self.eval_fraction = self.usual_share

    @property
    def changes(self) -> Sequence[object]:
        """What was changed by hand, and isn't written."""
        return self.edits.changes if self.edits is not None else ()
