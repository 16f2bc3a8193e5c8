"""The Model tab: which base model learns."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QKeySequence
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from slmstudio.core import units
from slmstudio.core.errors import UserError
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.common.widgets.areas import EmptyState, local_paths
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.card import Card
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.two_line import VALUE, TwoLineList
from slmstudio.gui.model.card import ModelCard
from slmstudio.gui.model.entry import ModelEntry
from slmstudio.gui.model.import_job import ModelImport

if TYPE_CHECKING:
    from slmstudio.core.model.facts import ModelFacts


class ModelTab(QWidget):
    """The list of base models, and the one that is looked at.

    Signals:
        refreshed: the list shows what is on disk.
        opened(ModelEntry): a folder was read, well or not.
    """

    refreshed = Signal()
    opened = Signal(object)

    def __init__(self, session: Session, parent: QWidget | None = None):
        super().__init__(parent)
        self._session = session
        self.setAcceptDrops(True)
        self.banner = ErrorBanner()
        self.banner.setObjectName("model_banner")
        self.importer = ModelImport(session, self)
        self.importer.finished.connect(self._imported)
        self.importer.failed.connect(self.banner.show_error)
        self.card = ModelCard(session, self.importer)
        self.card.use_wanted.connect(self._use)
        self._pages = QStackedWidget()
        self._pages.addWidget(self._nothing_chosen())
        self._pages.addWidget(self.card)
        columns = QHBoxLayout()
        columns.setSpacing(theme.CARD_GAP)
        columns.addWidget(self._list_card())
        columns.addWidget(self._pages, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.PAGE_MARGIN] * 4)
        column.setSpacing(theme.CARD_GAP)
        column.addWidget(self.banner)
        column.addLayout(columns, 1)
        session.model_changed.connect(self._show_chips)
        self.refresh()

    def _nothing_chosen(self) -> QWidget:
        state = EmptyState(self.tr("Which model should learn?"),
                           self.tr("Choose one at the left, or drop a model's folder here. Small models learn fast: "
                                   "begin with the one that comes with the program."))
        state.dropped.connect(self.open_paths)
        return EmptyState.centred(state)

    def _list_card(self) -> Card:
        card = Card(self.tr("Models"))
        card.setFixedWidth(330)
        self.list = TwoLineList(self.tr("Models"))
        self.list.setObjectName("model_list")
        self.list.currentItemChanged.connect(lambda: self._show_entry())
        add_key(self.list, QKeySequence.StandardKey.Delete, self.forget_current, inside=True)
        folder = SecondaryButton(self.tr("Open folder…"), self.tr("Choose the folder of a model: config.json, "
                                                                 "safetensors weights and tokenizer (Ctrl+O)."))
        folder.setObjectName("model_open")
        folder.clicked.connect(self.choose_files)
        gguf = SecondaryButton(self.tr("GGUF…"), self.tr("Choose a GGUF file and unpack it, so that it can learn."))
        gguf.setObjectName("model_gguf")
        gguf.clicked.connect(self._choose_gguf)
        row = QHBoxLayout()
        row.setSpacing(theme.SPACE_S)
        row.addWidget(folder)
        row.addWidget(gguf)
        row.addStretch(1)
        card.body.addWidget(self.list, 1)
        card.body.addLayout(row)
        return card

    def entries(self) -> list[ModelEntry]:
        return [self.list.item(row).data(VALUE) for row in range(self.list.count())]

    def refresh(self) -> None:
        """Read which models there are, off the UI thread."""
        run_task(self, lambda task: _known_models(), self._show_list, self.banner.show_error)

    def choose_files(self) -> None:
        """Let the user choose a model's folder."""
        dialog = QFileDialog(self, self.tr("Choose the folder of a model"))
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        self._open_dialog(dialog)

    def _choose_gguf(self) -> None:
        dialog = QFileDialog(self, self.tr("Choose a GGUF file"))
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setNameFilters([self.tr("GGUF models (*.gguf)"), self.tr("All files (*)")])
        self._open_dialog(dialog)

    def _open_dialog(self, dialog: QFileDialog) -> None:
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(lambda name: self.open_paths([Path(name)]))
        dialog.open()

    def open_paths(self, chosen: list[Path]) -> None:
        """Open model folders, and offer to unpack GGUF files. A file inside a model's folder stands for its folder."""
        from slmstudio.core import paths

        self.banner.clear()
        for path in chosen:
            if path.is_file() and path.suffix.lower() == ".gguf":
                self._put(ModelEntry(paths.models_dir() / path.stem, gguf=path), select=True)
                continue
            folder = path.parent if path.is_file() and path.name in ("config.json", "model.safetensors") else path
            run_task(self, partial(_read, folder), self._opened, self.banner.show_error)

    def forget_current(self) -> None:
        """Take a model outside the library off the list. Its folder stays."""
        entry = self.list.value()
        if isinstance(entry, ModelEntry) and str(entry.folder) in self._session.settings.model_folders:
            self._session.settings.forget_model(entry.folder)
            self._session.settings_changed.emit()
            self.list.takeItem(self.list.currentRow())

    def _opened(self, entry: ModelEntry) -> None:
        if entry.error is not None:
            self.banner.show_error(entry.error)
        else:
            self._session.settings.remember_model(entry.folder)
            self._session.settings_changed.emit()
            self._put(entry, select=True)
        self.opened.emit(entry)

    def _imported(self, folder: Path) -> None:
        run_task(self, partial(_read, folder), lambda entry: self._put(entry, select=True), self.banner.show_error)

    def _show_list(self, found: list[ModelEntry]) -> None:
        for entry in found:
            self._put(entry, select=False)
        self.list.setCurrentRow(max(0, self.list.currentRow()))
        self.refreshed.emit()

    def _put(self, entry: ModelEntry, select: bool) -> None:
        """Put an entry on the list, in the place of an older one of the same folder."""
        for row, known in enumerate(self.entries()):
            if known.folder == entry.folder:
                self.list.item(row).setData(VALUE, entry)
                break
        else:
            self.list.add(entry.facts.name if entry.facts else entry.folder.name, "", entry, tooltip=str(entry.folder))
            row = self.list.count() - 1
        self._show_chips()
        if select:
            self.list.setCurrentRow(row)
        if row == self.list.currentRow():
            self._show_entry()

    def _show_chips(self) -> None:
        chosen = self._session.model
        for row, entry in enumerate(self.entries()):
            if chosen is not None and entry.folder == chosen.path:
                chip, kind = self.tr("in use"), "ok"
            elif entry.gguf is not None:
                chip, kind = self.tr("prepare"), "accent"
            elif entry.error is not None:
                chip, kind = self.tr("damaged"), "bad"
            else:
                chip, kind = "", "plain"
            self.list.change(self.list.item(row), detail=self._detail(entry), chip=chip, kind=kind)

    def _detail(self, entry: ModelEntry) -> str:
        if entry.facts is not None:
            parts = (units.format_count(entry.facts.parameters), entry.facts.family,
                     entry.facts.licence or self.tr("licence not stated"))
            return " · ".join(parts)
        if entry.gguf is not None:
            with contextlib.suppress(OSError):
                return self.tr("GGUF file · {size}").format(size=units.format_bytes(entry.gguf.stat().st_size))
        return str(entry.folder)

    def _show_entry(self) -> None:
        entry = self.list.value()
        if not isinstance(entry, ModelEntry):
            self._pages.setCurrentIndex(0)
            return
        self._pages.setCurrentIndex(1)
        self.card.show_entry(entry)

    def _use(self, facts: ModelFacts) -> None:
        self._session.set_model(facts)
        self._session.go_to.emit("training")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if local_paths(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self.open_paths(local_paths(event.mimeData()))


def _known_models() -> list[ModelEntry]:
    """Runs in a thread: the starter model, and every folder of the library and of the settings."""
    from slmstudio.core.model import library

    found = []
    gguf = library.starter_gguf()
    if gguf is not None and not library.starter_ready():
        found.append(ModelEntry(library.starter_folder(), gguf=gguf))
    return found + [_read(folder) for folder in library.local_models()]


def _read(folder: Path, task: Task | None = None) -> ModelEntry:
    """Runs in a thread: a folder's facts, or why it has none."""
    from slmstudio.core.model.vetting.vet import read_vetted

    try:
        return ModelEntry(folder, facts=read_vetted(folder))
    except UserError as error:
        return ModelEntry(folder, error=error)
