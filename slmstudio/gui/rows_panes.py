"""The three texts of a row beside each other: two answers and the reference, which can be corrected in its place."""

from __future__ import annotations

import re

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPlainTextEdit, QTextBrowser, QVBoxLayout, QWidget

from slmstudio.gui import theme
from slmstudio.gui.widgets import Chip, ElidedLabel, IconButton, PrimaryButton, SecondaryButton
from slmstudio.gui.widgets.keys import add_key

BETWEEN = "\n---\n"
_BETWEEN = re.compile(r"(?m)^[ \t]*---[ \t]*$")


class TextPane(QFrame):
    """A heading with scores, and a text below."""

    def __init__(self, name: str):
        super().__init__()
        self.setProperty("inset", True)
        self.title = ElidedLabel("", "section")
        self.chip = Chip()
        policy = self.chip.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # so that the three texts begin at the same height
        self.chip.setSizePolicy(policy)
        self.text = QTextBrowser()
        self.text.setObjectName(name)
        self.text.setProperty("bare", True)
        self.text.setOpenLinks(False)
        self.text.document().setDocumentMargin(0)
        self.text.setTabChangesFocus(True)
        self.head = QHBoxLayout()
        self.head.setSpacing(theme.SPACE_S)
        self.head.addWidget(self.title, 1)
        self.head.addWidget(self.chip)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(theme.SPACE_M, theme.SPACE_S, theme.SPACE_S, theme.SPACE_S)
        self.column.setSpacing(theme.SPACE_XS)
        self.column.addLayout(self.head)
        self.column.addWidget(self.text, 1)

    def show_head(self, title: str, chip: str, tooltip: str) -> None:
        self.title.setText(title)
        self.chip.set(chip, tooltip=tooltip)
        self.chip.setVisible(bool(chip))
        self.text.setAccessibleName(title)
        self.text.setToolTip("")


class ReferencePane(TextPane):
    """What a good answer is. The pencil makes a field of it; several references stand below each other there, with a
    line of "---" between them.

    Signals:
        references_wanted(list[str]): the person wrote others.
    """

    references_wanted = Signal(list)

    def __init__(self, name: str):
        super().__init__(name)
        self._references: tuple[str, ...] = ()
        self.edit = IconButton("edit", self.tr("Correct the reference (F2)"))
        self.edit.setObjectName("reference_edit")
        self.edit.clicked.connect(self.begin)
        self.edit.setFixedHeight(self.chip.sizeHint().height())  # so that the three texts begin at the same height
        self.head.addWidget(self.edit)
        self.editor = QPlainTextEdit()
        self.editor.setObjectName("reference_editor")
        self.editor.setAccessibleName(self.tr("The reference"))
        self.editor.setToolTip(self.tr("What a good answer is. Several good answers: a line with --- between them. "
                                       "Ctrl+Enter keeps it, Esc leaves it as it was."))
        self.editor.setTabChangesFocus(True)
        self.editor.textChanged.connect(self._show_state)
        self.keep = PrimaryButton(self.tr("Keep"), self.tr(
            "Write it into the test file and into this evaluation, and score the row again. (Ctrl+Enter)"))
        self.keep.setObjectName("reference_keep")
        self.keep.clicked.connect(self._keep)
        leave = SecondaryButton(self.tr("Cancel"), self.tr("Leave the reference as it was. (Esc)"))
        leave.setObjectName("reference_leave")
        leave.clicked.connect(self.end)
        self._field = QWidget()
        field = QVBoxLayout(self._field)
        field.setContentsMargins(0, 0, 0, 0)
        field.setSpacing(theme.SPACE_XS)
        buttons = QHBoxLayout()
        buttons.setSpacing(theme.SPACE_S)
        buttons.addStretch(1)
        buttons.addWidget(leave)
        buttons.addWidget(self.keep)
        field.addWidget(self.editor, 1)
        field.addLayout(buttons)
        self.column.addWidget(self._field, 1)
        for keys in ("Ctrl+Return", "Ctrl+Enter"):
            add_key(self.editor, keys, self._keep, inside=True)
        self.end()

    def set_references(self, references: list[str], *, why_not: str = "") -> None:
        """Show others; a reason why they cannot be corrected takes the pencil away."""
        self._references = tuple(references)
        self.edit.setEnabled(not why_not)
        self.edit.setToolTip(why_not or self.edit.accessibleName())
        self.end()

    def begin(self) -> None:
        """Make a field of the text."""
        if not self.edit.isEnabled():
            return
        self.editor.setPlainText(BETWEEN.join(self._references))
        self.text.hide()
        self.edit.hide()
        self._field.show()
        self._show_state()
        self.editor.setFocus()

    def end(self) -> None:
        """Make a text of the field."""
        self._field.hide()
        self.edit.show()
        self.text.show()

    def is_edited(self) -> bool:
        return not self._field.isHidden()

    def _written(self) -> list[str]:
        return [part.strip() for part in _BETWEEN.split(self.editor.toPlainText()) if part.strip()]

    def _show_state(self) -> None:
        self.keep.setEnabled(bool(self._written()) and self._written() != [each.strip() for each in self._references])

    def _keep(self) -> None:
        if self.keep.isEnabled():
            written = self._written()
            self.end()
            self.references_wanted.emit(written)
