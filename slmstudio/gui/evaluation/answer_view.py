"""The answer first: what came of a run in one sentence, three held-out questions before and after training, and what
to do. The same parts keep their places while an evaluation is waited for, is at work and is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFontMetrics, QResizeEvent, QTextLayout
from PySide6.QtWidgets import QFrame, QLabel, QSizePolicy, QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.advice.proposals import MOST
from slmstudio.core.evaluation.at_end import SHOWN
from slmstudio.core.files import an_object
from slmstudio.core.i18n import noop, ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.areas import rule
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton, keep_room
from slmstudio.gui.common.widgets.labels import Chip, breakable, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, clear, column_in, grid_in, row_of
from slmstudio.gui.evaluation.jobs import Evaluation

if TYPE_CHECKING:
    from slmstudio.core.evaluation.advice import Advice, Proposal
    from slmstudio.core.evaluation.at_end import Answers
    from slmstudio.core.run.config import RunConfig

LINES = 3
"""Lines that each question and each answer has room for."""
LEAST_REASON = 100
CHIPS = {"same": (noop("as yours"), "ok"), "close": (noop("close"), "ok"), "repeats": (noop("repeats"), "bad"),
         "cut": (noop("cut off"), "warn"), "other": (noop("other"), "plain")}


@dataclass(frozen=True)
class Found:
    """What a run and one of its evaluations, or none, come to.

    Attributes:
        times: how long each of the advice's proposals takes, in words; "" where it trains nothing.
        rows: how many were asked.
    """

    advice: Advice | None = None
    times: tuple[str, ...] = ()
    answers: tuple[Answers, ...] = ()
    rows: int = 0


def read_found(run: Path | None, evaluation: Evaluation | None) -> Found:
    """Not for the UI thread.

    Args:
        run: None of an evaluation that doesn't say which run it is of.

    Raises:
        UserError: the run's files are a newer program's, or the answers can't be read.
    """
    from slmstudio.core.evaluation import advice, at_end

    scores, request = (evaluation.scores, evaluation.request) if evaluation is not None else (None, None)
    said = advice.of_run(run, scores, request) if run else None
    times = [advice.training_time(run, each) if run else None for each in (said.proposals if said else ())]
    with_rows = evaluation is not None and scores is not None and not evaluation.benchmark
    answers = at_end.read(evaluation.folder, SHOWN) if with_rows and evaluation is not None else []
    rows = an_object((scores or {}).get("test")).get("rows")
    return Found(said, tuple(each.text() if each else "" for each in times), tuple(answers),
                 rows if isinstance(rows, int) else 0)


def follow_proposal(session: Session, run: Path, config: RunConfig, proposal: Proposal) -> bool:
    """Open the tab where it is done, prepared as far as that goes. False where that is with the run's results."""
    from slmstudio.core.evaluation.advice import proposals

    action = proposal.action
    if action == proposals.CHAT:
        session.open_run_chat(run)
    elif action == proposals.TRAIN:
        session.continue_run(run, proposal.changes)
    elif action == proposals.AGAIN:
        session.repeat_run(run, proposal.changes)
    elif action in (proposals.ROWS, proposals.COUNT, proposals.TEMPLATE):
        session.page_wanted.emit("data", "advise", (Path(config.train_file).absolute(), proposal))
    elif action == proposals.MODEL:
        session.page_wanted.emit("model", "show_larger", (Path(config.model),))
    else:
        return False
    return True


