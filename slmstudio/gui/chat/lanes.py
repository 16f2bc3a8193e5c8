"""The models in Chat, side by side: one to four, each with its conversation; and the buttons that say how many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.votes.store import MOST_ANSWERS
from slmstudio.gui.chat.bubbles import Action
from slmstudio.gui.chat.pane import ChatPane
from slmstudio.gui.common import theme
from slmstudio.gui.common.known_models import ModelPicker
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in, fill, pages_of, row_in, row_of

if TYPE_CHECKING:
    from slmstudio.core.chat.partners import Origin

TURN_MS = 20_000
"""The longest that a model waits for the one before it; about as long as the reader takes to read that."""


class ChatLane(QWidget):
    """One model: its name, and what it said. While it is masked, nobody sees which model it is.

    Attributes:
        choice: which model; the tab puts it into its header while there is only one lane.
    """

    def __init__(self, name: str):
        super().__init__()
        self.choice = ModelPicker(name, tr("Choose a model…"), tr(
            "The model to talk to: a finished run, an export, any GGUF file or model folder. GGUF files can be dropped "
            "here."))
        theme.grow(self.choice, "setMinimumWidth", 110)  # it takes what room there is
        self.pane = ChatPane()
        for name, icon, tooltip in (("correct", "correct", tr("Correct this answer, for the next training")),
                                    ("test", "flask", tr("Add the question to a test set"))):
            self.pane.bubbles.add_action(Action(name, icon, tooltip, "assistant"))
        self.pane.waiting.choose_wanted.connect(self.choice.showPopup)
        self.title = text_label("", "heading", name="lane_title")
        self._role = ""
        self._waiting = text_label("", "muted", wrap=True, centred=True)
        self._pages = pages_of(self.pane, self._waiting)
        self.head = row_of()
        column_in(self, self.head, (self._pages, 1), spacing=theme.SPACE_XS)
        # Filled only now: of a row that joins another layout PySide keeps the items, also after the combo has moved to
        # the header and Qt has deleted its item. A style that got that memory was taken for the item, and crashed.
        fill(self.head, self.title, (self.choice, 1))
        self.mask("")

    def mask(self, name: str) -> None:
        """Hide which model this is behind a name; "" shows it again."""
        self._mask = name
        self.choice.setVisible(not name)
        self.pane.set_masked(bool(name))
        self.hold("")
        self._show_title()

    def set_origin(self, origin: Origin) -> None:
        """Say whether it is the tuned model or the one before training, where both are here."""
        self._role = {"tuned": tr("Tuned"), "before": tr("Before")}.get(origin.role, "")
        self._show_title()

    def _show_title(self) -> None:
        show_text(self.title, self._mask or self._role)
        self.title.setToolTip("" if self._mask else self.pane.name)

    def hold(self, text: str) -> None:
        """Show a text in place of the conversation; "" shows that again."""
        self._waiting.setText(text)
        self._pages.setCurrentIndex(bool(text))


class ChatLanes(QWidget):
    """All lanes. A lane keeps its number, wherever it is.

    Signals:
        made(ChatLane): there is one more lane; those of the beginning aren't told.

    Attributes:
        lanes: all that were ever needed, by number.
        count: how many are shown.
        order: the number of the lane in each place, from the left.
        turn: how long the next model waits for one that answers.
    """

    made = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.turn = QTimer(self, interval=TURN_MS, singleShot=True, timeout=self.let_next_answer)
        self._names = (tr("Model"), tr("Second model"), tr("Third model"), tr("Fourth model"))
        self._row = row_in(self)
        self.lanes: list[ChatLane] = []
        self.count = 1
        self.order: tuple[int, ...] = (0,)
        self._grow(2)
        self.set_count(1)

    def _grow(self, count: int) -> None:
        while len(self.lanes) < count:
            number = len(self.lanes)
            lane = ChatLane(self._names[number])
            lane.choice.setObjectName(("chat_model", "chat_second_model", "chat_third_model",
                                       "chat_fourth_model")[number])
            self.lanes.append(lane)
            self._row.addWidget(lane, 1)
            self.made.emit(lane)

    def set_count(self, count: int) -> None:
        """Show this many, in their usual order; the models of the others leave the memory."""
        count = max(1, min(count, MOST_ANSWERS))
        self._grow(count)
        self.count = count
        self.set_order(tuple(range(count)))
        for number, lane in enumerate(self.lanes):
            lane.setVisible(number < count)
            if number >= count:
                lane.pane.close_worker()
            if number > 0 or count > 1:
                lane.head.addWidget(lane.choice, 1)

    def set_order(self, order: tuple[int, ...]) -> None:
        """Put the lanes in another order, those that aren't shown behind them."""
        self.order = order
        for place, number in enumerate((*order, *range(len(order), len(self.lanes)))):
            self._row.removeWidget(self.lanes[number])
            self._row.insertWidget(place, self.lanes[number], 1)

    def shown(self) -> list[ChatLane]:
        """The lanes that are shown, by number."""
        return self.lanes[:self.count]

    def panes(self) -> list[ChatPane]:
        """Their panes, by number."""
        return [lane.pane for lane in self.shown()]

    def in_order(self) -> list[ChatPane]:
        """Their panes, from left to right."""
        return [self.lanes[number].pane for number in self.order]

    def models(self) -> list[Path]:
        """The GGUF files that are chosen in the lanes that are shown."""
        return [Path(pane.lane.model) for pane in self.panes() if pane.lane.model]

    # -- models ----------------------------------------------------------------------------------------------

    def load(self, number: int, path: Path, context_length: int | None) -> None:
        """Load a model into a lane."""
        self.lanes[number].choice.set_current(path)
        self.lanes[number].pane.load(path, context_length)

    def load_again(self, context_length: int | None) -> None:
        """Load all models again, for another context length."""
        for pane in self.panes():
            if pane.lane.model:
                pane.load(Path(pane.lane.model), context_length)

    def fill(self, context_length: int | None) -> None:
        """Load a model into every further lane that has none: what it had before, or a guess."""
        for number, pane in enumerate(self.panes()):
            if number > 0 and pane.state in ("empty", "failed"):
                path = Path(pane.lane.model) if pane.lane.model else self._guess()
                if path is not None:
                    self.load(number, path, context_length)

    def _guess(self) -> Path | None:
        """A model that no shown lane has, the last in the list: that is the base, where there is one."""
        taken = set(self.models())
        others = [path for path in self.lanes[0].choice.models() if path not in taken]
        return others[-1] if others else None

    def close_workers(self) -> None:
        """End all workers; the program ends or the tab goes."""
        for lane in self.lanes:
            lane.pane.close_worker()

    # -- answers ---------------------------------------------------------------------------------------------

    def let_next_answer(self) -> None:
        """One after the other: models that share the processor are slower together, and no speed is true then. Only a
        long answer isn't waited for."""
        panes = self.in_order()
        waiting = next((pane for pane in panes if pane.state == "waiting"), None)
        over = not self.turn.isActive() or not any(pane.state == "answering" for pane in panes)
        if waiting is not None and over:
            self.turn.start()
            waiting.answer()  # which comes back here
        at_work = next((pane for pane in panes if pane.state == "answering"), None)
        for pane in panes:
            pane.show_turn(
                tr("Waiting for {model} to finish", model=at_work.name)
                if at_work is not None and pane.state == "waiting" else "")

    def are_at_work(self) -> bool:
        """Whether any answers, or waits for its turn."""
        return any(pane.is_at_work() for pane in self.panes())

    def stop(self) -> None:
        """End all answers, those that wait first, so that they don't begin now."""
        for pane in reversed(self.in_order()):
            pane.stop()


