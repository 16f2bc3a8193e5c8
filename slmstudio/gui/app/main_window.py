"""The window: a header with tabs, the page that is open, and the status bar."""

from __future__ import annotations

import base64
import importlib
import logging
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from PySide6.QtCore import QByteArray, QEvent, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QKeySequence, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QApplication, QDialog, QMainWindow, QScrollArea, QStackedWidget, QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.settings import TEXT_SIZES
from slmstudio.gui.app.doctor import DoctorNotice
from slmstudio.gui.app.frame import Header, StatusBar
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import LastFolder, open_dialog
from slmstudio.gui.common.session import TABS, Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.fields import put_back, typed_values
from slmstudio.gui.common.widgets.keys import add_key, let_enter_press
from slmstudio.gui.common.widgets.layouts import column_in

if TYPE_CHECKING:
    from slmstudio.gui.app.settings import SettingsDialog
    from slmstudio.gui.app.welcome import Welcome
    from slmstudio.gui.data.tab import DataTab
    from slmstudio.gui.model.tab import ModelTab
    from slmstudio.gui.training.tab import TrainingTab

# -- The window's pages, scrolled where the screen is too small for the open one.


class ScrolledPages(QScrollArea):
    def __init__(self, pages: QStackedWidget):
        super().__init__()
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidget(_Room(pages))


class _Room(QWidget):
    """What is scrolled: the pages, which fill it. It asks for no more room than the open one needs at least.

    It has no layout, because with one it would be as high as wrapped text would like to be.
    """

    def __init__(self, pages: QStackedWidget):
        super().__init__()
        self.setProperty("plain", True)
        self._pages = pages
        pages.setParent(self)
        pages.currentChanged.connect(self.updateGeometry)

    def minimumSizeHint(self) -> QSize:
        page = self._pages.currentWidget()
        return page.minimumSizeHint() if page is not None else QSize()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._pages.resize(event.size())

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().event(event)


_log = logging.getLogger(__name__)
PAUSE_MS = 400
"""Between two pages that are made before they are opened."""
TEXT_STEP = 10
"""Percent by which a key makes text larger or smaller."""
LEAST_SIZE = (640, 360)
"""In device-independent pixels: a screen of 1280×720 at 200%."""


