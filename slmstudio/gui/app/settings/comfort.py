"""How the window shows things, and what it tells: text size, motion, notifications, and how Chat opens a run."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QApplication, QCheckBox, QHBoxLayout, QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.settings import CHAT_WITH, TEXT_SIZES
from slmstudio.gui.common import motion, theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.buttons import SegmentedControl
from slmstudio.gui.common.widgets.fields import SpinBox, named, number_field
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, row_of


class ComfortRows(QWidget):
    """Rows of the settings; they apply at once.

    Signals:
        changed: the settings hold other values.
    """

    changed = Signal()

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self._make_text_size()
        self.still = named(QCheckBox(tr("Turn off animations")), "settings_still",
                           tip=tr("Nothing moves by itself. The system's setting applies until you change this."))
        self.notices = named(QCheckBox(tr("Notify me when training, an export or an evaluation ends")),
                             "settings_notifications",
                             tip=tr("Only while this window is behind others. The taskbar shows progress too, where "
                                    "the desktop can."))
        self.chat = SegmentedControl([tr("At once"), tr("As a GGUF file")],
                                     tooltips=[tr("Loads the adapter on its base model. It needs no export, but more "
                                                  "memory."),
                                               tr("Makes a GGUF file first where there is none. It answers faster "
                                                  "without a graphics card.")], name="settings_chat")
        self.chat.setAccessibleName(tr("How Chat opens a finished run"))
        column_in(self, _line(tr("Text size"), number_field(self.size)), self.still, self.notices,
                  _line(tr("Open finished runs in Chat"), self.chat))
        self._show()
        session.settings_changed.connect(self._show)  # another folder has settings of its own
        self.still.toggled.connect(self._set_still)
        self.notices.toggled.connect(self._set_notices)
        self.chat.changed.connect(self._set_chat)

    def _make_text_size(self) -> None:
        self.size = named(SpinBox(), "settings_text_size", tr("Text size"),
                          tr("Percent of the usual size. Ctrl+Plus and Ctrl+Minus change it anywhere."))
        self.size.setRange(*TEXT_SIZES)
        self.size.setSingleStep(10)
        self.size.setSuffix(tr("%"))
        self.size.setKeyboardTracking(False)
        self.size.valueChanged.connect(self._set_size)

    def _show(self) -> None:
        known = self._session.settings
        with (QSignalBlocker(self.size), QSignalBlocker(self.still), QSignalBlocker(self.notices),
              QSignalBlocker(self.chat)):
            self.size.setValue(known.text_size)
            self.still.setChecked(theme.THEME.still if known.reduce_motion is None else known.reduce_motion)
            self.notices.setChecked(known.notifications)
            self.chat.set_current(CHAT_WITH.index(known.chat_with))

    def _set_size(self, percent: int) -> None:
        self._session.settings.text_size = percent
        theme.apply(cast("QApplication", QApplication.instance()), self._session.settings.theme, percent)
        self.changed.emit()

    def _set_still(self, on: bool) -> None:
        self._session.settings.reduce_motion = on
        motion.set_still(cast("QApplication", QApplication.instance()), on)
        self.changed.emit()

    def _set_notices(self, on: bool) -> None:
        self._session.settings.notifications = on
        self.changed.emit()

    def _set_chat(self, index: int) -> None:
        self._session.settings.chat_with = CHAT_WITH[index]
        self.changed.emit()


def _line(name: str, field: QWidget) -> QHBoxLayout:
    return row_of(text_label(name), STRETCH, field, spacing=None)
