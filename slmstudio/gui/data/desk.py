"""What can be done with the rows of the dataset that is shown: check, fix, edit and mix them.

The desk holds the cards for it, and keeps what it finds with the entry, so that going back to it takes no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QWidget

from slmstudio.core.data.health.finding import KINDS, changes_rows, to_decide
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import default_of
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import TaskSlot, run_task
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.layouts import pages_of
from slmstudio.gui.data.hand_edits import HandEdits, RowEditor
from slmstudio.gui.data.health import work
from slmstudio.gui.data.health.card import HealthCard, ProblemsCard
from slmstudio.gui.data.health.changes_card import ChangesCard
from slmstudio.gui.data.health.figures import LengthStrip
from slmstudio.gui.data.rows_card import RowsCard
from slmstudio.gui.data.trial import TrialCard
from slmstudio.gui.data.versions import MixCard, VersionBar

if TYPE_CHECKING:
    from slmstudio.core.data.health.finding import Finding
    from slmstudio.core.data.reader import Dataset
    from slmstudio.gui.data.recent import DataEntry


class RowTools(QObject):
    """Looks after one entry at a time.

    Signals:
        replaced(DataEntry, Dataset): another version of an entry's dataset should be shown in its place.
        made(Dataset): a new dataset was made of others.
        closing(DataEntry): its file is gone.
        checked: the findings of the entry are there.

    Attributes:
        pages: the rows, or the card that is open in their place.
    """

    replaced = Signal(object, object)
    made = Signal(object)
    closing = Signal(object)
    checked = Signal()

    def __init__(self, session: Session, rows: RowsCard, parent: QWidget):
        super().__init__(parent)
        self._session, self._rows = session, rows
        self._entry: DataEntry | None = None
        self._model: tuple[Path | None, str] | None = None
        self._learned: int | None = None
        self._asked: work.Asked | None = None
        self._task = TaskSlot()
        self._refused: work.Asked | None = None
        self._shown: tuple[Any, ...] | None = None
        self._saving = TaskSlot()
        self._lengthened = False
        self.health = HealthCard()
        self.lengths = LengthStrip()
        rows.body.addWidget(self.lengths)
        self.changes, self.problems, self.editor, self.mix = ChangesCard(), ProblemsCard(), RowEditor(), MixCard()
        self.trial = TrialCard(session)
        self.pages = pages_of(rows, self.changes, self.problems, self.editor, self.mix, self.trial)
        self.version = VersionBar(self)
        self.hand = HandEdits(rows, self.editor, self)
        rows.notes.insertWidget(0, self.version.bar)
        rows.notes.insertWidget(1, self.hand.bar)
        self._connect()

    def _connect(self) -> None:
        self.health.rows_wanted.connect(self._show_rows)
        self.health.changes_wanted.connect(self._show_changes)
        self.health.apply_wanted.connect(self._apply)
        self.health.chosen.connect(self._choose)
        self.health.strip.cancelled.connect(self._cancel)
        self.health.again.clicked.connect(self._check_again)
        self.problems.line_wanted.connect(self._show_line)
        self.mix.made.connect(self.made)
        self.trial.wanted.connect(self._open_trial)
        for card in (self.changes, self.problems, self.editor, self.mix, self.trial):
            card.closed.connect(self._back)
        self.hand.editing.connect(lambda: self.pages.setCurrentWidget(self.editor))
        self.hand.written.connect(self.replaced)
        self.version.replaced.connect(self.replaced)
        self.version.closing.connect(self.closing)
        self._session.plan_changed.connect(self._plan_changed)
        add_key(self.pages, QKeySequence.StandardKey.Undo, self.undo)

    # -- what is shown ---------------------------------------------------------------------------------------

    def is_editing(self) -> bool:
        """Whether a row is open in the editor."""
        return self.pages.currentWidget() is self.editor

    def show_entry(self, entry: DataEntry) -> None:
        """Show another entry, and what is known about it."""
        if self.is_editing():
            self.editor.save.click()  # what was typed becomes a change that isn't written, which can be undone
        self._entry = entry
        self._learned = None
        if self.pages.currentWidget() is not self._rows:
            self.changes.close_card()
            self._back()
        self.problems.show_problems(entry.dataset.problems)
        self.hand.show_entry(entry)
        self.version.show_entry(entry)
        self.lengths.show_steps(None)
        self.check()

    def set_model(self, folder: Path | None, name: str) -> None:
        """Count tokens with this model.

        Args:
            folder: None if there is none, not even the starter model.
            name: what people call it; "" is the starter model.
        """
        self._model = folder, name
        self.check()

    def _is_planned(self) -> bool:
        """Whether there is a plan to train on the entry."""
        return (self._entry is not None and self._session.plan is not None
                and self._session.dataset is self._entry.dataset)

    def _max_length(self) -> tuple[int, bool]:
        """The sequence length, and whether a plan says so."""
        plan = self._session.plan if self._is_planned() else None
        return (plan.max_length, True) if plan is not None else (default_of("max_length"), False)

    def _longer(self) -> int | None:
        """The sequence length that keeps more of the rows, if there is memory for it."""
        lost = self._session.plan_lost if self._is_planned() else None
        return lost.longer if lost is not None and lost.fits_longer else None

    def _plan_changed(self) -> None:
        self.check()
        self.show_steps(self._learned)

    def show_steps(self, learned: int | None) -> None:
        """Say how many steps an epoch has with this many rows to learn, once there is a plan; of the planned rows those
        count that have something to learn within the sequence length."""
        from slmstudio.core.run.curves import steps_per_epoch

        self._learned = learned
        plan, counts = self._session.plan, self._session.plan_counts
        if counts is not None and self._entry is not None and self._entry.dataset is self._session.dataset:
            learned = counts.learned
        if plan is None or not learned:
            self.lengths.show_steps(None)
        else:
            self.lengths.show_steps(steps_per_epoch(plan, learned), plan.effective_batch_size)

    # -- the check -------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Check the entry, unless it is known what is in it, or just this is being found out."""
        entry = self._entry
        if entry is not None:
            self.trial.look(entry)
        if entry is None or self._model is None:
            return
        length, planned = self._max_length()
        asked = work.Asked(entry.dataset, entry.eval_dataset, self._model[0], length if planned else None)
        if entry.report is not None and entry.report.asked.is_same(asked):
            self._stop()
            self._show(entry.report)
            return
        if any(each is not None and each.is_same(asked) for each in (self._asked, self._refused)):
            return
        before = entry.report
        self._asked, self._refused = asked, None
        if self._shown is not None and before is not None and self._shown[0] is before:
            self.health.strip.start_soon("")  # what is known of these rows is still there
        else:
            self.health.show_working(len(entry.dataset.records), "")
        self._shown = None
        self.lengths.show_words(tr("Counting tokens…") if asked.model is not None else self._no_model())

        def done(report: work.Report) -> None:
            self._asked = None
            entry.report = report
            self._show(report)
            self.checked.emit()

        self._task.run(self, lambda task: work.make(asked, before, task), done, self._check_failed,
                       self.health.strip.set_progress)

    def _stop(self) -> None:
        self._task.cancel()
        self._asked = None

    def _check_again(self) -> None:
        self._refused = None
        self.check()

    def _cancel(self) -> None:
        self._refused = self._asked  # it isn't begun again by itself
        self._stop()
        self.health.show_cancelled()
        self.lengths.show_words("")

    def _check_failed(self, error: Exception) -> None:
        self._refused, self._asked = self._asked, None
        self.health.show_failed(error)
        self.lengths.show_words("")

    def _model_name(self) -> str:
        folder, name = self._model or (None, "")
        if name or folder is None:
            return name
        return tr("the starter model")

    def _about(self) -> str:
        name = self._model_name()
        return tr("Tokens counted with {model}.", model=name) if name else ""

    def _no_model(self) -> str:
        return tr("Choose a model to see how long the rows are in its tokens.")

    def _show(self, report: work.Report) -> None:
        max_length, planned = self._max_length()
        dataset, lineage, longer = report.asked.dataset, report.lineage, self._longer()
        shown = report, planned, self._model_name(), longer
        if shown == self._shown:
            return  # as when the split changes: the list keeps its place
        self._shown = shown
        about = self._about()
        if report.made.trouble is not None:
            about = tr("The tokens weren't counted. {why}", why=str(report.made.trouble).splitlines()[0])
        made = lineage.sentence if lineage is not None else ""
        self.health.show_findings(to_decide(report.made.findings, dataset.problems, dataset.rows_left_out, longer),
                                  len(dataset.records), about, made, lineage.decided if lineage is not None else {},
                                  self._entry.chosen if self._entry is not None else {})
        if report.made.counts is not None:
            self.lengths.show_counts(report.made.counts, max_length, self._model_name(), planned)
        else:
            self.lengths.show_words(about or self._no_model())

    # -- what is done ----------------------------------------------------------------------------------------

    def _show_rows(self, finding: Finding) -> None:
        if finding.kind == "unusable":
            self.pages.setCurrentWidget(self.problems)
            self.problems.list.setFocus()
            return
        self._back()
        records, title = self.hand.records(), KINDS[finding.kind].title
        arrange = work.answers_beside if "groups" in finding.detail else None

        def show(rows: list[int]) -> None:
            if records is self.hand.records():  # else another dataset is shown by now
                self._rows.show_only(rows, title, arrange)

        run_task(self, lambda task: work.rows_of(finding, records), show)

    def _show_line(self, line: int, _file: str) -> None:
        self._back()
        self._rows.show_line(line)

    def _report(self) -> work.Report | None:
        """The report on the rows that are shown; None if something was changed in them by hand."""
        entry = self._entry
        if entry is not None and entry.changes:
            self.hand.ask_to_write()
            return None
        return entry.report if entry is not None else None

    def _choose(self, kind: str, choice: str) -> None:
        if self._entry is not None:
            self._entry.chosen[kind] = choice

    def _show_changes(self) -> None:
        if (report := self._report()) is not None:
            self.changes.show_decisions(report, self.health.decisions)
            self.pages.setCurrentWidget(self.changes)
            self.changes.view.setFocus()

    def _apply(self) -> None:
        """Do what is decided: rows in a new version, the sequence length in the plan."""
        report = self._report()
        if report is None:
            return
        decisions = self.health.decisions
        longer = self._longer() if "lengthen" in decisions.values() else None

        def done(made: Dataset | None) -> None:
            self.health.show_saving(False)
            self._back()
            if made is not None:
                self._put(report.asked.dataset, made)
            if longer is not None:
                self._lengthened = True
                self._session.field_wanted.emit("max_length", longer)

        def failed(error: Exception) -> None:
            self.health.show_saving(False)
            report_error(self, error)

        if not changes_rows(decisions):
            done(None)
            return
        self.health.show_saving(True)
        self._saving.run(self, lambda task: work.apply(report, decisions, task), done, failed,
                         self.health.strip.set_progress)

    def undo(self) -> None:
        """Undo the last change by hand; without any, all that was decided."""
        if self._entry is not None and self._entry.changes:
            self.hand.undo.click()
        elif self.version.can_undo:
            self.version.undo.click()
        elif self._lengthened:
            self._lengthened = False
            self._session.field_wanted.emit("max_length", None)

    def open_mix(self, entries: Sequence[DataEntry]) -> None:
        """Let the user mix the datasets of these entries."""
        if any(entry.changes for entry in entries):
            self.hand.ask_to_write()
            return
        self.mix.open_datasets([entry.dataset for entry in entries])
        self.pages.setCurrentWidget(self.mix)

    def _open_trial(self) -> None:
        if self._entry is not None and self._entry.changes:
            self.hand.ask_to_write()
        else:
            self.pages.setCurrentWidget(self.trial)
            self.trial.offer()

    def _put(self, old: Dataset, new: Dataset) -> None:
        if self._entry is not None and self._entry.dataset is old:
            self.replaced.emit(self._entry, new)
        else:  # another one is shown by now
            self.made.emit(new)

    def _back(self) -> None:
        self.pages.setCurrentWidget(self._rows)
