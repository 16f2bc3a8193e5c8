"""Where things are kept, and the way to another folder: used by the welcome page, the settings and a missing disk."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QDialog, QFrame, QHBoxLayout, QSizePolicy, QWidget

from slmstudio.core import home_folder, paths, settings
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import open_path
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip


class PlaceChanger(QObject):
    """Lets the user choose a folder, looks at it, asks where there is a doubt, and takes it.

    Attributes:
        parts: what it shows of that, for its owner's layout; all of them are hidden at rest.

    Signals:
        changed(str): another folder is in force; the words on what stays in the one before, or "".
        working(bool): it looks at a folder now, or no longer.
    """

    changed = Signal(str)
    working = Signal(bool)

    def __init__(self, owner: QWidget, session: Session | None = None):
        super().__init__(owner)
        self._owner, self._session = owner, session
        self._folder = Path()
        self.banner = ErrorBanner(name="place_banner")
        self.strip = ProgressStrip(cancellable=False)
        self.question = self._make_question()
        self.parts = (self.banner, self.question, self.strip)
        for part in self.parts:
            part.hide()

    def _make_question(self) -> QFrame:
        question = QFrame()
        question.setObjectName("place_question")
        question.setProperty("banner", "warn")
        self.doubts = text_label("", wrap=True)
        use = SecondaryButton(tr("Use it anyway"), tr("Keep everything in this folder from now on."), "small",
                              name="place_anyway", clicked=lambda: self._change())
        other = SecondaryButton(tr("Choose another…"), tr("Look for a better folder."), "small", name="place_other",
                                clicked=self.choose)
        keep = SecondaryButton(tr("Keep the current one"), tr("Change nothing."), "small", name="place_keep",
                               clicked=question.hide)
        column_in(question, self.doubts, row_of(use, other, keep, STRETCH), spacing=None, margins=theme.SPACE_M)
        return question

    def choose(self) -> None:
        """Let the user choose a folder."""
        open_path(self._owner, tr("Choose an empty folder, or one that SLM Studio used before"), self.take, folder=True)

    def take(self, folder: Path) -> None:
        """Look at `folder`, off the UI thread, and take it if nothing speaks against it."""
        self.question.hide()
        self.banner.clear()
        busy = self._what_runs()
        if busy is not None:
            self.banner.show_error(busy)
            return
        self._folder = folder
        self._begin(tr("Checking {folder}", folder=folder))
        run_task(self, lambda task: home_folder.check(folder), self._checked, self._failed)

    def _what_runs(self) -> UserError | None:
        session = self._session
        if session is None or (session.job is None and not session.server):
            return None
        name = tr("Serving {server}", server=session.server)
        if session.job is not None:
            name = session.job.name
        return UserError(tr("The folder can't be changed while something is running."),
                         tr("In progress: {name}.", name=name),
                         tr("Wait until it is done, or stop it, and change the folder then."))

    def _checked(self, warnings: list[UserError]) -> None:
        if not warnings:
            self._change()
            return
        self._end()
        self.doubts.setText("\n".join(map(str, warnings)))
        self.question.setAccessibleName(self.doubts.text())
        self.question.show()

    def _change(self) -> None:
        self.question.hide()
        folder = self._folder
        self._begin(tr("Changing to {folder}", folder=folder))
        run_task(self, lambda task: home_folder.change(folder), self._changed, self._failed)

    def _changed(self, stays: str) -> None:
        self._end()
        if self._session is not None:
            self._adopt(self._session)
        self.changed.emit(stays)

    def _adopt(self, session: Session) -> None:
        """Continue with the settings of the current folder, or with the earlier ones if it has none."""
        found = session.settings
        if paths.settings_file().exists():
            found, trouble = settings.load()
            if trouble is not None:
                self.banner.show_error(trouble)
        session.adopt_settings(found)

    def _failed(self, error: Exception) -> None:
        self._end()
        self.banner.show_error(error)

    def _begin(self, text: str) -> None:
        self.strip.start(text)
        self.strip.show()
        self.working.emit(True)

    def _end(self) -> None:
        self.strip.hide()
        self.working.emit(False)


class PlaceRow(QWidget):
    """The folder, elided in its middle, with a button for another one, and what that did.

    Signals:
        changed: another folder is in force.
    """

    changed = Signal()

    def __init__(self, session: Session):
        super().__init__()
        self.path = ElidedLabel(str(paths.home()), name="place_path")
        self.path.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # no long path widens a dialog
        self.path.setAccessibleName(tr("The folder with runs, models and chats"))
        self.show_folder = SecondaryButton(tr("Show folder"), tr("Open this folder in the file manager."),
                                           "small")
        self.show_folder.clicked.connect(lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(paths.home()))))
        self.change = SecondaryButton(tr("Change…"),
                                      tr("Choose another folder, for example on a larger disk. What is already "
                                         "saved stays where it is."), "small", name="place_change")
        self.changer = PlaceChanger(self, session)
        self.change.clicked.connect(self.changer.choose)
        self.changer.working.connect(self.change.setDisabled)
        self.changer.changed.connect(self._changed)
        self.note = text_label("", "small", wrap=True, name="place_note")
        if home_folder.is_fixed():
            self.change.setEnabled(False)
            self.note.setText(tr("Set by SLMSTUDIO_HOME. To choose a folder here, start without that variable."))
        self.note.setVisible(bool(self.note.text()))
        column_in(self, row_of((self.path, 1), self.show_folder, self.change), *self.changer.parts, self.note)

    def _changed(self, stays: str) -> None:
        self.path.setText(str(paths.home()))
        self.note.setText(" ".join(filter(None, (tr("New work is kept here from now on."), stays))))
        self.note.show()
        self.changed.emit()


# -- What is asked before the window opens when the folder with runs and models isn't there.


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
