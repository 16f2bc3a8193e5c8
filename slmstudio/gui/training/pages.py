"""The pages of the Training tab: what to choose first, and the three columns."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QStackedWidget, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.areas import EmptyState
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.layouts import column_in, row_in, row_widget

SIDE_WIDTHS = (270, 420)
"""Least and greatest width of the column at the right."""
BESIDE = 1064
"""Width from which there is room for it there."""
NO_MOST = 16_777_215
"""Qt's own greatest width."""


class _Columns(QWidget):
    """Three columns; or, where text is large or the window small, two, with the cards of the third side by side below.

    The page's height grows then, and its width never does: reading it takes no scrolling sideways.
    """

    def __init__(self, left: QWidget, middle: QWidget, right: Sequence[QWidget]):
        super().__init__()
        self._main = row_widget(left, (middle, 1), spacing=theme.CARD_GAP)
        self._side = _column(right, (2, 1))
        row_in(self, (self._main, 4), (self._side, 1), spacing=theme.CARD_GAP)
        theme.THEME.changed.connect(self._choose)
        self._choose()

    def minimumSizeHint(self) -> QSize:
        least = max(each.minimumSizeHint().width() for each in (self._main, self._side))
        return QSize(least, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._choose()

    def _choose(self) -> None:
        beside = self.width() >= theme.scaled(BESIDE)
        self._side.setMinimumWidth(SIDE_WIDTHS[0] if beside else 0)
        self._side.setMaximumWidth(SIDE_WIDTHS[1] if beside else NO_MOST)
        for place, row in ((self, beside), (self._side, not beside)):
            layout = place.layout()
            assert isinstance(layout, QBoxLayout)
            layout.setDirection(QBoxLayout.Direction.LeftToRight if row else QBoxLayout.Direction.TopToBottom)


class TrainingPages(QStackedWidget):
    """One of two pages.

    Args:
        left, right: cards of the outer columns, from the top.
        middle: the run.
    """

    def __init__(self, session: Session, left: Sequence[QWidget], middle: QWidget, right: Sequence[QWidget]):
        super().__init__()
        self._session = session
        self.addWidget(self._make_empty())
        self.addWidget(_Columns(_column(left, (1, 0)), middle, right))

    def _make_empty(self) -> QWidget:
        self._to_data = PrimaryButton(tr("Choose data…"), tr("Go to the Data tab."), name="to_data",
                                      clicked=lambda: self._session.go_to("data"))
        self._to_model = SecondaryButton(tr("Choose a base model…"), tr("Go to the Model tab."), name="to_model",
                                         clicked=lambda: self._session.go_to("model"))
        self._empty = EmptyState(tr("What should it learn, and which model?"), "", [self._to_data, self._to_model])
        self._empty.setAcceptDrops(False)
        return EmptyState.centred(self._empty)

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
