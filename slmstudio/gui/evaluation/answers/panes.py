"""The three texts of a row beside each other: two answers and the reference, which can be corrected in its place."""

from __future__ import annotations

import re
from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QTextBrowser

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import IconButton, PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_widget, row_of

BETWEEN = "\n---\n"
_BETWEEN = re.compile(r"(?m)^[ \t]*---[ \t]*$")
QUESTION_HEIGHT = 92


class QuestionView(QTextBrowser):
    """As high as its text, up to a limit."""

    def __init__(self, name: str):
        super().__init__()
        named(self, name, tr("Question"))
        self.setProperty("bare", True)
        self.document().setDocumentMargin(0)
        self.document().documentLayout().documentSizeChanged.connect(self._fit)

    def _fit(self) -> None:
        self.setFixedHeight(min(QUESTION_HEIGHT, round(self.document().size().height()) + theme.SPACE_XS))


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
        self.head = row_of((self.title, 1), self.chip)
        self.column = column_in(self, self.head, (self.text, 1), spacing=theme.SPACE_XS,
                                margins=(theme.SPACE_M, theme.SPACE_S, theme.SPACE_S, theme.SPACE_S))

    def show_head(self, title: str, chip: str, tooltip: str) -> None:
        self.title.setText(title)
        self.chip.set(chip, tooltip=tooltip)
        self.chip.setVisible(bool(chip))
        self.text.setAccessibleName(title)
        self.text.setToolTip("")


class ReferencePane(TextPane):
    """What a good answer is. The pencil makes a field of it; several references are below each other there, with a
    line of "---" between them.

    Signals:
        references_wanted(list[str]): the user wrote others.
        left: the user leaves them as they were.
    """

    references_wanted = Signal(list)
    left = Signal()

    def __init__(self, name: str):
        super().__init__(name)
        self._references: tuple[str, ...] = ()
        self._begun = ""  # the references as the field shows them: it turns some spaces and line ends into others
        self.edit = IconButton("edit", tr("Correct the reference (F2)"), name="reference_edit",
                               clicked=lambda: self.begin())
        self.edit.setFixedHeight(self.chip.sizeHint().height())  # so that the three texts begin at the same height
        self.head.addWidget(self.edit)
        self.editor = named(QPlainTextEdit(), "reference_editor", tr("The reference"),
                            tr("A good answer. Separate several good answers with a line of ---. Ctrl+Enter saves it, "
                               "Esc leaves it as it was."))
        self.editor.setTabChangesFocus(True)
        self.editor.textChanged.connect(self._show_state)
        self.keep = PrimaryButton(tr("Save"),
                                  tr("Save it in the test file and in this evaluation, and score the row again "
                                     "(Ctrl+Enter)."), name="reference_keep", clicked=self._keep)
        self._leave = leave = SecondaryButton(tr("Cancel"), tr("Leave the reference as it was (Esc)."),
                                              name="reference_leave", clicked=self.leave)
        self._field = column_widget((self.editor, 1), row_of(STRETCH, leave, self.keep), spacing=theme.SPACE_XS)
        self.column.addWidget(self._field, 1)
        for keys in ("Ctrl+Return", "Ctrl+Enter"):
            add_key(self.editor, keys, self._keep, inside=True)
        self.end()

    def set_references(self, references: list[str], *, why_not: str = "") -> None:
        """Show others; a reason why they can't be corrected takes the pencil away."""
        self._references = tuple(references)
        self.edit.setEnabled(not why_not)
        self.edit.setToolTip(why_not or self.edit.accessibleName())
        self.end()

    def begin(self) -> None:
        """Make a field of the text."""
        if not self.is_edited():
            self._open()
        if self.is_edited():
            self.editor.setFocus()

    def go_on(self, draft: str) -> bool:
        """Make a field of the text with what was written there before; the focus stays where it is.

        Returns:
            whether there is anything left to do: the references may say so by now.
        """
        if _parts(draft) == _parts(BETWEEN.join(self._references)):
            return False
        self._open(draft)
        return True

    def draft(self) -> str | None:
        """What is written and not kept; None if nothing is different."""
        text = self.editor.toPlainText()
        return text if self.is_edited() and self._is_other(text) else None

    def _is_other(self, text: str) -> bool:
        """Whether it holds references other than those that the field began with. A reference may have a line of
        "---" itself, or be empty: opening the field isn't a correction then either."""
        return _parts(text) != _parts(self._begun)

    def _open(self, draft: str | None = None) -> None:
        if self.edit.isEnabled():
            self.editor.setPlainText(BETWEEN.join(self._references))
            self._begun = self.editor.toPlainText()
            if draft is not None:
                self.editor.setPlainText(draft)
            self.text.hide()
            self.edit.hide()
            self._field.show()
            self._show_state()

    def leave(self) -> None:
        """Leave the references as they were."""
        self.end()
        self.left.emit()

    def end(self) -> None:
        """Make a text of the field."""
        self._field.hide()
        self.edit.show()
        self.text.show()

    def is_edited(self) -> bool:
        return not self._field.isHidden()

    def has_focus(self) -> bool:
        """Whether the user is in the field, or on one of its buttons."""
        return any(widget.hasFocus() for widget in (self.editor, self._leave, self.keep))

    def _show_state(self) -> None:
        text = self.editor.toPlainText()
        self.keep.setEnabled(bool(_parts(text)) and self._is_other(text))

    def _keep(self) -> None:
        if self.keep.isEnabled():
            self.references_wanted.emit(_parts(self.editor.toPlainText()))
            self.end()


def stands_for(draft: str, references: Sequence[str]) -> bool:
    """Whether what was written says just these references."""
    return _parts(draft) == list(references)


def _parts(text: str) -> list[str]:
    """The references that a text in the field stands for; the same one twice is one."""
    return list(dict.fromkeys(part.strip() for part in _BETWEEN.split(text) if part.strip()))
