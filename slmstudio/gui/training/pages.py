"""How the Training tab is laid out: what to choose first, or three columns, which are two where there is less room."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QStackedWidget, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.areas import EmptyState
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.fields import keep_choice
from slmstudio.gui.common.widgets.layouts import column_in, column_of, pages_of, row_in, row_of

SIDE_WIDTHS = (270, 420)
"""Least and greatest width of the column at the right."""
BESIDE = 1064
"""Width from which there is room for it there."""
NO_MOST = 16_777_215
"""Qt's own greatest width."""


class _Columns(QWidget):
    """Three columns; or, where text is large or the window small, two, and above the second what is shown in it: the
    middle, or one of the cards at the right. The page needn't be scrolled then.
    """

    def __init__(self, left: QWidget, middle: QWidget, right: Sequence[QWidget]):
        super().__init__()
        self._left, self._cards, self._has_side = left, (middle, *right), False
        self._side = _column(right, (2, 1))
        self._view = keep_choice(SegmentedControl(
            (tr("Run"), tr("Answers"), tr("Events")), name="training_view",
            tooltips=(tr("Loss, speed and sensors during the training."), tr("Answers of the model"),
                      tr("Evaluations, checkpoints, changes and warnings of the run."))))
        self._view.changed.connect(self._choose)
        row = row_of((middle, 3), (self._side, 1), spacing=theme.CARD_GAP)
        row_in(self, left, (column_of((self._view, 0, Qt.AlignmentFlag.AlignLeft), (row, 1)), 1),
               spacing=theme.CARD_GAP)
        theme.THEME.changed.connect(self._choose)
        self._choose()

    def set_side_visible(self, on: bool) -> None:
        self._has_side = on
        self._choose()

    def minimumSizeHint(self) -> QSize:
        least = max(each.minimumSizeHint().width() for each in self._cards)
        return QSize(self._left.minimumSizeHint().width() + theme.CARD_GAP + least, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._choose()

    def _choose(self) -> None:
        beside = self.width() >= theme.scaled(BESIDE)
        self._side.setMinimumWidth(SIDE_WIDTHS[0] if beside else 0)
        self._side.setMaximumWidth(SIDE_WIDTHS[1] if beside else NO_MOST)
        shown = self._view.current() if self._has_side else 0
        for place, card in enumerate(self._cards):
            card.setVisible(beside or place == shown)
        self._side.setVisible(self._has_side and (beside or shown > 0))
        self._view.setVisible(self._has_side and not beside)


class TrainingPages(QStackedWidget):
    """One of two pages.

    Args:
        left, right: cards of the outer columns, from the top.
        plan, run: cards of the middle. Beside the plan there is nothing at the right.
    """

    def __init__(self, session: Session, left: Sequence[QWidget], plan: QWidget, run: QWidget,
                 right: Sequence[QWidget]):
        super().__init__()
        self._session = session
        self._middle = pages_of(plan, run)
        self._columns = _Columns(_column(left, (1, 0)), self._middle, right)
        self.addWidget(self._make_empty())
        self.addWidget(self._columns)

    def _make_empty(self) -> QWidget:
        self._to_data = PrimaryButton(tr("Choose data…"), tr("Go to the Data tab."), name="to_data",
                                      clicked=lambda: self._session.go_to("data"))
        self._to_model = SecondaryButton(tr("Choose a base model…"), tr("Go to the Model tab."), name="to_model",
                                         clicked=lambda: self._session.go_to("model"))
        self._empty = EmptyState(tr("What should it learn, and which model?"), "", [self._to_data, self._to_model])
        self._empty.setAcceptDrops(False)
        return EmptyState.centred(self._empty)

    def show_plan(self, on: bool) -> None:
        """Show the plan in the middle, or the run."""
        self._middle.setCurrentIndex(0 if on else 1)
        self._columns.set_side_visible(not on)

    def show_choice(self, has_run: bool) -> bool:
        """Show what is to be chosen first, or the columns. Returns whether data and model are chosen."""
        session = self._session
        ready = session.dataset is not None and session.model is not None
        self.setCurrentIndex(1 if ready or has_run else 0)
        if not ready:
            self._to_data.setVisible(session.dataset is None)
            self._to_model.setVisible(session.model is None)
            self._empty.text.setText(
                tr("Choose the data and a base model first. The plan and its reasons then appear here.")
                if session.dataset is None and session.model is None else
                tr("Choose the data to train on first.") if session.dataset is None else
                tr("Choose a base model first."))
        return ready


def _column(cards: Sequence[QWidget], stretches: Sequence[int]) -> QWidget:
    column = QWidget()
    layout = column_in(column, spacing=theme.CARD_GAP)
    for card, stretch in zip(cards, stretches, strict=True):
        layout.addWidget(card, stretch)
    return column