class MainWindow(QMainWindow):
    """The one window of the program. It opens as the session says: at a start as the settings hold it, and in place of
    another window, whose `leave` made the session, with all that was open and typed there.

    Signals:
        painted: everything was painted for the first time.
        ready: that, and the pages that the window before it had are there.
    """

    painted = Signal()
    ready = Signal()

    def __init__(self, session: Session):
        super().__init__()
        theme.dress(self)
        self.session = session
        LastFolder.path = LastFolder.path or session.settings.last_folder
        self._was_painted = False
        self._pages: dict[str, QWidget] = {}
        self.welcome: Welcome | None = None
        self.setWindowTitle("SLM Studio")
        self.setAcceptDrops(False)
        self.header = Header([tr("Data"), tr("Model"), tr("Training"), tr("Results"), tr("Chat")])
        self.header.tab_chosen.connect(self._show_tab)
        self.header.tabs.tabBarClicked.connect(self._tab_clicked)
        self.header.settings_wanted.connect(self.open_settings)
        self.header.network.setToolTip(tr("Testing whether the system keeps processes off the network."))
        self.banner = ErrorBanner(name="window_banner")
        self.notice = DoctorNotice(session)
        self._stack = QStackedWidget()
        self._lay_out(StatusBar(session))
        self._add_shortcuts()
        let_enter_press(cast("QApplication", QApplication.instance()))
        session.page_wanted.connect(self._show_page)
        session.done_changed.connect(self._show_done)
        session.machine_changed.connect(self._show_machine)
        session.settings_changed.connect(self._save_settings)
        session.place_changed.connect(self._place_changed)
        self._show_done()
        if session.machine is not None:
            self._show_machine()
        self._restore()

    def _lay_out(self, status: StatusBar) -> None:
        page = QWidget()
        page.setObjectName("page")
        # A message comes below what is open, which keeps its place.
        column_in(page, self.header, (ScrolledPages(self._stack), 1), self.notice, self.banner, status, spacing=0)
        self.status = status
        self.setCentralWidget(page)
        page.setFocus()  # else the tabs would have it, and everybody would first see a ring around them

    def _add_shortcuts(self) -> None:
        for number, tab in enumerate(TABS, 1):
            add_key(self, f"Ctrl+{number}", partial(self.go_to, tab))
        add_key(self, QKeySequence.StandardKey.Open, self._open_something)
        add_key(self, "Ctrl+,", self.open_settings)
        add_key(self, QKeySequence.StandardKey.HelpContents, self.open_help)
        for keys, step in (("Ctrl++", TEXT_STEP), ("Ctrl+=", TEXT_STEP), ("Ctrl+-", -TEXT_STEP), ("Ctrl+0", 0)):
            add_key(self, keys, partial(self._change_text_size, step))
        add_key(self, "F9", self.open_doctor)
        add_key(self, QKeySequence.StandardKey.Quit, self.close)

    def page(self, tab: str) -> QWidget:
        """The page of a tab; it is made when it is first asked for."""
        if tab not in self._pages:
            module = importlib.import_module(f"slmstudio.gui.{tab}.tab")
            page = getattr(module, f"{tab.capitalize()}Tab")(self.session)
            self._pages[tab] = page
            self._stack.addWidget(page)
            if (state := self.session.pages.pop(tab, None)) is not None:
                put_back(page, state["typed"])
                page.restore_state(state)
                put_back(page, state["typed"])  # what wasn't there before
        return self._pages[tab]

    def leave(self) -> Session:
        """The session for a window in this one's place: what is chosen, open and typed here. Jobs continue, and aren't
        followed here any more."""
        for dialog in self.findChildren(QDialog):
            dialog.close()
        self._restore_pages()
        session = self.session.successor()
        session.settings.geometry = base64.b64encode(self.saveGeometry().data()).decode()
        for tab, page in self._pages.items():
            session.pages[tab] = {"typed": typed_values(page), **page.save_state()}  # type: ignore[attr-defined]
        from slmstudio.gui.common.followed_job import FollowedJob  # needs what reads runs, which a start doesn't

        for each in self.findChildren(FollowedJob):
            each.detach()
        return session

    def _restore_next(self) -> None:
        """Make one more page that the window before this one had."""
        if self.session.pages:
            self.page(next(iter(self.session.pages)))
            QTimer.singleShot(0, self, self._restore_next)
        else:
            self.ready.emit()

    def prepare_pages(self) -> None:
        """Make the pages that nobody has opened yet, so that they are there at a click: one after another, each while
        no button is held, with pauses in which the window is free."""
        rest = [tab for tab in TABS if tab not in self._pages]
        if not rest:
            return
        if QApplication.mouseButtons() != Qt.MouseButton.NoButton:
            QTimer.singleShot(PAUSE_MS, self, self.prepare_pages)
            return

        def make(module: object) -> None:
            self.page(rest[0])
            QTimer.singleShot(PAUSE_MS, self, self.prepare_pages)

        run_task(self, lambda task: importlib.import_module(f"slmstudio.gui.{rest[0]}.tab"), make, self.show_error)

    def _restore_pages(self) -> None:
        """Make all of them now."""
        for tab in list(self.session.pages):
            self.page(tab)

    def why_not_now(self) -> str:
        """Why the window can't be opened again now; "" if it can."""
        self._restore_pages()
        pages = (cast("DataTab | ModelTab | TrainingTab", page) for page in self._pages.values())  # and two more
        return next((why for page in pages if (why := page.why_not_now())), "")

    def go_to(self, tab: str) -> None:
        """Open a tab, one of TABS; "" is the one below the welcome page."""
        if self.welcome_is_open():
            self.session.settings.welcomed = True  # it doesn't come by itself again
            self._save_settings()
        index = TABS.index(tab) if tab else self.header.tabs.currentIndex()
        if self.header.tabs.currentIndex() == index:
            self._show_tab(index)
        self.header.tabs.setCurrentIndex(index)

    def _show_page(self, tab: str, method: str, arguments: tuple[Any, ...]) -> None:
        dialogs = {"welcome": self.open_welcome, "doctor": self.open_doctor, "help": self.open_help}
        dialogs.get(tab, lambda: self.go_to(tab))()
        if method:
            attrgetter(method)(self.page(tab))(*arguments)

    def show_error(self, error: Exception) -> None:
        """Show what belongs to no tab: a defect, or trouble with the program's own files."""
        self.banner.show_error(error)

    def open_settings(self) -> SettingsDialog:
        from slmstudio.gui.app.settings import SettingsDialog

        dialog = SettingsDialog(self.session, self, self.why_not_now)
        open_dialog(dialog)
        return dialog

    def open_doctor(self) -> None:
        """Check this machine, and show what is wrong with it (F9)."""
        from slmstudio.gui.app.doctor import DoctorDialog

        dialog = DoctorDialog(self)
        open_dialog(dialog)
        dialog.check()

    def open_help(self) -> None:
        """Show what words mean, which keys there are, and which version this is (F1)."""
        from slmstudio.gui.app.help import HelpDialog

        dialog = HelpDialog(self)
        dialog.welcome_wanted.connect(self.open_welcome)
        open_dialog(dialog)

    def _change_text_size(self, step: int) -> None:
        """Make the text larger or smaller by this many percent; 0 gives it its usual size."""
        now = self.session.settings.text_size
        self.session.settings.text_size = max(TEXT_SIZES[0], min(now + step, TEXT_SIZES[1])) if step else 100
        theme.apply(cast("QApplication", QApplication.instance()), self.session.settings.theme,
                    self.session.settings.text_size)
        self.session.report_settings_changed()

    def open_welcome(self) -> None:
        """Show over the open tab what this machine has, where things are kept, and how to begin.

        Before the first paint nothing is read: who opens it calls `welcome.look` then.
        """
        if self.welcome is None:
            from slmstudio.gui.app.welcome import Welcome

            self.welcome = Welcome(self.session)
            self._stack.addWidget(self.welcome)
        self._stack.setCurrentWidget(self.welcome)
        self.welcome.sample.setFocus()
        if self._was_painted:
            self.welcome.look()

    def open_first_page(self) -> None:
        """Have the open page there with the first paint, if that is quick: the others may need a plotting library."""
        if self.header.tabs.currentIndex() == 0:
            self._stack.setCurrentWidget(self.page(TABS[0]))

    def welcome_is_open(self) -> bool:
        return self.welcome is not None and self._stack.currentWidget() is self.welcome

    def _tab_clicked(self, index: int) -> None:
        # The tab that is below the welcome page is the current one already: choosing it changes nothing.
        if self.welcome_is_open() and index == self.header.tabs.currentIndex():
            self._show_tab(index)

    def _place_changed(self) -> None:
        """Another folder holds the models, and perhaps other settings. Results and Chat read theirs when shown."""
        app, known = cast("QApplication", QApplication.instance()), self.session.settings
        theme.apply(app, known.theme, known.text_size)
        theme.set_still(app, known.reduce_motion)
        model = self._pages.get("model")
        if model is not None:
            model.refresh()  # type: ignore[attr-defined]

    def _show_tab(self, index: int) -> None:
        self.session.settings.last_tab = TABS[index]
        if self._was_painted or TABS[index] in self.session.pages:
            self._stack.setCurrentWidget(self.page(TABS[index]))

    def _open_something(self) -> None:
        """Ctrl+O: the open tab chooses files where it can, else the Data tab does."""
        choose = getattr(self._stack.currentWidget(), "choose_files", None)
        if choose is None:
            self.go_to("data")
            choose = self.page("data").choose_files  # type: ignore[attr-defined]
        choose()

    def _show_done(self) -> None:
        for index, tab in enumerate(TABS):
            self.header.set_done(index, tab in self.session.done)

    def _show_machine(self) -> None:
        from slmstudio.core.hardware import guidance

        machine = self.session.machine
        assert machine is not None
        tooltip = tr("{machine}\n{reason}", machine=guidance.cpu_chip(machine), reason=machine.gpu_reason)
        self.header.device.set(guidance.gpu_chip(machine), tooltip=tooltip.strip())
        self.header.device.show()

    def _restore(self) -> None:
        self.resize(1280, 720)
        self._fit_screen()
        geometry = self.session.settings.geometry
        if geometry and not self.restoreGeometry(QByteArray.fromBase64(geometry.encode("ascii", "ignore"))):
            _log.warning("The window's remembered place could not be restored.")
        self._fit_screen()
        tab = self.session.settings.last_tab
        self.go_to(tab if tab in TABS else TABS[0])

    def _fit_screen(self) -> None:
        """Be no larger than the screen has room for, with the frame as far as it is known."""
        room = self.screen().availableGeometry()
        most = room.size() - (self.frameGeometry().size() - self.size())
        self.setMinimumSize(QSize(*LEAST_SIZE).boundedTo(most))
        if not self.isMaximized() and not self.isFullScreen() and self.size() != self.size().boundedTo(most):
            self.resize(self.size().boundedTo(most))
            self.move(room.topLeft())

    def _save_settings(self) -> None:
        try:
            self.session.settings.save()
        except UserError as error:
            self.show_error(error)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._was_painted:
            self._was_painted = True
            # The children paint in the same pass, after this; the queue runs when all is on the screen.
            QTimer.singleShot(0, self._after_first_paint)

    def _after_first_paint(self) -> None:
        self._fit_screen()  # only now is the frame known
        self.painted.emit()
        # The tab that was open last may need a plotting library: it comes once the window is there.
        if not self.welcome_is_open():
            QTimer.singleShot(0, self, lambda: self._show_tab(self.header.tabs.currentIndex()))
        QTimer.singleShot(0, self, self._restore_next)

    def closeEvent(self, event: QCloseEvent) -> None:
        self._restore_pages()
        for name in ("data", "model", "training"):
            page = cast("DataTab | ModelTab | TrainingTab | None", self._pages.get(name))
            if page is not None and not page.confirm_close():
                event.ignore()
                return
        self.session.settings.last_folder = LastFolder.path
        self.session.settings.geometry = base64.b64encode(self.saveGeometry().data()).decode()
        try:
            self.session.settings.save()
        except UserError as error:
            _log.warning("%s", error)
        super().closeEvent(event)
