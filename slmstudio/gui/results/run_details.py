"""One finished run: what it learned, how, whether it is better, and its exports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QScrollArea, QSizePolicy, QStackedWidget, QWidget

from slmstudio.core import llama, units
from slmstudio.core.errors import UserError
from slmstudio.core.files import number
from slmstudio.core.i18n import tr
from slmstudio.core.run.energy import energy_costs
from slmstudio.core.run.energy.energy_costs import Tariff, tariff
from slmstudio.core.run.folder import RunSummary, result_folder
from slmstudio.core.run.time_estimate import TimeEstimate
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import early_stop_text, method_text, outcome_chip, steps_text
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.areas import Card, scrolled
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton, SegmentedControl, set_primary
from slmstudio.gui.common.widgets.fields import keep_choice
from slmstudio.gui.common.widgets.figures import Grid, MeaningButton, number_text, page_and_column, perplexity_text
from slmstudio.gui.common.widgets.labels import Chip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of
from slmstudio.gui.evaluation.answer_view import follow_proposal
from slmstudio.gui.export.exports_table import Export, ExportsTable, ParityTable
from slmstudio.gui.export.panel import ExportPanel
from slmstudio.gui.export.serve_panel import ServePanel
from slmstudio.gui.results.evaluation_section import EvaluationSection
from slmstudio.gui.results.run_actions import ReportButton, RunActions
from slmstudio.gui.results.run_facts import RunFacts
from slmstudio.gui.results.run_notes import NotesEditor

if TYPE_CHECKING:
    from slmstudio.core.evaluation.advice import Proposal


class RunOverview(QWidget):
    """Losses before and after, and the run's facts."""

    def __init__(self) -> None:
        super().__init__()
        self.scores, self.facts = Grid(3), Grid(1)
        column_in(self, text_label(tr("What it learned"), "section"), self.scores,
                  text_label(tr("How"), "section"), self.facts, spacing=theme.SPACE_M)

    def show_run(self, run: RunSummary, tariff: Tariff, changes: Sequence[str] = ()) -> None:
        """Show the figures of a run.

        Args:
            tariff: price and CO2 of a kilowatt-hour.
            changes: what was changed while it trained.
        """
        self._show_scores(run)
        self._show_facts(run, tariff, changes)

    def _show_scores(self, run: RunSummary) -> None:
        before, after = run.eval_loss_before, run.eval_loss_after
        first, last = number(run.result, "train_loss_first"), number(run.result, "train_loss_last")
        missing = before is not None and after is None
        self.scores.set_rows([
            ("", tr("Eval loss"), tr("Perplexity"), tr("Train loss")),
            (tr("Before"), number_text(before), perplexity_text(before), number_text(first)),
            (tr("After"), tr("not measured") if missing else number_text(after), perplexity_text(after),
             number_text(run.train_loss if last is None else last)),
        ], strong_row=2, terms={tr("Eval loss"): "eval_loss", tr("Perplexity"): "perplexity",
                                tr("Train loss"): "train_loss"})

    def _show_facts(self, run: RunSummary, tariff: Tariff, changes: Sequence[str]) -> None:
        config, total = run.config, run.total_steps
        steps = steps_text(run.steps) if not total or total == run.steps else tr("{done:,} of {all:,} steps",
                                                                                 done=run.steps, all=total)
        took, expected = units.format_duration(run.seconds), TimeEstimate.from_dict(run.result.get("time_estimate"))
        length = f"{steps}, {took}" if expected is None else tr(
            "{steps}, {time} (estimated: {expected})", steps=steps, time=took, expected=expected.text())
        early = early_stop_text(run.result, run.steps, total or run.steps)
        batch = tr("{micro} × {accumulated} accumulated = {rows} rows per step", micro=config.micro_batch_size,
                   accumulated=config.gradient_accumulation_steps, rows=config.effective_batch_size)
        energy = [] if run.energy is None else [
            (tr("Energy"), energy_costs.energy(run.energy)), (tr("Cost"), energy_costs.cost(run.energy.joules, tariff)),
            (tr("CO₂"), energy_costs.co2(run.energy.joules, tariff))]
        self.facts.set_rows([
            (tr("Data"), config.train_file), (tr("Base model"), config.model),
            (tr("Method"), method_text(config)), (tr("Length"), length), *([("", early)] if early else []),
            (tr("Batch"), batch),
            *((tr("Changed") if text is changes[0] else "", text) for text in changes),
            *([(tr("Heat"), run.heat)] if run.heat else []), *energy, (tr("Network"), run.locked)],
            terms={tr("Base model"): "base_model", tr("Method"): "lora", tr("Length"): "epoch",
                   tr("Batch"): "effective_batch_size", tr("Energy"): "energy", tr("Cost"): "energy",
                   tr("CO₂"): "energy", tr("Network"): "network_lock"})


