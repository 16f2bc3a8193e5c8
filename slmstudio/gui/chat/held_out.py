"""Questions that the run never learned, to click: three at a time, with the answer that their rows expect."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QPushButton, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import ScrolledIfNeeded
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import column_in, column_widget, row_in, row_of

if TYPE_CHECKING:
    from slmstudio.core.chat.partners import HeldOutQuestion, Origin

SHOWN = 3
ANSWER_HEIGHT = 60
"""Pixels of an expected answer before it scrolls where there is little room."""


class HeldOutQuestions(QWidget):
    """A line above the editor; above it the questions, and the expected answer of the one that was asked, if that is
    wanted.

    Signals:
        asked(HeldOutQuestion): the user chose this one.
    """

    asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[HeldOutQuestion] = []
        self._expected: dict[str, str] = {}
        self._asked = ""
        self.buttons = [self._question_button(place) for place in range(SHOWN)]
        self._offer = column_widget(*self.buttons, spacing=theme.SPACE_XS)
        self.others = SecondaryButton(tr("Other questions"), tr("Show three of the questions that weren't learned."),
                                      "small", name="held_out_others", clicked=self._show_others)
        self.expect = SecondaryButton(tr("Expected answer"),
                                      tr("Show what the row answers to this question, or hide it."), "small",
                                      name="held_out_expected")
        self.expect.setCheckable(True)
        self.answer = text_label("", wrap=True, selectable=True, name="expected_answer")
        self._answer_area = ScrolledIfNeeded(self.answer, ANSWER_HEIGHT)
        self.expect.toggled.connect(self._answer_area.setVisible)
        name = ElidedLabel(tr("Questions that the run never learned"), "small", Qt.TextElideMode.ElideRight)
        column_in(self, self._answer_area, self._offer, row_of((name, 1), self.others, self.expect),
                  spacing=theme.SPACE_XS)
        self._answer_area.hide()
        self.hide()

    def _question_button(self, place: int) -> QPushButton:
        """A button with as much of a question as fits on its line."""
        button = SecondaryButton("", "", "small", name="held_out_question",
                                 clicked=lambda: self.asked.emit(self._rows[place]))
        label = ElidedLabel("", "body", Qt.TextElideMode.ElideRight)
        label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        row_in(button, label, margins=(theme.SPACE_S, 0, theme.SPACE_S, 0))
        return named(button, "", tr("A question that wasn't learned"), tr("Ask this, in a chat of its own."))

    def show_questions(self, rows: list[HeldOutQuestion]) -> None:
        """Offer these, in an order by chance; those that are offered already stay as they are."""
        self.setVisible(bool(rows))
        expected = {row.question: row.expected for row in rows}
        if expected != self._expected:
            self._rows, self._expected = random.sample(rows, len(rows)), expected
            self._show_rows()

    def show_state(self, on: bool, asked: str) -> None:
        """
        Args:
            on: whether a question can be asked now.
            asked: the last question of the conversation; "" before there is one.
        """
        self._offer.setEnabled(on)
        if asked != self._asked:
            self._asked = asked
            self._offer.setVisible(not asked)
        expected = self._expected.get(asked, "")
        self.answer.setText(expected)
        self.expect.setEnabled(bool(expected))
        self.expect.setChecked(self.expect.isChecked() and bool(expected))

    def _show_others(self) -> None:
        """The next ones, and from the start again after the last."""
        self._rows = self._rows[SHOWN:] + self._rows[:SHOWN]
        self._show_rows()
        self._offer.show()

    def _show_rows(self) -> None:
        for place, button in enumerate(self.buttons):
            button.setVisible(place < len(self._rows))
            if place < len(self._rows):
                button.setAccessibleName(self._rows[place].question)
                button.findChild(ElidedLabel).setText(" ".join(self._rows[place].question.split()))


# -- What is found out beside the window's thread.


def origins_of(models: list[Path]) -> tuple[list[Origin], list[HeldOutQuestion]]:
    """Where the models come from, and the questions that the first of those that a run made never learned."""
    from slmstudio.core.chat import partners

    found = partners.origins(models)
    run = next((each.run for each in found if each.run is not None), None)
    return found, partners.questions(run) if run is not None else []
