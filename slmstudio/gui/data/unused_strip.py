"""A warning before data is used: columns that change what is learned, of which nothing is made."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QWidget

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import breakable, text_label
from slmstudio.gui.data.mapping_words import listed


class UnusedStrip(QFrame):
    """
    Signals:
        accepted: the data should be used anyway.
        choose_wanted: the user wants to say what the columns hold.
    """

    accepted = Signal()
    choose_wanted = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setProperty("banner", "warn")
        self.setObjectName("unused_strip")
        self.text = text_label("", "strong", wrap=True)
        self.text.setObjectName("unused_text")
        self.accept = SecondaryButton(tr("Use it anyway"),
                                      tr("Train without these columns. You won't be asked again while the file is "
                                         "read in this way."), "small")
        self.accept.setObjectName("unused_accept")
        self.choose = SecondaryButton(tr("Choose columns"), tr("Say what the columns of this file hold."),
                                      "small")
        self.choose.setObjectName("unused_choose")
        close = IconButton("close", tr("Hide this message"))
        close.setObjectName("unused_close")
        self.accept.clicked.connect(self.hide)
        self.accept.clicked.connect(self.accepted)
        self.choose.clicked.connect(self.hide)
        self.choose.clicked.connect(self.choose_wanted)
        close.clicked.connect(self.hide)
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.SPACE_M, theme.SPACE_S, theme.SPACE_S, theme.SPACE_S)
        row.setSpacing(theme.SPACE_S)
        row.addWidget(self.text, 1)
        for button in (self.accept, self.choose, close):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignVCenter)
        self.hide()

    def ask(self, names: Sequence[str]) -> None:
        """Name the columns, and wait for an answer."""
        self.text.setText(breakable(ntr("{names} affects training, but isn't used.",
                                        "{names} affect training, but aren't used.", len(names), names=listed(names))))
        self.setAccessibleName(self.text.text())
        self.show()
        self.choose.setFocus(Qt.FocusReason.OtherFocusReason)
