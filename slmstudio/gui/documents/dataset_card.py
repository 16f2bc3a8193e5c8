"""The end of a review: a dataset of what was accepted, or of all that passed the checks."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup

from slmstudio.core.documents.project import Counts
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import ChoiceCard, PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, fill, row_of


class DatasetCard(Card):
    """Signals:
        wanted(bool): make the dataset, of what is accepted alone if True.
        back: continue the review.
    """

    wanted = Signal(bool)
    back = Signal()

    def __init__(self) -> None:
        super().__init__(tr("Make a dataset"))
        self.words = text_label("", "muted", wrap=True, name="dataset_words")
        self.accepted = ChoiceCard("dataset_accepted", tr("Only what you accepted becomes a row."))
        self.all = ChoiceCard("dataset_all", tr("What you accepted, and what is still to be reviewed: it passed all "
                                                "checks. Nothing that you rejected."))
        group = QButtonGroup(self)
        for each in (self.accepted, self.all):
            group.addButton(each.radio)
        self.test = text_label("", "small", wrap=True, name="dataset_test")
        self.banner = ErrorBanner(name="dataset_banner")
        self.later = SecondaryButton(tr("Continue reviewing"), tr("Back to the questions."), name="dataset_back",
                                     clicked=self.back)
        self.make = PrimaryButton(tr("Open in Data →"), tr("Write the dataset, check it, and show it in the Data tab."),
                                  name="dataset_make",
                                  clicked=lambda: self.wanted.emit(self.accepted.radio.isChecked()))
        fill(self.body, self.words, self.accepted, self.all, self.test, STRETCH, self.banner,
             row_of(STRETCH, self.later, self.make))
        self.show_counts(Counts(0, 0, 0, 0, 0, {}), 0)

    def show_counts(self, counts: Counts, held_out: int) -> None:
        """
        Args:
            held_out: of those that can become rows, how many are for the test set.
        """
        self.words.setText(join_sentences(
            tr("Everything is reviewed.") if not counts.waiting and counts.accepted else "",
            tr("Each row names its document, its page and its quotation."),
            ntr("{n:,} question was left out by the checks.", "{n:,} questions were left out by the checks.",
                counts.left_out) if counts.left_out else ""))
        self.accepted.describe(tr("What you accepted"), ntr("{n:,} row", "{n:,} rows", counts.accepted))
        both = counts.accepted + counts.waiting
        self.all.describe(tr("Everything that passed the checks"), join_sentences(
            ntr("{n:,} row.", "{n:,} rows.", both),
            ntr("Nobody has read {n:,} of them.", "Nobody has read {n:,} of them.", counts.waiting)
            if counts.waiting else ""))
        self.accepted.radio.setEnabled(counts.accepted > 0)
        self.all.radio.setEnabled(counts.waiting > 0)
        (self.accepted if counts.accepted else self.all).radio.setChecked(True)
        self.test.setText(ntr("{n:,} question is about sections that are held out. It becomes a test set, and is never "
                              "learned.", "{n:,} questions are about sections that are held out. They become a test "
                              "set, and are never learned.", held_out) if held_out else "")
        self.make.setEnabled(both > 0)
