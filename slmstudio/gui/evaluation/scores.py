"""Is it better? The verdict in a sentence, then the figures behind it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.evaluation import gain
from slmstudio.core.i18n import tr
from slmstudio.core.terms import of_metric
from slmstudio.gui.common.dialogs import choose_file, csv_kinds, write_csv
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.fields import ComboBox, keep_choice, named
from slmstudio.gui.common.widgets.figures import Figure, FigureTable, MeaningButton
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_widget, fill, row_of
from slmstudio.gui.evaluation.answer_view import AnswerView, Found, read_found
from slmstudio.gui.evaluation.answers.rows_model import LOSSES
from slmstudio.gui.evaluation.answers.votes import VoteSentences, votes_said
from slmstudio.gui.evaluation.jobs import Evaluation
from slmstudio.gui.evaluation.rivals import RivalsView
from slmstudio.gui.evaluation.tables import (
    group_names,
    group_rows,
    group_sentences,
    judge_sentences,
    main_comparisons,
    metric_rows,
    metrics_of,
    model_label,
    sentence,
    speed_text,
    tested_text,
    title,
)

ALL, CATEGORY, LANGUAGE, TRAINING, EXPORTS = range(5)
GROUPS = {CATEGORY: "by_category", LANGUAGE: "by_language", TRAINING: "by_training"}
MOST_ROWS = 10


class ScoresView(QWidget):
    """The evaluations of a run, one of which is shown.

    Signals:
        rows_wanted(Evaluation, str): show its answers in this order.
        go_on(Evaluation): continue one that ended before it was done.
        proposal_wanted(Evaluation, Proposal): do what is proposed of it.
        chat_wanted(Evaluation, str): talk to this one of its rivals.
    """

    rows_wanted = Signal(object, str)
    proposal_wanted = Signal(object, object)
    chat_wanted = Signal(object, str)
    go_on = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._all: list[Evaluation] = []
        self._remarks: list[str] = []
        self._said: VoteSentences | None = None
        self._ended_now: Path | None = None
        self.which = named(ComboBox(), "which_evaluation", tr("Evaluation"),
                           tr("Which of the run's evaluations is shown."))
        self.which.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.which.currentIndexChanged.connect(self._show)
        self.banner = ErrorBanner(closable=False, name="scores_banner")
        self.cut_off = text_label(tr("It was stopped before every row was answered, so it has no scores yet. Finished "
                                     "answers are kept."), "muted", wrap=True)
        self.resume = SecondaryButton(tr("Resume"), tr("Continue where it stopped. Finished answers are kept."),
                                      name="evaluation_go_on", clicked=lambda: self.go_on.emit(self.current()))
        self._run: Path | None = None
        self._found_for: object = None
        self.live = False  # the view shows an evaluation at work
        self.verdict = AnswerView()
        self.verdict.read_all.connect(lambda: self.rows_wanted.emit(self.current(), LOSSES))
        self.verdict.wanted.connect(lambda proposal: self.proposal_wanted.emit(self.current(), proposal))
        self.rivals = RivalsView()
        self.rivals.chat_wanted.connect(lambda name: self.chat_wanted.emit(self.current(), name))
        self.sentence = text_label("", "small", wrap=True, name="verdict_sentence")
        self.tested = text_label("", "small", wrap=True)
        self.table = FigureTable(tr("Scores"), grows=True, most=MOST_ROWS)
        self.table.setObjectName("scores_table")
        self.meaning = MeaningButton()
        self.group_verdicts = text_label("", "body", wrap=True, name="group_verdicts")
        self.remarks = text_label("", "small", wrap=True)
        self._make_rows()
        self._lay_out()
        self.show_evaluations([])

    def _make_rows(self) -> None:
        self.groups = SegmentedControl([tr("All rows"), tr("Category"), tr("Language"), tr("In training?"),
                                        tr("Exports")],
                                       tooltips=[tr("Every score of every model."),
                                                 tr("The main score in each category."),
                                                 tr("The main score in each language."),
                                                 tr("The main score of rows that the model was trained on, and of the "
                                                    "others."),
                                                 tr("How much of the gain over the base each export keeps, its size "
                                                    "and its speed.")], name="score_groups")
        keep_choice(self.groups)
        self.groups.changed.connect(self._show_table)
        self.save = IconButton("save", tr("Save the scores as CSV"), name="scores_csv", clicked=lambda: choose_file(
            self, tr("Save the scores"), "scores.csv", csv_kinds(), self.save_table))
        self.read = SecondaryButton(tr("Read all answers…"), tr("Open all answers of this evaluation, row by row."),
                                    "small", name="rows_all",
                                    clicked=lambda: self.rows_wanted.emit(self.current(), LOSSES))

    def _lay_out(self) -> None:
        self._body = QWidget()
        inner = column_in(self._body)
        fill(inner, self.sentence, row_of((self.tested, 1), (self.meaning, 0, Qt.AlignmentFlag.AlignTop), spacing=None),
             (self.read, 0, Qt.AlignmentFlag.AlignLeft), row_of(self.groups, STRETCH, self.save, spacing=None),
             self.table, self.group_verdicts, self.remarks)
        self._ended = column_widget(self.banner, self.cut_off, (self.resume, 0, Qt.AlignmentFlag.AlignLeft),
                                    spacing=None)
        column_in(self, self.which, self.rivals, self.verdict, self._ended, self._body)

    # -- showing ---------------------------------------------------------------------------------------------

    def show_evaluations(self, evaluations: list[Evaluation], run: Path | None = None) -> None:
        """Show a run's evaluations, newest first; the one that was chosen stays, unless one has just ended.

        Args:
            run: whose result they are of; None while it has none.
        """
        self._run = run
        chosen = self.current()
        kept = chosen.folder if chosen else None
        self._all = [each for each in evaluations if each.state not in ("running", "new")]
        folders = [each.folder for each in self._all]
        if self._ended_now in folders:
            kept, self._ended_now = self._ended_now, None
        with QSignalBlocker(self.which):
            self.which.clear()
            self.which.addItems([title(each) for each in self._all])
            self.which.setCurrentIndex(folders.index(kept) if kept in folders else 0)
        self.which.setVisible(len(self._all) > 1)
        self._show()

    def show_next(self, folder: Path) -> None:
        """Show this evaluation as soon as it is among those of the run."""
        self._ended_now = folder

    def current(self) -> Evaluation | None:
        index = self.which.currentIndex()
        return self._all[index] if 0 <= index < len(self._all) else None

    def _show(self) -> None:
        evaluation = self.current()
        scores = evaluation.scores if evaluation is not None else None
        self._body.setVisible(scores is not None)
        self.rivals.show_scores(scores)
        self._ended.setVisible(evaluation is not None and scores is None)
        self.remarks.setText("")
        self._show_found(evaluation)
        if evaluation is None:
            return
        if scores is None:
            self._show_ended(evaluation)
            return
        compared = main_comparisons(scores.get("comparisons") or [])
        show_text(self.sentence, sentence(compared[0]) if compared else "")
        others = [f"{model_label(str(each.get('of')))}: {sentence(each)}" for each in compared[1:]]
        self.tested.setText(tested_text(evaluation))
        groups = {number: group_names(scores, key) for number, key in GROUPS.items()}
        groups[EXPORTS] = [each.name for each in gain.shares(scores)]
        for number, names in groups.items():
            self.groups.button(number).setEnabled(any(names))
        for number in (TRAINING, EXPORTS):
            self.groups.button(number).setVisible(any(groups[number]))
        if self.groups.current() != ALL and not any(groups[self.groups.current()]):
            self.groups.set_current(ALL)
        self.read.setVisible(bool(evaluation.benchmark))  # the verdict has it where there are answers to show
        self._show_table()
        told = scores.get("remarks")
        remarks = [str(each) for each in told] if isinstance(told, list) else []
        remarks += judge_sentences(scores)
        self._remarks = [*others, gain.sentence(scores), speed_text(scores), *remarks]
        self._show_remarks()
        names, known = evaluation.model_names(), self._said
        if not names:
            return  # a damaged file; nothing of it was voted on
        first, second = (names * 2)[:2]
        run_task(self, lambda task: votes_said(evaluation.folder, second, first, known),
                 lambda said: self._show_votes(evaluation, said))

    def _show_found(self, evaluation: Evaluation | None) -> None:
        run = evaluation.request.get("train_run") if evaluation is not None else self._run

        def show(found: Found) -> None:
            if self.current() is evaluation and not self.live:
                self.verdict.show_found(found)

        self.verdict.setVisible(evaluation is None or evaluation.scores is not None)
        wanted = run, evaluation.folder if evaluation is not None else None
        if wanted != self._found_for and not self.live:
            self._found_for = wanted
            self.verdict.show_reading()  # not what another run came to
        run_task(self, lambda task: read_found(Path(run) if run else None, evaluation), show)

    def _show_votes(self, evaluation: Evaluation, said: VoteSentences) -> None:
        if self.current() is evaluation:
            self._said = said
            self._show_remarks()

    def _show_remarks(self) -> None:
        evaluation, said = self.current(), self._said
        of_this = evaluation is not None and said is not None and said.state[0] == evaluation.folder
        votes = said.sentences if said is not None and of_this else []
        self.remarks.setText("\n".join(filter(None, [*votes, *self._remarks])))

    def _show_ended(self, evaluation: Evaluation) -> None:
        outcome = evaluation.job.outcome()
        failed = outcome is not None and outcome.state in ("failed", "crashed")
        self.cut_off.setVisible(not failed)
        if outcome is not None and failed:
            self.banner.show_error(outcome.user_error())
        else:
            self.banner.clear()

    def _show_table(self) -> None:
        evaluation = self.current()
        if evaluation is None or evaluation.scores is None:
            return
        which = self.groups.current()
        key = GROUPS.get(which, "")
        self.meaning.set_terms(["verdict", *map(of_metric, metrics_of(evaluation)), "p_value", "interval"])
        if which == EXPORTS:
            heads, rows = gain.table(evaluation.scores)
            self.table.show_rows(heads, [list(map(Figure, row)) for row in rows])
        else:
            self.table.show_rows(*(metric_rows(evaluation) if which == ALL else group_rows(evaluation, key)))
        show_text(self.group_verdicts, "\n".join(group_sentences(evaluation.scores, key)) if key else "")

    def save_table(self, path: Path) -> None:
        """Write the table that is shown as CSV."""
        rows = self.table.figures.as_table()
        run_task(self, lambda task: write_csv(path, rows), lambda _: None)
