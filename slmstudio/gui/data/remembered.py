"""Which datasets are open, for the next session, and which were open before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from slmstudio.core.data import remembered
from slmstudio.core.data.mapping import shapes
from slmstudio.core.data.remembered import Missing, Remembered
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.gui.data.entry import DataEntry

SAVE_AFTER_MS = 500


class DataMemory(QObject):
    """Keeps the datasets of the session in its settings.

    Signals:
        changed: other files are recent now, or it is known about another one that it is missing.

    Attributes:
        unreachable: those whose disk isn't there now. They stay open for the next session.
        missing: why a file that isn't open can't be opened.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QObject | None = None):
        super().__init__(parent)
        self._session = session
        self.unreachable: list[Remembered] = []
        self.missing: dict[Path, Missing] = {}
        self._later = QTimer(self, interval=SAVE_AFTER_MS, singleShot=True)
        self._later.timeout.connect(session.tell_settings_changed)

    def known(self) -> list[Remembered]:
        return remembered.read_all(self._session.settings.datasets)

    def recent(self) -> list[Remembered]:
        """Files that aren't on the list of datasets now, the newest first."""
        away = {each.path for each in self.unreachable}
        return [each for each in self.known() if not each.open or each.path in away]

    def keep(self, entries: Sequence[DataEntry], shown: DataEntry | None, waiting: Sequence[Remembered]) -> None:
        """Remember what is open now, and what is being opened."""
        now = [self._entry(entry, shown) for entry in entries]
        there = {each.path for each in now}
        self.unreachable = [each for each in self.unreachable if each.path not in there]
        now += [each for each in (*waiting, *self.unreachable) if each.path not in there]
        self._write(remembered.with_open(self.known(), now))

    def _entry(self, entry: DataEntry, shown: DataEntry | None) -> Remembered:

        evaluation = entry.eval_dataset
        eval_path = evaluation.path if evaluation is not None else entry.lost_eval
        eval_said = evaluation.line if evaluation is not None else entry.lost_eval and entry.lost_said
        share = None if entry.eval_fraction == entry.usual_share else entry.eval_fraction
        return Remembered(entry.dataset.path, eval_path, share, entry.split_seed, entry.dataset.sha256,
                          open=True, shown=entry is shown, used=self._session.dataset is entry.dataset,
                          said=entry.dataset.line or "", eval_said=eval_said or "", split_by=entry.split_by)

    def keep_reading(self, dataset: Dataset) -> None:
        """Remember what a user just said about a file's columns, for other files with the same ones."""
        from slmstudio.core.data.read_options import NO_OPTIONS, of_columns, written

        if dataset.given or dataset.options == NO_OPTIONS:  # else nothing was said about the columns
            self.keep_said(dataset.columns, written(dataset.given, of_columns(dataset.options)) or "")

    def keep_said(self, columns: Sequence[str], said: str) -> None:
        """Remember what was said about these columns; nothing forgets it."""
        mappings = shapes.with_said(self._session.settings.mappings, columns, said)
        if list(mappings.items()) != list(self._session.settings.mappings.items()):
            self._session.settings.mappings = mappings
            self._later.start()

    def forget(self, path: Path) -> None:
        """Take a file off the recent ones. The file itself stays."""
        self.unreachable = [each for each in self.unreachable if each.path != path]
        self._write(remembered.without(self.known(), path))

    def set_missing(self, kept: Remembered, why: Missing) -> None:
        """A file that was open isn't there. A disk may come back by the next start; a file that was deleted does
        not."""
        if why.whole_folder:
            self.unreachable.append(kept)
        self.missing[kept.path] = why

    def _write(self, known: list[Remembered]) -> None:
        states = [each.to_dict() for each in known]
        if states != self._session.settings.datasets:
            self._session.settings.datasets = states
            self._later.start()
            self.look()

    def look(self) -> None:
        """See which of the recent files are there."""
        paths = [each.path for each in self.recent()]
        self.changed.emit()
        run_task(self, lambda task: {path: why for path in paths if (why := remembered.trouble(path)) is not None},
                 self._looked, lambda error: None)

    def _looked(self, missing: dict[Path, Missing]) -> None:
        if missing != self.missing:
            self.missing = missing
            self.changed.emit()

