"""What is asked before the window opens when the folder with runs and models isn't there."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from slmstudio.core import home_folder, paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.app.home_folder_row import PlaceChanger
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label


class PlaceMissing(QDialog):
    """Names the missing folder, and offers to look again, to choose another one, or to use the usual one.

    It is accepted once there is a folder to work in; closing it ends the program. Nothing is made until then: new empty
    folders would look as if the work were lost.
    """

    def __init__(self, error: UserError, parent: QWidget | None = None):
        super().__init__(parent)
        theme.dress(self)
        self.setWindowTitle("SLM Studio")
        self.setMinimumWidth(620)
        self.what = text_label("", "heading", wrap=True)
        self.what.setObjectName("missing_what")
        self.why = text_label("", "body", wrap=True)
        self.what.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.changer = PlaceChanger(self)
        self.changer.changed.connect(self.accept)
        hint = text_label(tr("Connect the disk and press Try again. With another folder you start fresh; what is on "
                             "the missing disk stays there, and you can come back to it in Settings."), "muted",
                          wrap=True)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.SPACE_L] * 4)
        column.setSpacing(theme.SPACE_M)
        for widget in (self.what, self.why, hint, *self.changer.parts):
            column.addWidget(widget)
        column.addStretch(1)
        column.addLayout(self._buttons())
        self._show(error)
        self._again.setFocus()

    def _buttons(self) -> QHBoxLayout:
        again = self._again = PrimaryButton(tr("Try again"), tr("Look for the folder again."))
        again.setObjectName("missing_again")
        again.setDefault(True)
        again.clicked.connect(self.look_again)
        other = SecondaryButton(tr("Choose another…"),
                                tr("Keep everything in another folder from now on."))
        other.setObjectName("missing_other")
        other.clicked.connect(self.changer.choose)
        usual = SecondaryButton(tr("Use the usual place"),
                                tr("Keep everything in {folder} from now on.", folder=paths.usual_home()))
        usual.setObjectName("missing_usual")
        usual.clicked.connect(self.use_usual)
        row = QHBoxLayout()
        row.setSpacing(theme.SPACE_S)
        row.addStretch(1)
        for button in (usual, other, again):
            row.addWidget(button)
            self.changer.working.connect(button.setDisabled)
        return row

    def _show(self, error: UserError) -> None:
        self.what.setText(error.what)
        self.why.setText(error.why)

    def look_again(self) -> None:
        error = home_folder.missing()
        if error is None:
            self.accept()
        else:
            self._show(error)

    def use_usual(self) -> None:
        try:
            home_folder.use_usual()
        except UserError as error:
            self.changer.banner.show_error(error)
        else:
            self.accept()
