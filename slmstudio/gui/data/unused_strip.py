"""A warning before data is used: columns that would change what is learned, but aren't used."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QWidget

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import breakable, text_label
from slmstudio.gui.common.widgets.layouts import row_in
from slmstudio.gui.data.mapping_words import listed


class UnusedStrip(QFrame):
    """Lies over the top of a page, which doesn't move, until it is answered.

    Signals:
        accepted: the data should be used anyway.
        choose_wanted: the user wants to say what the columns hold.
    """

    accepted = Signal()
    choose_wanted = Signal()

    def __init__(self, page: QWidget):
        super().__init__(page)
        self.setProperty("banner", "warn")
        self.setObjectName("unused_strip")
        self.text = text_label("", "strong", wrap=True, name="unused_text")
        self.accept = SecondaryButton(tr("Use it anyway"),
                                      tr("Train without these columns. You won't be asked again while the file is read "
                                         "in this way."), "small", name="unused_accept", clicked=self.hide)
        self.choose = SecondaryButton(tr("Choose columns"), tr("Say what the columns of this file contain."), "small",
                                      name="unused_choose", clicked=self.hide)
        close = IconButton("close", tr("Hide this message"), name="unused_close", clicked=self.hide)
        self.accept.clicked.connect(self.accepted)
        self.choose.clicked.connect(self.choose_wanted)
        row_in(self, (self.text, 1), (self.accept, 0, Qt.AlignmentFlag.AlignVCenter),
               (self.choose, 0, Qt.AlignmentFlag.AlignVCenter), (close, 0, Qt.AlignmentFlag.AlignVCenter),
               margins=(theme.SPACE_M, theme.SPACE_S, theme.SPACE_S, theme.SPACE_S))
        self.hide()

    def ask(self, names: Sequence[str]) -> None:
        """Name the columns, and wait for an answer."""
        self.text.setText(breakable(ntr(
            "{names} isn't used. By its name, it may hold something to learn from, such as a label, a context or "
            "another form of the question.",
            "{names} aren't used. By their names, they may hold something to learn from, such as a label, a context or "
            "another form of the question.", len(names), names=listed(names))))
        self.setAccessibleName(self.text.text())
        self.fit()
        self.show()
        self.raise_()
        self.choose.setFocus(Qt.FocusReason.OtherFocusReason)

    def fit(self) -> None:
        """Take the width of the page, and the height that the text needs there."""
        width = self.parentWidget().width()
        self.setGeometry(0, 0, width, self.heightForWidth(width))
