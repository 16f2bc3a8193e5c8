"""Where the question is typed, how full the context is, and to whom the question goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QMimeData, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QPlainTextEdit, QProgressBar, QWidget

from slmstudio.core.chat import conversation, sampling
from slmstudio.core.chat.conversation import Message
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.chat.blind_comparison import Comparison
from slmstudio.gui.chat.documents import ChatDocuments
from slmstudio.gui.chat.held_out import HeldOutQuestions
from slmstudio.gui.chat.lanes import ChatLanes
from slmstudio.gui.chat.pane import ChatPane
from slmstudio.gui.chat.saved_chats import OpenChat
from slmstudio.gui.chat.settings import ChatSettings
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import local_paths
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.buttons import IconButton, PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, row_of

if TYPE_CHECKING:
    from slmstudio.core.chat.partners import HeldOutQuestion

COUNT_AFTER_MS = 400
HEIGHT = 56
LOOP_PENALTY, PENALTY_STEP = 1.1, 0.05
"""The repeat penalty that ends most loops, and by how much it is raised where it didn't."""


class _Editor(QPlainTextEdit):
    """Enter sends, with Ctrl too; Shift+Enter makes a line. Esc stops; Up in an empty field takes the last question.

    An input method that is composing keeps Enter to itself: it never arrives here then.
    """

    send = Signal()
    stop = Signal()
    recall = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if enter and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.send.emit()
        elif event.key() == Qt.Key.Key_Escape:
            self.stop.emit()
        elif event.key() == Qt.Key.Key_Up and not self.toPlainText():
            self.recall.emit()
        else:
            super().keyPressEvent(event)

    def canInsertFromMimeData(self, source: QMimeData) -> bool:
        # Files that are let go here are documents of the question: what is around this takes them.
        return not local_paths(source) and super().canInsertFromMimeData(source)


