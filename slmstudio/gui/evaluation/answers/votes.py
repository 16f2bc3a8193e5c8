"""The user votes on answers of an evaluation without seeing which model gave them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QDialog, QWidget

from slmstudio.core import paths
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_widget, row_of
from slmstudio.gui.corrections.votes import show_votes
from slmstudio.gui.evaluation.answers import detail
from slmstudio.gui.evaluation.answers.panes import QuestionView, TextPane
from slmstudio.gui.evaluation.answers.rows_model import question

if TYPE_CHECKING:
    from slmstudio.core.evaluation.answer_rows import Row
    from slmstudio.core.evaluation.ballots import Ballot

KEYS = {"left": "Left", "good": "Space", "bad": "X", "right": "Right", "skip": "S"}
SIZE = 860, 560


class VoteDialog(QDialog):
    """One question after another in random order, each with two answers on random sides.

    The keys that vote work while the question or an answer has the focus: the space bar on a button presses that.

    Attributes:
        left: what isn't voted on yet; the first is shown.

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
        self.setWindowTitle(tr("Vote blind"))
        self.resize(*SIZE)
        self._folder, self._models = folder, (of, with_)
        self.left: list[Ballot] = []
        self._cast: list[tuple[Ballot, bool]] = []  # what was passed here, and whether it was voted on
        self._votes = 0
        self._writing = False
        self.banner = ErrorBanner()
        self.intro = text_label(tr("Which answer is better? You don't see which model gave it. Ten votes say little; "
                                   "thirty say more."), "small", wrap=True)
        self.question = QuestionView("vote_question")
        self.sides = TextPane("vote_left"), TextPane("vote_right")
        for pane, name in zip(self.sides, (tr("Left"), tr("Right")), strict=True):
            pane.show_head(name, "", "")
        self.count = text_label("", "small", name="vote_count")
        self.result = text_label("", "body", wrap=True, name="vote_result")
        self._make_buttons()
        self._lay_out()
        self._add_keys()
        self.question.setFocus()
        run_task(self, lambda task: _begin(folder, rows, of, with_, task), self._begin, self.banner.show_error)

    def _make_buttons(self) -> None:
        self.buttons = {}
        for name, text in (("left", tr("Left is better")), ("good", tr("Both good")),
                           ("bad", tr("Both bad")), ("right", tr("Right is better")),
                           ("skip", tr("Skip"))):
            button = SecondaryButton(text, f"{text} ({KEYS[name]})", name=f"vote_{name}",
                                     clicked=partial(self.vote, name))
            button.setAutoDefault(False)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # so that the keys keep voting after a click
            button.setEnabled(False)
            self.buttons[name] = button
        self.undo = SecondaryButton(tr("Undo"),
                                    tr("Go back to the previous question and undo your vote on it (Ctrl+Z)"), "small",
                                    name="vote_undo", clicked=self.take_back)
        self.undo.hide()
        self.show_result = SecondaryButton(tr("Result"),
                                           tr("Show the result of your votes so far, and how often a judge agrees with "
                                              "you (R)"), "small", name="vote_show_result", clicked=self._read_result)
        self.list = SecondaryButton(tr("All votes…"),
                                    tr("See the results of all comparisons, and export them as preference pairs. Shows "
                                       "the names of the models."), "small", name="vote_list",
                                    clicked=partial(show_votes, self))
        for button in (self.undo, self.show_result, self.list):
            button.setAutoDefault(False)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def _lay_out(self) -> None:
        panes = row_of(*((pane, 1) for pane in self.sides), spacing=None)
        buttons = row_of(STRETCH, *self.buttons.values(), STRETCH, spacing=None)
        foot = row_of((self.count, 1), self.undo, self.show_result, self.list, spacing=None)
        self._ballot = column_widget(self.question, (panes, 1))
        column_in(self, self.banner, self.intro, (self._ballot, 1), buttons, self.result, foot, margins=theme.SPACE_L)

    def _add_keys(self) -> None:
        for name, key in KEYS.items():
            shortcut = QShortcut(QKeySequence(key), self._ballot)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.setAutoRepeat(False)  # a key that is held down is one vote
            shortcut.activated.connect(partial(self.vote, name))
        for button in (self.undo, self.show_result, self.list):
            for key in ("Left", "Right", "Up", "Down"):  # they would take the focus to where the next one votes
                QShortcut(QKeySequence(key), button).setContext(Qt.ShortcutContext.WidgetShortcut)
        add_key(self, QKeySequence.StandardKey.Undo, self.take_back)
        add_key(self, "R", self._read_result)

    def _begin(self, found: tuple[list[Ballot], int]) -> None:
        self.left, self._votes = found
        self._show()

    def _show(self) -> None:
        self.result.setText("")
        there = bool(self.left)
        for button in self.buttons.values():
            button.setEnabled(there)
        # Hiding the button that has the focus would hand it on, and the next space bar would vote.
        self.show_result.setVisible(self._votes > 0 or self.show_result.hasFocus())
        if self._cast:
            self.undo.show()  # and it stays, for the same reason
        self.count.setText(ntr("{n:,} vote · {left:,} left", "{n:,} votes · {left:,} left", self._votes,
                               left=len(self.left)))
        if not there:
            for view in (self.question, *(pane.text for pane in self.sides)):
                view.clear()
            self.question.setPlainText(tr("There is nothing left to vote on. In all other rows, the answers are the "
                                          "same or you have already voted."))
            self._read_result()
            return
        ballot = self.left[0]
        self.question.setHtml(detail.escaped(question(ballot.row)))
        for pane, model in zip(self.sides, ballot.shown, strict=True):
            answer = ballot.row.answers[model]
            none = tr("An empty answer.")
            shown = detail.escaped(answer) if answer.strip() else f"<i>{none}</i>"
            pane.text.setHtml(shown)

    def vote(self, what: str) -> None:
        """Keep a vote and show the next question: "left", "right", "good", "bad" or "skip"."""
        from slmstudio.core.evaluation import ballots
        from slmstudio.core.votes.store import ALL_BAD, ALL_GOOD, BEST

        if not self.left or self._writing:
            return
        ballot, folder, models = self.left[0], self._folder, self._models
        if what == "skip":
            self._pass(ballot, voted=False)
            return
        better = {"left": ballot.shown[0], "right": ballot.shown[1]}.get(what, "")
        verdict = {"good": ALL_GOOD, "bad": ALL_BAD}.get(what, BEST)
        self._write(lambda: ballots.add(folder, ballot.row, *models, verdict, better), 1,
                    lambda: self._pass(ballot, voted=True))

    def _write(self, write: Callable[[], None], count: int, then: Callable[[], None]) -> None:
        """Write a vote off the UI thread. Until it is kept, no other one is cast.

        Args:
            count: how many more votes there are then.
        """
        def kept(result: None) -> None:
            self._writing = False
            self._votes += count
            then()
            self.voted.emit()

        def failed(error: Exception) -> None:
            self._writing = False
            self.banner.show_error(error)

        self._writing = True
        run_task(self, lambda task: write(), kept, failed)

    def _pass(self, ballot: Ballot, voted: bool) -> None:
        self._cast.append((ballot, voted))
        self.left = self.left[1:]
        self._show()

    def take_back(self) -> None:
        """Undo: show the question before again, without its vote."""
        from slmstudio.core.evaluation import ballots

        if not self._cast or self._writing:
            return
        (ballot, voted), folder, models = self._cast[-1], self._folder, self._models
        if voted:
            self._write(lambda: ballots.take_back(folder, ballot.row, *models), -1, self._show_again)
        else:
            self._show_again()

    def _show_again(self) -> None:
        self.left = [self._cast.pop()[0], *self.left]
        self._show()

    def _read_result(self) -> None:
        folder, models, votes = self._folder, self._models, self._votes
        if votes:
            run_task(self, lambda task: votes_sentences(folder, *models), lambda said: self._show_result(said, votes),
                     self.banner.show_error)

    def _show_result(self, said: list[str], votes: int) -> None:
        if votes == self._votes:  # else it is of votes that were cast or taken back since
            self.result.setText("\n".join(said))


