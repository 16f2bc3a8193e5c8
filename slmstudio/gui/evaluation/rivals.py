"""Is tuning worth it? What needs no training, to be asked as well, and what came of that: a sentence, and a table with
what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QPlainTextEdit, QWidget

from slmstudio.core import units
from slmstudio.core.evaluation.at_end import Pace, total
from slmstudio.core.evaluation.comparability import TUNED
from slmstudio.core.evaluation.rival_models import BASE, EXAMPLES, PROMPT, RETRIEVAL, TUNED_RETRIEVAL
from slmstudio.core.evaluation.rivals import UNTRAINED
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.files import an_object, number, objects
from slmstudio.core.i18n import noop, ntr, number_text, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.figures import Figure, FigureTable, MeaningButton
from slmstudio.gui.common.widgets.labels import plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, grid_of, row_of
from slmstudio.gui.evaluation.tables import figure, metric_label, model_label, score_figure

OFFERED = {
    PROMPT: (noop("A prompt"),
             noop("The base model with a system prompt that says what to do. Shows whether a good prompt is enough.")),
    EXAMPLES: (noop("Examples in the prompt"),
               noop("The base model reads the training rows that are most like the question before it answers, as many "
                    "as fit. Shows whether a few examples are enough.")),
    RETRIEVAL: (noop("Looking the answer up in your rows"),
                noop("The base model gets the training rows that are most like the question as a text to answer from. "
                     "Suits facts that change: new rows need no training.")),
    TUNED_RETRIEVAL: (noop("The tuned model with look-up"),
                      noop("The tuned model gets such rows, too. Shows whether looking up adds to what it learned."))}
WITH_PROMPT = (PROMPT, EXAMPLES, RETRIEVAL)
PROMPT_LINES, NAME_WIDTH = 3, 100


class RivalBoxes(QWidget):
    """A mark beside each rival of the tuned model, with the time that it adds, and the prompt of those that are the
    base.

    Signals:
        changed: others are marked, or the prompt is different.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._of: object = None
        grid = grid_of(theme.SPACE_M, theme.SPACE_XS, stretch=0)
        self.boxes: dict[str, QCheckBox] = {}
        self.times = {name: text_label("", "small", name=f"rival_time_{name}") for name in OFFERED}
        for row, (name, (label, tip)) in enumerate(OFFERED.items()):
            box = self.boxes[name] = named(QCheckBox(tr(label)), f"rival_{name}", tip=plain_tip(tr(tip)))
            box.toggled.connect(self._show_state)
            grid.addWidget(box, row, 0, Qt.AlignmentFlag.AlignLeft)
            grid.addWidget(self.times[name], row, 1)
        self._title = text_label(tr("System prompt of the base model"), "small")
        self.system = named(QPlainTextEdit(), "rivals_system", tr("System prompt of the base model"),
                            tr("Proposed from your training rows. Write the best prompt that you know: tuning has to "
                               "beat it."))
        self.system.setFixedHeight((PROMPT_LINES + 1) * self.system.fontMetrics().lineSpacing())
        self.system.setTabChangesFocus(True)
        self.system.textChanged.connect(self.changed)
        column_in(self, text_label(tr("Compare also with"), "small"), grid, self._title, self.system,
                  spacing=theme.SPACE_XS)
        self._show_state()

    def offer(self, of: object, system: str, *, has_rows: bool) -> None:
        """Offer them for a run, or for rows. What is marked stays so; a prompt that was written stays with its run.

        Args:
            system: the prompt that is proposed.
            has_rows: there are training rows to show; without them only a prompt can be tried.
        """
        if of != self._of:
            self._of = of
            self.system.setPlainText(system)
        for name, box in self.boxes.items():
            box.setEnabled(has_rows or name == PROMPT)
            box.setChecked(box.isChecked() and box.isEnabled())

    def show_times(self, paces: Mapping[str, Pace], answers: int) -> None:
        """Say how long each takes for so many answers, where that is known."""
        for name, label in self.times.items():
            time = total(paces, [name], answers) if name in paces and answers else None
            label.setText(tr("adds {time}", time=time.text()) if time else "")

    def names(self) -> list[str]:
        """Those that are marked."""
        return [name for name, box in self.boxes.items() if box.isChecked()]

    def prompt(self) -> str:
        return self.system.toPlainText().strip()

    def missing(self, models: list[str]) -> str:
        """What must still be chosen beside these models; "" if nothing is missing."""
        if self.names() and not {BASE, TUNED} <= set(models):
            return tr("Select “Base” and “Tuned” too: the comparison needs both.")
        if PROMPT in self.names() and not self.prompt():
            return tr("Write the system prompt to compare with, or turn “A prompt” off.")
        return ""

    def _show_state(self) -> None:
        asked = any(name in WITH_PROMPT for name in self.names())
        self._title.setVisible(asked)
        self.system.setVisible(asked)
        self.changed.emit()


