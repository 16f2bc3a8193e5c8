"""The user votes on answers of an evaluation without seeing whose they are."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QTextBrowser, QVBoxLayout, QWidget

from slmstudio.core.errors import UserError
from slmstudio.gui import rows_diff, theme
from slmstudio.gui.rows_model import question
from slmstudio.gui.rows_panes import TextPane
from slmstudio.gui.tasks import Task, run_task
from slmstudio.gui.widgets import ErrorBanner, SecondaryButton, counted, text_label
from slmstudio.gui.widgets.keys import add_key

if TYPE_CHECKING:
    from slmstudio.core.evaluation.answer_rows import Row
    from slmstudio.core.evaluation.own_votes import Ballot

QUESTION_HEIGHT = 92
SIZE = 860, 560


class VoteDialog(QDialog):
    """One question after another, drawn by lot, each with two answers at sides that are drawn too.

    Signals:
        voted: there are other votes.

    Args:
        folder: of the evaluation.
        rows: all its rows.
        of, with_: names of the two models.
    """

    voted = Signal()

    def __init__(self, folder: Path, rows: list[Row], of: str, with_: str, parent: QWidget | None = None):
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("Vote blind"))
        self.resize(*SIZE)
        self._folder, self._rows, self._models = folder, rows, (of, with_)
        self._left: list[Ballot] = []
        self._votes = 0
        self.banner = ErrorBanner()
        self.intro = text_label(self.tr("Which answer is better? Whose it is stays hidden. Ten votes tell little, "
                                        "thirty tell more."), "small", wrap=True)
        self.question = QTextBrowser()
        self.question.setObjectName("vote_question")
        self.question.setAccessibleName(self.tr("Question"))
        self.question.setProperty("bare", True)
        self.question.document().setDocumentMargin(0)
        self.question.document().documentLayout().documentSizeChanged.connect(self._fit_question)
        self.sides = TextPane("vote_left"), TextPane("vote_right")
        for pane, name in zip(self.sides, (self.tr("Left"), self.tr("Right")), strict=True):
            pane.show_head(name, "", "")
        self.count = text_label("", "small")
        self.count.setObjectName("vote_count")
        self.result = text_label("", "body", wrap=True)
        self.result.setObjectName("vote_result")
        self._make_buttons()
        self._lay_out()
        run_task(self, lambda task: _begin(folder, rows, of, with_, task), self._begin, self.banner.show_error)

    def _make_buttons(self) -> None:
        self.buttons = {}
        for name, text, keys in (("left", self.tr("Left is better"), "Left"), ("neither", self.tr("Neither"), "Space"),
                                 ("right", self.tr("Right is better"), "Right"), ("skip", self.tr("Skip"), "S")):
            button = SecondaryButton(text, self.tr("{what} ({key})").format(what=text, key=keys))
            button.setObjectName(f"vote_{name}")
            button.setAutoDefault(False)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the space bar is a vote
            button.setEnabled(False)
            button.clicked.connect(partial(self.vote, name))
            add_key(self, keys, partial(self.vote, name))
            self.buttons[name] = button
        self.show_result = SecondaryButton(self.tr("Result"), self.tr("Show what your votes say so far, and how far a "
                                                                      "judge agrees with you."), "small")
        self.show_result.setObjectName("vote_show_result")
        self.show_result.setAutoDefault(False)
        self.show_result.clicked.connect(self._read_result)

    def _lay_out(self) -> None:
        panes, buttons, foot = QHBoxLayout(), QHBoxLayout(), QHBoxLayout()
        for pane in self.sides:
            panes.addWidget(pane, 1)
        buttons.addStretch(1)
        for button in self.buttons.values():
            buttons.addWidget(button)
        buttons.addStretch(1)
        foot.addWidget(self.count, 1)
        foot.addWidget(self.show_result)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.SPACE_L] * 4)
        column.setSpacing(theme.SPACE_S)
        for widget in (self.banner, self.intro, self.question):
            column.addWidget(widget)
        column.addLayout(panes, 1)
        column.addLayout(buttons)
        column.addWidget(self.result)
        column.addLayout(foot)

    def _fit_question(self) -> None:
        """As high as its text, up to the limit."""
        height = round(self.question.document().size().height()) + theme.SPACE_XS
        self.question.setFixedHeight(min(QUESTION_HEIGHT, height))

    def _begin(self, found: tuple[list[Ballot], int]) -> None:
        self._left, self._votes = found
        self._show()

    def _show(self) -> None:
        """The next question, or that there is none."""
        there = bool(self._left)
        for button in self.buttons.values():
            button.setEnabled(there)
        self.show_result.setVisible(self._votes > 0)
        self.count.setText(self.tr("{votes}, {left} left").format(
            votes=counted(self._votes, self.tr("1 vote"), self.tr("{count} votes")), left=f"{len(self._left):,}"))
        if not there:
            for view in (self.question, *(pane.text for pane in self.sides)):
                view.clear()
            self.question.setPlainText(self.tr("There is nothing left to vote on: of all other rows the answers are "
                                               "the same, or you have voted."))
            if self._votes:
                self._read_result()
            return
        ballot = self._left[0]
        self.question.setHtml(rows_diff.escaped(question(ballot.row)))
        for pane, model in zip(self.sides, ballot.shown, strict=True):
            pane.text.setHtml(rows_diff.escaped(ballot.row.answers[model]))

    def vote(self, what: str) -> None:
        """Keep a vote and go on: "left", "right", "neither" or "skip"."""
        from slmstudio.core.evaluation import own_votes

        if not self._left:
            return
        ballot = self._left[0]
        if what != "skip":
            winner = {"left": ballot.shown[0], "right": ballot.shown[1]}.get(what, "")
            try:
                own_votes.add(self._folder, ballot.row.id, *self._models, winner)
            except UserError as error:
                self.banner.show_error(error)
                return
            self._votes += 1
            self.voted.emit()
        self._left = self._left[1:]
        self.result.setText("")
        self._show()

    def _read_result(self) -> None:
        folder, models = self._folder, self._models
        run_task(self, lambda task: votes_sentences(folder, *models), lambda said: self.result.setText("\n".join(said)),
                 self.banner.show_error)


def _begin(folder: Path, rows: list[Row], of: str, with_: str, task: Task) -> tuple[list[Ballot], int]:
    from slmstudio.core.evaluation import own_votes

    voted = own_votes.read(folder, of, with_)
    return own_votes.ballots(rows, of, with_, voted, random.randrange(2**31)), len(voted)


def votes_sentences(folder: Path, of: str, with_: str) -> list[str]:
    """What the user's own votes say, and whether the judge agrees; nothing without votes. Reads what the judge said."""
    from slmstudio.core.evaluation import own_votes

    found: dict[str, Any] = own_votes.summary(folder, of, with_)
    agreed = found["agreement"] if found["votes"] else None
    return [str(each) for each in (found["sentence"], agreed["sentence"] if agreed else "") if each]