def _begin(folder: Path, rows: list[Row], of: str, with_: str, task: Task) -> tuple[list[Ballot], int]:
    from slmstudio.core.evaluation import ballots

    voted = ballots.read(folder, of, with_)
    ballots.models(folder, (of, with_))  # the first vote would wait for their checksums
    return ballots.ballots(rows, of, with_, voted, random.randrange(2**31)), len(voted)


@dataclass(frozen=True)
class VoteSentences:
    """
    Attributes:
        state: which votes these are, and as of when.
        sentences: what they say.
    """

    state: tuple[object, ...]
    sentences: list[str]


def votes_said(folder: Path, of: str, with_: str, before: VoteSentences | None) -> VoteSentences:
    """As `votes_sentences`; what was read `before` isn't read again where nothing has changed since."""
    from slmstudio.core.evaluation import ballots

    state = (folder, of, with_, *(_stamp(file) for file in (
        paths.votes_file(), *(folder / name for name in (ballots.JUDGE, ballots.ITEMS)))))
    if before is not None and before.state == state:
        return before
    return VoteSentences(state, votes_sentences(folder, of, with_))


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def votes_sentences(folder: Path, of: str, with_: str) -> list[str]:
    """What the user's own votes say, and whether the judge agrees; nothing without votes. Reads what the judge said."""
    from slmstudio.core.evaluation import ballots

    found: dict[str, Any] = ballots.summary(folder, of, with_)
    agreed = found["agreement"] if found["votes"] else None
    return [str(each) for each in (found["sentence"], agreed["sentence"] if agreed else "") if each]
