"""The Plan card: every field of the coming run, with the reason for its value."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QWidget

from slmstudio.core.errors import Problem
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.run.config import FIELDS, RunConfig, in_groups
from slmstudio.core.run.run_fields import CUT, LEAVE_OUT
from slmstudio.gui.common import run_texts, theme
from slmstudio.gui.common.widgets.areas import Card, scrolled
from slmstudio.gui.common.widgets.banner import announce
from slmstudio.gui.common.widgets.buttons import ButtonRow, PrimaryButton, SecondaryButton, SegmentedControl, keep_room
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, fill, row_of
from slmstudio.gui.training.field_row import FieldRow
from slmstudio.gui.training.fit_check import FitLine
from slmstudio.gui.training.guard_section import guard_text
from slmstudio.gui.training.planning import Planning
from slmstudio.gui.training.several import CardsSection

if TYPE_CHECKING:
    from slmstudio.core.hardware.readings import MachineReading
    from slmstudio.core.run.planning.row_counts import LostRows, RowCounts

# -- What to do with a plan: start it, queue it, show its code; and, while a run is in progress, plan another one.


class PlanButtons(QWidget):
    """The foot of the Plan card.

    Attributes:
        start, queue, code: what can be done with the plan.
        other: shows the plan of another run instead of the current one, or goes back to that.
        afresh: plans from the base model again, not from a finished run.

    A button never comes up where another one was: the foot's last row stays, the row above it comes and goes, and what
    is hidden in a row keeps its room.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ready = self._running = self._showed_plan = False
        self._going_on = ""
        self.note = text_label("", "small", wrap=True, name="plan_note", selectable=True)
        self.start = PrimaryButton(tr("Start training"), name="start")
        self.queue = SecondaryButton(tr("Add to queue"),
                                     tr("Put this run in the queue. It starts when the current run ends. If nothing is "
                                        "running, press Start next."), name="queue")
        self.other = SecondaryButton(tr("Plan the next run"), "", "small", name="plan_other")
        self.afresh = SecondaryButton(tr("Plan again"), tr("Plan from the base model again."), "small",
                                      name="plan_afresh")
        self.code = SecondaryButton(tr("Show the code…"),
                                    tr("Save a Python script that does the same as this plan, without SLM Studio."),
                                    "small", name="show_code")
        self.code.setEnabled(False)
        self._lay_out()
        self.show_plan(running=False)

    def _lay_out(self) -> None:
        column = column_in(self, self.note, (self.afresh, 0, Qt.AlignmentFlag.AlignLeft))
        self._using, last = ButtonRow(), ButtonRow()
        for row, buttons in ((self._using, (self.start, self.queue)), (last, (self.code, self.other))):
            for button in buttons:
                row.box.addWidget(button, 1)
            column.addWidget(row)
        keep_room(self.other)

    def set_ready(self, on: bool) -> None:
        """Whether the plan can be used as it is."""
        self._ready = on
        self.start.setEnabled(on and not self._running)
        self.queue.setEnabled(on)

    def show_plan(self, *, running: bool, going_on: str = "") -> None:
        """The plan of a coming run is shown.

        Args:
            running: another one is running, so this one can't start now.
            going_on: name of the finished run that the plan continues from.
        """
        self._running = running
        self.start.setToolTip(
            tr("Another run is training. Add this one to the queue, and it starts when that one ends.") if running else
            tr("Create the run's folder and start. The run keeps going when you close this window."))
        self._using.show()
        self.afresh.setVisible(bool(going_on))
        self._show_other(running, tr("Back to the run"), tr("Show the plan of the current run."))
        self.set_ready(self._ready)
        went_on, self._going_on = self._going_on, going_on
        if going_on:
            self.say(tr("Continues from what “{name}” learned. If you choose other rows in the Data tab, the plan "
                        "adapts.", name=going_on))
        elif went_on or not self._showed_plan:
            self.say("")
        self._showed_plan = True

    def show_run(self, note: str, *, can_plan: bool) -> None:
        """The plan of a run that has started is shown."""
        self._using.hide()
        self.afresh.hide()
        self._showed_plan = False
        self._show_other(can_plan, tr("Plan the next run"),
                         tr("Plan another run with the chosen data and model, and add it to the queue."))
        self.say(note)

    def _show_other(self, on: bool, text: str, tooltip: str) -> None:
        self.other.setVisible(on)
        self.other.setText(text)
        self.other.setToolTip(tooltip)

    def say(self, note: str) -> None:
        show_text(self.note, note)


