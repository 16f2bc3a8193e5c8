"""The pair that is reviewed: its question, answer and quotation, which can be changed, and the keys that decide."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QPlainTextEdit

from slmstudio.core.documents.project import Pair
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.buttons import ButtonRow, keep_room
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, fill, row_of, row_widget
from slmstudio.gui.documents.parts import KeyButton, mark
from slmstudio.gui.documents.review_list import DROPPED, LEFT_OUT, TAKEN, WAITING, state_of

LINES = {"question": 2, "answer": 4, "quotation": 2}
"""Lines that a field has room for, half of them at least, and how what is left is shared out."""


class _Field(QPlainTextEdit):
    """Signals:
        left: the user pressed Esc.
    """

    left = Signal()

    def __init__(self, name: str, accessible: str, tip: str, lines: int):
        super().__init__()
        named(self, f"pair_{name}", accessible, tip)
        self.setTabChangesFocus(True)
        self._lines = lines
        theme.THEME.changed.connect(self._fit)
        self._fit()

    def _fit(self) -> None:
        self.setMinimumHeight(self._lines // 2 * theme.line_height() + 3 * theme.SPACE_S)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        else:
            super().keyPressEvent(event)


class PairCard(Card):
    """Shows one pair. What a person types stays in the fields until they decide, or look at another pair.

    Attributes:
        fields: by the name of what is in them.

    Signals:
        pressed(str): a button's key: "A", "X", "Down", "Shift+A", "R" or "U".
        quotation_changed: another quotation is there.
        left: the user presses Esc in a field.
    """

    pressed = Signal(str)
    quotation_changed = Signal()
    left = Signal()

    def __init__(self) -> None:
        super().__init__(" ")
        self._pair: Pair | None = None
        self._is_found = False
        theme.THEME.changed.connect(self._mark)
        self.kind, self.found, self.state = Chip(name="pair_kind"), Chip(name="pair_found"), Chip(name="pair_state")
        self.test = Chip(tr("test set"), name="pair_test")
        self.test.setToolTip(tr("Its section is held out: the question becomes a part of the test set, and is never "
                                "learned."))
        for place, chip in enumerate((self.kind, self.found, self.test, self.state), 1):
            self.header.insertWidget(place, chip)
        self.undo = KeyButton(tr("Undo"), "U", tr("Take your last decision back."), kind="small", name="pair_undo",
                              clicked=lambda: self.pressed.emit("U"))
        self.fields = {
            "question": _Field("question", tr("Question"), tr("As someone would ask who doesn't have the document "
                                                              "before them."), LINES["question"]),
            "answer": _Field("answer", tr("Answer"), tr("What the model should say. All of it must be in the "
                                                        "document."), LINES["answer"]),
            "quotation": _Field("quotation", tr("Quotation"), tr("The words of the document that support the answer, "
                                                                 "as they are there."), LINES["quotation"])}
        for name, field in self.fields.items():
            fill(self.body, text_label(field.accessibleName(), "small"), (field, LINES[name]))
            field.left.connect(self.left)
        self.fields["quotation"].textChanged.connect(self.quotation_changed)
        self.why = ElidedLabel("", "small", Qt.TextElideMode.ElideRight, name="pair_why")
        fill(self.body, row_of((self.why, 1), self.undo), self._buttons())
        self.body.setSpacing(theme.SPACE_S)

    def _buttons(self) -> ButtonRow:
        def press(key: str) -> object:
            return lambda: self.pressed.emit(key)

        self.reject = KeyButton(tr("Reject"), "X", tr("Leave this question out."), kind="danger", name="pair_reject",
                                clicked=press("X"))
        self.skip = KeyButton(tr("Skip"), "↓", tr("Look at the next question, and decide on this one later."),
                              name="pair_skip", clicked=press("Down"))
        self.restore = KeyButton(tr("Take back"), "R", tr("Review this question although it was left out."),
                                 name="pair_restore", clicked=press("R"))
        self.accept_section = KeyButton(tr("Accept the section"), "⇧A",
                                        tr("Accept everything that is still to be reviewed in this section of the "
                                           "document."), name="pair_accept_section", clicked=press("Shift+A"))
        self.accept = KeyButton(tr("Accept"), "A", tr("Take this question and answer, with your changes."),
                                kind="primary", name="pair_accept", clicked=press("A"))
        buttons = ButtonRow()
        fill(buttons.box, row_widget(self.reject, self.skip, self.restore, STRETCH),
             row_widget(STRETCH, self.accept_section, self.accept))
        keep_room(self.restore)
        return buttons

    # -- what is shown ----------------------------------------------------------------------------------------

    def show_pair(self, pair: Pair, kind: str, why: str) -> None:
        """
        Args:
            why: why it was left out, or what was done last, in a sentence.
        """
        self._pair = pair
        self.kind.set(kind)
        self.test.setVisible(pair.held_out)
        state = state_of(pair)
        self.state.set(*{TAKEN: (tr("accepted"), "ok"), DROPPED: (tr("rejected"), "bad"), WAITING: ("", "plain"),
                         LEFT_OUT: (tr("left out"), "warn")}[state])
        self.state.setVisible(state != WAITING)
        self.restore.setVisible(state == LEFT_OUT)
        self.why.setText(why)
        self.why.setProperty("tone", "warn" if state == LEFT_OUT else "")
        theme.restyle(self.why)
        for name, field in self.fields.items():
            if field.toPlainText() != getattr(pair, name):
                with QSignalBlocker(field):  # who shows the pair looks for its quotation
                    field.setPlainText(getattr(pair, name))
            field.document().setModified(False)

    def show_found(self, found: bool) -> None:
        """Say whether the quotation is in the passage."""
        quotation = self.fields["quotation"]
        empty = not quotation.toPlainText().strip()
        self.found.set(tr("no quotation") if empty else tr("quotation found") if found else
                       tr("quotation not found"), "plain" if empty else "ok" if found else "warn")
        self._is_found = found
        self._mark()

    def _mark(self) -> None:
        quotation = self.fields["quotation"]
        mark(quotation, 0, len(quotation.toPlainText()) if self._is_found else 0, "ok_ground")

    def changes(self) -> dict[str, str]:
        """The texts that a person changed, without spaces around them."""
        if self._pair is None:
            return {}
        texts = {name: field.toPlainText().strip() for name, field in self.fields.items()}
        return {name: text for name, text in texts.items() if text != getattr(self._pair, name).strip()}