SCORES, OVERVIEW = range(2)
LEAST_VIEW = 120
"""Pixels that the run's page is high at least, however much of the card an export takes."""


class RunDetails(Card):
    """The card at the right of the Results tab.

    Signals:
        resume(RunSummary), rename(RunSummary), open_folder(RunSummary), delete(RunSummary): a button was pressed.
    """

    resume = Signal(object)
    rename = Signal(object)
    open_folder = Signal(object)
    delete = Signal(object)

    def __init__(self, session: Session):
        super().__init__(" ")
        self._session = session
        self._run: RunSummary | None = None
        self._reads_exports = False
        self.chip = Chip()
        self._make_header()
        self.banner = ErrorBanner(name="details_banner")
        self._make_parts(session)
        self.no_exports = text_label(tr("No file yet. Export makes a GGUF file, which Chat, Ollama and llama.cpp can "
                                        "open."), "small", wrap=True)
        self._make_page()

    def _make_header(self) -> None:
        self._rename = IconButton("edit", tr("Rename the run (F2 in the table)"), name="rename_run",
                                  clicked=lambda: self.rename.emit(self._run))
        self.header.insertWidget(1, self.chip)
        self._folder = SecondaryButton(tr("Open folder"), tr("Show the run's files."), "small", name="open_folder",
                                       clicked=lambda: self.open_folder.emit(self._run))
        self._delete = SecondaryButton(tr("Delete…"), tr("Move the run and its exports to the trash."), "small",
                                       name="delete_run", clicked=lambda: self.delete.emit(self._run))
        fill(self.header, self._rename, self._folder, self._delete)

    def _make_parts(self, session: Session) -> None:
        self.export = ExportPanel(session)
        self.export.hide()
        self.export.closed.connect(self.export.hide)
        self.export.closed.connect(self._show_buttons)
        self.export.works.connect(lambda _: self._show_buttons())
        self.serve = ServePanel(session)
        self.serve.hide()
        self.serve.closed.connect(self.serve.hide)
        self.serve.closed.connect(self._show_buttons)
        self.exports = ExportsTable()
        self.exports.selectionModel().selectionChanged.connect(self._show_served)
        self.parity = ParityTable()
        self.exports.selectionModel().selectionChanged.connect(self._show_parity)
        self.evaluation = EvaluationSection(session)
        self.evaluate_button = SecondaryButton(tr("Evaluate…"), "", "small", name="results_evaluate",
                                               clicked=self.open_evaluation)
        self.evaluate_button.setEnabled(False)  # until a run is shown
        self.evaluation.panel_changed.connect(self._show_buttons)
        self.notes, self.report = NotesEditor(), ReportButton()
        self.notes.saved.connect(lambda _: session.report_runs_changed())
        self.evaluation.proposal_wanted.connect(self._follow_proposal)

    def _make_page(self) -> None:
        self._views = QStackedWidget()
        self._area = scrolled(self._make_overview())
        scores, inner = page_and_column()
        fill(inner, self.evaluation, STRETCH)
        self._views.addWidget(scrolled(scores))
        self._views.addWidget(self._area)
        self._make_tabs()
        fill(self.body, self.report.strip, self.report.line)
        # Outside the scrolling part, so that the row that confirms stays visible; the run's page takes the rest.
        self._views.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)
        self._views.setMinimumHeight(LEAST_VIEW)
        fill(self.body, (self._views, 1), self.banner, self.export)
        self._make_actions()

    def _make_overview(self) -> QWidget:
        page, column = page_and_column()
        self.overview = RunOverview()
        fill(column, self.overview, row_of(
            text_label(tr("Exports"), "section"),
            MeaningButton("gguf", "quantization", "proof", "nmse", "logits", "near_tie"), STRETCH,
            spacing=theme.SPACE_XS), self.exports, self.parity, self.no_exports,
             self.serve, text_label(tr("Notes"), "section"), self.notes, STRETCH)
        return page

    def _make_tabs(self) -> None:
        self.tabs = keep_choice(SegmentedControl(
            [tr("Answers"), tr("Overview")], name="details_tabs",
            tooltips=[tr("Whether it is better than the base, on rows that it wasn't trained on."),
                      tr("What the run learned and how, and its files.")]))
        self.tabs.changed.connect(self._views.setCurrentIndex)
        self.tabs.changed.connect(lambda _: self._show_buttons())
        self.body.addLayout(row_of(self.tabs, STRETCH, self.evaluate_button, self.report))

    def _make_actions(self) -> None:
        self.buttons = RunActions()
        self.buttons.resume.clicked.connect(lambda: self.resume.emit(self._run))
        self.buttons.more.clicked.connect(self._learn_more)
        self.buttons.serve.clicked.connect(self.open_serve)
        self.buttons.export.clicked.connect(self.open_export)
        self.buttons.chat.clicked.connect(self._chat)
        self.body.addWidget(self.buttons)

    def show_run(self, facts: RunFacts, exports: list[Export] | None = None, changes: Sequence[str] = ()) -> None:
        """Show a run, its finished files (None while these are still being read) and what was changed in it."""
        run = facts.summary
        if not self.shows(run.folder):
            self.export.setVisible(self.export.exports(run))
            self.serve.setVisible(self.serve.serves(run))
            for area in self._views.findChildren(QScrollArea):
                area.verticalScrollBar().setValue(0)
        self._run = run
        self.title.setText(run.config.name)
        self.chip.set(*outcome_chip(run.state))
        if run.error and run.state in ("failed", "crashed"):
            self.banner.show_error(UserError.from_dict(run.error))
        else:
            self.banner.clear()
        self.notes.show_notes(run.folder, facts.notes)
        self.report.show_run(run.folder)
        self.evaluation.show_run(facts)
        self.overview.show_run(run, tariff(self._session.settings), changes)
        self._reads_exports = exports is None
        self.exports.set_exports(exports or [])
        self.exports.setVisible(bool(exports))
        self._show_parity()
        self._show_buttons()

    def shows(self, folder: Path) -> bool:
        """Whether this run is shown."""
        return self._run is not None and self._run.folder == folder

    def _show_parity(self) -> None:
        chosen = self.exports.selected()
        self.parity.show_parity(chosen.parity if chosen else {})

    def _learn_more(self) -> None:
        if self._run is not None:
            self._session.continue_run(self._run.folder, {})

    def _follow_proposal(self, proposal: Proposal) -> None:
        """Open the tab where it is done, prepared as far as that goes."""
        from slmstudio.core.evaluation.advice import proposals

        run, session, action = self._run, self._session, proposal.action
        if run is None:
            return
        here = {proposals.STRENGTH: lambda: self._open_base(run.folder), proposals.EXPORT: self.open_export,
                proposals.RESUME: lambda: self.resume.emit(run)}
        if action in here:
            here[action]()
            return
        follow_proposal(session, run.folder, run.config, proposal)

    def _open_base(self, run: Path) -> None:
        """Open the base in Chat, where the adapter's strength is set; or say what that needs."""
        run_task(self, lambda task: _base_for_strength(run), lambda base: self._session.open_chat([base]),
                 self.banner.show_error)

    def _show_buttons(self) -> None:
        run = self._run
        if run is None:
            return
        made = result_folder(run.folder) is not None
        exports = bool(self.exports.exports)
        self.no_exports.setVisible(not exports and not self._reads_exports)
        self.buttons.show_run(run, made=made, exports=exports)
        self.evaluate_button.setVisible(self.evaluation.can_be_opened())
        set_primary(self.buttons.chat, self.tabs.current() == OVERVIEW)  # else a proposal or the panel's button is next
        self.evaluate_button.setEnabled(made)
        self.evaluate_button.setToolTip(
            tr("Let the base and the tuned model answer test rows to see which is better.") if made else
            tr("There is nothing to evaluate. The run hasn't produced an adapter or model yet."))
        self.buttons.setVisible(self.export.isHidden() or self.export.is_running())  # its own row decides then
        self.buttons.export.setVisible(self.export.isHidden())
        self.buttons.serve.setVisible(self.serve.isHidden())
        if not exports and not self.serve.serves(run):
            self.serve.hide()
        self._show_served()

    def open_export(self) -> None:
        """Offer the types below the exports."""
        if self._run is not None:
            self.tabs.set_current(OVERVIEW)
            self.export.show_run(self._run)
            self.export.show()
            self._show_buttons()

    def open_evaluation(self) -> None:
        """Offer the evaluation, beside the scores that there are."""
        self.tabs.set_current(SCORES)
        self.evaluation.open_panel()

    def open_serve(self) -> None:
        """Show how to use the marked file elsewhere."""
        self.tabs.set_current(OVERVIEW)
        self.serve.show()
        self._show_buttons()
        QTimer.singleShot(0, lambda: self._area.ensureWidgetVisible(self.serve))

    def _show_served(self) -> None:
        if not self.serve.isHidden():
            self.serve.show_export(self._run, self.exports.selected())

    def _chat(self) -> None:
        chosen = self.exports.selected()
        self._chat_with(chosen.path if chosen is not None else None)

    def _chat_with(self, file: Path | None) -> None:
        if file is not None and llama.trouble() is None:
            self._session.open_chat([file])
        elif self._run is not None:
            self._session.open_run_chat(self._run.folder)


def _base_for_strength(run: Path) -> Path:
    from slmstudio.core.chat.partners import base_for_strength

    return base_for_strength(run)
