"""Blind comparison: the same question to several models whose names are hidden, and a vote."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QFrame, QPushButton

from slmstudio.core.i18n import tr
from slmstudio.core.votes import store as votes
from slmstudio.core.votes.store import ALL_BAD, ALL_GOOD, BEST, Answer, Vote
from slmstudio.gui.chat.lanes import ChatLanes
from slmstudio.gui.chat.pane import ChatPane
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import clear, column_in, row_of
from slmstudio.gui.corrections.votes import verdict_text

if TYPE_CHECKING:
    from slmstudio.core.votes.tally import Tally

# -- Voting on answers whose models are hidden, and what all votes say together.


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
        clear(self._row)
        self._buttons = []


class Comparison(QObject):
    """Hides which model is which, asks for the vote, keeps it, and shows the score so far.

    Each question begins a new conversation: earlier answers would tell who is who, and only answers to the very same
    text are preference pairs. The lanes are shuffled for each question, and all answers appear together, so that
    neither place nor speed tells a model.

    Signals:
        voted: a vote was kept.

    Attributes:
        blind: whether the next question will be asked so.
        masked: whether names are hidden now.
        seed: of the order of the lanes now.
    """

    voted = Signal()

    def __init__(self, lanes: ChatLanes, bar: VoteBar, parent: QObject | None = None):
        super().__init__(parent)
        self._lanes, self._bar = lanes, bar
        self.blind = self.masked = self._asked = False
        self.seed = 0
        bar.voted.connect(self.vote)

    def set_blind(self, on: bool) -> None:
        """Whether names are hidden from the next question on."""
        self.blind = on
        self.end()

    def begin(self) -> None:
        """Hide the names and shuffle the lanes: a question is about to be asked."""
        self.end()
        self.seed = votes.new_seed()
        count = self._lanes.count
        self._lanes.set_order(votes.shuffled(count, self.seed))
        self.masked = True
        for place, number in enumerate(self._lanes.order):
            lane = self._lanes.lanes[number]
            lane.mask(place_name(place, count))
            lane.hold(tr("All answers appear together once the last one is complete."))
        self._bar.say(tr("The models' names and speeds are hidden for now."))
        models = [_model(pane) for pane in self._lanes.panes()]
        # Reading the whole files takes a while for large ones; the votes will need their checksums.
        run_task(self, lambda task: [votes.voted_model(*each) for each in models], lambda _: None)

    def end(self) -> None:
        """Show who is who, without a vote."""
        self._reveal()
        if self.blind:
            self._bar.say(tr("Ask something. You'll see the answers without names and vote for the better one."))
        else:
            self._bar.hide()
        self._lanes.set_order(tuple(range(self._lanes.count)))

    def _reveal(self) -> None:
        self.masked = self._asked = False
        for lane in self._lanes.lanes:
            lane.mask("")

    def check(self) -> None:
        """Look whether all have answered, and ask for the vote then. Called when a pane's state changes."""
        panes = self._lanes.panes()
        if not self.masked or self._asked or self._lanes.are_at_work():
            return
        turns = [pane.lane.turns for pane in panes]
        if not any(turns):
            self.end()  # stopped before the first word
        elif all(each and each[-1].role == "assistant" and each[-1].figures.get("reason") != "stopped"
                 for each in turns):
            self._asked = True
            for lane in self._lanes.shown():
                lane.hold("")
            self._bar.ask(len(panes))
        else:
            self._reveal()
            self._bar.say(tr("Not every model finished its answer, so there is nothing to vote on."))

    def vote(self, verdict: str, place: int | None) -> None:
        """Keep a vote: the verdict, and of `BEST` the place that is better."""
        panes, order = self._lanes.panes(), self._lanes.order
        best = order[place] if verdict == BEST and place is not None else None
        answers = [(_answered_by(pane), _asked(pane), pane.lane.turns[-1].content) for pane in panes]
        settings = dict(panes[0].request.options) if panes[0].request is not None else {}
        seed = self.seed

        def keep(task: object) -> tuple[Vote, list[Tally]]:
            from slmstudio.core.votes import tally

            vote = Vote(time.time(), tuple(Answer(votes.voted_model(*model), asked, text)
                                           for model, asked, text in answers), seed, order, verdict, best, True,
                        settings)
            votes.add(vote)
            return vote, tally.tallies(votes.read()[0])

        run_task(self, keep, self._kept, partial(self._not_kept, seed))

    def _kept(self, result: tuple[Vote, list[Tally]]) -> None:
        vote, tallies = result
        self.voted.emit()
        if not self.masked or vote.seed != self.seed:
            return  # the next question was asked meanwhile, whose names stay hidden
        self._reveal()
        count = len(vote.answers)
        who = [f"{place_name(place, count)}: {vote.answers[number].model.name}"
               for place, number in enumerate(vote.order)]
        self._bar.say("\n".join([" · ".join(who), *standings(vote, tallies)]))

    def _not_kept(self, seed: int, error: Exception) -> None:
        if seed == self.seed:
            self._bar.set_enabled(True)
        report_error(self, error)


def standings(vote: Vote, tallies: list[Tally]) -> list[str]:
    """How the models that this vote was about compare now."""
    identities = {each.model.identity for each in vote.answers}
    best = None if vote.best is None else vote.answers[vote.best].model.identity
    about = [each for each in tallies if {each.first.identity, each.second.identity} <= identities
             and (best is None or best in (each.first.identity, each.second.identity))]
    if len(vote.answers) > 2:  # what each pair says is in the list of all votes
        return ["    ".join(score_text(each) for each in about[:3])] if about else []
    return [f"{tr('{sentence}.', sentence=score_text(each))} {verdict_text(each)}" for each in about]


def room_text(models: list[Path], context_length: int | None) -> str:
    """Whether models fit into memory together. It reads the files' headers, so it belongs off the UI thread."""
    from slmstudio.core.chat.partners import free_bytes, needed_bytes
    from slmstudio.core.units import format_bytes

    needed, free = needed_bytes(models, context_length), free_bytes()
    if needed > free:
        return tr("{count} models need about {needed} together, but only {free} is free. It may be slow; remove a "
                  "model to speed it up.", count=len(models), needed=format_bytes(needed), free=format_bytes(free))
    return tr("{count} models need about {needed} together, and {free} is free.", count=len(models),
              needed=format_bytes(needed), free=format_bytes(free))


def _model(pane: ChatPane) -> tuple[Path, Path | None, float]:
    """The model of a pane, its adapter, and how strong that is now."""
    return Path(pane.lane.model), pane.adapter, pane.strength


def _answered_by(pane: ChatPane) -> tuple[Path, Path | None, float]:
    """The same, as it was when the last answer was given; the slider may have been moved since."""
    figures = pane.lane.turns[-1].figures
    adapter = figures.get("adapter")
    return Path(pane.lane.model), Path(adapter) if adapter else None, float(figures.get("strength") or 0)


def _asked(pane: ChatPane) -> tuple[dict[str, Any], ...]:
    system = pane.request.system if pane.request is not None else ""
    return tuple(pane.messages(system)[:-1])