class CompareButtons(QWidget):
    """Side by side, blind, one more, one less.

    Signals:
        count_wanted(int): this many models are wanted.
        blind_changed(bool): hide names, or show them.
    """

    count_wanted = Signal(int)
    blind_changed = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._count = 1
        self.compare = SecondaryButton(tr("Side by side"),
                                       tr("Ask two models each question, such as the base and the one you trained."),
                                       "small", clicked=lambda on: self.count_wanted.emit(2 if on else 1))
        self.blind = SecondaryButton(tr("Blind"),
                                     tr("Hide which model gave which answer until you have voted. Each question then "
                                        "starts a new conversation."), "small")
        for button in (self.compare, self.blind):
            button.setCheckable(True)
        self.more = IconButton("plus", tr("Ask one more model (up to four)"),
                               clicked=lambda: self.count_wanted.emit(self._count + 1))
        self.fewer = IconButton("minus", tr("Remove the last model"),
                                clicked=lambda: self.count_wanted.emit(self._count - 1))
        row = row_in(self)
        for name, widget in (("compare", self.compare), ("remove_lane", self.fewer), ("add_lane", self.more),
                             ("blind", self.blind)):
            widget.setObjectName(name)
            row.addWidget(widget)
        self.blind.toggled.connect(self.blind_changed)
        self.show_count(1)

    def show_count(self, count: int) -> None:
        """Say how many models are asked now."""
        self._count = count
        self.compare.setChecked(count > 1)
        if count == 1:
            self.blind.setChecked(False)
        self.blind.setVisible(count > 1)
        self.more.setVisible(1 < count < MOST_ANSWERS)
        self.fewer.setVisible(count > 2)
