"""What is asked before the window opens when the folder with runs and models isn't there."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog, QHBoxLayout

from slmstudio.core import home_folder, paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.app.home_folder_row import PlaceChanger
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, row_of


class PlaceMissing(QDialog):
    """Names the missing folder, and offers to look again, to choose another one, or to use the usual one.

    It is accepted once there is a folder to work in; closing it ends the program. Nothing is made until then: new empty
    folders would look as if the work were lost.
    """

    def __init__(self, error: UserError):
        super().__init__()
        theme.dress(self)
        self.setWindowTitle("SLM Studio")
        self.setMinimumWidth(620)
        self.what = text_label("", "heading", wrap=True, name="missing_what", selectable=True)
        self.why = text_label("", "body", wrap=True)
        self.changer = PlaceChanger(self)
        self.changer.changed.connect(self.accept)
        hint = text_label(tr("Connect the disk and press Try again. With another folder you start fresh; what is on "
                             "the missing disk stays there, and you can come back to it in Settings."), "muted",
                          wrap=True)
        column_in(self, self.what, self.why, hint, *self.changer.parts, STRETCH, self._buttons(), spacing=theme.SPACE_M,
                  margins=theme.SPACE_L)
        self._show(error)
        self._again.setFocus()

    def _buttons(self) -> QHBoxLayout:
        again = self._again = PrimaryButton(tr("Try again"), tr("Look for the folder again."), name="missing_again",
                                            clicked=self.look_again)
        again.setDefault(True)
        other = SecondaryButton(tr("Choose another…"), tr("Keep everything in another folder from now on."),
                                name="missing_other", clicked=self.changer.choose)
        usual = SecondaryButton(tr("Use the usual place"),
                                tr("Keep everything in {folder} from now on.", folder=paths.usual_home()),
                                name="missing_usual", clicked=self.use_usual)
        row = row_of(STRETCH)
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
