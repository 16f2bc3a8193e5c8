"""The Data tab once it has data: the list of datasets, their rows, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QKeySequence, QResizeEvent
from PySide6.QtWidgets import QMenu, QVBoxLayout, QWidget

from slmstudio.core import units
from slmstudio.core.data import layouts
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.areas import Card, DropArea
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import plain_tip
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, fill, row_in, row_of
from slmstudio.gui.common.widgets.table_cells import VALUE, TwoLineList
from slmstudio.gui.data.desk import RowTools
from slmstudio.gui.data.hand_edits import may_drop
from slmstudio.gui.data.health.figures import StatisticsStrip
from slmstudio.gui.data.pages import documents_tip
from slmstudio.gui.data.reading_card import ReadingCard
from slmstudio.gui.data.recent import DataEntry, RecentButton
from slmstudio.gui.data.rows_card import RowsCard
from slmstudio.gui.data.split_card import SplitCard

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset

# -- The list of datasets, and the ways to put one on it.


class ListCard(Card):
    """Datasets by their names. What stands for each is the workspace's.

    Signals:
        add_wanted: the user wants to choose more files.
        folder_wanted: the user wants to choose a folder.
        documents_wanted: the user wants to make questions from documents.
        mix_wanted: the user wants to combine several datasets into one.
        remove_wanted: the user wants to take the current one off the list.
        dropped(list[Path]): files were dropped on the drop area.
    """

    add_wanted = Signal()
    folder_wanted = Signal()
    documents_wanted = Signal()
    mix_wanted = Signal()
    remove_wanted = Signal()
    dropped = Signal(object)

    def __init__(self) -> None:
        super().__init__(tr("Datasets"))
        self.recent = RecentButton()
        fill(self.header, SecondaryButton(tr("+ Add"), tr("Choose more files with rows (Ctrl+O)."), "small",
                                          name="data_add", clicked=self.add_wanted), self.recent)
        self.list = TwoLineList(tr("Datasets"))
        self.list.setObjectName("data_list")
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.customContextMenuRequested.connect(self._open_menu)
        add_key(self.list, QKeySequence.StandardKey.Delete, self.remove_wanted.emit, inside=True)
        self.mix = SecondaryButton(tr("Mix datasets…"),
                                   tr("Combine several datasets into one, with a weight for each."), "small",
                                   name="data_mix", clicked=self.mix_wanted)
        documents = SecondaryButton(tr("From documents…"), documents_tip(), "small", name="data_add_documents",
                                    clicked=self.documents_wanted)
        fill(self.body, (self.list, 1), self.mix, documents, self._drop_area())

    def _drop_area(self) -> DropArea:
        drop = DropArea(tr("Drop files or a folder here"))
        drop.setObjectName("data_drop")
        drop.column.setContentsMargins(*[theme.SPACE_S] * 4)
        drop.dropped.connect(self.dropped)
        folder = SecondaryButton(tr("Choose a folder…"), tr("Read all files with rows in a folder as one dataset."),
                                 "small", name="data_add_folder", clicked=self.folder_wanted)
        drop.column.addWidget(folder)
        return drop

    def _open_menu(self, place: QPoint) -> None:
        if self.list.currentItem() is None:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if self.list.count() > 1:
            menu.addAction(tr("Mix datasets…"), self.mix_wanted.emit)
        menu.addAction(tr("Remove from the list"), QKeySequence(QKeySequence.StandardKey.Delete),
                       self.remove_wanted.emit)
        menu.popup(self.list.viewport().mapToGlobal(place))


SIDES = ((0, 163, 242), (870, 178, 268), (1100, 210, 300))
"""From each width on, the widths of the columns at the sides: on a small screen, or with larger text, they give way to
the rows."""
LOW = 520
"""Below this height, the drawing of the rows' lengths does."""
LOWER, NO_MOST = 600, 16_777_215
"""In a window below this height, the figures of the rows do too; and Qt's own greatest height. All but that grow with
the text."""


