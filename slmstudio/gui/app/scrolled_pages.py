"""The window's pages, scrolled where the screen is too small for the open one."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QScrollArea, QStackedWidget, QWidget


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
