"""Between reading the documents and asking about them: what was read, how long the rest takes, and Start."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal

from slmstudio.core.documents.project import DocumentInfo, Project
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, fill, row_of
from slmstudio.gui.common.widgets.table_cells import TwoLineList
from slmstudio.gui.documents.side_card import size_text


class ReadyCard(Card):
    """Signals:
        back: the user doesn't want to start now.
        wanted: make the questions.
    """

    back = Signal()
    wanted = Signal()

    def __init__(self) -> None:
        super().__init__(" ")
        self.words = text_label("", "body", wrap=True, name="ready_words")
        self.cost = text_label("", "strong", wrap=True, name="ready_cost")
        self.list = TwoLineList(tr("Documents"), Qt.TextElideMode.ElideMiddle)
        self.list.setObjectName("ready_documents")
        self.later = SecondaryButton(tr("Not now"), tr("Back to your documents. What was read is kept."),
                                     name="ready_back", clicked=self.back)
        self.start = PrimaryButton(tr("Make the questions"), tr("Start. You can review the first ones while the others "
                                                                "are made, pause, and stop at any time."),
                                   name="ready_start", clicked=self.wanted)
        fill(self.body, self.words, self.cost, (self.list, 1), row_of(STRETCH, self.later, self.start))

    def show_project(self, project: Project, documents: Sequence[DocumentInfo], cost: str) -> None:
        """
        Args:
            cost: how long it takes and what it uses, in a sentence.
        """
        self.title.setText(project.name)
        passages = len(project.passages())
        self.words.setText(tr("{documents}; {passages}.", documents=size_text(documents), passages=ntr(
            "{n:,} passage", "{n:,} passages", passages)))
        self.cost.setText(cost)
        self.list.clear()
        for each in documents:
            detail = " · ".join((*([ntr("{n:,} page", "{n:,} pages", each.pages)] if each.pages else []),
                                 ntr("{n:,} passage", "{n:,} passages", each.passages), *each.problems))
            self.list.add(each.name, detail, each.name, chip=ntr("{n:,} problem", "{n:,} problems", len(each.problems))
                          if each.problems else "", kind="warn", tooltip="\n".join((each.path, *each.problems)))
        self.start.setEnabled(passages > 0)
