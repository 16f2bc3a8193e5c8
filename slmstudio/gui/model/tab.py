"""The Model tab: which base model learns."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.jobs import new
from slmstudio.core.model import library
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import open_path
from slmstudio.gui.common.run_texts import starting_text
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import TaskSlot, is_busy, run_task
from slmstudio.gui.common.widgets.areas import EmptyState, TakesFiles
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.layouts import column_in, pages_of, row_of
from slmstudio.gui.model import known
from slmstudio.gui.model.card import ModelCard
from slmstudio.gui.model.known import ModelEntry
from slmstudio.gui.model.model_list import ModelListCard
from slmstudio.gui.model.work import MEASURE, PREPARE, ModelWork

if TYPE_CHECKING:
    from slmstudio.core.model.facts import ModelFacts


class ModelTab(TakesFiles, QWidget):
    """The list of base models, and the one that is shown.

    Signals:
        refreshed: the list shows what is on disk, and the catalogue.
        opened(ModelEntry): a folder was read, successfully or not.
    """

    refreshed = Signal()
    opened = Signal(object)

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self._reading = TaskSlot()
        self.banner = ErrorBanner(name="model_banner")
        self.work = ModelWork(session, self)
        self.work.finished.connect(self._done)
        self.work.failed.connect(self.banner.show_error)
        self.work.cancelled.connect(self._cancelled)
        self.card = ModelCard(session, self.work)
        self.card.use_wanted.connect(self._use)
        self.models = ModelListCard(session)
        run_task(self, lambda task: known.languages(), self.models.set_languages)
        self.models.chosen.connect(self._show_entry)
        self.models.folder_wanted.connect(self.choose_files)
        self.models.gguf_wanted.connect(self._choose_gguf)
        self.models.repo_typed.connect(self._offer)
        self.models.forget_wanted.connect(self._forget)
        self._pages = pages_of(self._nothing_chosen(), self.card)
        column_in(self, (row_of((self.models, 9), (self._pages, 10), spacing=theme.CARD_GAP), 1), self.banner,
                  spacing=theme.CARD_GAP, margins=theme.PAGE_MARGIN)
        session.machine_changed.connect(self.refresh)
        self.refresh()

    def _nothing_chosen(self) -> QWidget:
        state = EmptyState(tr("Which model do you want to train?"),
                           tr("Choose one on the left, or drop a model's folder here. Small models learn fast, so "
                              "start with the one that comes with the program."))
        state.dropped.connect(self.open_paths)
        return EmptyState.centred(state)

    def entries(self) -> list[ModelEntry]:
        return self.models.entries()

    def refresh(self) -> None:
        """Read which models there are, off the UI thread."""
        machine = self._session.machine
        self._reading.run(self, lambda task: known.known_entries(machine), self._show_list)

    def prepare_starter(self) -> None:
        """Make the starter model of the package that came with the program, where it isn't there yet."""
        folder = library.starter_folder()

        def start(gguf: Path | None) -> None:
            if gguf is not None and self.work.target is None:
                self.work.start(PREPARE, folder, partial(new.unpack, gguf, folder))

        run_task(self, lambda task: None if library.starter_ready() else library.starter_gguf(), start,
                 lambda error: None)

    def _cancelled(self, folder: Path) -> None:
        """Who cancels the starter model doesn't want it at the next start either; Prepare makes it then."""
        if folder == library.starter_folder():
            self._session.settings.prepare_starter = False
            self._session.report_settings_changed()

    def choose_files(self) -> None:
        """Let the user choose a model's folder."""
        open_path(self, tr("Choose the folder of a model"), lambda path: self.open_paths([path]), folder=True)

    def _choose_gguf(self) -> None:
        open_path(self, tr("Choose a GGUF file"), lambda path: self.open_paths([path]),
                  ";;".join((tr("GGUF models (*.gguf)"), tr("All files (*)"))))

    def open_paths(self, chosen: list[Path]) -> None:
        """Open model folders, and offer to unpack GGUF files. A file inside a model's folder stands for its folder."""
        self.banner.clear()
        machine = self._session.machine
        for path in chosen:
            if path.is_file() and path.suffix.lower() == ".gguf":
                run_task(self, lambda task, file=path: known.of_gguf(file, machine), partial(self._put, select=True))
                continue
            folder = path.parent if path.is_file() and path.name in ("config.json", "model.safetensors") else path
            run_task(self, lambda task, folder=folder: known.read(folder, machine), self._opened)

    def _opened(self, entry: ModelEntry) -> None:
        if entry.error is not None:
            self.banner.show_error(entry.error)
        else:
            self._session.settings.remember_model(entry.folder)
            self._session.report_settings_changed()
            self._put(entry, select=True)
        self.opened.emit(entry)

    def _put(self, entry: ModelEntry, select: bool = False) -> None:
        self.models.put([entry], entry if select else None)

    def _offer(self, text: str) -> None:
        if text:
            run_task(self, lambda task: known.of_hub(text), self._offered, lambda error: None)

    def _offered(self, entry: ModelEntry | None) -> None:
        if entry is not None and self.models.search.text().strip() in (entry.typed, entry.repo):
            self._pages.setCurrentIndex(1)
            self.card.show_entry(entry)

    def _forget(self, entry: ModelEntry) -> None:
        """Take a model outside the library off the list. Its folder stays."""
        if str(entry.folder) in self._session.settings.model_folders:
            self._session.settings.forget_model(entry.folder)
            self._session.report_settings_changed()
            self.models.remove(entry)

    def _done(self, kind: str, folder: Path, result: dict[str, Any]) -> None:
        if kind == MEASURE:
            self.card.estimate()  # what was found is kept with the machine
            return
        if folder == library.starter_folder():
            self._session.report_starter_ready()
        there = Path(result.get("path") or result.get("folder") or folder)
        machine = self._session.machine
        run_task(self, lambda task: known.read(there, machine), self._arrived)

    def _arrived(self, entry: ModelEntry) -> None:
        """Show a model that has become ready, unless the user looks at another one by now."""
        looked_at = self.card.shows(entry.folder)
        if looked_at:
            self.models.search.clear()
        self._put(entry, select=looked_at or self._proposed([entry]) is not None)

    def _show_list(self, found: list[ModelEntry]) -> None:
        self.models.put(found, self._proposed(found))
        self.refreshed.emit()

    def _proposed(self, found: list[ModelEntry]) -> ModelEntry | None:
        """The model that is chosen, and the starter model where none is: who is new needs no model to be picked. None
        once the user looks at another one."""
        if not self.models.is_default():
            return None
        chosen = self._session.settings.model
        place = Path(chosen) if chosen else library.starter_folder()
        return next((each for each in found if each.facts is not None and each.folder == place), None)

    def _show_entry(self, entry: ModelEntry | None) -> None:
        if entry is None:
            self._pages.setCurrentIndex(0)
            return
        self._pages.setCurrentIndex(1)
        self.card.show_entry(entry)

    def _use(self, facts: ModelFacts) -> None:
        self._session.set_model(facts)
        self._session.go_to("training")

    def why_not_now(self) -> str:
        """Why another tab can't take over now; "" if it can."""
        return starting_text() if is_busy(self.work) else ""

    def save_state(self) -> dict[str, Any]:
        """The list, for `restore_state` of the tab that replaces this one."""
        return {"list": self.models.save_state()}

    def restore_state(self, state: dict[str, Any]) -> None:
        self.models.restore_state(*state["list"])

    def confirm_close(self) -> bool:
        """The window closes: a download is paused, and what has arrived is kept; other work ends."""
        self.work.leave()
        return True

    def take_files(self, files: list[Path]) -> None:
        self.open_paths(files)