class FewLines(QLabel):
    """Text in a place of so many lines, however long it is; what doesn't fit is in its tooltip."""

    def __init__(self, lines: int, role: str = "body", name: str = ""):
        super().__init__()
        self._lines, self._whole = lines, ""
        self.setObjectName(name)
        self.setProperty("role", role)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        theme.THEME.changed.connect(self._fit)
        self._fit()

    def show_text(self, text: str) -> None:
        self._whole = breakable(" ".join(text.split()))
        self.setAccessibleName(self._whole)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setFixedHeight(self._lines * theme.line_height())
        text, width, start, end = self._whole, self.contentsRect().width(), 0, 0
        layout = QTextLayout(text, self.font())
        layout.beginLayout()
        for _ in range(self._lines):
            line = layout.createLine()
            if not line.isValid():
                break
            line.setLineWidth(width)
            start, end = line.textStart(), line.textStart() + line.textLength()
        layout.endLayout()
        is_cut = end < len(text)
        letters = self.fontMetrics()  # a letter's room, so that the label doesn't break that line
        last = letters.elidedText(text[start:], Qt.TextElideMode.ElideRight, width - letters.averageCharWidth())
        self.setText(text[:start] + last if is_cut else text)
        self.setToolTip(plain_tip(text) if is_cut else "")