class DataWorkspace(QWidget):
    """Datasets at the left, the rows in the middle, findings and split at the right.

    Attributes:
        datasets: the card at the left.
        foot: takes messages, below all but the right column, whose buttons stay where they are.

    Signals:
        reread(DataEntry, str): this one should be read again, as the text says.
        eval_file_wanted(DataEntry): the user wants to choose a file with evaluation rows.
        emptied: the last dataset was taken off the list.
        changed: other datasets are on the list, another one is shown or used, or one is split in another way.
    """

    reread = Signal(object, str)
    eval_file_wanted = Signal(object)
    emptied = Signal()
    changed = Signal()

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self.foot = column_of(spacing=theme.CARD_GAP)
        main = column_of((row_of(self._list_card(), (self._centre(), 1), spacing=theme.CARD_GAP), 1), self.foot,
                         spacing=theme.CARD_GAP)
        row_in(self, (main, 1), self._right_column(), spacing=theme.CARD_GAP)
        theme.THEME.changed.connect(self._fit)
        session.model_changed.connect(self.update_model)
        session.starter_ready.connect(self.update_model)
        session.dataset_changed.connect(self._refresh_list)
        session.dataset_changed.connect(self.changed)
        self.update_model()

    def _list_card(self) -> Card:
        card = self.datasets = ListCard()
        self.list = card.list
        card.mix_wanted.connect(lambda: self.desk.open_mix(self.entries))
        card.remove_wanted.connect(self.remove_current)
        self.list.currentItemChanged.connect(lambda: self._show_entry())
        self.list.currentItemChanged.connect(self.changed)
        return card

    def _centre(self) -> QVBoxLayout:
        """How the file was read, and below it the rows, or what is done to them."""
        self.reading = ReadingCard()
        self.reading.reread.connect(self._read_as)
        self._rows_card()
        self.desk = RowTools(self._session, self.rows, self)
        for figures in (self.statistics, self.desk.lengths):  # their room is the fields', so that nothing else moves
            self.reading.opened.connect(figures.setHidden)
        self.datasets.body.insertWidget(1, self.desk.trial.open)
        self.desk.replaced.connect(self.replace_dataset)
        self.desk.made.connect(lambda dataset: self.add(DataEntry(dataset)))
        self.desk.closing.connect(self.remove)
        return column_of(self.reading, (self.desk.pages, 1), spacing=theme.CARD_GAP)

    def _read_as(self, said: str) -> None:
        """Read the file in another way, unless rows were changed by hand and that is to stay."""
        if self.entry is not None and may_drop(self, [self.entry]):
            self.entry.edits = None
            self.reread.emit(self.entry, said)

    def _rows_card(self) -> RowsCard:
        self.rows = RowsCard()
        self.rows.model_wanted.connect(lambda: self._session.go_to("model"))
        self.statistics = StatisticsStrip()
        self.rows.body.addWidget(self.statistics)
        return self.rows

    def _right_column(self) -> QWidget:
        side = self._right = QWidget()
        self.split = SplitCard()
        self.split.changed.connect(self._split_changed)
        self.split.counted.connect(lambda learned, kept: self.desk.show_steps(learned))
        self.split.file_wanted.connect(lambda: self.eval_file_wanted.emit(self.entry))
        self.use = PrimaryButton(tr("Use this data →"), tr("Train on this dataset, and continue with the model."),
                                 name="data_use", clicked=self._use)
        self.split.body.addLayout(row_of(STRETCH, self.use, spacing=None))
        column_in(side, (self.desk.health, 1), self.split, spacing=theme.CARD_GAP)
        return side

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Share out the room that there is in the window: the page itself may be as wide as larger text made it."""
        width = min(self.width(), self.window().width())
        least, left, right = max(each for each in SIDES if theme.scaled(each[0]) <= width)
        self.datasets.setFixedWidth(theme.scaled(left))
        self._right.setFixedWidth(theme.scaled(right))
        self.rows.facts.setHidden(least == 0)
        self.desk.lengths.set_flat(self.height() < theme.scaled(LOW))
        self.statistics.setMaximumHeight(0 if self.window().height() < theme.scaled(LOWER) else NO_MOST)

    @property
    def entry(self) -> DataEntry | None:
        value = self.list.value()
        return value if isinstance(value, DataEntry) else None

    @property
    def entries(self) -> list[DataEntry]:
        return [self.list.item(row).data(VALUE) for row in range(self.list.count())]

    def find(self, path: Path) -> DataEntry | None:
        return next((entry for entry in self.entries if entry.dataset.path == path), None)

    def add(self, entry: DataEntry, *, show: bool = True) -> None:
        """Put a dataset on the list and show it. A file that is on it already is replaced, its split kept."""
        known = self.find(entry.dataset.path)
        if known is None:
            self.list.add(entry.dataset.name, "", entry, tooltip=str(entry.dataset.path))
        else:
            self._replace(known, entry)
        self._refresh_list()
        if show:
            self.list.select_value(known or entry)
        if known is not None and known is self.entry:
            self._show_entry()
        self.changed.emit()

    def replace_dataset(self, entry: DataEntry, dataset: Dataset) -> None:
        """Show another version of a dataset in its place."""
        if entry not in self.entries:  # it was taken off the list meanwhile
            self.add(DataEntry(dataset), show=False)
            return
        known = self.find(dataset.path)
        if known is not None and known is not entry:  # the file before is on the list itself
            self.remove(known)
        used = self._session.dataset is entry.dataset
        entry.take_rows(dataset)
        entry.edits = None
        item = self.list.item(self.entries.index(entry))
        item.setText(dataset.name)
        item.setToolTip(plain_tip(str(dataset.path)))
        if used:
            self.choose(entry)
        self._refresh_list()
        if entry is self.entry:
            self._show_entry()
        self.changed.emit()

    def _replace(self, known: DataEntry, entry: DataEntry) -> None:
        if layouts.kind(known.dataset.layout) != layouts.kind(entry.dataset.layout):
            known.eval_dataset = None  # its rows are of the kind that the file had
        if known.edits is not None:
            had_changes = bool(known.changes)
            known.edits = known.edits.rebased(entry.dataset.records)
            if known.edits is None and had_changes:
                report_error(self, UserError(tr("{name} has changed, so your unsaved changes no longer fit it.",
                                              name=known.dataset.name)))
        known.take_rows(entry.dataset)
        known.by_shape = entry.by_shape
        known.eval_dataset = entry.eval_dataset or known.eval_dataset
        if self._session.dataset is not None and self._session.dataset.path == entry.dataset.path:
            self.choose(known)

    def set_eval_dataset(self, entry: DataEntry, dataset: Dataset | None) -> None:
        """Measure with the rows of this dataset; None goes back to splitting."""
        entry.eval_dataset = dataset
        if dataset is not None:
            entry.lost_eval = None
        if entry is self.entry:
            self.split.show_split(entry.dataset, dataset, entry.eval_fraction, entry.split_seed, entry.split_by)
            self.desk.check()
        self._apply_if_used(entry)
        self.changed.emit()

    def remove_current(self) -> None:
        """Take the dataset off the list. Its file stays."""
        if self.entry is not None and may_drop(self, [self.entry]):
            self.remove(self.entry)

    def remove(self, entry: DataEntry) -> None:
        if entry not in self.entries:
            return
        self.list.takeItem(self.entries.index(entry))
        self._refresh_list()
        if self._session.dataset is entry.dataset:
            self._session.set_dataset(None)
        self.changed.emit()
        if not self.list.count():
            self.emptied.emit()

    def update_model(self) -> None:
        """Preview rows with the session's model, else with the starter model when it is already there."""
        model = self._session.model
        self.rows.set_model(model, None, self._session.chat_template_of(model.path) if model is not None else "")
        if self._session.model is not None:
            self.desk.set_model(self._session.model.path, self._session.model.name)
        else:
            run_task(self, lambda task: _starter(), self._show_starter)

    def _show_starter(self, folder: Path | None) -> None:
        if self._session.model is None:
            self.rows.set_model(None, folder)
            self.desk.set_model(folder, "")

    def _refresh_list(self) -> None:
        self.datasets.mix.setVisible(self.list.count() > 1)
        for place, entry in enumerate(self.entries):
            detail = " · ".join((ntr("{n:,} row", "{n:,} rows", len(entry.dataset.records)),
                                 units.format_bytes(entry.dataset.bytes)))
            used = self._session.dataset is entry.dataset
            self.list.change(self.list.item(place), detail=detail, chip=tr("in use") if used else "", kind="ok")

    def _show_entry(self) -> None:
        entry = self.entry
        if entry is None:
            return
        self.reading.show_dataset(entry.dataset, entry.by_shape)
        self.desk.show_entry(entry)
        self.statistics.show_dataset(entry.dataset)
        self.split.show_split(entry.dataset, entry.eval_dataset, entry.eval_fraction, entry.split_seed,
                              entry.split_by)

    def _split_changed(self) -> None:
        entry = self.entry
        if entry is None:
            return
        entry.eval_fraction, entry.split_seed = self.split.fraction, self.split.seed.value()
        entry.split_by = self.split.by
        if self.split.split.isChecked():
            entry.eval_dataset = entry.lost_eval = None
        self.desk.check()
        self._apply_if_used(entry)
        self.changed.emit()

    def _apply_if_used(self, entry: DataEntry) -> None:
        """The split of the data in use takes effect at once: nobody expects to press "Use" again for it."""
        if self._session.dataset is entry.dataset:
            self.choose(entry)

    def choose(self, entry: DataEntry) -> None:
        """Train on this one."""
        self._session.set_dataset(entry.dataset, entry.eval_dataset, entry.eval_fraction, entry.split_seed,
                                  entry.split_by)

    def _use(self) -> None:
        entry = self.entry
        if entry is None:
            return
        if entry.changes:
            self.desk.hand.ask_to_write()
            return
        self.choose(entry)
        self._session.go_to("model")


def _starter() -> Path | None:
    """Runs in a thread: the starter model's folder, when it is there."""
    from slmstudio.core.model import library

    return library.starter_folder() if library.starter_ready() else None
