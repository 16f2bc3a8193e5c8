"""Which datasets are open and which were, for the next session; and the lists in which those that were are offered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from slmstudio.core.data import remembered
from slmstudio.core.data.remembered import Missing, Remembered
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.buttons import IconButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import ElidedLabel, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import column_in, row_in

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.versions.edits import Edits
    from slmstudio.gui.data.health.work import Report

SAVE_AFTER_MS = 500


@dataclass(eq=False)
class DataEntry:
    """One dataset of this session, and how it is split.

    Attributes:
        eval_fraction: share of its rows that is split off; the usual one at first.
        lost_eval: the file with its evaluation rows, where that couldn't be read this time; `lost_said`: what was said
            about its columns.
        report: what was found in its rows.
        chosen: what is chosen for its findings, by kind, and isn't applied.
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
    chosen: dict[str, str] = field(default_factory=dict)
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
        self.dataset, self.chosen = dataset, {}
        if is_usual:
            self.eval_fraction = self.usual_share

    @property
    def changes(self) -> Sequence[object]:
        """What was changed by hand, and isn't written."""
        return self.edits.changes if self.edits is not None else ()


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
        self._later.timeout.connect(session.report_settings_changed)

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
        mappings = remembered.with_said(self._session.settings.mappings, columns, said)
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


LISTED, IN_MENU = 5, 12
NAME_WIDTH = 210
MENU_WIDTH = 320
"""The width of a name in the menu."""


def _short(missing: Missing) -> str:
    """Why, in as few words as fit beside a name."""
    return (tr("Its disk or folder is missing") if missing.whole_folder else
            tr("Moved, renamed or deleted"))


class _Row(QWidget):
    """One file: its name, and its folder or why it can't be opened."""

    opened = Signal()
    removed = Signal()

    def __init__(self, path: Path, missing: Missing | None, parent: QWidget | None = None):
        super().__init__(parent)
        self.button = named(QPushButton(), "recent_file", path.name if missing is None else f"{path.name}. {missing}",
                            plain_tip(str(path) if missing is None else f"{path}\n{missing}"))
        self.button.setProperty("kind", "row")
        self.name, self.where = ElidedLabel(path.name), ElidedLabel("", "small")
        self.where.setText(str(path.parent) if missing is None else _short(missing))
        theme.grow(self.name, "setFixedWidth", NAME_WIDTH)
        row_in(self.button, self.name, (self.where, 1), spacing=theme.SPACE_M,
               margins=(theme.SPACE_S, 0, theme.SPACE_S, 0))
        for label in (self.name, self.where):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            label.setEnabled(missing is None)
            label.setProperty("faint", missing is not None)
        remove = IconButton("close", tr("Remove from recent files. The file itself stays."), name="recent_remove",
                            clicked=self.removed)
        self.button.clicked.connect(self.opened)
        row_in(self, (self.button, 1), remove, spacing=theme.SPACE_XS)


class RecentList(QWidget):
    """The newest of them, one per line.

    Signals:
        chosen(Path): this one should be opened; a missing one too, because its disk may be back.
        removed(Path): this one shouldn't be offered any more.
    """

    chosen = Signal(object)
    removed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[_Row] = []
        title = text_label(tr("Recent files"), "section")
        title.setContentsMargins(theme.SPACE_S, 0, 0, theme.SPACE_XS)
        self._column = column_in(self, title, spacing=0)
        self.hide()

    def show_files(self, recent: Sequence[Remembered], missing: dict[Path, Missing]) -> None:
        for row in self.rows:
            row.hide()
            row.deleteLater()
        self.rows = []
        for each in recent[:LISTED]:
            row = _Row(each.path, missing.get(each.path))
            row.opened.connect(partial(self.chosen.emit, each.path))
            row.removed.connect(partial(self.removed.emit, each.path))
            self._column.addWidget(row)
            self.rows.append(row)
        self.setVisible(bool(self.rows))


class RecentButton(IconButton):
    """The same as a menu. It is there while there are any.

    Signals:
        chosen(Path), removed(Path): as of `RecentList`.
    """

    chosen = Signal(object)
    removed = Signal(object)

    def __init__(self) -> None:
        super().__init__("chevron-down", tr("Open a recent file"), name="data_recent")
        self.files = QMenu(self)
        self.files.setToolTipsVisible(True)
        self.clicked.connect(lambda: self.files.popup(self.mapToGlobal(self.rect().bottomLeft())))
        self.hide()

    def show_files(self, recent: Sequence[Remembered], missing: dict[Path, Missing]) -> None:
        self.files.clear()
        remove = QMenu(tr("Remove from this list"), self.files)
        for each in recent[:IN_MENU]:
            why = missing.get(each.path)
            name = self.fontMetrics().elidedText(each.path.name, Qt.TextElideMode.ElideMiddle, MENU_WIDTH)
            name = name.replace("&", "&&")
            action = self.files.addAction(name if why is None else f"{name} · {_short(why)}",
                                          partial(self.chosen.emit, each.path))
            action.setToolTip(plain_tip(str(each.path) if why is None else str(why)))
            action.setEnabled(why is None)
            remove.addAction(name, partial(self.removed.emit, each.path)).setToolTip(plain_tip(str(each.path)))
        self.files.addSeparator()
        self.files.addMenu(remove)
        self.setVisible(bool(recent))
