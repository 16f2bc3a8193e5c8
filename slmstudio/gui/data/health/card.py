"""The health of a dataset: what was found in its rows, with buttons to see it and to fix it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QScrollArea

from slmstudio.core.data.health.finding import KINDS
from slmstudio.core.i18n import ntr, number_text, ptr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Card, plain_page
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, plain_tip, show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip

if TYPE_CHECKING:
    from slmstudio.core.data.health.finding import Finding

CHIPS = {"bad": "bad", "warn": "warn", "note": "plain"}
"""Severity: kind of the chip."""


class FindingRow(QFrame):
    """One finding: how many rows, what it is called, a sentence, and what can be done."""

    def __init__(self, finding: Finding, card: HealthCard):
        super().__init__()
        self.setProperty("plain", True)
        title = KINDS[finding.kind].title
        chip = Chip(number_text(finding.count), CHIPS[finding.severity])
        name = ElidedLabel(title, "strong", Qt.TextElideMode.ElideRight)
        show = SecondaryButton(tr("Show rows"), tr("Show only these rows in the table."), "small",
                               name=f"health_show_{finding.kind}", clicked=lambda: card.rows_wanted.emit(finding))
        show.setAccessibleName(tr("Show rows: {title}", title=title))
        buttons = [show]
        if finding.fix is not None:
            mend = SecondaryButton(tr("Fix…"), plain_tip(" ".join((finding.fix, tr("You see the changes first.")))),
                                   "small", name=f"health_mend_{finding.kind}",
                                   clicked=lambda: card.mend_wanted.emit(finding.kind))
            mend.setAccessibleName(tr("Fix: {title}", title=title))
            buttons.append(mend)
        column_in(self, row_of(chip, (name, 1)), text_label(finding.sentence, "small", wrap=True),
                  row_of(*buttons, STRETCH), spacing=theme.SPACE_XS, margins=(0, theme.SPACE_XS, 0, theme.SPACE_XS))


class HealthCard(Card):
    """Shows findings, or why there are none to show.

    Signals:
        rows_wanted(Finding): the user wants to see its rows.
        mend_wanted(str): the user wants to fix this kind of finding.
        cancelled: the user ended the check.
        check_wanted: the user wants it to be done again.
    """

    rows_wanted = Signal(object)
    mend_wanted = Signal(str)
    cancelled = Signal()
    check_wanted = Signal()

    def __init__(self) -> None:
        super().__init__(ptr("of a dataset", "Health"))
        self.chip = Chip(name="health_chip")
        self.header.addWidget(self.chip)
        self.about = text_label("", "small", wrap=True, name="health_about")
        self.strip = ProgressStrip(cancelled=self.cancelled)
        self.banner = ErrorBanner(closable=False)
        self.words = text_label("", "muted", wrap=True, name="health_words")
        self.again = SecondaryButton(tr("Check again"), tr("Look for problems in all rows."), "small",
                                     name="health_again", clicked=self.check_wanted)
        fill(self.body, self.banner, self.words, self.strip, (self.again, 0, Qt.AlignmentFlag.AlignLeft))
        self._make_list()
        self.body.addWidget(self.about)
        self.body.addStretch()
        self.show_nothing()

    def _make_list(self) -> None:
        self.area = named(QScrollArea(), "health_list", tr("Findings"))
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._rows: list[FindingRow] = []
        self.body.addWidget(self.area, 1)

    def _set_state(self, *, chip: str = "", kind: str = "plain", words: str = "", again: bool = False,
                   about: str = "") -> None:
        self.chip.set(chip, kind)
        self.chip.setVisible(bool(chip))
        show_text(self.words, words)
        self.again.setVisible(again)
        show_text(self.about, about)
        self.area.hide()
        self.banner.clear()
        self.strip.end()

    def show_nothing(self) -> None:
        """There is no dataset."""
        self._set_state(words=tr("Nothing to check yet. When you open a dataset, its rows are checked here."))

    def show_working(self, rows: int, about: str) -> None:
        """The rows are being checked."""
        self._set_state(about=about, words=ntr("Checking {n:,} row…", "Checking {n:,} rows…", rows))
        self.strip.start_soon("")

    def show_cancelled(self) -> None:
        self._set_state(words=tr("The check was cancelled, so nothing is known about these rows."), again=True)

    def show_failed(self, error: Exception) -> None:
        self._set_state(again=True)
        self.banner.show_error(error)

    def show_findings(self, findings: Sequence[Finding], rows: int, about: str) -> None:
        """The rows are checked."""
        if findings:
            worst = next(each for each in ("bad", "warn", "note") if any(found.severity == each for found in findings))
            self._set_state(chip=ntr("{n:,} finding", "{n:,} findings", len(findings)),
                            kind=CHIPS[worst], about=about)
        else:
            self._set_state(chip=tr("healthy"), kind="ok", about=about,
                            words=ntr("✓ No problems were found in the only row.",
                                      "✓ No problems were found in {n:,} rows.", rows))
        holder = plain_page()
        column = column_in(holder, margins=(0, 0, theme.SPACE_S, 0))
        self._rows = [FindingRow(finding, self) for finding in findings]
        for row in self._rows:
            column.addWidget(row)
        column.addStretch(1)
        self.area.setWidget(holder)
        self.area.setVisible(bool(findings))
