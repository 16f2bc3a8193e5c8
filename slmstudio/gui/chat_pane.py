"""One model in Chat: choose it, load it, read its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from slmstudio.core.errors import UserError
from slmstudio.gui import theme
from slmstudio.gui.chat_bubbles import ChatBubbles
from slmstudio.gui.chat_thread import ChatThread
from slmstudio.gui.transcript import Lane
from slmstudio.gui.widgets import ElidedLabel, ErrorBanner, SecondaryButton, text_label


class ChatPane(QFrame):
    """A worker with its model, and the conversation with it.

    Signals:
        state_changed: it loads, is ready, answers, or has failed.
        answered: an answer is complete; `lane` holds it.
        counted(tokens): how many tokens the asked-about conversation has.
        used(tokens, context_length): how full the context is after an answer.
        unanswered(question): no word of an answer came; the question was taken back.
    """

    state_changed = Signal()
    answered = Signal()
    counted = Signal(int)
    used = Signal(int, int)
    unanswered = Signal(str)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setProperty("card", "true")
        self.lane = Lane("")
        self.state = "empty"
        self.context_length = 0
        self._thread: ChatThread | None = None
        self._answer_id = 0
        self._load: dict[str, Any] = {}
        self._last_request: dict[str, Any] = {}
        self._lay_out()

    def _lay_out(self) -> None:
        self.figures = ElidedLabel("", "small", Qt.TextElideMode.ElideRight)
        self.figures.setObjectName("chat_figures")
        self.banner = ErrorBanner()
        self.banner.setObjectName("chat_banner")
        self.again = SecondaryButton(
            self.tr("Start again"), self.tr("Start the worker again and load the model."), "small"
        )
        self.again.setObjectName("start_again")
        self.again.clicked.connect(self.reload)
        self.again.hide()
        self.waiting = text_label("", "muted", wrap=True)
        self.waiting.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.bubbles = ChatBubbles()
        self._pages = QStackedWidget()
        self._pages.addWidget(self.waiting)
        self._pages.addWidget(self.bubbles)
        self.regenerate_button = SecondaryButton(self.tr("Answer again"), self.tr(
            "Throw the last answer away and draw another. With a seed set, it is the same."), "small")
        self.regenerate_button.setObjectName("regenerate")
        self.regenerate_button.clicked.connect(self.regenerate)
        foot = QHBoxLayout()
        foot.addWidget(self.regenerate_button)
        foot.addWidget(self.again)
        foot.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.SPACE_M] * 4)
        column.setSpacing(theme.SPACE_S)
        column.addWidget(self.figures)
        column.addWidget(self.banner)
        column.addWidget(self._pages, 1)
        column.addLayout(foot)
        self._set_state("empty")

    # -- the model -------------------------------------------------------------------------------------------

    def load(self, path: Path, context_length: int | None) -> None:
        """Load another model; the conversation stays, and the model reads it with the next question."""
        self.stop()
        self.lane.model = str(path)
        self._load = {"path": str(path), "context_length": context_length, "gpu_layers": None}
        self.banner.clear()
        if self._thread is None:
            self._thread = ChatThread()
            self._thread.message.connect(self._hear)
            self._thread.died.connect(self._died)
            self._thread.start()
        self.waiting.setText(self.tr("Loading {name} …").format(name=path.stem))
        self.figures.setText(path.stem)
        self._set_state("loading")
        self._thread.send("load", **self._load)

    def reload(self) -> None:
        """Start a new worker with the same model."""
        if self.lane.model:
            self.close_worker()
            self.load(Path(self.lane.model), self._load.get("context_length"))

    def close_worker(self) -> None:
        """End the worker; the conversation stays on the screen."""
        if self._thread is not None:
            self.stop()
            self._thread.close()
            self._thread = None
        self._set_state("empty")

    @property
    def name(self) -> str:
        return Path(self.lane.model).stem

    # -- the conversation ------------------------------------------------------------------------------------

    def ask(self, question: str, system: str, options: dict[str, Any]) -> None:
        """Put a question; `answer` lets the model begin."""
        self.lane.turns.append({"role": "user", "content": question})
        self.bubbles.add("user", question)
        self._last_request = {"system": system, "options": options}
        self._set_state("waiting")

    def answer(self) -> None:
        """Answer the question that waits."""
        if self.state == "waiting":
            self._generate()

    def regenerate(self) -> None:
        """Draw the last answer anew."""
        if self.state == "ready" and self._last_request and self.lane.turns[-1]["role"] == "assistant":
            self.lane.turns.pop()
            self.bubbles.remove_last()
            seed = self._last_request["options"].get("seed")
            options = {**self._last_request["options"], "seed": None if seed is None else (seed + 1) % 2**31}
            self._last_request = {**self._last_request, "options": options}
            self._generate()

    def _generate(self) -> None:
        assert self._thread is not None
        self.banner.clear()
        self.bubbles.begin_answer()
        self._pages.setCurrentWidget(self.bubbles)
        self._answer_id += 1
        self._set_state("answering")
        self._thread.send("generate", id=self._answer_id, messages=self.messages(self._last_request["system"]),
                          **self._last_request["options"])

    def messages(self, system: str, draft: str = "") -> list[dict[str, str]]:
        """The conversation as the worker wants it, with `draft` as its next question."""
        turns = [{"role": turn["role"], "content": turn["content"]} for turn in self.lane.turns]
        start = [{"role": "system", "content": system}] if system else []
        return [*start, *turns, *([{"role": "user", "content": draft}] if draft else [])]

    def stop(self) -> None:
        """End the answer now. What comes late is not shown."""
        if self.state == "waiting":
            self._take_question_back()
            self._set_state("ready")
        elif self.state == "answering" and self._thread is not None:
            self._thread.send("stop", id=self._answer_id)
            self._finish({"reason": "stopped"})

    def count(self, system: str, draft: str) -> None:
        """Ask how many tokens the conversation would have; the answer comes with `counted`."""
        messages = self.messages(system, draft)
        if self.state == "ready" and self._thread is not None and messages:
            self._thread.send("count", messages=messages)

    def show_lane(self, lane: Lane) -> None:
        """Show a conversation that was saved."""
        self.lane = Lane(lane.model, [dict(turn) for turn in lane.turns])
        self.bubbles.clear()
        for turn in self.lane.turns:
            self.bubbles.add(turn["role"], turn["content"])
        self._pages.setCurrentWidget(self.bubbles if self.lane.turns else self.waiting)

    def clear(self) -> None:
        """Begin a new conversation with the same model."""
        self.stop()
        self.lane = Lane(self.lane.model)
        self.bubbles.clear()
        self._last_request = {}
        self.figures.setText(self.name)
        self._set_state(self.state)

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
                self._show_figures(message)  # it was stopped, and shown so at once
        elif kind == "loaded":
            self.context_length = int(message.get("context_length") or 0)
            self._set_state("ready")
        elif kind == "count":
            self.counted.emit(int(message.get("tokens") or 0))
        elif kind == "error":
            self._fail(message)

    def _fail(self, message: dict[str, Any]) -> None:
        if "id" in message and message["id"] != self._answer_id:
            return
        self.banner.show_error(UserError.from_dict(message["error"]))
        if self.state == "answering":
            self._end_answer({})
            self._set_state("ready")
        elif self.state == "loading":
            self._set_state("failed")

    def _end_answer(self, figures: dict[str, Any]) -> None:
        """Keep the answer, or what there is of it. Without a word of it the question goes too: two questions in a
        row are no conversation that a model knows."""
        text = self.bubbles.end_answer()
        if text:
            self.lane.turns.append({"role": "assistant", "content": text, "figures": figures})
            return
        self.bubbles.remove_last()
        self._take_question_back()

    def _take_question_back(self) -> None:
        self.bubbles.remove_last()
        self.unanswered.emit(self.lane.turns.pop()["content"])

    def _finish(self, done: dict[str, Any]) -> None:
        known = {key: done[key] for key in ("reason", "tokens_per_second", "seconds_to_first_token", "prompt_tokens",
                                            "completion_tokens") if done.get(key) is not None}
        self._end_answer(known)
        self._show_figures(done)
        self._set_state("ready")
        self.answered.emit()

    def _show_figures(self, done: dict[str, Any]) -> None:
        self.figures.setText(self._figures_text(done))
        if done.get("prompt_tokens") is not None:
            self.used.emit(int(done["prompt_tokens"]) + int(done.get("completion_tokens") or 0),
                           int(done.get("context_length") or self.context_length))

    def _figures_text(self, done: dict[str, Any]) -> str:
        parts = [self.name]
        if done.get("tokens_per_second") is not None:
            parts.append(self.tr("{speed} tokens/s").format(speed=f"{done['tokens_per_second']:.0f}"))
        if done.get("seconds_to_first_token") is not None:
            parts.append(self.tr("first token {time} s").format(time=f"{done['seconds_to_first_token']:.1f}"))
        if done.get("reason") == "length":
            parts.append(self.tr("cut at max tokens"))
        elif done.get("reason") == "stopped":
            parts.append(self.tr("stopped"))
        if done.get("dropped_messages"):
            parts.append(self.tr("{count} oldest messages no longer fit").format(count=done["dropped_messages"]))
        return " · ".join(parts)

    @Slot(object)
    def _died(self, error: Exception) -> None:
        if self.sender() is not self._thread:
            return
        self._thread = None
        self.banner.show_error(error)
        if self.state == "answering":
            self._end_answer({})
        elif self.state == "waiting":
            self._take_question_back()
        self._set_state("failed")

    def _set_state(self, state: str) -> None:
        """One of "empty", "loading", "ready", "waiting" for its turn to answer, "answering", "failed"."""
        self.state = state
        if state == "empty":
            self.waiting.setText(self.tr(
                "Choose a model above, or drop a GGUF file here. A run gets one when you export it in Results."))
        elif state == "ready" and not self.lane.turns:
            self.waiting.setText(self.tr("{name} is ready. Ask it something.").format(name=self.name))
        elif state == "waiting":
            self.figures.setText(self.tr("{name} · answers next").format(name=self.name))
        elif state == "failed" and not self.lane.turns:
            self.waiting.setText("")
        self._pages.setCurrentWidget(self.bubbles if self.lane.turns else self.waiting)
        self.again.setVisible(state == "failed")
        answered = bool(self.lane.turns) and self.lane.turns[-1]["role"] == "assistant"
        self.regenerate_button.setVisible(state == "ready" and answered and bool(self._last_request))
        self.state_changed.emit()
