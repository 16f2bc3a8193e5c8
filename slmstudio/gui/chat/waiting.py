"""What a model's place in Chat says while there is no conversation yet."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import PrimaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of


class ChatWaiting(QWidget):
    """What to do first, that the model is being loaded, or that it is ready.

    Signals:
        choose_wanted: show the models to choose from.
    """

    choose_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.title = text_label(tr("Talk to a model"), "title", wrap=True)
        self.text = text_label("", "muted", wrap=True)
        self.choose = PrimaryButton(tr("Choose a model"), tr("Show the models you can talk to."), name="chat_choose",
                                    clicked=self.choose_wanted)
        column = column_in(self, STRETCH, spacing=theme.SPACE_L)
        for label in (self.title, self.text):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            column.addWidget(label)
        fill(column, row_of(STRETCH, self.choose, STRETCH, spacing=None), STRETCH)

    def show_state(self, state: str, name: str, completion: bool) -> None:
        """Say what a model's state means, one of `ChatPane.state`.

        Args:
            completion: the model has no chat template.
        """
        for widget in (self.title, self.choose):
            widget.setVisible(state == "empty")
        if state == "empty":
            self.text.setText(tr("Choose a model or a finished run, or drop a GGUF file here."))
        elif state == "loading":
            self.text.setText(tr("Loading {name} …", name=name))
        elif state == "ready" and completion:
            self.text.setText(tr("{name} has no chat template, so there's no telling how it was trained to chat. It "
                                 "will continue your text instead of answering it.", name=name))
        elif state == "ready":
            self.text.setText(tr("{name} is ready. Ask it something.", name=name))
        elif state == "failed":
            self.text.setText("")
