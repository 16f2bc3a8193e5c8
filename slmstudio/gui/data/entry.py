"""One dataset on the list of the Data tab, with what was chosen for it and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.versions.edits import Edits
    from slmstudio.gui.data.health.work import Report


@dataclass(eq=False)
class DataEntry:
    """One dataset of this sitting, and how it is split.

    Attributes:
        lost_eval: the file with its evaluation rows, where that could not be read this time.
        report: what was found in its rows.
        edits: what was changed by hand, and isn't written.
    """

    dataset: Dataset
    eval_dataset: Dataset | None = None
    eval_fraction: float = 0.1
    split_seed: int = 0
    lost_eval: Path | None = None
    report: Report | None = None
    edits: Edits | None = None