class RivalsView(QWidget):
    """The sentence, the table, and a button that lets Chat answer as the marked one did.

    Attributes:
        best: the highest score as it is written; "" without any.

    Signals:
        chat_wanted(str): the user wants to talk to this one; it is named as in the scores.
    """

    chat_wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.sentence = text_label("", "heading", wrap=True, name="rivals_sentence", selectable=True)
        self.table = FigureTable(tr("What each scores and costs"), grows=True, first=NAME_WIDTH)
        self.table.setObjectName("rivals_table")
        self.table.selectionModel().currentRowChanged.connect(self._show_button)
        self.meaning = MeaningButton("interval", "p_value")
        self.use = SecondaryButton(tr("Use it in Chat"), kind="small", name="rivals_use",
                                   clicked=lambda: self.chat_wanted.emit(self.marked()))
        self._found: dict[str, Any] = {}
        self._names: list[str] = []
        self.best = ""
        self.title = text_label("", "section")
        column_in(self, row_of(self.title, self.meaning, STRETCH, self.use, spacing=theme.SPACE_XS), self.sentence,
                  self.table)
        self._show_button()
        self.hide()

    def show_scores(self, scores: Mapping[str, Any] | None) -> None:
        """Show what the rivals of these scores come to; hide where none were asked."""
        found = an_object((scores or {}).get("rivals"))
        lines = objects(found.get("table"))
        self.setVisible(bool(lines))
        if found == self._found:
            return  # read again and the same: another row may be marked
        self._found, self.best = found, ""
        if not lines:
            return
        self.title.setText(tr("What training has to beat") if found.get("case") == UNTRAINED else
                           tr("Is tuning worth it?"))
        self.sentence.setText(str(found.get("sentence") or ""))
        self._names = [str(each.get("name")) for each in lines]
        headers, rows = rival_rows(found)
        self.table.show_rows(headers, rows)
        row = self._names.index(found["best"]) if found.get("best") in self._names else -1
        self.best = rows[row][1].text if row >= 0 else ""
        self.use.setVisible(row >= 0)
        self.table.selectRow(row)
        self._show_button()

    def marked(self) -> str:
        """The one in the current row, at first the best."""
        row = self.table.currentIndex().row()
        return self._names[row] if 0 <= row < len(self._names) else ""

    def _show_button(self) -> None:
        name = self.marked()
        self.use.setEnabled(bool(name))
        self.use.setToolTip(plain_tip(
            tr("Chat and the server answer with the tuned model alone.") if name == TUNED else
            tr("Chat and the server answer as “{model}” did here, with its prompt and rows. Mark another row to use "
               "that one.", model=model_label(name))))


def rival_rows(rivals: Mapping[str, Any]) -> tuple[list[str], list[list[Figure]]]:
    """The base, the rivals and the tuned model in rows: score, lead, and what an answer costs.

    Args:
        rivals: of scores.json.
    """
    metric, best = str(rivals.get("metric")), rivals.get("best")
    is_trial = rivals.get("case") == UNTRAINED
    compared = {str(each.get("of" if is_trial else "with")): each for each in objects(rivals.get("comparisons"))}
    rows = []
    for line in objects(rivals.get("table")):
        name, shown = str(line.get("name")), round(number(line, "context_rows") or 0)
        score = line if number(line, "value") is not None else None
        detail = ntr("{n:,} row shown", "{n:,} rows shown", shown) if shown else ""
        rows.append([Figure(model_label(name), detail, raw=model_label(name), strong=name == best),
                     score_figure(metric, score, name == best), _lead(metric, compared.get(name)), _cost(line)])
    lead = tr("Ahead of base by") if is_trial else tr("Tuned ahead by")
    return ["", metric_label(metric), lead, tr("Each answer")], rows


def _lead(metric: str, comparison: Mapping[str, Any] | None) -> Figure:
    """By how much one is better than another, with its interval."""
    sign = 1 if metric not in METRICS or METRICS[metric].higher_is_better else -1
    found = comparison or {}
    difference, *ends = (number(found, key) for key in ("difference", "low", "high"))
    if difference is None:
        return Figure("", raw="")
    low, high = sorted(sign * end for end in ends if end is not None) if None not in ends else (None, None)
    detail = "" if low is None else tr("{low} to {high}", low=figure(metric, low), high=figure(metric, high))
    arrow = {"better": "▲ ", "worse": "▼ "}.get(str(found.get("verdict")), "")
    return Figure(arrow + _signed(metric, sign * difference), detail, raw=difference, tip=str(found.get("sentence")))


def _signed(metric: str, value: float) -> str:
    return ("+" if value > 0 else "") + figure(metric, value)


def _cost(line: Mapping[str, Any]) -> Figure:
    tokens, seconds, memory = (number(line, key) for key in ("prompt_tokens", "seconds", "memory_bytes"))
    detail = [tr("{number} s", number=number_text(seconds, ",.1f"))] if seconds is not None else []
    detail += [units.format_bytes(int(memory))] if memory else []
    text = ntr("{n:,} token", "{n:,} tokens", round(tokens)) if tokens else "–"
    return Figure(text, " · ".join(detail), tip=tr("Tokens of a question as the model is asked, seconds of an answer, "
                                                   "and the most memory that it took."))
