"""The Plan card: every field of the coming run, with the reason for its value."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from slmstudio.core.errors import Problem
from slmstudio.core.i18n import again, ntr, tr
from slmstudio.core.run.config import FIELDS, RunConfig, in_groups
from slmstudio.gui.common import plan_fields, theme
from slmstudio.gui.common.widgets.areas import scrolled
from slmstudio.gui.common.widgets.buttons import SegmentedControl
from slmstudio.gui.common.widgets.card import Card
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, fill, row_of
from slmstudio.gui.training.field_row import FieldRow
from slmstudio.gui.training.fit_line import FitLine
from slmstudio.gui.training.guard.section import guard_text
from slmstudio.gui.training.lost_rows import LostRowsBanner
from slmstudio.gui.training.plan_buttons import PlanButtons
from slmstudio.gui.training.planning import Planning
from slmstudio.gui.training.several.cards import CardsSection

if TYPE_CHECKING:
    from slmstudio.core.hardware.readings import MachineReading
    from slmstudio.core.run.planning.row_counts import LostRows, RowCounts

WIDTH = 270
FORM_HEIGHT = 170
"""Two fields with their reasons at least; where there is no room for them, the page scrolls."""


class PlanPanel(Card):
    """Shows the plan, or the configuration of a run; the user's changes become the plan's.

    Attributes:
        planning: what the plan is made from.
        config: what is shown.
        lost: what it would lose of the rows.
        fit: what it takes.
        buttons: what to do with it.
    """

    def __init__(self, planning: Planning):
        super().__init__(tr("Plan"))
        self.planning = planning
        self.config: RunConfig | None = None
        self.rows: dict[str, FieldRow] = {}
        self._objectives: tuple[str, ...] = ()
        self._reading: MachineReading | None = None
        self._headings: dict[QWidget, tuple[str, ...]] = {}
        theme.grow(self, "setFixedWidth", WIDTH)
        self._mode = SegmentedControl([tr("Simple"), tr("Expert")],
                                      tooltips=[tr("The fields that matter most."), tr("Every field of the run.")],
                                      name="plan_mode")
        self._mode.setAccessibleName(tr("How much of the plan is shown"))
        self._mode.changed.connect(self._show_rows)
        self.header.addWidget(self._mode)
        self.fit, self.buttons = FitLine(), PlanButtons()
        self.start = self.buttons.start
        self.lost = LostRowsBanner()
        self.lost.longer_wanted.connect(partial(planning.decide, "max_length"))
        self.lost.overlong_wanted.connect(partial(planning.decide, "overlong_rows"))
        fill(self.body, (self._make_form(), 1), self.lost, self.fit, self.buttons)
        self._show_rows()
        planning.active_changed.connect(self._set_editable)
        planning.planned.connect(self._planned)
        planning.confirmed.connect(self._show_plan)
        planning.refused.connect(self._show_problems)

    def _make_form(self) -> QWidget:
        page = QWidget()
        self._form = column_in(page, spacing=theme.SPACE_M, margins=(0, 0, theme.SPACE_M, 0))
        shared = set(plan_fields.PAIRS.values())
        for heading, names in in_groups().items():
            title = text_label(heading, "section")
            self._headings[title] = names
            self._form.addWidget(title)
            for name in names:
                self.rows[name] = FieldRow(name, FIELDS[name].help, page)
                self.rows[name].edited.connect(self.planning.decide)
                self.rows[name].reset.connect(self.planning.propose)
            for name in names:
                if name not in shared:
                    self._add_line(name)
        self.heat = text_label("", "small", wrap=True, name="plan_heat", tone="faint")
        self.heat.setToolTip(tr("These settings protect this machine while it trains. Switch to Expert to change "
                                "them."))
        self._form.addWidget(self.heat)
        self.cards = CardsSection()
        self.cards.chosen.connect(self.planning.decide)
        fill(self._form, self.cards, STRETCH)
        form = named(scrolled(page), "plan_form")
        theme.grow(form, "setMinimumHeight", FORM_HEIGHT)
        return form

    def _add_line(self, name: str) -> None:
        """One field, or two that belong together, such as micro-batch × accumulation."""
        partner = plan_fields.PAIRS.get(name)
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
        expert = self._mode.current() == 1
        for heading in self._headings:
            heading.setVisible(expert)
        self.heat.setVisible(not expert and self.config is not None)
        config = self.config or RunConfig(name="", model="", train_file="")  # while the first plan is being made
        for name, row in self.rows.items():
            shown = ((expert or self._is_simple(name)) and FIELDS[name].applies(config)) or bool(row.problem.text())
            row.setVisible(shown)
            row.reason.setVisible(shown and bool(row.reason.text()) and not row.problem.text())

    def _is_simple(self, name: str) -> bool:
        return FIELDS[name].simple and (name != "objective" or len(self._objectives) > 1)

    def _planned(self) -> None:
        self._set_objectives(self.planning.objectives)
        self.buttons.set_ready(True)
        if self.planning.active:
            self._show_plan()

    def _show_plan(self) -> None:
        assert self.planning.config is not None
        self.show_config(self.planning.config, self.planning.counts, self.planning.lost)

    def _set_objectives(self, objectives: Sequence[str]) -> None:
        """Offer what the data can teach; where that is one thing only, there is nothing to choose."""
        if tuple(objectives) != self._objectives:
            self._objectives = tuple(objectives)
            self.rows["objective"].set_choices(self._objectives)

    def show_config(self, config: RunConfig, counts: RowCounts | None = None, lost: LostRows | None = None) -> None:
        """Show a configuration, with its rows and steps, and what it would lose of the rows."""
        self.config = config
        self.lost.show_lost(lost)
        for name, row in self.rows.items():
            changed = name in self.planning.overrides and self.planning.active
            reason = tr("You set this.") if changed else again(config.reasons.get(name, ""))
            row.show_config(config, reason, changed)
        if counts is not None:
            row = self.rows["epochs"]
            makes = ntr("That makes {n:,} step.", "That makes {n:,} steps.", counts.steps)
            row.reason.setText(f"{row.reason.text()} {makes}".strip())
        batch = self.rows["gradient_accumulation_steps"]
        batch.reason.setText(ntr("= {n:,} row per step", "= {n:,} rows per step", config.effective_batch_size))
        self.buttons.code.setEnabled(True)
        self.cards.show_config(config, self.planning.active)
        self._show_heat()
        self._show_rows()

    def set_reading(self, reading: MachineReading | None) -> None:
        """Take a new look at the machine: it tells where its parts slow themselves down."""
        self._reading = reading
        self._show_heat()

    def _show_heat(self) -> None:
        if self.config is not None:
            self.heat.setText(guard_text(self.config, self._reading))

    def _show_problems(self, problems: Sequence[Problem]) -> None:
        """Show each problem at its field."""
        for name, row in self.rows.items():
            told = next((problem.message for problem in reversed(problems) if problem.field == name), "")
            if told and name in self.planning.overrides:
                row.show_typed(str(self.planning.overrides[name]))
            row.show_problem(told)
        self._show_rows()
        self.buttons.set_ready(False)

    def _set_editable(self, on: bool) -> None:
        for row in self.rows.values():
            row.set_editable(on)
        self.cards.set_editable(on)
