"""The few things that are the same for every run."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QDialog, QHBoxLayout, QVBoxLayout, QWidget

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.settings import THEMES
from slmstudio.gui import theme
from slmstudio.gui.session import Session
from slmstudio.gui.widgets import ElidedLabel, ErrorBanner, PrimaryButton, SecondaryButton, SegmentedControl, text_label


class SettingsDialog(QDialog):
    """Theme, and where everything is kept. A change is in force at once."""

    def __init__(self, session: Session, parent: QWidget | None = None):
        super().__init__(parent)
        self._session = session
        self.setWindowTitle(self.tr("Settings"))
        self.setMinimumWidth(520)
        self.scheme = SegmentedControl([self.tr("Like the system"), self.tr("Light"), self.tr("Dark")])
        self.scheme.setObjectName("settings_theme")
        self.scheme.setAccessibleName(self.tr("Colours"))
        self.scheme.setToolTip(self.tr("Colours of the window. Change them when the system's choice tires your eyes."))
        self.scheme.set_current(THEMES.index(session.settings.theme))
        self.scheme.changed.connect(self._set_theme)
        self.banner = ErrorBanner()
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.SPACE_L] * 4)
        column.setSpacing(theme.SPACE_S)
        column.addWidget(self.banner)
        column.addWidget(text_label(self.tr("Colours"), "section"))
        column.addWidget(self.scheme)
        column.addSpacing(theme.SPACE_M)
        column.addWidget(text_label(self.tr("Where runs, models and chats are kept"), "section"))
        column.addLayout(self._storage_row())
        column.addWidget(text_label(self.tr("To keep them elsewhere, set SLMSTUDIO_HOME to another folder before you "
                                            "start SLM Studio."), "small", wrap=True))
        column.addStretch(1)
        column.addLayout(self._close_row())

    def _storage_row(self) -> QHBoxLayout:
        folder = ElidedLabel(str(paths.home()))
        folder.setObjectName("settings_storage")
        show = SecondaryButton(self.tr("Show folder"), self.tr("Open this folder in the file manager."), "small")
        show.clicked.connect(lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(paths.home()))))
        row = QHBoxLayout()
        row.addWidget(folder, 1)
        row.addWidget(show)
        return row

    def _close_row(self) -> QHBoxLayout:
        close = PrimaryButton(self.tr("Done"), self.tr("Close the settings. They are saved already."))
        close.setObjectName("settings_close")
        close.clicked.connect(self.accept)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(close)
        return row

    def _set_theme(self, index: int) -> None:
        self._session.settings.theme = THEMES[index]
        theme.apply(cast(QApplication, QApplication.instance()), THEMES[index])
        try:
            self._session.settings.save()
        except UserError as error:
            self.banner.show_error(error)
        self._session.settings_changed.emit()
