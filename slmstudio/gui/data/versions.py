"""Versions of datasets: one mixed from several, and the bar that says what one was made from and goes back to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QCheckBox, QGridLayout, QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import Task, TaskSlot, run_task
from slmstudio.gui.common.widgets.areas import Card, NoteBar, ScrolledIfNeeded
from slmstudio.gui.common.widgets.banner import ErrorBanner, report_error
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import DoubleSpinBox, SpinBox, named, number_field
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, fill, row_of
from slmstudio.gui.data.hand_edits import may_drop
from slmstudio.gui.data.health import work

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.versions.edits import Part
    from slmstudio.core.data.versions.store import Lineage
    from slmstudio.gui.data.recent import DataEntry


class VersionBar(QObject):
    """The bar of the entry that is shown; hidden for a file that isn't a version.

    Signals:
        replaced(DataEntry, Dataset): the earlier file should be shown in its place.
        closing(DataEntry): a mix was undone, and its file is gone.
    """

    replaced = Signal(object, object)
    closing = Signal(object)

    def __init__(self, parent: QObject):
        super().__init__(parent)
        self._entry: DataEntry | None = None
        self._lineage: Lineage | None = None
        self._task = TaskSlot()
        self.undo = SecondaryButton(tr("Undo all"),
                                    tr("Go back to the file this was made from (Ctrl+Z). This version moves to the "
                                       "trash."),
                                    "small", name="version_undo", clicked=self._undo)
        self.bar = NoteBar("version_text", "ok", (self.undo,))

    def show_entry(self, entry: DataEntry) -> None:
        """Look, off the UI thread, what its file was made from."""
        self._entry, self._lineage = entry, None
        self.bar.say("")
        path = entry.dataset.path
        self._task.run(self, lambda task: _lineage(path), self._show, self._damaged)

    def _show(self, lineage: Lineage | None) -> None:
        self.undo.setVisible(True)
        self.undo.setEnabled(True)
        self._lineage = lineage
        self.bar.say(lineage.sentence if lineage is not None else "")

    @property
    def can_undo(self) -> bool:
        """Whether there is one file to go back to."""
        return self._lineage is not None and self._lineage.before is not None and self.undo.isEnabled()

    def _damaged(self, error: Exception) -> None:
        self.undo.setVisible(False)
        self.bar.say(" ".join((error.what, error.why)) if isinstance(error, UserError) else str(error))

    def _undo(self) -> None:
        entry = self._entry
        if entry is None or not may_drop(self.bar, [entry]):
            return
        self.undo.setEnabled(False)
        path = entry.dataset.path

        def done(answer: tuple[Dataset | None, Exception | None]) -> None:
            found, trouble = answer
            if found is not None:
                self.replaced.emit(entry, found)
            else:
                self.closing.emit(entry)
            if trouble is not None:
                report_error(self, trouble)

        def failed(error: Exception) -> None:
            self.undo.setEnabled(True)
            report_error(self, error)

        run_task(self, lambda task: work.before(path, task), done, failed)


def _lineage(path: Path) -> Lineage | None:
    from slmstudio.core.data.versions.store import read_lineage

    return read_lineage(path)


LIST_HEIGHT = 160


class MixCard(Card):
    """Makes one dataset of several.

    Signals:
        made(Dataset): the mix was written.
        closed: the user is done, or gave up.
    """

    made = Signal(object)
    closed = Signal()

    def __init__(self) -> None:
        super().__init__(tr("Mix datasets"))
        self._rows: list[tuple[Dataset, QCheckBox, DoubleSpinBox]] = []
        self._writing = False
        self.banner = ErrorBanner()
        self._holder = QWidget()
        self._grid = QGridLayout(self._holder)
        self._grid.setContentsMargins(0, 0, theme.SPACE_S, 0)
        self._grid.setHorizontalSpacing(theme.SPACE_M)
        self._grid.setColumnStretch(0, 1)
        self.seed = named(number_field(SpinBox(minimum=0, maximum=2**31 - 1)), "mix_seed", tr("Seed of the mix"),
                          tr("The same seed always takes the same rows. Change it to draw others."))
        self.sum = text_label("", "strong", name="mix_sum")
        words = text_label(tr("A weight of 0.5 takes every other row, 1 takes all rows, 2 takes each row twice."),
                           "muted", wrap=True)
        fill(self.body, self.banner, words, ScrolledIfNeeded(self._holder, LIST_HEIGHT),
             row_of(text_label(tr("Seed"), "small"), self.seed, STRETCH), self.sum, STRETCH)
        self._make_buttons()
        add_key(self, "Escape", self._close, inside=True)

    def _make_buttons(self) -> None:
        self.write = SecondaryButton(tr("Save the mix"),
                                     tr("Save the rows in a new file, and open it. Your files aren't changed."),
                                     name="mix_write", clicked=self._write)
        cancel = SecondaryButton(tr("Cancel"), tr("Go back to the rows (Esc)."), name="mix_cancel", clicked=self._close)
        self.body.addLayout(row_of((text_label(tr("Your files are never changed."), "small"), 1), cancel, self.write))

    def open_datasets(self, datasets: Sequence[Dataset]) -> None:
        """Offer these datasets, all of them with a weight of 1."""
        self.banner.clear()
        while (item := self._grid.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.deleteLater()
        self._rows = []
        for place, dataset in enumerate(datasets):
            box = named(QCheckBox(dataset.name.replace("&", "&&")), f"mix_box_{place}", tip=str(dataset.path))
            box.setChecked(True)
            weight = named(number_field(DoubleSpinBox(minimum=0.01, maximum=100, decimals=2, singleStep=0.25, value=1)),
                           f"mix_weight_{place}", tr("Weight of {name}", name=dataset.name),
                           tr("How many rows to take, as a multiple of all rows."))
            rows = text_label(ntr("{n:,} row", "{n:,} rows", len(dataset.records)), "small")
            for column, widget in enumerate((box, rows, weight)):
                self._grid.addWidget(widget, place, column)
            box.toggled.connect(weight.setEnabled)
            box.toggled.connect(self._count)
            weight.valueChanged.connect(self._count)
            self._rows.append((dataset, box, weight))
        self._count()

    def _parts(self) -> list[Part]:
        from slmstudio.core.data.versions.edits import Part

        return [Part(dataset, weight.value()) for dataset, box, weight in self._rows if box.isChecked()]

    def _count(self) -> None:
        """Say how many rows the mix has, or why there can't be one."""
        from slmstudio.core.data.versions.edits import check

        parts = self._parts()
        try:
            check(parts)
        except UserError as error:
            self.sum.setText("")
            self.banner.show_error(error, "warn")
            self.write.setEnabled(False)
            return
        self.banner.clear()
        self.sum.setText(ntr("The mix has {n:,} row.", "The mix has {n:,} rows.", sum(part.count for part in parts)))
        self.write.setEnabled(True)

    def _close(self) -> None:
        if not self._writing:
            self.closed.emit()

    def _write(self) -> None:
        parts, seed = self._parts(), self.seed.value()
        self._writing = True
        self.write.setEnabled(False)

        def done(made: Dataset) -> None:
            self._writing = False
            self.closed.emit()
            self.made.emit(made)

        def failed(error: Exception) -> None:
            self._writing = False
            self.write.setEnabled(True)
            self.banner.show_error(error)

        def work_on(task: Task) -> Dataset:
            from slmstudio.core.data.versions.edits import mix, sources

            records = mix(parts, seed)
            return work.write_from(records, sources(parts), [{"mix": len(records)}], task,
                                   like=Path(f"{parts[0].dataset.name}-mix"), seed=seed)

        run_task(self, work_on, done, failed)
