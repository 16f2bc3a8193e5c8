"""One row of an evaluation: the question, two answers and the reference beside each other, with what differs marked."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QWidget

from slmstudio.core.data.record import message_text
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_in, row_of
from slmstudio.gui.evaluation.answers.panes import QuestionView, ReferencePane, TextPane, stands_for
from slmstudio.gui.evaluation.answers.rows_model import all_scores, row_score
from slmstudio.gui.evaluation.tables import figure, metric_label, model_label

if TYPE_CHECKING:
    from slmstudio.core.evaluation.scoring import Row

LONGEST = 800
"""Pieces of a text that are compared; what comes after is shown without marks, for comparing takes their square."""
LEAST_COMMON = 0.5
"""Share of the pieces that two texts must have in common: between texts that are less alike, nearly all would be
marked."""
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
_PIECES = re.compile(r"\s+|[^\s]+")


def pieces(text: str) -> list[str]:
    """A text in words, white space and marks; put together they are the text.

    Punctuation stands apart, so that "Form 7." and "Form 7" differ in the point alone; scripts that write no spaces
    are cut into letters with their marks.

    >>> pieces("फ़ॉर्म 7 भरें।"), pieces("go, now")
    (['फ़ॉर्म', ' ', '7', ' ', 'भरें', '।'], ['go', ',', ' ', 'now'])
    """
    found: list[str] = []
    for run in _PIECES.findall(text):
        found += [run] if run.isspace() else _words(run)
    return found


def _words(run: str) -> list[str]:
    found: list[str] = []
    before = ""
    for letter in run:
        kind = _kind(letter)
        if found and (kind == "mark" or (kind == "word" and before == "word")):
            found[-1] += letter
        else:
            found.append(letter)
        before = before if kind == "mark" and before else kind
    return found


def _kind(letter: str) -> str:
    """ "word", "mark" (belongs to the letter before it), "alone" (a letter of an unspaced script) or "sign"."""
    category = unicodedata.category(letter)
    if category[0] == "M" or letter in "\u200c\u200d":
        return "mark"
    if category[0] in "LN":
        return "alone" if unicodedata.name(letter, "").startswith(_UNSPACED) else "word"
    return "sign"


def _compared(piece: str) -> str:
    return unicodedata.normalize("NFC", piece)


def changed(text: str, other: str) -> list[tuple[str, bool]]:
    """The pieces of `text`, each with whether it isn't in `other` at its place. White space never differs, and of texts
    that have little in common nothing is marked."""
    mine, its = pieces(text), pieces(other)
    first, second = mine[:LONGEST], its[:LONGEST]
    matcher = SequenceMatcher(None, [_compared(p) for p in first if not p.isspace()],
                              [_compared(p) for p in second if not p.isspace()], autojunk=False)
    if matcher.ratio() < LEAST_COMMON:
        return [(piece, False) for piece in mine]
    equal: set[int] = set()
    for block in matcher.get_matching_blocks():
        equal.update(range(block.a, block.a + block.size))
    out, number = [], 0
    for piece in first:
        if piece.isspace():
            out.append((piece, False))
            continue
        out.append((piece, number not in equal))
        number += 1
    return out + [(piece, False) for piece in mine[LONGEST:]]


def nearest(text: str, references: Sequence[str]) -> int:
    """Index of the reference that has the most words in common with a text."""
    def common(reference: str) -> float:
        ours, its = (set(map(_compared, pieces(each[:4000]))) for each in (text, reference))
        return 2 * len(ours & its) / max(1, len(ours) + len(its))

    return max(range(len(references)), key=lambda index: common(references[index]))


def marked(text: str, other: str, style: str) -> str:
    """`text` as rich text, with the words in `style` that `other` hasn't.

    Args:
        style: CSS of a marked word.
    """
    out: list[str] = []
    open_ = False
    parts = changed(text, other)
    for number, (piece, differs) in enumerate(parts):
        follows = number + 1 < len(parts) and parts[number + 1][1]
        inside = differs or (open_ and piece.isspace() and follows and "\n" not in piece)
        if inside != open_:
            out.append(f'<span style="{style}">' if inside else "</span>")
            open_ = inside
        out.append(escaped(piece))
    return "".join(out) + ("</span>" if open_ else "")


def escaped(text: str) -> str:
    """Plain text as rich text that keeps its lines and spaces."""
    return html.escape(text).replace("\n", "<br>").replace("  ", "&nbsp; ")


LONGEST_SHOWN = 200_000
"""Characters of a text that are laid out."""


@dataclass(frozen=True)
class _Marked:
    first: str
    second: str
    reference: str


class RowDetail(QWidget):
    """The row at the right of the list. What is written for a reference and not kept yet comes again with its row.

    Attributes:
        fixed: why nothing of the rows can be changed; "" if it can.

    Signals:
        correct_wanted(Row, test: bool): a row is to be made of it, for training or for a test set.
        tags_wanted(Row, category: str, language: str): the user typed others.
        references_wanted(Row, list[str]): the user wrote others.
        remove_wanted(Row): it is to be taken out of the test set.
    """

    correct_wanted = Signal(object, bool)
    tags_wanted = Signal(object, str, str)
    references_wanted = Signal(object, list)
    remove_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._row: Row | None = None
        self._models = ("base", "tuned")
        self._marking = TaskSlot()
        self._busy = False
        self._tagged: tuple[int, str, str] | None = None
        self._evaluation = Path()
        self._drafts: dict[tuple[Path, int], str] = {}
        self.question = QuestionView("row_question")
        self.first, self.second = TextPane("row_first"), TextPane("row_second")
        self.reference = ReferencePane("row_reference")
        self.reference.references_wanted.connect(self._want_references)
        self.reference.left.connect(self._forget_draft)
        self.legend = text_label(tr("Highlighted in an answer: words that aren't in the reference. Highlighted in the "
                                    "reference: words that aren't in the second answer. Nothing is highlighted in "
                                    "texts with little in common."), "small", wrap=True)
        self.place = ElidedLabel("", "section")
        self.trained = Chip(tr("in the training rows"), "warn")
        self.trained.setToolTip(tr("The model was trained on this question, so its answer shows memory, not skill."))
        self._make_foot()
        self._lay_out()
        theme.THEME.changed.connect(self._mark)

    def _make_foot(self) -> None:
        self.category, self.language = QLineEdit(), QLineEdit()
        for field, name, label in ((self.category, "row_category", tr("Category")),
                                   (self.language, "row_language", tr("Language"))):
            named(field, name, label,
                  tr("Scores are grouped by it. Enter saves it, in this evaluation and in the test file."))
            field.setPlaceholderText(label)
            field.setMaximumWidth(130)
            field.editingFinished.connect(self._tag)
        self.correct = SecondaryButton(tr("Correct this…"),
                                       tr("Write the answer as it should have been, for the next training."),
                                       name="row_correct",
                                       clicked=lambda: self._row and self.correct_wanted.emit(self._row, False))
        self.test = SecondaryButton(tr("Add to test set…"), tr("Add the question to a test set."), name="row_test",
                                    clicked=lambda: self._row and self.correct_wanted.emit(self._row, True))
        self.remove = IconButton("trash", tr("Remove this row from the test set (Undo brings it back)"),
                                 name="row_remove", clicked=lambda: self._row and self.remove_wanted.emit(self._row))
        self.fixed = ""
        self._tips = {widget: widget.toolTip() for widget in (self.category, self.language, self.remove, self.correct)}

    def _lay_out(self) -> None:
        self.foot = QWidget()
        foot = row_in(self.foot)
        for widget in (self.category, self.language):
            fill(foot, text_label(widget.accessibleName(), "small"), widget)
        fill(foot, STRETCH, self.remove, self.test, self.correct)
        column_in(self, row_of((self.place, 1), self.trained), self.question,
                  (row_of((self.first, 1), (self.second, 1), (self.reference, 1)), 1), self.legend, self.foot)

    def begin(self, evaluation: Path) -> None:
        """Show rows of another evaluation from now on."""
        from slmstudio.core.evaluation import benchmark_store

        self.show_row(None, "", "")
        self._evaluation = evaluation
        self.fixed = tr("Benchmark questions can't be changed or used for training. Otherwise its figures could no "
                        "longer be compared with others.") if benchmark_store.shows_rows(evaluation) else ""
        for widget, tip in self._tips.items():
            widget.setEnabled(not self.fixed)
            widget.setToolTip(self.fixed or tip)

    def set_narrow(self, on: bool) -> None:
        """Leave room for the panel below: it shows the question itself."""
        for widget in (self.question, self.legend, self.foot):
            widget.setVisible(not on)

    def set_busy(self, busy: bool) -> None:
        """Take nothing while a change is at work, whichever row is shown meanwhile: it would be lost."""
        self._busy = busy
        self._tagged = self._tagged if busy else None
        self._show_state()

    def _show_state(self) -> None:
        self.setEnabled(self._row is not None and not self._busy)

    # -- showing ---------------------------------------------------------------------------------------------

    def show_row(self, row: Row | None, first: str, second: str) -> None:
        """Show a row with the answers of two models; None empties the view."""
        self._keep_draft()
        self._row, self._models = row, (first, second)
        self._show_state()
        self.reference.end()
        self.trained.setVisible(row is not None and row.trained_on)
        if row is None:
            self.place.setText("")
            for view in (self.question, self.first.text, self.second.text, self.reference.text):
                view.clear()
            return
        self.place.setText(tr("Question, line {line:,}", line=row.line) if row.line else
                           tr("Question {number:,}", number=row.id + 1))
        self.question.setHtml(_question(row))
        self.category.setText(row.category or "")
        self.language.setText(row.language or "")
        for pane, model in ((self.first, first), (self.second, second)):
            found = row_score(row, model)
            pane.show_head(model_label(model), f"{metric_label(found[0])} {figure(*found)}" if found else "",
                           all_scores(row, model))
        many = len(row.references) > 1
        self.reference.show_head(tr("References: {count:,}", count=len(row.references)) if many else
                                 tr("Reference"), "", "")
        self.reference.set_references(row.references, why_not=self.fixed or (
            tr("The right answer is one of the choices. Change it in the file.") if row.kind == "choice" else ""))
        self.go_on()
        self._mark()

    # -- what is written and not kept ------------------------------------------------------------------------

    def unfinished(self) -> set[int]:
        """The ids of the other rows of this evaluation for which something is written."""
        return {item for evaluation, item in self._drafts if evaluation == self._evaluation
                and not (self._row is not None and item == self._row.id)}

    def go_on(self) -> None:
        """Show what was written for the row and not kept, as when it couldn't be."""
        key = (self._evaluation, self._row.id if self._row is not None else -1)
        if self.reference.is_edited():
            return  # more may be written by now
        if key in self._drafts and not self.reference.go_on(self._drafts[key]):
            del self._drafts[key]

    def _keep_draft(self) -> None:
        draft = self.reference.draft()
        if self._row is not None and draft is not None:
            self._drafts[self._evaluation, self._row.id] = draft
        elif self.reference.is_edited():
            self._forget_draft()

    def _forget_draft(self) -> None:
        if self._row is not None:
            self._drafts.pop((self._evaluation, self._row.id), None)

    def let_go(self, evaluation: Path, row: int, references: list[str]) -> None:
        """Forget what was written for a row, of whichever evaluation: it is kept. What was written since isn't."""
        draft = self._drafts.get((evaluation, row))
        if draft is not None and stands_for(draft, references):
            del self._drafts[evaluation, row]

    def _want_references(self, written: list[str]) -> None:
        if self._row is not None:
            self._keep_draft()  # it may be refused
            self.references_wanted.emit(self._row, written)

    def _mark(self) -> None:
        """Mark what differs, off the UI thread: comparing two long texts takes a while."""
        row = self._row
        if row is None:
            return
        first, second = self._models
        style = _style("warn")
        self._marking.run(self, lambda task: _marked(row, first, second, style, _style("ok")), self._show,
                          self._not_marked)

    def _not_marked(self, error: Exception) -> None:
        """Without marks the texts can still be read."""
        row = self._row
        if row is not None:
            first, second = (escaped(row.answers.get(name, "")) for name in self._models)
            self._show(_Marked(first, second, escaped("\n\n".join(row.references))))

    def _show(self, texts: _Marked) -> None:
        row = self._row
        if row is None:
            return
        for pane, model, text in ((self.first, self._models[0], texts.first),
                                  (self.second, self._models[1], texts.second)):
            none = row.skipped.get(model) or (tr("An empty answer.") if model in row.answers else
                                              tr("No answer."))
            pane.text.setHtml(text or f"<i>{escaped(none)}</i>")
        none = escaped(tr("No reference."))
        self.reference.text.setHtml(texts.reference or f"<i>{none}</i>")

    def _tag(self) -> None:
        row, category, language = self._row, self.category.text().strip(), self.language.text().strip()
        if row is None or (category, language) == (row.category or "", row.language or ""):
            return
        if self._tagged != (row.id, category, language):  # Enter asks for it, and then the field that loses the focus
            self._tagged = (row.id, category, language)
            self.tags_wanted.emit(row, category, language)


def _style(kind: str) -> str:
    ground, ink = theme.colour(f"{kind}_ground").name(), theme.colour(kind).name()
    return f"background-color:{ground}; color:{ink}; text-decoration:underline"


def _question(row: Row) -> str:
    """The messages before the answer; a single question stands alone."""
    if len(row.messages) == 1:
        return escaped(row.messages[0].get("content", "")[:LONGEST_SHOWN])
    return "<br>".join(f"<b>{escaped(m.get('role', ''))}</b> {escaped(message_text(m))}"
                       for m in row.messages)[:LONGEST_SHOWN]


def _marked(row: Row, first: str, second: str, style: str, missing: str) -> _Marked:
    answers = [row.answers.get(name, "")[:LONGEST_SHOWN] for name in (first, second)]
    if not row.references:
        return _Marked(marked(answers[0], answers[1], style),
                       marked(answers[1], answers[0], style), "")
    shown = []
    for answer in answers:
        reference = row.references[nearest(answer, row.references)]
        shown.append(marked(answer, reference, style))
    references = [marked(each[:LONGEST_SHOWN], answers[1], missing) for each in row.references]
    return _Marked(shown[0], shown[1], "<hr>".join(references))