class AnswerView(QWidget):
    """
    Signals:
        wanted(Proposal): the user wants to do this.
        read_all: they want to read all answers.
        retry: they want to evaluate again what failed.
    """

    wanted = Signal(object)
    read_all = Signal()
    retry = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.buttons: list[PrimaryButton | SecondaryButton] = []
        self.frame = QFrame()
        self.frame.setObjectName("verdict")
        self.headline, self.caveat = FewLines(2, "strong", "verdict_headline"), FewLines(2, "body", "verdict_caveat")
        self.headline.setAlignment(Qt.AlignmentFlag.AlignBottom)  # one of a single line is next to what follows
        column_in(self.frame, self.headline, self.caveat, spacing=theme.SPACE_XS,
                  margins=(theme.SPACE_M, theme.SPACE_S, theme.SPACE_M, theme.SPACE_S))
        self.title = text_label(tr("What to do"), "section")
        self._proposals = QWidget()
        self._grid = grid_in(self._proposals, theme.SPACE_M, theme.SPACE_S, stretch=1)
        keep_room(self.title)
        self._make_questions()
        column_in(self, self.frame, self.questions, self.title, self._proposals, STRETCH)
        self.show_waiting("")

    def _make_questions(self) -> None:
        self.questions = QWidget()
        self.count = text_label("", "small", name="answers_count")
        self.all = SecondaryButton(tr("Read all answers…"), tr("Open all answers of this evaluation, row by row."),
                                   "small", name="read_all", clicked=self.read_all)
        table = QWidget()
        grid = grid_in(table, theme.SPACE_M, theme.SPACE_XS // 2)
        for column, (text, stretch) in enumerate(((tr("Question"), 2), (tr("Before"), 3), (tr("Tuned"), 4), ("", 0))):
            grid.addWidget(text_label(text, "small"), 0, column)
            grid.setColumnStretch(column, stretch)
        self.references: list[FewLines] = []
        self.cells: list[tuple[FewLines, FewLines, FewLines, Chip]] = []
        for row in range(SHOWN):
            reference = FewLines(1, "small", f"reference_{row}")
            self.references.append(reference)
            cells = (FewLines(LINES, "muted", f"question_{row}"), FewLines(LINES, "muted", f"before_{row}"),
                     FewLines(LINES, "body", f"tuned_{row}"), Chip(name=f"chip_{row}"))
            for column, cell in enumerate(cells):
                grid.addWidget(cell, 3 * row + 1, column,
                               Qt.AlignmentFlag.AlignTop if column == 3 else Qt.AlignmentFlag(0))
            grid.addWidget(reference, 3 * row + 2, 0, 1, 4)  # in the first column, it would be cut after a word
            grid.addWidget(rule(), 3 * row + 3, 0, 1, 4)
            self.cells.append(cells)
        self._columns = grid
        theme.THEME.changed.connect(self._make_room)
        self._make_room()
        column_in(self.questions, row_of(text_label(tr("Questions that it never saw"), "section"), STRETCH, self.count,
                                         self.all), table)
        keep_room(self.all)

    def _make_room(self) -> None:
        """Room for the widest chip, so that the columns stay where they are when chips come."""
        letters = QFontMetrics(theme.base_font(theme.SMALL_SIZE))
        widest = max(letters.horizontalAdvance(tr(text)) for text, _ in CHIPS.values())
        self._columns.setColumnMinimumWidth(3, widest + 4 * theme.SPACE_S)
        for row in range(MOST):  # so that no scroll bar comes with the buttons
            self._grid.setRowMinimumHeight(row, 2 * theme.line_height(theme.SMALL_SIZE))

    # -- states ----------------------------------------------------------------------------------------------

    def show_reading(self) -> None:
        """What came of it is being read."""
        self._say("", "")
        self._show_answers((), missing="…")
        self._show_buttons(())

    def show_waiting(self, detail: str, answers: Sequence[Answers] = ()) -> None:
        """An evaluation is to come, or at work: how far it is, and the answers so far."""
        self._say(tr("Evaluating: the same held-out questions before and after training."), detail)
        self._show_answers(answers, missing="…")
        self._show_buttons(())

    def show_found(self, found: Found) -> None:
        """It is done; or there is none, and the run alone says what came of it."""
        advice = found.advice
        self._say(advice.headline if advice else "", advice.caveat if advice else "", advice.tone if advice else "")
        self.frame.setVisible(advice is not None)
        self._show_answers(found.answers, rows=found.rows)
        self._show_buttons([(each.text, each.reason, time, partial(self.wanted.emit, each)) for each, time in zip(
            advice.proposals if advice else (), found.times, strict=True)])

    def show_failed(self, error: Exception) -> None:
        """It couldn't be done: why, and a button to try again. The run is as good as before."""
        what, why = (error.what, " ".join(filter(None, (error.why, error.remedy)))) if isinstance(
            error, UserError) else (tr("Something went wrong inside SLM Studio."), f"{type(error).__name__}: {error}")
        self._say(what, why, tone="warn")
        self._show_answers((), missing="–")
        self._show_buttons([(tr("Evaluate again"), tr("The result of the training is complete."), "", self.retry.emit)])

    def _say(self, headline: str, caveat: str, tone: str = "") -> None:
        self.headline.show_text(headline)
        self.caveat.show_text(caveat)
        self.frame.setProperty("banner", tone or "plain")
        for widget in (self.frame, self.headline, self.caveat):
            theme.restyle(widget)
        self.frame.show()

    def _show_answers(self, answers: Sequence[Answers], missing: str = "", rows: int = 0) -> None:
        self.questions.setVisible(bool(missing or answers))
        for place, (question, before, tuned, chip) in enumerate(self.cells):
            each = answers[place] if place < len(answers) else None
            for cell, text in ((question, each.question if each else ""), (before, each.before if each else ""),
                               (tuned, each.tuned if each else "")):
                cell.show_text(text or missing)
            known_answer = each.reference if each else ""
            self.references[place].show_text(tr("Yours: {text}", text=known_answer) if known_answer else "")
            known = CHIPS.get(each.verdict) if each else None
            chip.set(tr(known[0]) if known else "", known[1] if known else "plain",
                     tr("Yours: {text}", text=each.reference) if known and each else "")
            chip.setVisible(known is not None)
        self.all.setVisible(bool(rows))
        self.count.setText(ntr("{shown} of {n:,} row", "{shown} of {n:,} rows", rows, shown=len(answers))
                           if rows else "")

    def _show_buttons(self, wanted: Sequence[tuple[str, str, str, object]]) -> None:
        clear(self._grid)
        self.buttons = []
        for row, (text, reason, time, act) in enumerate(wanted):
            reason = tr("Takes {time}. {reason}", time=time, reason=reason) if time else reason
            kind = SecondaryButton if row else PrimaryButton
            button = kind(text, reason, name=f"proposal_{row}", clicked=lambda _=False, act=act: act())
            self.buttons.append(button)
            self._grid.addWidget(button, row, 0)
            why = text_label(reason, "small", wrap=True)
            why.setMinimumWidth(LEAST_REASON)  # less than a wrapped label asks for
            self._grid.addWidget(why, row, 1)
        self.title.setVisible(bool(wanted))
