"""Which rows are set aside for evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QRadioButton

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import ComboBox, DoubleSpinBox, SpinBox, named, number_field
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import fill

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset

INDENT = 22
"""The indent of what belongs to a radio button, so that it is below the button's words."""


class SplitCard(Card):
    """Split rows off for evaluation, or take them from a file of their own.

    Signals:
        changed: the share, the seed or the kind of split is different now.
        file_wanted: the user wants to choose a file of evaluation rows.
        counted(int, int): training rows and evaluation rows, once they are known.
    """

    changed = Signal()
    file_wanted = Signal()
    counted = Signal(int, int)

    def __init__(self) -> None:
        super().__init__("")
        self._dataset: Dataset | None = None
        self._eval: Dataset | None = None
        self._task = TaskSlot()
        self._later = QTimer(self, interval=150, singleShot=True, timeout=self._count)
        self._make_controls()
        self._lay_out()
        self.own.toggled.connect(self._kind_toggled)
        for spin in (self.share, self.seed):
            spin.valueChanged.connect(self._settings_changed)
        self.by_box.activated.connect(self._settings_changed)

    def _make_controls(self) -> None:
        self.split = named(QRadioButton(tr("Split from this data")), "split_off",
                           tip=tr("Set some rows aside. Rows with the same question stay together, and so do rows "
                                  "that came from one row of the file, so that the result is honest."))
        self.split.setChecked(True)
        self.own = named(QRadioButton(tr("A separate file")), "split_own",
                         tip=tr("Evaluate with rows from another file. Choose this when you have a test set that isn't "
                                "used for training."))
        self.share = named(number_field(DoubleSpinBox(minimum=0, maximum=50, decimals=2, singleStep=1, value=10)),
                           "split_share", tr("Share of rows for evaluation"),
                           tr("Share of rows used only for evaluation, never for training. Usually 10%, or about "
                              "2,000 rows of a large dataset; more would only make each evaluation take longer. With "
                              "0, the model trains on everything and nothing is evaluated."))
        self.share.setSuffix(tr("%"))
        self.seed = named(number_field(SpinBox(minimum=0, maximum=2**31 - 1)), "split_seed", tr("Seed of the split"),
                          tr("The same seed always sets the same rows aside. Change it to draw others."))
        self.by_box = named(ComboBox(), "split_by", tr("What the share is taken from"),
                            tr("Set the same share of each language or each file aside, so that small ones are "
                               "evaluated too. Languages are told apart by their script."))
        self.file = ElidedLabel("", "small")
        self.choose = SecondaryButton(tr("Choose…"), tr("Choose the file with evaluation rows."), "small",
                                      name="split_choose", clicked=self.file_wanted)
        self.remove = IconButton("close", tr("Remove the evaluation file and split rows from this data instead"),
                                 name="split_remove", clicked=lambda: self.split.setChecked(True))
        self.counts = text_label("", "small", wrap=True, name="split_counts")

    def _lay_out(self) -> None:
        self.body.setSpacing(theme.SPACE_S)
        fill(self.body, text_label(tr("Evaluation rows"), "section"), self.split)
        figures = QHBoxLayout()
        figures.setContentsMargins(INDENT, 0, 0, 0)
        figures.setSpacing(theme.SPACE_S)
        for name, field, stretch in ((tr("Share"), self.share, 3), (tr("Seed"), self.seed, 2)):
            field.setMinimumWidth(40)
            fill(figures, text_label(name, "small"), (field, stretch))
        self.body.addLayout(figures)
        of = QHBoxLayout()
        of.setContentsMargins(INDENT, 0, 0, 0)
        of.setSpacing(theme.SPACE_S)
        fill(of, text_label(tr("Taken from"), "small"), (self.by_box, 1))
        fill(self.body, of, self.own)
        row = QHBoxLayout()
        row.setContentsMargins(INDENT, 0, 0, 0)
        fill(row, (self.file, 1), self.choose, self.remove)
        fill(self.body, row, self.counts)

    def show_split(self, dataset: Dataset, eval_dataset: Dataset | None, share: float, seed: int, by: str) -> None:
        """Show the split of a dataset. `share` is a fraction from 0 to 0.5."""
        self._dataset, self._eval = dataset, eval_dataset
        self._offer(by, any(record.file for record in dataset.records[:1]))
        controls = (self.split, self.own, self.share, self.seed)
        for control in controls:
            control.blockSignals(True)
        (self.split if eval_dataset is None else self.own).setChecked(True)
        self.share.setValue(100 * share)
        self.seed.setValue(seed)
        for control in controls:
            control.blockSignals(False)
        self._show_kind()
        self._count()

    def _offer(self, chosen: str, of_files: bool) -> None:
        """What the share may be taken from; from each file, where there are several."""
        words = {"rows": tr("All rows"), "language": tr("Each language"), "source": tr("Each file")}
        self.by_box.clear()
        for by, name in words.items():
            if by != "source" or of_files or chosen == by:
                self.by_box.addItem(name, by)
        self.by_box.setCurrentIndex(self.by_box.findData(chosen))

    @property
    def by(self) -> str:
        """As `split_by` of a run."""
        return str(self.by_box.currentData())

    @property
    def fraction(self) -> float:
        return round(self.share.value() / 100, 4)

    def _kind_toggled(self, own: bool) -> None:
        if own and self._eval is None:
            self.file_wanted.emit()
        if not own:
            self._eval = None
        self._show_kind()
        self._settings_changed()

    def _show_kind(self) -> None:
        own = self.own.isChecked()
        for field in (self.share, self.seed, self.by_box):
            field.setEnabled(not own)
        self.file.setText(Path(self._eval.path).name if self._eval is not None else tr("none chosen yet"))
        for widget in (self.file, self.choose):
            widget.setVisible(own)
        self.remove.setVisible(own and self._eval is not None)

    def _settings_changed(self) -> None:
        self.counts.setText(tr("Counting…"))
        self._later.start()
        self.changed.emit()

    def _count(self) -> None:
        """Make the split as training will, and show how many rows are on each side."""
        dataset, fraction, seed, by = self._dataset, self.fraction, self.seed.value(), self.by
        self._task.cancel()
        if dataset is None:
            return
        if self._eval is not None:
            self._show_counts((len(dataset.records), len(self._eval.records)))
        else:
            self._task.run(self, lambda task: _split_counts(dataset, fraction, seed, by), self._show_counts)

    def _show_counts(self, counts: tuple[int, int]) -> None:
        learned, kept = counts
        self.counts.setText(ntr("{n:,} row for training · {kept:,} for evaluation",
                                "{n:,} rows for training · {kept:,} for evaluation", learned, kept=kept))
        self.counted.emit(learned, kept)


def _split_counts(dataset: Dataset, fraction: float, seed: int, by: str) -> tuple[int, int]:
    from slmstudio.core.data.split import split_evenly

    train, kept = split_evenly(dataset.records, fraction, seed, by)
    return len(train), len(kept)