class ChatInput(QWidget):
    """The editor, Send or Stop, and the context meter.

    Signals:
        sent(str): a question.
        stopped: end the answer.
        drafted(str): the user paused while typing; how long is it?
        recalled: edit the last question.
        edit_cancelled: leave the earlier question as it is.
    """

    sent = Signal(str)
    stopped = Signal()
    drafted = Signal(str)
    recalled = Signal()
    edit_cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._answering = self._ready = self.editing = False
        self.editor = named(_Editor(), "chat_input", tr("Your question"),
                            tr("Enter sends it, Shift+Enter adds a new line, Esc stops the answer, and Up in the empty "
                               "field edits your last question."))
        self.editor.setPlaceholderText(tr("Ask something · Enter sends, Shift+Enter adds a line"))
        theme.grow(self.editor, "setFixedHeight", HEIGHT)
        self.editor.setTabChangesFocus(True)
        self.send_button = PrimaryButton(tr("Send"), tr("Send the question (Enter)."), name="chat_send")
        self.stop_button = SecondaryButton(tr("Stop"), tr("Stop the answer now (Esc)."), "danger", name="chat_stop")
        self.note = text_label("", "small", name="chat_note")
        self.cancel_edit = IconButton("close", tr("Leave the earlier question unchanged (Esc)"), name="cancel_edit")
        self.meter = QProgressBar()
        self.meter.setTextVisible(False)
        self.meter.setFixedWidth(160)
        self.meter.setAccessibleName(tr("How full the context is"))
        self.meter_text = text_label("", "small", name="context_meter")
        self._timer = QTimer(self, interval=COUNT_AFTER_MS, singleShot=True)
        self._lay_out()
        self._connect()
        self.set_used(0, 0)
        self.set_state(ready=False, answering=False)
        self.set_editing(False)

    def _lay_out(self) -> None:
        self.below = row_of(self.meter_text, self.meter, STRETCH, self.note, self.cancel_edit)
        self._column = column_in(self, row_of((self.editor, 1), self.send_button, self.stop_button), self.below)

    def add_above(self, widget: QWidget) -> None:
        """Put something above the editor, which goes and comes with it."""
        self._column.insertWidget(0, widget)

    def _connect(self) -> None:
        self.editor.send.connect(self.send)
        self.editor.stop.connect(self._escape)
        self.editor.recall.connect(self.recalled)
        self.editor.textChanged.connect(self._typed)
        self.send_button.clicked.connect(self.send)
        self.stop_button.clicked.connect(self.stopped)
        self.cancel_edit.clicked.connect(self.edit_cancelled)
        self._timer.timeout.connect(lambda: self.drafted.emit(self.editor.toPlainText().strip()))

    def _escape(self) -> None:
        if self.editing and not self._answering:
            self.edit_cancelled.emit()
        else:
            self.stopped.emit()

    def send(self) -> None:
        text = self.editor.toPlainText().strip()
        if text and self._ready and not self._answering:
            self.editor.clear()
            self.sent.emit(text)

    def put_back(self, question: str) -> None:
        """A question that got no answer, unless the user types another already."""
        if not self.editor.toPlainText():
            self.editor.setPlainText(question)

    def set_editing(self, on: bool, text: str = "") -> None:
        """Let the user change an earlier question, or leave that.

        Args:
            text: what is in the editor then.
        """
        if on or self.editing:
            self.editor.setPlainText(text)
            self.editor.moveCursor(self.editor.textCursor().MoveOperation.End)
        self.editing = on
        self.note.setText(tr("Editing an earlier question; both versions are kept.") if on else "")
        self.cancel_edit.setVisible(on)
        if on:
            self.editor.setFocus()

    def set_state(self, *, ready: bool, answering: bool) -> None:
        self._ready, self._answering = ready, answering
        self.send_button.setVisible(not answering)
        self.stop_button.setVisible(answering)
        self._show_send()

    def recount(self) -> None:
        """Ask soon how full the context is."""
        self._timer.start()

    def _typed(self) -> None:
        self._show_send()
        self.recount()

    def _show_send(self) -> None:
        self.send_button.setEnabled(self._ready and bool(self.editor.toPlainText().strip()))

    def set_used(self, tokens: int, context_length: int) -> None:
        """Show how much of the context is taken."""
        self.meter.setVisible(context_length > 0)
        self.meter.setRange(0, max(1, context_length))
        self.meter.setValue(min(tokens, context_length))
        self.meter_text.setText(tr("context {used:,} of {all:,}", used=tokens, all=context_length)
                                if context_length else "")


# -- Talking: sends a question to every model that is shown, edits it, or asks for another answer.