# -- What the planned run would lose of its rows, above Start, with the ways out: a longer sequence, or fewer rows.


class LostRowsBanner(QFrame):
    """Signals:
        longer_wanted(int): train with this sequence length.
        overlong_wanted(str): do this with longer rows, in the words of the field `overlong_rows`.
    """

    longer_wanted = Signal(int)
    overlong_wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("lost_rows")
        self.setProperty("banner", "warn")
        self._lost: LostRows | None = None
        self.text = text_label("", "strong", wrap=True, name="lost_rows_text", selectable=True)
        self.ways = text_label("", "small", wrap=True, name="lost_rows_ways", selectable=True)
        self.keep = SecondaryButton(tr("Longer rows"), tr("Set the sequence length so that these rows keep their "
                                                          "answers. The plan then says what that needs."), "small",
                                    name="keep_rows", clicked=self._keep)
        self.leave_out = SecondaryButton(tr("Leave them out"),
                                         tr("Train without the rows that would be cut. The plan's steps become fewer."),
                                         "small", name="leave_out_rows",
                                         clicked=lambda: self.overlong_wanted.emit(LEAVE_OUT))
        self.cut = SecondaryButton(tr("Cut them"), tr("Train on the beginning of these rows, as far as it fits."),
                                   "small", name="cut_rows", clicked=lambda: self.overlong_wanted.emit(CUT))
        left = Qt.AlignmentFlag.AlignLeft
        column_in(self, self.text, self.ways, (self.keep, 0, left), (self.leave_out, 0, left), (self.cut, 0, left),
                  spacing=theme.SPACE_XS, margins=theme.SPACE_S)
        self.show_lost(None)

    def show_lost(self, lost: LostRows | None) -> None:
        """Show what would be lost; None hides the banner."""
        is_new, self._lost = lost is not None and lost != self._lost, lost
        self.setVisible(lost is not None)
        if lost is None:
            return
        self.text.setText(lost.what)
        self.ways.setText(lost.ways)
        self.setAccessibleName(lost.what)
        self.setAccessibleDescription(lost.ways)
        longer = lost.longer
        show_text(self.keep, "" if longer is None else tr("Use {tokens:,} tokens", tokens=longer))
        self.leave_out.setVisible(bool(lost.can_leave_out))
        self.cut.setVisible(lost.leaves_out)
        if is_new and self.isVisible():
            announce(self, f"{lost.what} {lost.ways}")

    def _keep(self) -> None:
        if self._lost is not None and self._lost.longer is not None:
            self.longer_wanted.emit(self._lost.longer)


WIDTH = 270
FORM_HEIGHT = 170
"""Two fields with their reasons at least; where there is no room for them, the page scrolls."""


class PlanPanel(Card):
    """Shows the plan, or the configuration of a run; the user's changes become the plan's.

    Attributes:
        planning: what the plan is made from.
        config: what is shown.
        mode: how much of it is shown.
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
        self.mode = SegmentedControl([tr("Simple"), tr("Expert")],
                                      tooltips=[tr("The fields that matter most."), tr("Every field of the run.")],
                                      name="plan_mode")
        self.mode.setAccessibleName(tr("How much of the plan is shown"))
        self.mode.changed.connect(self._show_rows)
        self.header.addWidget(self.mode)
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
        shared = set(run_texts.PAIRS.values())
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
        expert = self.mode.current() == 1
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
            reason = tr("You set this.") if changed else config.reasons.get(name, "")
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
