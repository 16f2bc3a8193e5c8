"""What is wrong with a dataset: what was found in its rows, with the choices that end it, and the rows that can't be
used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeySequence
from PySide6.QtWidgets import QFrame, QListView, QScrollArea, QToolTip, QWidget

from slmstudio.core.data.health.finding import KINDS, changes_rows, left_out
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import join_sentences, ntr, number_text, ptr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.areas import Card, plain_page
from slmstudio.gui.common.widgets.banner import ErrorBanner, ProblemsModel
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, plain_tip, show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_widget, fill, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip

if TYPE_CHECKING:
    from slmstudio.core.data.health.finding import Finding


class ProblemsCard(Card):
    """The problems of a file, row by row.

    Signals:
        line_wanted(int, str): the user wants to see this line; if there are several files, in the one with this name.
        closed: the user has seen them.
    """

    line_wanted = Signal(int, str)
    closed = Signal()

    def __init__(self) -> None:
        super().__init__(KINDS["unusable"].title)
        self.list = named(QListView(), "findings_list", tr("Problems in the file"))
        self.list.setUniformItemSizes(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.problems = ProblemsModel(self)
        self.list.setModel(self.problems)
        self.list.doubleClicked.connect(self._activated)
        copy = SecondaryButton(tr("Copy all"),
                               tr("Copy every problem with its line, so that you can fix the file in an editor."),
                               name="findings_copy", clicked=self.copy_all)
        close = SecondaryButton(tr("Close"), tr("Go back to the rows (Esc)."), name="findings_close",
                                clicked=self.closed)
        add_key(self.list, QKeySequence.StandardKey.Copy, self._copy_current, inside=True)
        add_key(self, "Escape", self.closed.emit, inside=True)
        hint = text_label(tr("These rows are skipped. Your file is never changed."), "small", wrap=True)
        fill(self.body, (self.list, 1), row_of((hint, 1), copy, close))

    def show_problems(self, problems: list[Problem]) -> None:
        """Show every problem of a file."""
        self.problems.set_problems(tuple(problems))

    def copy_all(self) -> None:
        QGuiApplication.clipboard().setText("\n".join(str(problem) for problem in self.problems.problems))

    def _copy_current(self) -> None:
        index = self.list.currentIndex()
        if index.isValid():
            QGuiApplication.clipboard().setText(str(self.problems.problems[index.row()]))

    def _activated(self, index: QModelIndex) -> None:
        problem = self.problems.problems[index.row()]
        QGuiApplication.clipboard().setText(str(problem))
        QToolTip.showText(self.cursor().pos(), tr("Copied."), self.list)
        if problem.line is not None:
            self.line_wanted.emit(problem.line, problem.file or "")


CHIPS = {"bad": "bad", "warn": "warn", "note": "plain"}
"""Severity: kind of the chip."""


class FindingRow(QFrame):
    """One finding: how many rows, what it is called, and what can be decided; the tooltip says it in a sentence.

    Attributes:
        choice: the decision; its data are ids of `CHOICES`.
    """

    def __init__(self, finding: Finding, decided: str | None, chosen: str | None, card: HealthCard):
        super().__init__()
        self.setProperty("plain", True)
        self.finding = finding
        title = KINDS[finding.kind].title
        chip = Chip(number_text(finding.count), "ok" if decided else CHIPS[finding.severity])
        show = IconButton("eye", tr("Show rows: {title}", title=title), name=f"health_show_{finding.kind}",
                          clicked=lambda: card.rows_wanted.emit(finding))
        self.choice = named(ComboBox(), f"health_choice_{finding.kind}", tr("What to do: {title}", title=title))
        self.choice.keep_narrow(8)
        for place, choice in enumerate(finding.choices):
            label = finding.label(choice)
            self.choice.add_shortened(label if place or len(finding.choices) == 1 else
                                      tr("{choice} (recommended)", choice=label), label, choice, finding.does(choice))
        self.choice.setCurrentIndex(max(0, self.choice.findData(chosen or decided)))
        self.choice.setEnabled(len(finding.choices) > 1)
        self.choice.currentIndexChanged.connect(self._describe)
        self.choice.currentIndexChanged.connect(card.update_outcome)
        self.choice.activated.connect(self._activated)
        self._card = card
        self._describe()
        self.setToolTip(plain_tip(finding.sentence))
        self.setAccessibleDescription(finding.sentence)
        column_in(self, row_of(chip, (ElidedLabel(title, "strong", Qt.TextElideMode.ElideRight), 1), show), self.choice,
                  spacing=theme.SPACE_XS)

    def _describe(self) -> None:
        does = self.finding.does(self.choice.currentData())
        self.choice.setToolTip(plain_tip(does))
        self.choice.setAccessibleDescription(does)

    def _activated(self) -> None:
        self._card.chosen.emit(self.finding.kind, self.choice.currentData())
        if self.choice.currentData() == "by_hand":
            self._card.rows_wanted.emit(self.finding)


class HealthCard(Card):
    """Shows findings, what costs most first, and what is decided about them; or why there are none to show.

    Attributes:
        strip: how far the check is, or the saving of what was decided; `again` begins the check again.

    Signals:
        rows_wanted(Finding): the user wants to see its rows.
        changes_wanted: the user wants to see what the decisions change; `decisions` are these.
        apply_wanted: the user wants a dataset in which they are done.
        chosen(str, str): the user chose this for a kind of finding.
    """

    rows_wanted = Signal(object)
    changes_wanted = Signal()
    apply_wanted = Signal()
    chosen = Signal(str, str)

    def __init__(self) -> None:
        super().__init__(ptr("of a dataset", "Health"))
        self._rows: list[FindingRow] = []
        self._count, self._made = 0, ""
        self._shown: tuple[Any, ...] | None = None
        self._chosen: Mapping[str, str] = {}
        self._task = TaskSlot()
        self.chip = Chip(name="health_chip")
        self.header.addWidget(self.chip)
        self.about = text_label("", "small", wrap=True, name="health_about")
        self.strip = ProgressStrip(lines=2)
        self.banner = ErrorBanner(closable=False)
        self.words = text_label("", "muted", wrap=True, name="health_words")
        self.again = SecondaryButton(tr("Check again"), tr("Look for problems in all rows."), "small",
                                     name="health_again")
        fill(self.body, self.banner, self.words, (self.again, 0, Qt.AlignmentFlag.AlignLeft))
        self._make_list()
        fill(self.body, self.strip, self.about, self._make_end())
        self.body.addStretch()
        self.show_nothing()

    def _make_list(self) -> None:
        self.area = named(QScrollArea(), "health_list", tr("Findings"))
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.body.addWidget(self.area, 1)

    def _make_end(self) -> QWidget:
        """What is used with these decisions, and the buttons for them."""
        self.outcome = text_label("", "body", wrap=True, name="health_outcome")
        self.changes = SecondaryButton(tr("Changes…"), tr("See what these choices change, before anything is changed."),
                                       "small", name="health_changes", clicked=self.changes_wanted)
        self.apply = SecondaryButton(tr("Apply"), tr("Do what is chosen for each finding, in a new version of the "
                                                     "dataset. Your file isn't changed, and Ctrl+Z undoes all of it."),
                                     "small", name="health_apply", clicked=self.apply_wanted)
        self._end = column_widget(self.outcome, row_of(STRETCH, self.changes, self.apply), spacing=theme.SPACE_XS)
        return self._end

    @property
    def decisions(self) -> dict[str, str]:
        """What is chosen for each kind of finding."""
        return {row.finding.kind: row.choice.currentData() for row in self._rows}

    def update_outcome(self) -> None:
        """Say what is used with these choices."""
        decisions, findings, count = self.decisions, [row.finding for row in self._rows], self._count
        is_acting = changes_rows(decisions) or "lengthen" in decisions.values()
        self.apply.setEnabled(is_acting)
        self.changes.setEnabled(is_acting)
        self._task.run(self, lambda task: count - left_out(findings, decisions), self._show_outcome)

    def _show_outcome(self, used: int) -> None:
        rows = self._count + sum(row.finding.count for row in self._rows if row.finding.kind == "unusable")
        self.outcome.setText(self._made if self._made and not self.apply.isEnabled() else
                             ntr("The only row is used.", "All {n:,} rows are used.", rows) if used == rows else
                             ntr("About {used:,} of {n:,} row is used.", "About {used:,} of {n:,} rows are used.",
                                 rows, used=used))

    def _set_state(self, *, chip: str = "", kind: str = "plain", words: str = "", again: bool = False,
                   about: str = "") -> None:
        self.chip.set(chip, kind)
        self.chip.setVisible(bool(chip))
        show_text(self.words, words)
        self.again.setVisible(again)
        show_text(self.about, about)
        self.area.hide()
        self._end.hide()
        self._shown = None
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

    def show_saving(self, on: bool) -> None:
        """What is decided is being saved, or no longer."""
        for row in self._rows:
            row.setEnabled(not on)
        self._end.setEnabled(not on)
        self.strip.cancel.setVisible(not on)  # a half-written file is of no use
        self.strip.start_soon(tr("Saving a new version")) if on else self.strip.end()

    def show_findings(self, findings: Sequence[Finding], rows: int, about: str, made: str, decided: Mapping[str, str],
                      chosen: Mapping[str, str]) -> None:
        """The rows are checked.

        Args:
            rows: how many there are.
            made: of a version, how it was made.
            decided: what was decided about these findings when the dataset was made; `chosen`: what is now, of
                the same rows always the same object.
        """
        shown = list(findings), rows, made, decided
        if shown == self._shown and chosen is self._chosen:
            self.strip.end()
            show_text(self.about, about)
            return  # the list keeps its place
        if undecided := [finding for finding in findings if finding.kind not in decided]:
            self._set_state(chip=ntr("{n:,} finding", "{n:,} findings", len(undecided)),
                            kind=CHIPS[undecided[0].severity], about=about)
        elif findings:
            self._set_state(chip=tr("decided"), kind="ok", about=about)
        else:
            self._set_state(chip=tr("healthy"), kind="ok", about=join_sentences(made, about),
                            words=ntr("✓ No problems were found in the only row.",
                                      "✓ No problems were found in {n:,} rows.", rows))
        holder = plain_page()
        column = column_in(holder, margins=(0, 0, theme.SPACE_S, 0))
        self._count, self._made, self._shown, self._chosen = rows, made, shown, chosen
        self._rows = [FindingRow(finding, decided.get(finding.kind), chosen.get(finding.kind), self)
                      for finding in findings]
        for row in self._rows:
            column.addWidget(row)
        column.addStretch(1)
        self.area.setWidget(holder)
        self.area.setVisible(bool(findings))
        self._end.setVisible(bool(findings))
        self.update_outcome()
