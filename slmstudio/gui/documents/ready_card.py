"""Between reading the documents and asking about them: what was read, how long the rest takes, and Start."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal

from slmstudio.core.documents.project import DocumentInfo, Project
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton, keep_room
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import fill, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.common.widgets.table_cells import TwoLineList
from slmstudio.gui.documents.side_card import size_text


class ReadyCard(Card):
    """Signals:
        back: the user doesn't want to start now.
        wanted: make the questions.
        trial_wanted: let the teacher try a few passages.
        stop_wanted: end that.
    """

    back = Signal()
    wanted = Signal()
    trial_wanted = Signal()
    stop_wanted = Signal()

    def __init__(self) -> None:
        super().__init__(" ")
        self._passages = 0
        self.words = text_label("", "body", wrap=True, name="ready_words")
        self.cost = text_label("", "strong", wrap=True, name="ready_cost")
        self.quality = text_label("", "muted", wrap=True, name="ready_quality")
        self.list = TwoLineList(tr("Documents"), Qt.TextElideMode.ElideMiddle)
        self.list.setObjectName("ready_documents")
        self.strip = ProgressStrip(name="ready_progress", tip=tr("End the trial."), cancelled=self.stop_wanted)
        self.trial = SecondaryButton(tr("Try the teacher"), tr("Let it write about three passages, to see how good it "
                                                               "is and how long it takes. Nothing of it is kept."),
                                     name="ready_trial", clicked=self.trial_wanted)
        self.later = SecondaryButton(tr("Not now"), tr("Back to your documents. What was read is kept."),
                                     name="ready_back", clicked=self.back)
        self.start = PrimaryButton(tr("Make the questions"), tr("Start. You can review the first ones while the others "
                                                                "are made, pause, and stop at any time."),
                                   name="ready_start", clicked=self.wanted)
        keep_room(self.strip)
        self.strip.hide()
        fill(self.body, self.words, self.cost, self.quality, (self.list, 1),
             row_of((self.strip, 1), self.later, self.trial, self.start))

    def show_project(self, project: Project, documents: Sequence[DocumentInfo], cost: str, quality: str) -> None:
        """
        Args:
            cost: how long it takes and what it uses, in a sentence.
            quality: what a trial said of the teacher, or "".
        """
        self.title.setText(project.name)
        passages = len(project.passages())
        self.words.setText(tr("{documents}; {passages}.", documents=size_text(documents), passages=ntr(
            "{n:,} passage", "{n:,} passages", passages)))
        self.cost.setText(cost)
        self.quality.setText(quality or tr("This teacher hasn't been tried on this machine. Try it on three passages: "
                                           "then you know how good it is, and how long it takes."))
        self.list.clear()
        for each in documents:
            detail = " · ".join((*([ntr("{n:,} page", "{n:,} pages", each.pages)] if each.pages else []),
                                 ntr("{n:,} passage", "{n:,} passages", each.passages), *each.problems))
            self.list.add(each.name, detail, each.name, chip=ntr("{n:,} problem", "{n:,} problems", len(each.problems))
                          if each.problems else "", kind="warn", tooltip="\n".join((each.path, *each.problems)))
        self._passages = passages
        self.show_trial(False)

    def show_trial(self, working: bool, words: str = "") -> None:
        """
        Args:
            words: what it does now.
        """
        if working and self.strip.isHidden():
            self.strip.start(words)
        self.strip.label.setText(words)
        self.strip.setVisible(working)
        for button in (self.start, self.trial):
            button.setEnabled(self._passages > 0 and not working)
