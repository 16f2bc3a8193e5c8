"""Chat: talk to an exported model, or put the same question to two side by side."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QShowEvent
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QWidget

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.gui import theme, transcript
from slmstudio.gui.chat_input import ChatInput
from slmstudio.gui.chat_models import ModelChoice, known_models
from slmstudio.gui.chat_pane import ChatPane
from slmstudio.gui.chat_settings import ChatSettings
from slmstudio.gui.run_words import when
from slmstudio.gui.session import Session
from slmstudio.gui.tasks import run_task
from slmstudio.gui.transcript import Lane, Transcript
from slmstudio.gui.widgets import Card, ErrorBanner, IconButton, SecondaryButton, text_label
from slmstudio.gui.widgets.areas import local_paths
from slmstudio.gui.widgets.two_line import TwoLineList

CHATS_WIDTH = 190


class ChatTab(QWidget):
    """Saved conversations at the left, the models and their answers in the middle, settings at the right."""

    def __init__(self, session: Session, parent: QWidget | None = None):
        super().__init__(parent)
        self.setAcceptDrops(True)
        self._session = session
        self._created = time.time()
        self._file: Path | None = None
        self.banner = ErrorBanner()
        self.banner.setObjectName("chat_tab_banner")
        self.panes = [ChatPane(), ChatPane()]
        self.choices = [ModelChoice(self.tr("Model")), ModelChoice(self.tr("Second model"))]
        self.settings, self.input = ChatSettings(), ChatInput()
        self._make_header()
        self._lay_out()
        self._connect()
        self._set_compared(False)

    def _make_header(self) -> None:
        self.compare = SecondaryButton(self.tr("Side by side"), self.tr(
            "Put each question to two models, as to the base and to what you trained."), "small")
        self.compare.setCheckable(True)
        self.save = SecondaryButton(self.tr("Save…"), self.tr(
            "Save the conversation as JSON, to open it again, and as Markdown, to read it."), "small")
        self._against = text_label(self.tr("against"), "small")
        for name, widget in (("chat_model", self.choices[0]), ("chat_second_model", self.choices[1]),
                             ("compare", self.compare), ("save_chat", self.save)):
            widget.setObjectName(name)

    def _lay_out(self) -> None:
        middle = Card(self.tr("Chat"), actions=[self.compare, self.save])
        middle.header.insertWidget(1, self.choices[0])
        middle.header.insertWidget(2, self._against)
        middle.header.insertWidget(3, self.choices[1])
        lanes = QHBoxLayout()
        lanes.setSpacing(theme.SPACE_S)
        for pane in self.panes:
            lanes.addWidget(pane, 1)
        middle.body.addWidget(self.banner)
        middle.body.addLayout(lanes, 1)
        middle.body.addWidget(self.input)
        row = QHBoxLayout(self)
        row.setContentsMargins(*[theme.PAGE_MARGIN] * 4)
        row.setSpacing(theme.CARD_GAP)
        row.addWidget(self._make_chats())
        row.addWidget(middle, 1)
        row.addWidget(self.settings)

    def _make_chats(self) -> Card:
        new = IconButton("plus", self.tr("Begin a new conversation with the same models"))
        new.setObjectName("new_chat")
        new.clicked.connect(self.new_chat)
        card = Card(self.tr("Chats"), actions=[new])
        card.setFixedWidth(CHATS_WIDTH)
        self.chats = TwoLineList(self.tr("Saved conversations"))
        self.chats.setObjectName("chats")
        self.chats.itemClicked.connect(lambda item: self._open(self.chats.value()))
        self.chats.itemActivated.connect(lambda item: self._open(self.chats.value()))
        self._no_chats = text_label(
            self.tr("Conversations are kept on this machine and appear here."), "small", wrap=True
        )
        card.body.addWidget(self._no_chats)
        card.body.addWidget(self.chats, 1)
        return card

    def _connect(self) -> None:
        for number, (pane, choice) in enumerate(zip(self.panes, self.choices, strict=True)):
            choice.chosen.connect(partial(self._load, number))
            pane.state_changed.connect(self._show_state)
            pane.answered.connect(self._answered)
            pane.unanswered.connect(self.input.put_back)
        first = self.panes[0]
        first.counted.connect(lambda tokens: self.input.set_used(tokens, first.context_length))
        first.used.connect(self.input.set_used)
        self.input.sent.connect(self._ask)
        self.input.stopped.connect(self._stop)
        self.input.drafted.connect(self._count)
        self.settings.context_changed.connect(self._load_again)
        self.settings.system_changed.connect(self.input.editor.textChanged)
        self.compare.toggled.connect(self._compare)
        self.save.clicked.connect(self._choose_file)
        self._session.chat_requested.connect(self.open_models)
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.close_workers)

    # -- models ----------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        run_task(self, lambda task: known_models(), self._offer, self.banner.show_error)
        self._read_chats()

    def _offer(self, models: list[tuple[str, Path]]) -> None:
        for choice in self.choices:
            choice.set_models(models)

    def open_models(self, models: list[Path]) -> None:
        """Load one model, or two side by side, for a new conversation."""
        self.new_chat()
        self._set_compared(len(models) > 1)
        for number, path in enumerate(models[:2]):
            self._load(number, path)

    def choose_files(self) -> None:
        """Open a GGUF file: what Ctrl+O does here."""
        self.choices[0].choose_file()

    def _load(self, number: int, path: Path) -> None:
        self.choices[number].set_current(path)
        self.panes[number].load(path, self.settings.context_length())

    def _load_again(self) -> None:
        for pane in self._shown():
            if pane.lane.model:
                pane.load(Path(pane.lane.model), self.settings.context_length())

    def _compare(self, on: bool) -> None:
        """Show the second model, or leave it; the base it was trained from is the first guess."""
        self._set_compared(on)
        second = self.panes[1]
        if not on:
            second.close_worker()
        elif second.state in ("empty", "failed"):
            others = [path for path in self.choices[1].models() if str(path) != self.panes[0].lane.model]
            guess = Path(second.lane.model) if second.lane.model else others[-1] if others else None
            if guess is not None:
                self._load(1, guess)

    def _set_compared(self, on: bool) -> None:
        self.compare.setChecked(on)
        for widget in (self.panes[1], self.choices[1], self._against):
            widget.setVisible(on)
        self._show_state()

    def _shown(self) -> list[ChatPane]:
        return self.panes if self.compare.isChecked() else self.panes[:1]

    def close_workers(self) -> None:
        """End the workers; the program ends or the tab goes."""
        for pane in self.panes:
            pane.close_worker()

    # -- talking ---------------------------------------------------------------------------------------------

    def _ask(self, question: str) -> None:
        options, system = self.settings.options(), self._system()
        self._start_level()
        for pane in self._shown():
            pane.ask(question, system, options)

    def _let_next_answer(self) -> None:
        """One after the other: two models that share the processor are slower together, and neither's speed is true."""
        shown = self._shown()
        if not any(pane.state == "answering" for pane in shown):
            waiting = next((pane for pane in shown if pane.state == "waiting"), None)
            if waiting is not None:
                waiting.answer()

    def _start_level(self) -> None:
        """A model that joins later has heard nothing, so both begin anew."""
        if len({bool(pane.lane.turns) for pane in self._shown()}) == 2:
            self._save()
            self._forget()

    def _system(self) -> str:
        return self.settings.system.toPlainText().strip()

    def _stop(self) -> None:
        for pane in reversed(self.panes):  # the one that waits first, so that it does not begin now
            pane.stop()

    def _count(self, draft: str) -> None:
        self.panes[0].count(self._system(), draft)

    def _show_state(self) -> None:
        self._let_next_answer()
        states = {pane.state for pane in self._shown()}
        self.input.set_state(ready=states == {"ready"}, answering=bool(states & {"answering", "waiting"}))
        self.save.setEnabled(any(pane.lane.turns for pane in self._shown()))

    # -- conversations ---------------------------------------------------------------------------------------

    def new_chat(self) -> None:
        """Begin anew with the same models; what was said is saved already."""
        self._forget()
        self.chats.setCurrentRow(-1)
        self.input.editor.setFocus()

    def _forget(self) -> None:
        for pane in self.panes:
            pane.clear()
        self._created, self._file = time.time(), None
        self.input.set_used(0, 0)
        self._show_state()

    def _answered(self) -> None:
        if not {pane.state for pane in self._shown()} & {"answering", "waiting"}:
            self._save()

    def transcript(self) -> Transcript:
        """The conversation as it is now."""
        lanes = [Lane(pane.lane.model, list(pane.lane.turns)) for pane in self._shown()]
        return Transcript(self._created, self.settings.to_dict(), lanes)

    def _save(self) -> None:
        """Keep the conversation among the chats, off the UI thread."""
        now = self.transcript()
        if not now.title:
            return
        if self._file is None:
            stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(self._created))
            self._file = paths.chats_dir() / f"{stamp}-{int(self._created * 1000) % 1000:03d}.json"
        file, text = self._file, now.to_json()
        run_task(self, lambda task: transcript.write(file, text), lambda _: self._read_chats(), self.banner.show_error)

    def _read_chats(self) -> None:
        run_task(self, lambda task: transcript.all_transcripts(paths.chats_dir()), self._show_chats,
                 self.banner.show_error)

    def _show_chats(self, found: list[tuple[Path, Transcript]]) -> None:
        self._no_chats.setVisible(not found)
        self.chats.clear()
        for path, each in found:
            self.chats.add(each.title or self.tr("Untitled"), when(each.created), path)
        if self._file is not None:
            self.chats.select_value(self._file)

    def _open(self, path: object) -> None:
        if not isinstance(path, Path) or path == self._file:
            return
        try:
            found = Transcript.read(path)
        except UserError as error:
            self.banner.show_error(error)
            return
        self._stop()
        self._created, self._file = found.created, path
        self.settings.from_dict(found.settings)
        self._set_compared(len(found.lanes) > 1)
        for number, lane in enumerate(found.lanes[:2]):
            pane = self.panes[number]
            loaded = pane.lane.model == lane.model and pane.state == "ready"
            pane.show_lane(lane)
            if not loaded:
                self._load(number, Path(lane.model))
        self._show_state()

    def _choose_file(self) -> None:
        dialog = QFileDialog(self, self.tr("Save the conversation"), "", self.tr("Conversation (*.json)"))
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("json")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(lambda name: self.save_as(Path(name)))
        dialog.open()

    def save_as(self, path: Path) -> None:
        """Write the conversation as JSON, and as Markdown beside it."""
        now = self.transcript()
        run_task(self, lambda task: transcript.save(now, path), lambda _: self._saved(path), self.banner.show_error)

    def _saved(self, path: Path) -> None:
        self.input.note.setText(self.tr("saved as {json} and {markdown}").format(
            json=path.with_suffix(".json").name, markdown=path.with_suffix(".md").name))

    # -- dropped files ---------------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(path.suffix.lower() == ".gguf" for path in local_paths(event.mimeData())):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        files = [path for path in local_paths(event.mimeData()) if path.suffix.lower() == ".gguf"]
        if len(files) == 1:
            self._load(0, files[0])
        elif files:
            self.open_models(files)
