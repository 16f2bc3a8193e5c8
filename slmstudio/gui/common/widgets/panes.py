"""Panes side by side or one below another, which a user can resize and finds again as they were."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from PySide6.QtCore import QByteArray, Qt
from PySide6.QtWidgets import QSplitter, QWidget

from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session


class Panes(QSplitter):
    """A splitter whose sizes are kept with the settings. No pane can be pushed out of sight.

    Args:
        name: under which its sizes are kept.
        stretches: how the panes share what is added to the window.
    """

    def __init__(self, session: Session, name: str, panes: Sequence[QWidget], stretches: Sequence[int],
                 orientation: Qt.Orientation = Qt.Orientation.Horizontal):
        super().__init__(orientation)
        self._session, self._name = session, name
        self.setObjectName(f"panes_{name}")
        self.setChildrenCollapsible(False)
        self.setHandleWidth(theme.CARD_GAP)
        for number, (pane, stretch) in enumerate(zip(panes, stretches, strict=True)):
            self.addWidget(pane)
            self.setStretchFactor(number, stretch)
        self.splitterMoved.connect(self._keep)

    def restore(self, usual: Sequence[int]) -> None:
        """Take the sizes that were kept, else these in pixels."""
        kept = self._session.settings.panes.get(self._name, "")
        if not (kept and self.restoreState(QByteArray.fromBase64(kept.encode("ascii", "ignore")))):
            self.setSizes(list(usual))

    def _keep(self) -> None:
        """Remembered here; the window saves the settings when it closes."""
        self._session.settings.panes[self._name] = base64.b64encode(self.saveState().data()).decode()
