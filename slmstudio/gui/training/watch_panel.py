"""Watch it learn: what the model answers to the same questions, evaluation after evaluation, below what it answered
before."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Card, plain_page, scrolled
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton, keep_room
from slmstudio.gui.common.widgets.conversation import SHOWN_CHARACTERS, BubbleArea
from slmstudio.gui.common.widgets.fields import Slider, named
from slmstudio.gui.common.widgets.labels import breakable, text_label
from slmstudio.gui.common.widgets.layouts import column_in, fill, row_in


class SampleAnswers(Card):
    """The newest answers, or those of an earlier step, each with the first one to compare it with.

    Signals:
        sample_wanted: ask the questions now.
    """

    sample_wanted = Signal()

    def __init__(self) -> None:
        super().__init__(tr("Watch it learn"))
        self._samples: list[dict[str, Any]] = []
        self._shown: dict[str, Any] | None = None
        self._asking = False
        self._last_when_asked: dict[str, Any] | None = None
        self.now = SecondaryButton(tr("Sample now"),
                                   tr("Ask the fixed questions after this step, without waiting for the next "
                                      "evaluation."), "small", name="sample_now", clicked=self._ask)
        self.header.addWidget(self.now)
        keep_room(self.now)
        self.waiting = text_label("", "small", wrap=True, name="watch_waiting")
        self.waiting.setAlignment(Qt.AlignmentFlag.AlignTop)
        # Large text needs more room than there may be.
        self._waiting_area = scrolled(self.waiting, tr("Answers of the model"))
        fill(self.body, (self._waiting_area, 1), self._make_steps())
        self.answers = named(BubbleArea(theme.SPACE_S), "watch_answers", tr("Answers of the model"))
        self.body.addWidget(self.answers, 1)
        self.show_none()

    def _make_steps(self) -> QWidget:
        self._steps = QWidget()
        row = row_in(self._steps, spacing=theme.SPACE_XS)
        self.earlier = IconButton("chevron-left", tr("Answers of the previous evaluation"), name="watch_earlier",
                                  clicked=lambda: self.slider.setValue(self.slider.value() - 1))
        self.later = IconButton("chevron-right", tr("Answers of the next evaluation"), name="watch_later",
                                clicked=lambda: self.slider.setValue(self.slider.value() + 1))
        self.slider = named(Slider(Qt.Orientation.Horizontal), "watch_slider",
                            tr("Which evaluation's answers are shown"),
                            tr("Drag to the left to see what it answered earlier."))
        self.step = text_label("", "small", name="watch_step")
        self.slider.valueChanged.connect(self._show_at)
        fill(row, self.earlier, (self.slider, 1), self.later, self.step)
        return self._steps

    def show_none(self) -> None:
        """No run yet."""
        self._samples, self._shown = [], None
        self._show_waiting(tr("While the model learns, it is asked a few fixed questions again and again. The answers "
                              "appear here, so you can see what changes."))
        self.now.hide()

    def update_from(self, history: RunHistory, config: RunConfig, live: bool) -> None:
        """The history has more to show.

        Args:
            live: a worker is at it, who can be asked.
        """
        self.now.setVisible(live and config.sample_max_tokens > 0)
        self.now.setEnabled(history.stepping and not history.paused and not self._asked(history))
        if not history.samples:
            self._samples, self._shown = [], None
            self._show_waiting(self._when(history, config, live))
            return
        at_end = not self._samples or self.slider.value() >= len(self._samples) - 1
        self._samples = list(history.samples)
        self._waiting_area.hide()
        self._steps.show()
        self.answers.show()
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, len(self._samples) - 1)
            if at_end:
                self.slider.setValue(len(self._samples) - 1)
        self._show_at(self.slider.value())

    def _ask(self) -> None:
        self._asking, self._last_when_asked = True, self._samples[-1] if self._samples else None
        self.now.setEnabled(False)
        self.now.setText(tr("Asking …"))
        self.sample_wanted.emit()

    def _asked(self, history: RunHistory) -> bool:
        """Whether an answer to the button is still to come."""
        last = history.samples[-1] if history.samples else None
        if self._asking and last is self._last_when_asked and history.stepping:
            return True
        self._asking = False
        self.now.setText(tr("Sample now"))
        return False

    def _when(self, history: RunHistory, config: RunConfig, live: bool) -> str:
        if not config.sample_max_tokens:
            return tr("This run asks no questions, because the length of its answers is set to 0.")
        if not live:
            return tr("No answers were recorded in this run.")
        if not history.stepping:
            return tr("The first answers come before the first step, the next at step {step:,}.",
                      step=config.eval_steps)
        following = (history.step // config.eval_steps + 1) * config.eval_steps
        if history.total_steps:
            following = min(following, history.total_steps)
        return tr("The first answers come with the evaluation at step {step:,}. To ask right away, press Sample now.",
                  step=following)

    def _show_waiting(self, text: str) -> None:
        self.waiting.setText(text)
        self._waiting_area.show()
        self._steps.hide()
        self.answers.hide()

    def _show_at(self, index: int) -> None:
        """Show the answers of one evaluation, unless they are there."""
        count, sample = len(self._samples), self._samples[index]
        self._steps.setVisible(count > 1)
        self.earlier.setEnabled(index > 0)
        self.later.setEnabled(index < count - 1)
        self.step.setText(self._step_text(sample))
        if sample is self._shown:
            return
        self._shown = sample
        place = self.answers.verticalScrollBar().value()
        self.answers.show_page(self._make_page(sample))
        self.answers.verticalScrollBar().setValue(place)

    def _step_text(self, sample: dict[str, Any]) -> str:
        return tr("step {step:,}", step=sample['global_step'])

    def _make_page(self, sample: dict[str, Any]) -> QWidget:
        page = plain_page()
        column = column_in(page, margins=(0, 0, theme.SPACE_S, 0))
        self.answers.bubbles = []
        first = self._samples[0]
        before = {each.get("prompt"): _answer(each) for each in first["samples"]} if first is not sample else {}
        for each in sample["samples"]:
            self._add(column, "user", str(each.get("prompt") or ""), tr("Question"))
            if each.get("prompt") in before:
                self._note(column, tr("Before, at step {step:,}: {text}", step=first["global_step"],
                                      text=_cut(before[each.get("prompt")])), "watch_before")
            # Beside the slider is the step, too: below the answer before, there is no room to repeat it.
            self._add(column, "assistant", _answer(each), "" if before else self._step_text(sample))
            if each.get("reference"):
                self._note(column, tr("Reference: {text}", text=_cut(str(each["reference"]))), "watch_reference")
        column.addStretch(1)
        return page

    def _note(self, column: QVBoxLayout, text: str, name: str) -> None:
        column.addWidget(text_label(breakable(text), "small", wrap=True, selectable=True, name=name))

    def _add(self, column: QVBoxLayout, role: str, text: str, who: str) -> None:
        bubble = self.answers.add(column, role, _cut(text), who if role != "user" else "")
        bubble.text.setAccessibleName(who or self.step.text())


def _answer(sample: dict[str, Any]) -> str:
    return str(sample.get("answer") or "").strip() or tr("(empty answer)")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} …"
