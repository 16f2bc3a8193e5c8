"""A file that doesn't say how it is to be read: the ways to read it, and its first rows as a model would see them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QFrame, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from slmstudio.core.data import read_options
from slmstudio.core.data.candidates import Candidate, title, why
from slmstudio.core.data.reader import Preview, preview
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import Task, TaskSlot
from slmstudio.gui.common.widgets.areas import Card, ScrolledIfNeeded, scrolled
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import ChoiceCard, PrimaryButton, SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.conversation import ConversationView
from slmstudio.gui.common.widgets.labels import ElidedLabel, breakable, show_text, text_label
from slmstudio.gui.common.widgets.layouts import (
    STRETCH,
    column_in,
    column_of,
    column_widget,
    fill,
    pages_of,
    row_of,
)
from slmstudio.gui.data import mapping_words as words
from slmstudio.gui.data.mapping_panel import Columns, MappingPanel
from slmstudio.gui.data.reading import Question, ReadRequest
from slmstudio.gui.data.rows_table import RawTable

CHOICE_WIDTH, CHOICE_SHARE = 300, 0.32
"""Pixels that the ways take, at most that share of the width."""
SHOWN_CHARACTERS = 600
"""Characters of a message that are shown; three rows should be seen at a glance."""
LEAST_PANEL, LEAST_ROWS = 130, 120
"""Pixels that the fields and the rows keep where there is little room."""


class QuestionPage(QWidget):
    """Asks how files are to be read, one file after another.

    Signals:
        said(Wanted): read the file so.
        left(Wanted): the user wants to leave it.
    """

    said = Signal(object)
    left = Signal(object)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._asked: list[tuple[ReadRequest, Question]] = []
        self._shown: Question | None = None
        self._known: dict[str, Preview] = {}
        self._last: Candidate | None = None
        self._is_touched = False
        self._task = TaskSlot()
        self.choices: list[ChoiceCard] = []
        self._group = QButtonGroup(self)
        self._group.idToggled.connect(lambda at, on: self._choose(at) if on else None)
        self._card = Card(" ")
        self._card.title.setObjectName("question_title")
        self.facts = text_label("", "small", name="question_facts")
        self._card.header.addWidget(self.facts)
        self._why = text_label("", "muted", wrap=True, name="question_why")
        self.error = ErrorBanner(closable=False, name="question_error")
        fill(self._card.body, self._why, (row_of(self._list(), (self._rows(), 1), spacing=theme.SPACE_L), 1),
             self._buttons())
        column_in(self, self._card, spacing=None)

    def _list(self) -> QWidget:
        self._ways = QVBoxLayout()
        self._ways.setSpacing(theme.SPACE_S)
        area = scrolled(column_widget(self._ways, STRETCH, spacing=None))
        area.setAccessibleName(tr("Ways to read the file"))
        self._left = area
        return area

    def _rows(self) -> QVBoxLayout:
        """The first rows, and the fields to choose columns in."""
        self.panel = MappingPanel()
        self.panel.changed.connect(self._touch)
        self._fields = ScrolledIfNeeded(self.panel, theme.scaled(LEAST_PANEL))
        self.mode = SegmentedControl(
            [tr("As the model sees them"), tr("In the file")], name="question_mode",
            tooltips=[tr("The first rows, read the chosen way. What is learned is green."),
                      tr("The first rows with all their columns.")])
        self.conversation = ConversationView(SHOWN_CHARACTERS, marks_learned=True)
        self.conversation.setObjectName("question_rows")
        self.conversation.setAccessibleName(tr("The first rows, as the model will see them"))
        self.table = RawTable("question_table")
        self._views: QStackedWidget = pages_of(self.conversation, self.table)
        theme.grow(self._views, "setMinimumHeight", LEAST_ROWS)
        self.mode.changed.connect(self._views.setCurrentIndex)
        self.unused = text_label("", "small", wrap=True, name="question_unused", tone="warn")
        inset = QFrame()
        inset.setProperty("inset", True)
        column_in(inset, self._views)
        return column_of(self._fields, row_of((ElidedLabel(tr("The first rows"), "section"), 1), self.mode),
                         (inset, 1), self.unused, self.error)

    def _buttons(self) -> QHBoxLayout:
        self.leave = SecondaryButton(tr("Not now"), tr("Don't read this file."), name="question_leave",
                                     clicked=self._leave)
        self.use = PrimaryButton(tr("Use this"), tr("Read all rows of the file this way."), name="question_use",
                                 clicked=self._say)
        self.line = ElidedLabel("", "small", Qt.TextElideMode.ElideRight, name="question_line")
        self.hint = text_label("", "small", name="question_hint", tone="warn")
        return row_of(self.leave, (self.line, 1), self.hint, self.use)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        width = min(self.width(), self.window().width())  # the page may be as wide as larger text made it
        self._left.setFixedWidth(min(theme.scaled(CHOICE_WIDTH), int(width * CHOICE_SHARE)))

    # -- which files -----------------------------------------------------------------------------------------

    @property
    def path(self) -> Path | None:
        """The file that is asked about; None without one."""
        return self._asked[0][0].path if self._asked else None

    def save_state(self) -> tuple[list[tuple[ReadRequest, Question]], int, Columns]:
        """The files that are asked about, and what is chosen for the first of them."""
        # While other files are being read, no file is shown yet, or one that has its answer.
        is_shown = self._shown is self._asked[0][1]
        return self._asked, self._group.checkedId() if is_shown else 0, self.panel.chosen()

    def restore_state(self, asked: list[tuple[ReadRequest, Question]], choice: int, columns: Columns) -> None:
        """Ask about the files that `save_state` found."""
        self._asked = asked
        self.show_first()
        self._group.button(choice).setChecked(True)
        if self._by_hand():
            self.panel.show_columns(columns)
            self._panel_changed()

    def add(self, wanted: ReadRequest, found: Question) -> None:
        """Ask about this file too."""
        places = [place for place, each in enumerate(self._asked) if each[0].path == wanted.path]
        self._asked[slice(*(places[0], places[0] + 1) if places else (len(self._asked), None))] = [(wanted, found)]

    def drop(self, path: Path) -> None:
        """Ask about this file no longer."""
        self._asked = [each for each in self._asked if each[0].path != path]

    def show_first(self) -> None:
        """Show the first file that is asked about, unless it is shown."""
        wanted, question = self._asked[0]
        if self._shown is question:
            return
        self._shown, self._known, self._last, self._is_touched = question, {}, None, False
        found = question.found
        self._card.title.setText(tr("How should {name} be read?", name=wanted.path.name))
        sheet = words.sheet_name(found.sheets, found.format)
        self.facts.setText(" · ".join(filter(None, (words.format_name(found.format), found.encoding, sheet))))
        self._why.setText(join_sentences(
            tr("The file doesn't make this clear."),
            "" if found.text_by else tr("Choose once: files with the same columns are then read the same way."),
            tr("You can train on it when you have chosen.")))
        if found.records and found.candidates:
            self._known[found.candidates[0].line] = found
        self.error.clear()
        self.table.show_rows(found)
        self.mode.set_current(0)
        self._show_panel(found, question.candidates[0] if question.candidates else None)
        self._make_choices(question.candidates)
        first = self._group.button(0)
        first.setChecked(True)
        first.setFocus(Qt.FocusReason.OtherFocusReason)

    def _make_choices(self, candidates: tuple[Candidate, ...]) -> None:
        for card in self.choices:
            self._group.removeButton(card.radio)
            card.hide()
            card.deleteLater()
        reasons = [why(each) for each in candidates]
        if len(candidates) < 2 or candidates[0].certainty > candidates[1].certainty:
            reasons[:1] = [f"{tr('Likeliest.')} {each}".strip() for each in reasons[:1]]
        tip = tr("Show the first rows read this way.")
        self.choices = [ChoiceCard(f"question_choice_{at}", tip) for at in range(len(candidates))]
        for at, (card, each) in enumerate(zip(self.choices, candidates, strict=True)):
            card.describe(title(each), "" if at and reasons[at] == reasons[at - 1] else reasons[at])
        by_hand = (tr("Choose how to split the text"), tr("Say what becomes a row, and who asks and who answers.")) if (
            self._shown is not None and self._shown.found.text_by) else (
            tr("Choose the columns yourself"),
            tr("Say what each column contains, join columns, or choose the row with their names."))
        self.choices.append(ChoiceCard("question_by_hand", tip))
        self.choices[-1].describe(*by_hand)
        for at, card in enumerate(self.choices):
            self._group.addButton(card.radio, at)
            self._ways.addWidget(card)
            card.radio.moved.connect(partial(self._move, at))
            card.show()

    def _move(self, at: int, step: int) -> None:
        radio = self.choices[(at + step) % len(self.choices)].radio
        radio.setChecked(True)
        radio.setFocus(Qt.FocusReason.OtherFocusReason)
        self._left.ensureWidgetVisible(radio.parentWidget())

    # -- how it is read --------------------------------------------------------------------------------------

    def _by_hand(self) -> bool:
        return self._group.checkedId() == len(self.choices) - 1

    def chosen(self) -> str:
        """How the file is read, as `read_options.parse` reads it."""
        assert self._shown is not None
        return self.panel.said() if self._by_hand() else self._shown.candidates[self._group.checkedId()].line

    def _choose(self, at: int) -> None:
        assert self._shown is not None
        by_hand = self._by_hand()
        self._fields.setVisible(by_hand)
        if not by_hand:
            self._last = self._shown.candidates[at]
            self._look()
            return
        if self._last is not None and not self._is_touched and self._last.line in self._known:
            self._show_panel(self._known[self._last.line], self._last)  # to be changed from there
        self._panel_changed()

    def _show_panel(self, found: Preview, best: Candidate | None) -> None:
        assert self._shown is not None
        options = best.options if best is not None else self._shown.choices
        columns = next((each.columns for each in (best, *found.candidates) if each is not None and each.columns), {})
        self.panel.show_columns(Columns.of(found, columns, options, self._shown.candidates))

    def _touch(self) -> None:
        self._is_touched = True
        self._panel_changed()

    def _panel_changed(self) -> None:
        missing = self.panel.missing()
        if missing:
            self._task.cancel()
            self.error.clear()
            self._show(None, tr("Choose a column for: {names}", names=", ".join(missing)))
        else:
            self._look(renew_panel=not self.panel.columns_count)

    def _look(self, renew_panel: bool = False) -> None:
        """Show the first rows as they are now read."""
        line, path = self.chosen(), self._asked[0][0].path
        if line in self._known:
            self._show_found(line, self._known[line], renew_panel)
            return

        def read(task: Task) -> Preview:
            columns, options = read_options.parse(line)
            return preview(path, columns or None, options, cancelled=task.cancelled)

        self._task.run(self, read, lambda found: self._show_found(line, found, renew_panel), self._failed)

    def _show_found(self, line: str, found: Preview, renew_panel: bool) -> None:
        self._known[line] = found
        self.error.clear()
        self.table.show_rows(found)
        if renew_panel:
            self._show_panel(found, found.candidates[0] if found.candidates else None)
        if found.records:
            self._show(found)
        else:
            self._failed(UserError(tr("No row can be read this way."), found.trouble))

    def _show(self, found: Preview | None, hint: str = "") -> None:
        self.conversation.show_records(found.records if found is not None else ())
        unused = found.unused_words if found is not None else ()
        show_text(self.unused, tr("Columns with words that aren't used: {columns}", columns=", ".join(unused))
                  if unused else "")
        line = self.chosen()
        self.line.setText(tr("In the terminal: {option}", option=f"--map “{line}”") if line and not hint else "")
        self.hint.setText(breakable(hint))
        self.use.setEnabled(found is not None)

    def _failed(self, error: Exception) -> None:
        self._show(None)
        self.error.show_error(error)

    def show_error(self, error: Exception) -> None:
        """Say why the file couldn't be read so."""
        if isinstance(error, UserError):
            error = UserError(error.what, error.why, tr("Choose another way to read it."))
        self.error.show_error(error)

    def _say(self) -> None:
        self.said.emit(replace(self._asked[0][0], said=self.chosen(), by_hand=True, answered=True))

    def _leave(self) -> None:
        self.left.emit(self._asked.pop(0)[0])