class Talk(QObject):
    """Passes what the user writes and presses to the models.

    Signals:
        correct_wanted(Answered, bool): the user wants to correct an answer; True for a test row.
    """

    correct_wanted = Signal(object, bool)

    def __init__(self, lanes: ChatLanes, question: ChatInput, settings: ChatSettings, comparison: Comparison,
                 chat: OpenChat, parent: QObject):
        super().__init__(parent)
        self._lanes, self._input, self._settings = lanes, question, settings
        self._comparison, self._chat = comparison, chat
        self.documents = ChatDocuments()
        question.add_above(self.documents)
        question.below.insertWidget(0, self.documents.choose)
        self.documents.changed.connect(question.recount)
        self.held_out = HeldOutQuestions()
        self.held_out.asked.connect(self.ask_held_out)
        question.add_above(self.held_out)
        self._edited: Message | None = None
        question.sent.connect(self._ask)
        question.drafted.connect(self._count)
        question.recalled.connect(self._edit_last)
        question.edit_cancelled.connect(lambda: self.edit(None))

    def _options(self) -> dict[str, Any] | None:
        """How to answer; None if the settings are wrong, which is shown then."""
        options = self._settings.options()
        try:
            sampling.parse(options)
        except UserError as error:
            report_error(self, error)
            return None
        return options

    def _ask(self, question: str, with_documents: bool = True) -> None:
        options = self._options()
        if options is None:
            self._input.put_back(question)
            return
        edited, attached = self._edited, self.documents.as_sent() if with_documents else []
        if attached:
            self.documents.show_documents([])
        self.edit(None)
        if self._comparison.blind:
            self._start_over()
            self._comparison.begin()
            edited = None
        if len({bool(pane.lane.turns) for pane in self._lanes.panes()}) == 2:
            self._start_over()  # a model that joins later has heard nothing, so all begin with this question
        for pane in self._lanes.in_order():  # the first one begins at once
            pane.ask(question, self._system(), options, _same_place(pane, edited), attached)

    def ask_held_out(self, row: HeldOutQuestion) -> None:
        """Ask what a held-out row asks, as it does: in a conversation of its own, with the row's system prompt where
        the user gave none."""
        if row.system and not self._system():
            self._settings.system.setPlainText(row.system)
        if any(pane.lane.turns for pane in self._lanes.panes()):
            self._start_over()
        self._input.editor.setFocus()  # the button that had it goes
        self._ask(row.question, with_documents=False)

    def show_state(self, *, ready: bool, answering: bool) -> None:
        """What can be asked now, and of a question from the held-out rows what was expected."""
        if not ready and not answering:  # another model or context: sizes will be different
            self.documents.set_sizes([])
        elif not self.documents.are_measured():
            self._input.recount()
        self._input.set_state(ready=ready and self.documents.are_measured(), answering=answering)
        turns = self._lanes.panes()[0].lane.turns
        asked = next((turn.content for turn in reversed(turns) if turn.role == "user"), "")
        self.held_out.show_state(ready and not answering, asked)

    def put_back(self, question: Message) -> None:
        """A question that got no answer, with its documents."""
        self._input.put_back(question.content)
        if not self.documents.attached:
            self.documents.show_documents(question.figures.get(conversation.KEY) or [])

    def _start_over(self) -> None:
        """Keep the conversation, and begin another."""
        self._chat.keep()
        self._chat.begin()

    def act(self, pane: ChatPane, name: str, message: Message) -> None:
        """A button below a message was pressed."""
        if self._comparison.masked:
            return  # another answer now wouldn't be the one that is voted on
        if name in ("correct", "test"):
            self.correct_wanted.emit(pane.context_of(message, self._system()), name == "test")
        elif name == "edit":
            self.edit(message)
        elif name in ("again", "penalty"):
            if name == "penalty":
                penalty = self._settings.rows["repeat_penalty"]
                penalty.set_value(max(LOOP_PENALTY, penalty.value() + PENALTY_STEP))
                self._input.note.setText(tr("The repeat penalty of this chat is now {value:.2f}.",
                                            value=penalty.value()))
            options = self._options()
            if options is not None:
                pane.regenerate(message, self._system(), options)

    def _edit_last(self) -> None:
        questions = [turn for turn in self._lanes.lanes[0].pane.lane.turns if turn.role == "user"]
        if questions:
            self.edit(questions[-1])

    def is_editing(self) -> bool:
        """Whether an earlier question is being changed."""
        return self._edited is not None

    def edit(self, question: Message | None) -> None:
        """Put an earlier question into the editor, with its documents; None leaves editing."""
        if question is not None or self._edited is not None:
            self.documents.show_documents(question.figures.get(conversation.KEY) or [] if question is not None else [])
        self._edited = question
        self._input.set_editing(question is not None, question.content if question is not None else "")

    def _system(self) -> str:
        return self._settings.system.toPlainText().strip()

    def _count(self, draft: str) -> None:
        self._lanes.lanes[0].pane.count(self._system(), draft, self._settings.max_tokens(), self.documents.attached)


def _same_place(pane: ChatPane, edited: Message | None) -> Message | None:
    """The question in this pane that corresponds to an edited one: another model was asked the same in the same
    place."""
    if edited is None:
        return None
    turns = pane.lane.turns
    if any(turn is edited for turn in turns):
        return edited
    return next((turn for turn in turns if turn.role == "user" and turn.content == edited.content), None)
