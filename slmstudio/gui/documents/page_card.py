"""The document beside a pair: the passage that it was made of, with the quotation marked."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont, QTextBlockFormat, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QTextBrowser

from slmstudio.core.documents import evidence
from slmstudio.core.documents.passages import Passage
from slmstudio.core.documents.project import Pair, Project
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.buttons import IconButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import fill
from slmstudio.gui.documents.parts import mark

SPACING = 130
"""Percent: the lines of a passage are read, not skimmed."""


class PageCard(Card):
    """Shows a passage, and those around it in the same document."""

    def __init__(self) -> None:
        super().__init__(" ")
        self._project: Project | None = None
        self._order: list[str] = []
        self._places: dict[str, int] = {}
        self._shown = self._own = ""
        self._pages: dict[str, int | None] = {}
        self._quotation, self._begin = "", 0
        theme.THEME.changed.connect(self._show)
        self.place = text_label("", "small", name="page_place")
        self.before = IconButton("chevron-left", tr("The passage before"), name="page_before",
                                 clicked=lambda: self._turn(-1))
        self.after = IconButton("chevron-right", tr("The passage after"), name="page_after",
                                clicked=lambda: self._turn(1))
        for button in (self.before, self.after):
            button.setProperty("kind", "outlined")
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            self.header.addWidget(button)
        self.text = named(QTextBrowser(), "page_text", tr("The passage of the document"),
                          tr("The text from which the question was made. The marked words are the quotation."))
        self.text.setOpenLinks(False)
        self.text.setTabChangesFocus(True)
        self.text.document().setDocumentMargin(theme.SPACE_S)
        theme.THEME.changed.connect(self._show)
        self.body.setSpacing(theme.SPACE_S)
        fill(self.body, self.place, (self.text, 1))

    def set_project(self, project: Project, pages: dict[str, int | None]) -> None:
        """
        Args:
            pages: how many each document has.
        """
        self._project, self._pages, self._shown = project, pages, ""

    def show_passage(self, pair: Pair) -> bool:
        """Show the passage of a pair, its quotation marked. Returns whether the quotation is in it."""
        self._own = pair.passage
        return self.show_quotation(pair.quotation)

    def show_quotation(self, quotation: str) -> bool:
        """Mark other words in the pair's own passage. Returns whether they are there."""
        self._quotation = quotation
        if self._shown != self._own:
            self._shown = self._own
            self._show()
        return self._mark()

    def _neighbour(self, by: int) -> str:
        """The passage before or after in the same document; "" where there is none."""
        if self._project is None or not self._shown:
            return ""
        passages = self._project.passages()
        if len(self._order) != len(passages):
            self._order = list(passages)
            self._places = {key: place for place, key in enumerate(self._order)}
        at = self._places[self._shown] + by
        if not 0 <= at < len(self._order):
            return ""
        key = self._order[at]
        return key if passages[key].document == passages[self._shown].document else ""

    def _turn(self, by: int) -> None:
        if key := self._neighbour(by):
            self._shown = key
            self._show()
            self._mark()

    def _show(self) -> None:
        if self._project is None or not self._shown:
            return
        passage = self._project.passages()[self._shown]
        self.title.setText(passage.document)
        pages = self._pages.get(passage.document)
        self.place.setText("" if passage.page is None else tr("page {page:,}", page=passage.page) if pages is None else
                           tr("page {page:,} of {pages:,}", page=passage.page, pages=pages))
        self._write(passage)
        self.before.setEnabled(bool(self._neighbour(-1)))
        self.after.setEnabled(bool(self._neighbour(1)))
        self._mark()

    def _write(self, passage: Passage) -> None:
        """The headings above, and the text."""
        self.text.clear()
        cursor = QTextCursor(self.text.document())
        lines, plain, head = QTextBlockFormat(), QTextCharFormat(), QTextCharFormat()
        lines.setLineHeight(SPACING, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
        cursor.setBlockFormat(lines)
        *above, last = passage.heading or ("",)
        if above:
            head.setForeground(theme.colour("muted"))
            cursor.insertText(" › ".join(above) + "\n", head)
        if last:
            bold = QTextCharFormat()
            bold.setFontWeight(QFont.Weight.DemiBold)
            cursor.insertText(last + "\n", bold)
        self._begin = len(self.text.toPlainText())
        cursor.insertText(passage.text, plain)
        lines.setLineHeight(theme.SPACE_S, QTextBlockFormat.LineHeightTypes.FixedHeight.value)
        block = self.text.document().begin()
        while block.isValid():  # between two paragraphs there is less than a line
            if not block.text().strip():
                QTextCursor(block).setBlockFormat(lines)
            block = block.next()

    def _mark(self) -> bool:
        """Mark the quotation where its passage is shown, and bring it into sight."""
        if self._shown != self._own or self._project is None or not self._own:
            mark(self.text, 0, 0, "mark")
            return False
        text = self._project.passages()[self._own].text
        found = evidence.find(self._quotation, text)
        begin, end = found or (0, 0)
        mark(self.text, self._begin + begin, self._begin + end, "mark")
        if found:
            for selection in self.text.extraSelections():
                cursor = QTextCursor(selection.cursor)  # type: ignore[attr-defined]
                cursor.clearSelection()
                self.text.setTextCursor(cursor)
            self.text.ensureCursorVisible()
        return found is not None
