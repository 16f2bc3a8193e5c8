"""The Expert card: every field of the coming run, with the reason for its value, folded and searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit, QToolButton, QWidget

from slmstudio.core.errors import Problem
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.run.config import FIELDS, RunConfig, in_groups, search
from slmstudio.gui.common import run_texts, theme
from slmstudio.gui.common.widgets.areas import Card, scrolled
from slmstudio.gui.common.widgets.buttons import ButtonRow, IconButton, SecondaryButton, keep_room
from slmstudio.gui.common.widgets.fields import keep_choice, named
from slmstudio.gui.common.widgets.labels import Chip, show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, fill, row_of
from slmstudio.gui.training.field_row import FieldRow
from slmstudio.gui.training.planning import NORMAL, Planning
from slmstudio.gui.training.several import CardsSection

if TYPE_CHECKING:
    from slmstudio.core.run.planning.row_counts import RowCounts

WIDTH = 270
FORM_HEIGHT = 100
"""A field with its reason at least; where there is no room for it, the page scrolls."""


class PlanFoot(QWidget):
    """The foot of the Expert card.

    Attributes:
        find: opens the search for better settings.
        code, save: write the plan as a script, and as a file that the terminal trains from.
        other: shows the plan of another run instead of the current one, or goes back to that.
        afresh: plans from the base model again, not from a finished run.

    A button never comes up where another one was: the foot's last rows stay, the one above them comes and goes, and
    what is hidden in a row keeps its room.
    """

    def __init__(self) -> None:
        super().__init__()
        self._going_on = ""
        self._showed_plan = False
        self.note = text_label("", "small", wrap=True, name="plan_note", selectable=True)
        self.other = SecondaryButton(tr("Plan the next run"), "", "small", name="plan_other")
        self.afresh = SecondaryButton(tr("Plan again"), tr("Plan from the base model again."), "small",
                                      name="plan_afresh")
        self.find = SecondaryButton(tr("Search for better settings…"),
                                    tr("Try other values of some fields within a time that you choose, and score the "
                                       "best on rows that the search never used."), "small", name="search_settings")
        self.code = SecondaryButton(tr("Show the code…"),
                                    tr("Save a Python script that does the same as this plan, without SLM Studio."),
                                    "small", name="show_code")
        self.save = SecondaryButton(tr("Save plan…"),
                                    tr("Save these settings as a file, from which the terminal can train."), "small",
                                    name="save_plan")
        self.code.setEnabled(False)
        self.save.setEnabled(False)
        column = column_in(self, self.note, (self.afresh, 0, Qt.AlignmentFlag.AlignLeft))
        for buttons in ((self.find,), (self.other,), (self.code, self.save)):
            row = ButtonRow()
            for button in buttons:
                row.box.addWidget(button, 1)
            column.addWidget(row)
        keep_room(self.other)
        self.show_plan(has_run=False)

    def show_plan(self, *, has_run: bool, going_on: str = "") -> None:
        """The plan of a coming run is shown.

        Args:
            has_run: there is a run to go back to.
            going_on: name of the finished run that the plan continues from.
        """
        self.afresh.setVisible(bool(going_on))
        self.find.show()
        self._show_other(has_run, tr("Back to the run"), tr("Show the run and its plan."))
        went_on, self._going_on = self._going_on, going_on
        if going_on:
            self.say(tr("Continues from what “{name}” learned. If you choose other rows in the Data tab, the plan "
                        "adapts.", name=going_on))
        elif went_on or not self._showed_plan:
            self.say("")
        self._showed_plan = True

    def show_run(self, note: str, *, can_plan: bool, searching: bool) -> None:
        """The plan of a run that has started is shown.

        Args:
            searching: it is a search's trial.
        """
        self.afresh.hide()
        self.find.setVisible(searching)
        self._showed_plan = False
        self._show_other(can_plan, tr("Plan the next run"),
                         tr("Plan another run with the chosen data and model: start it, or add it to the queue."))
        self.say(note)

    def _show_other(self, on: bool, text: str, tooltip: str) -> None:
        self.other.setVisible(on)
        self.other.setText(text)
        self.other.setToolTip(tooltip)

    def say(self, note: str) -> None:
        show_text(self.note, note)


class _Fold(QToolButton):
    """A heading that shows the fields below it, or hides them."""

    def __init__(self, heading: str, name: str):
        super().__init__()
        self.setText(heading)
        self.setToolTip(tr("Show or hide these fields."))
        self.setObjectName(name)
        self.setProperty("kind", "fold")
        self.setCheckable(True)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.toggled.connect(self._paint)
        theme.THEME.changed.connect(self._paint)
        self._paint()

    def _paint(self) -> None:
        self.setIcon(theme.icon("chevron-down" if self.isChecked() else "chevron-right"))


class PlanPanel(Card):
    """The Expert card: every field of the plan, or of the configuration of a run; the user's changes become the plan's.

    Attributes:
        planning: what the plan is made from.
        config: what is shown.
        search: only fields with these words are shown, whatever is folded.
        folds: the headings, each with the names of its fields.
        buttons: what else can be done with the plan.
    """

    def __init__(self, planning: Planning):
        super().__init__(tr("Expert"))
        self.planning = planning
        self.config: RunConfig | None = None
        self.rows: dict[str, FieldRow] = {}
        self._objectives: tuple[str, ...] = ()
        self.folds: dict[QToolButton, tuple[str, ...]] = {}
        theme.grow(self, "setFixedWidth", WIDTH)
        self.badge = Chip(name="plan_changed")
        self.reset = IconButton("undo", tr("Reset: leave all fields to the plan again."), name="plan_reset",
                                clicked=planning.reset)
        keep_room(self.reset)
        fill(self.header, self.badge, self.reset)
        self.search = named(
            QLineEdit(placeholderText=ntr("Search {n} field", "Search {n} fields", len(FIELDS)),
                      clearButtonEnabled=True), "plan_search", tr("Search the fields of the plan"),
            tr("Show the fields with these words in their name, their label or what they do."))
        self.search.textChanged.connect(self._show_rows)
        self.buttons = PlanFoot()
        fill(self.body, self.search, (self._make_form(), 1), self.buttons)
        self._show_changed()
        self._show_rows()
        planning.active_changed.connect(self._set_editable)
        planning.planned.connect(self._planned)
        planning.confirmed.connect(self._show_plan)
        planning.refused.connect(self._show_problems)

    def _make_form(self) -> QWidget:
        page = QWidget()
        self._form = column_in(page, spacing=theme.SPACE_M, margins=(0, 0, theme.SPACE_M, 0))
        self.cards = CardsSection()
        self.cards.chosen.connect(self.planning.decide)
        shared = set(run_texts.PAIRS.values())
        for at, (heading, names) in enumerate(in_groups().items()):
            fold = keep_choice(_Fold(heading, f"plan_fold_{at}"))
            fold.toggled.connect(self._show_rows)
            self.folds[fold] = names
            self._form.addWidget(fold)
            for name in names:
                self.rows[name] = FieldRow(name, FIELDS[name].help, page)
                self.rows[name].edited.connect(self.planning.decide)
                self.rows[name].reset.connect(self.planning.propose)
            for name in names:
                if name not in shared:
                    self._add_line(name)
            if "processes" in names:
                self._form.addWidget(self.cards)
        fill(self._form, STRETCH)
        form = named(scrolled(page), "plan_form")
        theme.grow(form, "setMinimumHeight", FORM_HEIGHT)
        return form

    def _add_line(self, name: str) -> None:
        """One field, or two that belong together, such as micro-batch × accumulation."""
        partner = run_texts.PAIRS.get(name)
        if partner is None:
            self._form.addWidget(self.rows[name])
            return
        line = row_of((self.rows[name], 3, Qt.AlignmentFlag.AlignTop),
                      (self.rows[partner], 2, Qt.AlignmentFlag.AlignTop))
        column = column_of(line, spacing=2)
        for each in (name, partner):  # the reasons take the whole width
            column.addWidget(self.rows[each].reason)
        self._form.addLayout(column)

    def _show_rows(self) -> None:
        config = self.config or RunConfig(name="", model="", train_file="")  # while the first plan is being made
        found = search(text) if (text := self.search.text().strip()) else None
        for fold, names in self.folds.items():
            wanted = found if found is not None else set(names) if fold.isChecked() else set(filter(
                self._is_simple, names))
            shown = {name for name in names if self.rows[name].problem.text()
                     or (name in wanted and FIELDS[name].applies(config))}
            fold.setVisible(found is None or bool(shown))
            for name in names:
                row = self.rows[name]
                row.setVisible(name in shown)
                row.reason.setVisible(name in shown and bool(row.reason.text()) and not row.problem.text())
            if "processes" in names:
                self.cards.setVisible("processes" in shown)

    def _is_simple(self, name: str) -> bool:
        return FIELDS[name].simple and (name != "objective" or len(self._objectives) > 1)

    def _planned(self) -> None:
        self._set_objectives(self.planning.objectives)
        if self.planning.active:
            self._show_plan()

    def _show_plan(self) -> None:
        assert self.planning.config is not None
        self.show_config(self.planning.config, self.planning.counts)

    def _set_objectives(self, objectives: Sequence[str]) -> None:
        """Offer what the data can teach; where that is one thing only, there is nothing to choose."""
        if tuple(objectives) != self._objectives:
            self._objectives = tuple(objectives)
            self.rows["objective"].set_choices(self._objectives)

    def show_config(self, config: RunConfig, counts: RowCounts | None = None) -> None:
        """Show a configuration, with its steps."""
        self.config = config
        for name, row in self.rows.items():
            changed = name in self.planning.overrides and self.planning.active
            reason = tr("You set this.") if changed else config.reasons.get(name, "")
            row.show_config(config, reason, changed)
        if counts is not None:
            row = self.rows["epochs"]
            makes = ntr("That makes {n:,} step.", "That makes {n:,} steps.", counts.steps)
            row.reason.setText(f"{row.reason.text()} {makes}".strip())
        batch = self.rows["gradient_accumulation_steps"]
        batch.reason.setText(ntr("= {n:,} row per step", "= {n:,} rows per step", config.effective_batch_size))
        self.buttons.code.setEnabled(True)
        self.buttons.save.setEnabled(True)
        self.cards.show_config(config, self.planning.active)
        self._show_changed()
        self._show_rows()

    def _show_changed(self) -> None:
        count = len(self.planning.changed())
        self.badge.set(ntr("{n} changed", "{n} changed", count) if count else tr("all as proposed"),
                       "accent" if count else "plain")
        self.badge.setVisible(self.planning.active)
        self.reset.setVisible((bool(count) or self.planning.choice != NORMAL) and self.planning.active)

    def _show_problems(self, problems: Sequence[Problem]) -> None:
        for name, row in self.rows.items():
            told = next((problem.message for problem in reversed(problems) if problem.field == name), "")
            if told and name in self.planning.overrides:
                row.show_typed(str(self.planning.overrides[name]))
            row.show_problem(told)
        self._show_changed()
        self._show_rows()

    def _set_editable(self, on: bool) -> None:
        for row in self.rows.values():
            row.set_editable(on)
        self.cards.set_editable(on)
