"""The top of the window: the program's name, the tabs, and the machine's state."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPainterPath, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QFrame, QSizePolicy, QTabBar, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import IconButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import Chip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, fill, row_in

NARROW = 800
"""Below this width there is room for the tabs and the settings alone."""


class Logo(QWidget):
    """The program's mark: a loss that falls. resources/icons/slmstudio.svg is the same drawing."""

    def __init__(self, size: int = 18):
        super().__init__()
        self.setFixedSize(size, size)
        theme.THEME.changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.scale(self.width() / 64, self.height() / 64)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("accent"))
        painter.drawRoundedRect(0, 0, 64, 64, 16, 16)
        curve = QPainterPath(QPointF(14, 19))
        curve.cubicTo(20, 38, 30, 45, 50, 46)
        painter.setPen(QPen(theme.colour("on_accent"), 7, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(curve)


class Header(QFrame):
    """Logo, tabs and chips.

    Signals:
        tab_chosen(int): the user chose a tab, or `set_current` did.
        settings_wanted: the gear was pressed.
    """

    tab_chosen = Signal(int)
    settings_wanted = Signal()

    def __init__(self, labels: list[str], parent: QWidget | None = None):
        super().__init__(parent)
        self.setObjectName("header")
        theme.grow(self, "setFixedHeight", theme.HEADER_HEIGHT)
        brand = text_label("SLM Studio", name="brand")
        self.tabs = named(QTabBar(), "tabs", tr("Steps"))
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setElideMode(Qt.TextElideMode.ElideNone)
        self.tabs.setUsesScrollButtons(False)
        self.tabs.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        for number, label in enumerate(labels, 1):
            self.tabs.setTabToolTip(self.tabs.addTab(label), tr("{tab} (Ctrl+{number})", tab=label, number=number))
            self.set_done(number - 1, False)
        self.tabs.currentChanged.connect(self.tab_chosen)
        theme.THEME.changed.connect(self._mark_again)
        self.device, self.temperature, self.network = Chip(), Chip(), Chip(tr("Offline"))
        self.device.setObjectName("chip_device")
        self.temperature.setObjectName("chip_temperature")
        self.network.setObjectName("chip_network")
        for chip in (self.device, self.temperature):
            chip.hide()
        gear = IconButton("settings", tr("Settings (Ctrl+,)"), name="open_settings", clicked=self.settings_wanted)
        row = row_in(self, Logo(), brand, theme.SPACE_M, self.tabs, STRETCH,
                     margins=(theme.SPACE_L, 0, theme.SPACE_M, 0))
        self._brand, self._chips = brand, QWidget()
        row_in(self._chips, self.device, self.temperature, self.network)
        fill(row, self._chips, gear)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where there is little room, the tabs and the settings come first."""
        super().resizeEvent(event)
        for widget in (self._brand, self._chips):
            widget.setVisible(event.size().width() >= NARROW)

    def set_done(self, index: int, done: bool) -> None:
        """Put the tick behind a tab's name, or take it away."""
        old = self.tabs.tabButton(index, QTabBar.ButtonPosition.RightSide)
        if old is None or done != bool(old.property("tick")):
            self._mark(index, done)

    def _mark_again(self) -> None:
        """The bar gives a mark the size that it has when it comes."""
        for index in range(self.tabs.count()):
            mark = self.tabs.tabButton(index, QTabBar.ButtonPosition.RightSide)
            self._mark(index, bool(mark.property("tick")))

    def _mark(self, index: int, done: bool) -> None:
        side = QTabBar.ButtonPosition.RightSide
        old = self.tabs.tabButton(index, side)
        # Every tab ends with a label, so that the room at its right is the same with and without the tick.
        label = text_label("✓" if done else "")
        label.setProperty("tick", done)
        label.setAccessibleName(tr("done") if done else "")
        label.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        theme.grow(label, "setFixedWidth", 24 if done else 10)
        self.tabs.setTabButton(index, side, label)
        if old is not None:
            old.deleteLater()

    def minimumSizeHint(self) -> QSize:
        return QSize(self.tabs.sizeHint().width(), theme.scaled(theme.HEADER_HEIGHT))
