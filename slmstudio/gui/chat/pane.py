"""One model in Chat: choose it, load it, read its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFrame

from slmstudio.core.chat import assistant, conversation, reply
from slmstudio.core.chat.assistant import Assistant
from slmstudio.core.chat.conversation import Lane, Message
from slmstudio.core.chat.placement import left_card
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.chat.bubbles import ChatBubbles, figures_text
from slmstudio.gui.chat.chat_thread import ChatThread, ChatWaiting
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.areas import ScrolledIfNeeded
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel
from slmstudio.gui.common.widgets.layouts import column_in, pages_of, row_of
from slmstudio.gui.corrections.panel import Answered
from slmstudio.gui.evaluation.tables import model_label

KEPT_FIGURES = ("reason", "tokens_per_second", "prompt_tokens_per_second", "seconds_to_first_token", "prompt_tokens",
                "completion_tokens", "dropped_messages")


@dataclass(frozen=True)
class Request:
    """What an answer is drawn with.

    Attributes:
        system: the system prompt, or "".
        options: the fields of a "generate" command.
        instead_of: the message whose place the new one takes; it is shown again when no word of an answer comes.
    """

    system: str
    options: dict[str, Any]
    instead_of: Message | None = None


class ChatPane(QFrame):
    """A worker with its model, and the conversation with it.

    Signals:
        state_changed: it loads, is ready, answers, or has failed.
        answered: an answer is complete, its figures are known, or another branch is shown; `lane` holds it.
        counted(tokens): how many tokens of the context the asked-about conversation takes.
        used(tokens, context_length): how full the context is after an answer.
        measured(list): how many tokens each document of the draft has, and how much of it fits.
        unanswered(Message): no word of an answer came; this question was taken back.
        acted(str, Message): a button below a message was pressed that isn't the pane's own; see `chat_bubble.Action`.
        adapter_changed: the worker has put an adapter on, taken it off, changed its strength, or refused to.

    Attributes:
        lane: the model and the conversation with it.
        bubbles: the messages on the screen.
        state: one of "empty", "loading", "ready", "waiting" for its turn to answer, "answering", "failed".
        placement: where the model computes, as a "loaded" message has it; {} before it is known.
        device_options: called for what a "load" command says on that.
        adapter, strength: the GGUF LoRA that is on the model, and how much of it: 1 as trained.
    """

    state_changed = Signal()
    answered = Signal()
    counted = Signal(int)
    used = Signal(int, int)
    measured = Signal(list)
    unanswered = Signal(object)
    acted = Signal(str, object)
    adapter_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("card", "true")
        self.lane = Lane("")
        self.state = "empty"
        self.context_length = 0
        self.completion = self._masked = False
        self.placement: dict[str, Any] = {}
        self.device_options: Callable[[], dict[str, Any]] = dict
        self.adapter: Path | None = None
        self.strength = 0.0
        self._thread: ChatThread | None = None
        self._answer_id = 0
        self._answer: Message | None = None
        self._load: dict[str, Any] = {}
        self._told = ("", "")
        self.request: Request | None = None
        self._lay_out()

    def _lay_out(self) -> None:
        self.line = ElidedLabel("", "small", Qt.TextElideMode.ElideRight, name="chat_model_line")
        self.kept = Chip("", "accent", name="chat_kept")
        self.kept.hide()
        self.banner = ErrorBanner(name="chat_banner")
        self.again = SecondaryButton(tr("Start again"), tr("Start the worker again and load the model."), "small",
                                     name="start_again", clicked=self.reload)
        self.again.hide()
        self.waiting = ChatWaiting()
        self.bubbles = ChatBubbles()
        self.bubbles.acted.connect(self._act)
        self._empty = ScrolledIfNeeded(self.waiting, theme.SPACE_L)
        self._pages = pages_of(self._empty, self.bubbles)
        column_in(self, row_of((self.line, 1), self.kept, self.again), self.banner, (self._pages, 1),
                  margins=theme.SPACE_M)
        self._set_state("empty")

    # -- the model -------------------------------------------------------------------------------------------

    def load(self, path: Path, context_length: int | None, **chosen: Any) -> None:
        """Load another model; the conversation stays, and the model reads it with the next question.

        Each gets a worker of its own, which is locked to what its first command names.
        """
        before = self._thread
        self.close_worker()
        self.lane.model = str(path)
        self.adapter, self.strength = None, 0.0
        self._load = {"path": str(path), "context_length": context_length, **self.device_options(), **chosen}
        self.placement = {}
        self.banner.clear()
        self._thread = ChatThread("chat" if path.suffix.lower() == ".gguf" else "talk", before)
        self._thread.message.connect(self._hear)
        self._thread.failed.connect(self._died)
        self._thread.start()
        self.line.setText(self.name)
        self.kept.set("")
        self.kept.hide()
        self._set_state("loading")
        send = partial(self._send_load, self._thread, self._load)
        run_task(self, lambda task: assistant.of_model(path), send, lambda error: send(None))  # the worker says why

    def _send_load(self, thread: ChatThread, load: dict[str, Any], kept: Assistant | None) -> None:
        thread.send("load", **load, **(kept.load_options() if kept is not None else {}))
        if thread is self._thread and kept is not None:
            self.kept.set(model_label(kept.rival), tooltip=tr(
                "It answers as “{name}” did in an evaluation, with its prompt and rows.", name=model_label(kept.rival)))
            self.kept.setVisible(not self._masked)

    def reload(self) -> None:
        """Load the same model again."""
        if self.lane.model:
            self.load(Path(self.lane.model), self._load.get("context_length"))

    def close_worker(self) -> None:
        """End the worker; the conversation stays on the screen."""
        if self._thread is not None:
            self.stop()
            self._thread.leave()
            self._thread = None
        self._set_state("empty")

    def send(self, command: str, **fields: Any) -> None:
        """Tell the worker something, if there is one."""
        if self._thread is not None:
            self._thread.send(command, **fields)

    def set_adapter(self, path: Path | None, strength: float) -> None:
        """Put an adapter on the model, or take it off; it is in force from the next answer on."""
        self.send("adapter", path=None if path is None else str(path), scale=strength)

    def set_masked(self, on: bool) -> None:
        """Hide what would tell which model this is: its name and its speed."""
        self._masked = on
        self.line.setVisible(not on)
        self.kept.setVisible(bool(self.kept.text()) and not on)
        if not self.is_at_work():
            self._show_messages()
            self.show_turn("")

    def is_at_work(self) -> bool:
        """Whether it answers, or waits for its turn."""
        return self.state in ("waiting", "answering")

    def has_repeated_itself(self) -> bool:
        """Whether its last answer was stopped for that."""
        return bool(self.lane.turns) and self.lane.turns[-1].figures.get("reason") == "repeated"

    def show_turn(self, text: str) -> None:
        """Say what the next answer waits for, and what to do if the last one was stopped in a loop."""
        self.bubbles.show_turn(text)
        self.bubbles.show_loop(self.has_repeated_itself(), not self._masked)

    @property
    def name(self) -> str:
        model, name = self._told
        return name if name and model == self.lane.model else self.lane.name

    # -- the conversation ------------------------------------------------------------------------------------

    def ask(self, question: str, system: str, options: dict[str, Any], instead_of: Message | None = None,
            attached: list[dict[str, Any]] | None = None) -> None:
        """Put a question; `answer` lets the model begin.

        Args:
            instead_of: an earlier question that it is another version of.
            attached: documents that it is about, as `documents.message_text` has them.
        """
        self.request = Request(system, options, instead_of)
        if instead_of is not None:
            self.lane.tree.rewind(instead_of)
        self.lane.tree.add("user", question, {conversation.KEY: attached} if attached else {})
        self._show_messages()
        self._set_state("waiting")

    def regenerate(self, answer: Message, system: str, options: dict[str, Any]) -> None:
        """Let the model answer the same question once more, with another seed; both answers are kept."""
        if self.state != "ready":
            return
        seed = options.get("seed")
        if seed is not None:
            options = {**options, "seed": (seed + len(self.lane.tree.siblings(answer))) % 2**31}
        self.request = Request(system, options, answer)
        self.lane.tree.rewind(answer)
        self._show_messages()
        self._set_state("waiting")

    def answer(self) -> None:
        """Answer the question that waits."""
        if self.state != "waiting" or self.request is None:
            return
        self.banner.clear()
        self.bubbles.begin_answer()
        self._answer_id += 1
        self._answer = None
        self._set_state("answering")
        self.send("generate", id=self._answer_id, messages=self.messages(self.request.system),
                  completion=self.completion, **self.request.options)

    def context_of(self, answer: Message, system: str) -> Answered:
        """An answer with all that led to it.

        Args:
            system: the system prompt of a conversation that was opened, and not continued yet.
        """
        turns = self.lane.turns
        system = self.request.system if self.request is not None else system
        before = self.messages(system)[:-len(turns[turns.index(answer):])]
        models = [Path(self.lane.model), *([self.adapter] if self.adapter is not None else [])]
        return Answered(tuple(before), answer.content, tuple(models))

    def messages(self, system: str, draft: str = "") -> list[dict[str, str]]:
        """The conversation as the worker wants it, with `draft` as its next question: without what the model thought
        before earlier answers, and with the documents of questions."""
        turns = [{"role": turn.role, "content": reply.answer_of(turn.content) if turn.role == "assistant" else
                  conversation.message_text(turn.content, turn.figures.get(conversation.KEY) or [])}
                 for turn in self.lane.turns]
        start = [{"role": "system", "content": system}] if system else []
        return [*start, *turns, *([{"role": "user", "content": draft}] if draft else [])]

    def stop(self) -> None:
        """End the answer now. What comes late isn't shown."""
        if self.state == "waiting":
            self._take_back()
            self._set_state("ready")
        elif self.state == "answering":
            self.send("stop", id=self._answer_id)
            self._finish({"reason": "stopped"})

    def count(self, system: str, draft: str, max_tokens: int | None, attached: list[dict[str, Any]]) -> None:
        """Ask how much of the context the conversation would take, and how much of the draft's documents fits; the
        answers come with `counted` and `measured`."""
        frames = conversation.message_text(draft, [{**each, "text": ""} for each in attached])
        messages = self.messages(system, frames)
        if self.state == "ready" and messages:
            self.send("count", messages=messages, max_tokens=max_tokens, completion=self.completion,
                      documents=[each["text"] for each in attached])

    def show_lane(self, lane: Lane) -> None:
        """Show a conversation that was saved."""
        self.stop()
        self.lane = lane
        self.bubbles.clear()
        self._show_messages()
        self._set_state(self.state)

    def show_version(self, message: Message) -> None:
        """Show the branch that this message is in."""
        self.lane.tree.show(message)
        self._show_messages()
        self.answered.emit()

    def show_found(self, words: str) -> None:
        """Show the first message with these words, in whatever branch it is."""
        found = self.lane.tree.find(words)
        if found is not None:
            self.lane.tree.show(found)
            self._show_messages()
            self.bubbles.show_found(found, words)

    def clear(self) -> None:
        """Begin a new conversation with the same model."""
        self.show_lane(Lane(self.lane.model))

    def _act(self, name: str, message: Message) -> None:
        step = {"previous": -1, "next": 1}.get(name)
        if step is None:
            self.acted.emit(name, message)
        elif not self.is_at_work():
            versions = self.lane.tree.siblings(message)
            self.show_version(versions[(versions.index(message) + step) % len(versions)])

    def _show_messages(self) -> None:
        self.bubbles.show_path(self.lane.turns, self.lane.tree.siblings,
                               lambda each: "" if self._masked else figures_text(each.figures))
        self._pages.setCurrentWidget(self.bubbles if self.lane.turns else self._empty)

    # -- what the worker says --------------------------------------------------------------------------------

    @Slot(dict)
    def _hear(self, message: dict[str, Any]) -> None:
        if self.sender() is not self._thread:
            return
        kind = message.get("type")
        if kind == "token" and message.get("id") == self._answer_id and self.state == "answering":
            self.bubbles.write(str(message.get("text") or ""))
        elif kind == "done" and message.get("id") == self._answer_id:
            if self.state == "answering":
                self._finish(message)
            else:
                self._late_figures(message)  # it was stopped, and shown so at once
        elif kind == "placed":
            self.placement = message
        elif kind == "loaded":
            self._loaded(message)
        elif kind == "adapter":
            self.adapter = Path(message["path"]) if message.get("path") else None
            self.strength = float(message.get("scale") or 0)
            self.adapter_changed.emit()
        elif kind == "count":
            self.bubbles.set_dropped(int(message.get("dropped_messages") or 0))
            sizes = message.get("documents") or []
            self.measured.emit(sizes)
            self.counted.emit(int(message.get("prompt_tokens") or message.get("tokens") or 0) +
                              sum(each["tokens"] - each["left_out"] for each in sizes))
        elif kind == "error":
            self._fail(message)

    def _loaded(self, message: dict[str, Any]) -> None:
        self.placement = message
        self.context_length = int(message.get("context_length") or 0)
        self.completion = message.get("chat_template") is False
        if Path(self.lane.model).suffix.lower() != ".gguf":  # a run's folder has a longer name than the run
            self._told = self.lane.model, str(message.get("name") or "")
        device = str(message.get("reason") or "").rstrip(".।")
        self.line.setText(" · ".join(part for part in (self.name, device) if part))
        self._set_state("ready")

    def _fail(self, message: dict[str, Any]) -> None:
        if "id" in message and message["id"] != self._answer_id:
            return
        self.banner.show_error(UserError.from_dict(message["error"]))
        if self.state == "answering":
            self._end_answer({})
            self._set_state("ready")
        elif self.state == "loading":
            self._set_state("failed")

    def _finish(self, done: dict[str, Any]) -> None:
        adapter = {"adapter": str(self.adapter), "strength": self.strength} if self.adapter and self.strength else {}
        self._end_answer({key: done[key] for key in KEPT_FIGURES if done.get(key) is not None} | adapter)
        self._show_use(done)
        self._set_state("ready")
        self.answered.emit()

    def _late_figures(self, done: dict[str, Any]) -> None:
        if self._answer is not None:
            self._answer.figures.update({key: done[key] for key in KEPT_FIGURES if done.get(key) is not None})
            self._show_messages()
            self.answered.emit()
        self._show_use(done)

    def _show_use(self, done: dict[str, Any]) -> None:
        if done.get("prompt_tokens") is not None:
            self.bubbles.set_dropped(int(done.get("dropped_messages") or 0))
            self.used.emit(int(done["prompt_tokens"]) + int(done.get("completion_tokens") or 0),
                           int(done.get("context_length") or self.context_length))

    def _end_answer(self, figures: dict[str, Any]) -> None:
        """Keep the answer, or what there is of it. Without a word of it the question goes too: two questions in a
        row aren't a conversation that a model knows."""
        text = self.bubbles.end_answer()
        if figures.get("reason") == "stop":
            text = reply.without_tag(text)
        if not text:
            self._take_back()
            return
        self._answer = self.lane.tree.add("assistant", text, figures)
        self.bubbles.keep_writing_as(self._answer)
        self._show_messages()

    def _take_back(self) -> None:
        """No answer came: show what was there before the question."""
        before = self.request.instead_of if self.request is not None else None
        if before is None or before.role == "user":
            question = self.lane.turns[-1]
            self.lane.tree.remove(question)
            self.unanswered.emit(question)
        if before is not None:
            self.lane.tree.show(before)
        self._show_messages()

    @Slot(object)
    def _died(self, error: Exception) -> None:
        if self.sender() is not self._thread:
            return
        self._thread, placed = None, self.placement
        self.banner.show_error(error)
        if self.state == "answering":
            self._end_answer({})
        elif self.state == "waiting":
            self._take_back()
        self._set_state("failed")
        if placed.get("layers_on_device") and isinstance(error, UserError):  # most likely it was the card's driver
            self.load(Path(self.lane.model), self._load.get("context_length"), device="cpu")
            self.banner.show_error(left_card(placed["device_name"], error.why))

    def _set_state(self, state: str) -> None:
        self.state = state
        self.waiting.show_state(state, self.name, self.completion)
        self._pages.setCurrentWidget(self.bubbles if self.lane.turns else self._empty)
        self.again.setVisible(state == "failed")
        self.state_changed.emit()
