"""Chat: talk to an exported model, or put the same question to several side by side."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QCoreApplication, Qt, QTimer
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QWidget

from slmstudio.core import llama
from slmstudio.core.chat.conversation import Conversation
from slmstudio.core.i18n import tr
from slmstudio.gui.chat.blind_comparison import Comparison, VoteBar, room_text
from slmstudio.gui.chat.held_out import origins_of
from slmstudio.gui.chat.lanes import ChatLane, ChatLanes, CompareButtons
from slmstudio.gui.chat.pane import ChatPane
from slmstudio.gui.chat.question import ChatInput, Talk
from slmstudio.gui.chat.run_opening import RunOpening
from slmstudio.gui.chat.saved_chats import ChatList, OpenChat
from slmstudio.gui.chat.settings import DEFAULTS, AdapterStrength, ChatSettings
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import choose_file
from slmstudio.gui.common.known_models import ModelPicker, chat_models
from slmstudio.gui.common.run_texts import editing_text, starting_text
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import TaskSlot, is_busy, run_task
from slmstudio.gui.common.widgets.areas import Card, EmptyState, TakesFiles
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.layouts import fill, row_in
from slmstudio.gui.corrections.panel import Answered, CorrectPanel
from slmstudio.gui.corrections.votes import show_votes

if TYPE_CHECKING:
    from slmstudio.core.chat.partners import HeldOutQuestion, Origin

# -- The system prompt and the sampling that each model is talked to with: they come back with it.

USUAL: dict[str, Any] = {"system": "", **DEFAULTS.to_dict(), "seed": ""}


class SettingsByModel:
    """Keeps what `shown` says for the model that is talked to; of several side by side, for the first."""

    def __init__(self, kept: dict[str, dict[str, Any]], shown: ChatSettings):
        self._kept, self._shown, self._model = kept, shown, ""
        shown.changed.connect(self._keep)

    def show_own(self, model: str, has_messages: bool) -> None:
        """Show the settings of a model that is talked to from now on. Where it has none, a conversation that has begun
        keeps those that are shown, as does what was typed before there was a model."""
        if model != self._model:
            self.show(self._kept.get(model) or (USUAL if self._model and not has_messages else {}), model)

    def show(self, state: dict[str, Any], model: str) -> None:
        """Show these settings, as those of a conversation; what is changed from now on is the model's."""
        self._model = ""
        if state:
            self._shown.from_dict(state)
        self._model = model

    def _keep(self) -> None:
        if self._model:
            self._kept[self._model] = self._shown.to_dict()


