"""Voting on answers whose models are hidden, and what all votes say together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QPushButton

from slmstudio.core.i18n import tr
from slmstudio.core.votes.store import ALL_BAD, ALL_GOOD, BEST
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in, row_of

if TYPE_CHECKING:
    from slmstudio.core.votes.tally import Tally


def place_name(place: int, count: int) -> str:
    """What an answer is called while its model is hidden: Left and Right, or A to D."""
    if count == 2:
        return (tr("Left"), tr("Right"))[place]
    return "ABCD"[place]


def score_text(tally: Tally) -> str:
    """As in "base 3 · tuned 9 · ties 2"."""
    parts = [f"{model.name} {wins}" for model, wins in zip((tally.first, tally.second), tally.wins, strict=True)]
    if tally.ties:
        parts.append(tr("ties {count}", count=tally.ties))
    return " · ".join(parts)


class VoteBar(QFrame):
    """Asks which answer is better, and after the vote shows which model gave it, and the score.

    Signals:
        voted(str, object): the verdict, and of `BEST` the place that is better, else None.
        list_wanted: show all votes.
    """

    voted = Signal(str, object)
    list_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("inset", "true")
        self.text = text_label("", "body", wrap=True, name="vote_text")
        self.more = SecondaryButton(tr("All votes…"),
                                    tr("See the results of all comparisons, and export them as preference "
                                       "pairs."), "small",
                                    name="all_votes", clicked=self.list_wanted)
        self._buttons: list[QPushButton] = []
        self._row = row_of()
        column = column_in(self, self._row, spacing=theme.SPACE_XS,
                           margins=(theme.SPACE_S, theme.SPACE_XS, theme.SPACE_S, theme.SPACE_XS))
        column.addLayout(row_of((self.text, 1), (self.more, 0, Qt.AlignmentFlag.AlignTop), spacing=None))
        self.hide()

    def ask(self, count: int) -> None:
        """Ask for a vote on this many answers."""
        self._clear()
        for place in range(count):
            text = tr("{answer} is best", answer=place_name(place, count)) if count > 2 else \
                (tr("Left is better"), tr("Right is better"))[place]
            self._add(text,
                      tr("Vote for this answer. You'll then see which model gave it (Alt+{number}).", number=place + 1),
                      f"vote_{place}", BEST, place, f"Alt+{place + 1}")
        both = (tr("Both good"), tr("Both bad")) if count == 2 else (tr("All good"), tr("All bad"))
        self._add(both[0], tr("None is better, and all are acceptable."), "vote_good", ALL_GOOD, None, "")
        self._add(both[1], tr("None is better, and none is acceptable."), "vote_bad", ALL_BAD, None, "")
        self._row.addStretch(1)
        self.text.setText(tr("Which answer is better? The models' names are hidden until you vote."))
        self.show()

    def say(self, text: str) -> None:
        """Show a text instead of the buttons."""
        self._clear()
        self.text.setText(text)
        self.show()

    def set_enabled(self, on: bool) -> None:
        for button in self._buttons:
            button.setEnabled(on)

    def _add(self, text: str, tooltip: str, name: str, verdict: str, place: int | None, shortcut: str) -> None:
        button = SecondaryButton(text, tooltip, name=name, clicked=partial(self._vote, verdict, place))
        if shortcut:
            button.setShortcut(shortcut)
        self._buttons.append(button)
        self._row.addWidget(button)

    def _vote(self, verdict: str, place: int | None) -> None:
        self.set_enabled(False)  # one vote for one question
        self.voted.emit(verdict, place)

    def _clear(self) -> None:
        while (item := self._row.takeAt(0)) is not None:
            if item.widget() is not None:
                item.widget().hide()
                item.widget().deleteLater()
        self._buttons = []
