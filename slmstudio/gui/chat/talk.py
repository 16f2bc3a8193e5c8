"""Talking: sends a question to every model that is shown, edits it, or asks for another answer."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.chat import sampling
from slmstudio.core.chat.conversation import Message
from slmstudio.core.errors import UserError
from slmstudio.gui.chat.blind_comparison import Comparison
from slmstudio.gui.chat.lanes import ChatLanes
from slmstudio.gui.chat.open_chat import OpenChat
from slmstudio.gui.chat.pane import ChatPane
from slmstudio.gui.chat.question import ChatInput
from slmstudio.gui.chat.settings import ChatSettings
from slmstudio.gui.common.announce import report_error


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

    def _ask(self, question: str) -> None:
        options = self._options()
        if options is None:
            self._input.put_back(question)
            return
        edited = self._edited
        self.edit(None)
        if self._comparison.blind:
            self._start_over()
            self._comparison.begin()
            edited = None
        if len({bool(pane.lane.turns) for pane in self._lanes.panes()}) == 2:
            self._start_over()  # a model that joins later has heard nothing, so all begin with this question
        for pane in self._lanes.in_order():  # the first one begins at once
            pane.ask(question, self._system(), options, _same_place(pane, edited))

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
        elif name == "again":
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
        """Put an earlier question into the editor; None leaves editing."""
        self._edited = question
        self._input.set_editing(question is not None, question.content if question is not None else "")

    def _system(self) -> str:
        return self._settings.system.toPlainText().strip()

    def _count(self, draft: str) -> None:
        self._lanes.lanes[0].pane.count(self._system(), draft, self._settings.max_tokens())


def _same_place(pane: ChatPane, edited: Message | None) -> Message | None:
    """The question in this pane that corresponds to an edited one: another model was asked the same in the same
    place."""
    if edited is None:
        return None
    turns = pane.lane.turns
    if any(turn is edited for turn in turns):
        return edited
    return next((turn for turn in turns if turn.role == "user" and turn.content == edited.content), None)