class ChatTab(TakesFiles, QWidget):
    """Saved conversations at the left, the models and their answers in the middle, settings at the right."""

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self.banner = ErrorBanner(name="chat_tab_banner")
        self.lanes, self.votes = ChatLanes(), VoteBar()
        self.comparison = Comparison(self.lanes, self.votes, self)
        self.settings, self.input, self.saved = ChatSettings(), ChatInput(), ChatList()
        self.by_model = SettingsByModel(session.settings.chat_settings, self.settings)
        self.correct, self.opening = CorrectPanel(session), RunOpening(session)
        self.chat = OpenChat(lambda: [pane.lane for pane in self.lanes.panes()], self.settings.to_dict, self)
        self.talk = Talk(self.lanes, self.input, self.settings, self.comparison, self.chat, self)
        self._models: list[tuple[str, Path]] = []
        self._origins = TaskSlot()
        self._lay_out()
        self._connect()
        self._set_count(1)
        self._show_page()

    @property
    def panes(self) -> list[ChatPane]:
        """The panes of all lanes that were ever shown."""
        return [lane.pane for lane in self.lanes.lanes]

    @property
    def choices(self) -> list[ModelPicker]:
        return [lane.choice for lane in self.lanes.lanes]

    def _lay_out(self) -> None:
        self.compare = CompareButtons()
        self.save = SecondaryButton(tr("Save…"),
                                    tr("Save the conversation as JSON, to open it again, and as Markdown, to read it."),
                                    "small", name="save_chat")
        self.middle = Card(tr("Chat"))
        fill(self.middle.header, self.compare, self.save)
        fill(self.middle.body, (self.lanes, 1), self.opening, self.banner, self.votes, self.correct, self.input)
        self.off = EmptyState(tr("Chat is switched off"), "",
                              note=tr("Training, evaluation, exports for other programs and chatting with a finished "
                                      "run work without it."))
        self.off.setAcceptDrops(False)
        self.off.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._off_page = EmptyState.centred(self.off)
        row_in(self, self.saved, (self.middle, 1), self.settings, (self._off_page, 1), spacing=theme.CARD_GAP,
               margins=theme.PAGE_MARGIN)

    def _show_page(self) -> None:
        """Without the chat engine there may be nothing to talk to: the tab says why then, and nothing can be pressed in
        vain."""
        missing = llama.trouble()
        usable = missing is None or bool(self._models or self.lanes.models())
        if missing is not None:
            self.off.text.setText("\n\n".join((missing.what, missing.why, missing.remedy)))
        for widget in (self.saved, self.middle, self.settings):
            widget.setVisible(usable)
        self._off_page.setVisible(not usable)
        self.setAcceptDrops(missing is None)

    def _can_open_files(self) -> bool:
        """Whether GGUF files can be opened; otherwise the tab says why not."""
        self._show_page()
        missing = llama.trouble()
        if missing is not None and self._off_page.isHidden():
            self.banner.show_error(missing)
        return missing is None

    def _connect(self) -> None:
        for lane in self.lanes.lanes:
            self._connect_lane(lane)
        self.lanes.made.connect(self._connect_lane)
        self.votes.list_wanted.connect(partial(show_votes, self))
        self.correct.closed.connect(self.input.show)
        self.correct.failed.connect(self.banner.show_error)
        first = self.panes[0]
        first.counted.connect(lambda tokens: self.input.set_used(tokens, first.context_length))
        first.used.connect(self.input.set_used)
        first.measured.connect(self.talk.documents.set_sizes)
        self.talk.documents.changed.connect(self._show_state)
        self.input.stopped.connect(self.lanes.stop)
        self.talk.correct_wanted.connect(self._correct)
        self.settings.context_changed.connect(
            lambda: self.lanes.load_again(self.settings.context_length()))
        self._session.settings_changed.connect(self._take_device)
        self._take_device()
        self.settings.system_changed.connect(self.input.recount)
        self.compare.count_wanted.connect(self._compare)
        self.compare.blind_changed.connect(self.comparison.set_blind)
        self.save.clicked.connect(self._choose_file)
        self.saved.new_wanted.connect(self.new_chat)
        self.saved.opened.connect(self._open)
        self.saved.renamed.connect(self.chat.rename)
        self.saved.deleted.connect(lambda path: self.new_chat() if path == self.chat.file else None)
        self.chat.begun.connect(self._show_begun)
        self.chat.kept.connect(self._show_kept)
        self.chat.exported.connect(self._show_exported)
        self.opening.ready.connect(self.open_models)
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.lanes.close_workers)

    def _connect_lane(self, lane: ChatLane) -> None:
        pane = lane.pane
        lane.choice.set_models(self._models)
        lane.choice.chosen.connect(partial(self._load, self.lanes.lanes.index(lane)))
        pane.device_options = self.settings.device.options
        pane.state_changed.connect(self._show_state)
        pane.state_changed.connect(lambda: self.settings.device.show_placement(self.panes[0].placement))
        pane.answered.connect(self._answered)
        pane.unanswered.connect(self.talk.put_back)
        pane.acted.connect(partial(self.talk.act, pane))
        self.settings.add_strength(AdapterStrength(pane))

    def _take_device(self) -> None:
        if self.settings.device.set_device(self._session.settings.chat_device):
            self.lanes.load_again(self.settings.context_length())

    # -- models ----------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._show_page()  # the engine may have been set up meanwhile
        run_task(self, lambda task: chat_models(), self._offer)
        self.saved.read()
        QTimer.singleShot(0, self, partial(self._open_fresh_run, self.lanes.models()))

    def _open_fresh_run(self, before: list[Path]) -> None:
        """Open the run that has just ended, unless something is said here, or other models than `before` are open."""
        job, gguf = self._session.run, self._session.settings.chat_with == "gguf"  # that one might have to be made
        if (job is not None and not gguf and job.folder != self.opening.wanted and self.lanes.models() == before
                and not any(pane.lane.turns for pane in self.lanes.panes())
                and (ended := job.outcome()) is not None and ended.was_successful()):
            self.opening.open(job.folder)

    def _offer(self, models: list[tuple[str, Path]]) -> None:
        self._models = models
        for choice in self.choices:
            choice.set_models(models)
        self._show_page()

    def open_models(self, models: list[Path]) -> None:
        """Load one model, or up to four side by side, for a new conversation."""
        if any(path.suffix.lower() == ".gguf" for path in models) and not self._can_open_files():
            return
        self.new_chat()
        self._set_count(len(models))
        for number, path in enumerate(models[:self.lanes.count]):
            self._load(number, path)
        self._show_page()

    def why_not_now(self) -> str:
        """Why another tab can't take over now; "" if it can."""
        if self.lanes.are_at_work():
            return tr("Wait until the answer is written, or stop it.")
        if self.correct.is_editing() or self.talk.is_editing():
            return editing_text()
        return starting_text() if is_busy(self.opening) else ""

    def save_state(self) -> dict[str, Any]:
        """The conversation and its models, for `restore_state` of the tab that replaces this one. The models leave the
        memory here."""
        self.lanes.close_workers()
        return {"conversation": self.chat.conversation(), "file": self.chat.file,
                "context": self.settings.context.value()}

    def restore_state(self, state: dict[str, Any]) -> None:
        self.settings.set_context(state["context"])
        self.chat.resume(state["conversation"], state["file"])
        self._show_conversation(state["conversation"])

    def choose_files(self) -> None:
        """Open a GGUF file: what Ctrl+O does here."""
        if self._can_open_files():
            self.choices[0].ask()

    def _load(self, number: int, path: Path) -> None:
        if number == 0:
            self.by_model.show_own(str(path), bool(self.panes[0].lane.turns))
        self.comparison.end()
        self.lanes.load(number, path, self.settings.context_length())
        self._look_at_models()

    def _compare(self, count: int) -> None:
        """Ask this many models; the base they were trained from is the first guess."""
        self._set_count(count)
        self.lanes.fill(self.settings.context_length())
        self._look_at_models()

    def _set_count(self, count: int) -> None:
        self.comparison.end()
        self.lanes.set_count(count)
        self.compare.show_count(self.lanes.count)
        if self.lanes.count == 1:
            self.middle.header.insertWidget(1, self.choices[0], 9)  # before the empty room
        self._show_state()

    def _look_at_models(self) -> None:
        """Find out where the models come from, and say whether they fit into memory together."""
        models, length = self.lanes.models(), self.settings.context_length()
        panes = [pane for pane in self.lanes.panes() if pane.lane.model]
        self._origins.run(self, lambda task: origins_of(models), partial(self._show_origins, panes))
        if len(models) > 1:
            run_task(self, lambda task: room_text(models, length), self.input.note.setText, lambda error: None)

    def _show_origins(self, panes: list[ChatPane], found: tuple[list[Origin], list[HeldOutQuestion]]) -> None:
        origins, questions = found
        for pane, origin in zip(panes, origins, strict=True):
            self.lanes.lanes[self.panes.index(pane)].set_origin(origin)
        self.talk.held_out.show_questions(questions)
        self._show_state()

    def _show_state(self) -> None:
        self.lanes.let_next_answer()
        ready = all(pane.state == "ready" for pane in self.lanes.panes())
        self.talk.show_state(ready=ready, answering=self.lanes.are_at_work())
        self.save.setEnabled(any(pane.lane.turns for pane in self.lanes.panes()))
        self.comparison.check()

    def _correct(self, answered: Answered, test: bool) -> None:
        self.input.hide()
        self.correct.open(answered, test=test)

    # -- conversations ---------------------------------------------------------------------------------------

    def new_chat(self) -> None:
        """Another conversation with the same models; what was said is kept already."""
        self.chat.begin()
        self.saved.select(None)
        self.input.editor.setFocus()

    def _show_begun(self) -> None:
        self.talk.edit(None)
        self.comparison.end()
        self.correct.close_panel()
        for pane in self.panes:
            pane.clear()
        self.input.set_used(0, 0)
        self._show_state()

    def _answered(self) -> None:
        self.input.recount()
        if not self.lanes.are_at_work():
            self.chat.keep()

    def _show_kept(self) -> None:
        self.saved.select(self.chat.file)
        self.saved.read()

    def _open(self, path: Path, words: str) -> None:
        found = self.chat.open(path)
        if found is not None:
            self._show_conversation(found)
        if words and not self.lanes.are_at_work():
            for pane in self.lanes.panes():
                pane.show_found(words)

    def _show_conversation(self, found: Conversation) -> None:
        """Show the one that `chat` has open now."""
        self.lanes.stop()
        self.talk.edit(None)
        self.by_model.show(found.settings, found.lanes[0].model if found.lanes else "")
        self._set_count(len(found.lanes))
        self.correct.close_panel()
        for number, (pane, lane) in enumerate(zip(self.panes, found.lanes, strict=False)):
            loaded = pane.lane.model == lane.model and pane.state == "ready"
            pane.show_lane(lane)
            if lane.model and not loaded:
                self._load(number, Path(lane.model))
        self._look_at_models()
        self.saved.select(self.chat.file)
        self._show_state()
        self.input.recount()

    def _choose_file(self) -> None:
        choose_file(self, tr("Save the conversation"), "", tr("Conversation (*.json)"), self.chat.export)

    def _show_exported(self, path: Path) -> None:
        self.input.note.setText(tr("saved as {json} and {markdown}", json=path.with_suffix(".json").name,
                                   markdown=path.with_suffix(".md").name))

    # -- dropped files ---------------------------------------------------------------------------------------

    def wanted_files(self, files: list[Path]) -> list[Path]:
        return [path for path in files if path.is_file()]

    def take_files(self, files: list[Path]) -> None:
        """Models are loaded; anything else is a document that the next question is about."""
        models = [path for path in files if path.suffix.lower() == ".gguf"]
        if len(models) == 1:
            self._load(0, models[0])
        elif models:
            self.open_models(models)
        if others := [path for path in files if path not in models]:
            self.talk.documents.add(others)
