"""The middle of the Training tab before a run: what Start would do, what it takes, and other ways to train."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QFrame, QLabel, QSizePolicy, QWidget

from slmstudio.core import units
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.core.run.config import label as field_label
from slmstudio.core.run.energy import energy_costs
from slmstudio.core.run.run_fields import CUT, LEAVE_OUT
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import when
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.areas import Card, rule, scrolled
from slmstudio.gui.common.widgets.banner import announce
from slmstudio.gui.common.widgets.buttons import ButtonRow, ChoiceCard, PrimaryButton, SecondaryButton, keep_room
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, plain_tip, show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_widget, fill, grid_in, row_of
from slmstudio.gui.training.fit_check import FitLine
from slmstudio.gui.training.guard_section import guard_text
from slmstudio.gui.training.planning import Planning

if TYPE_CHECKING:
    from slmstudio.core.run.memory.outlook import Outlook
    from slmstudio.core.run.planning.choices import Choice
    from slmstudio.core.run.planning.row_counts import LostRows, RowCounts

NOTHING = "…"
"""In the place of a figure that isn't known yet."""
TWO_LINES = 36
"""Pixels of small text."""
WORD = 84
"""Pixels of a long word in a title, at the usual size of text."""


# -- What the planned run would lose of its rows, with the ways out: a longer sequence, or fewer rows.


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
        buttons = ButtonRow()
        fill(buttons.box, self.keep, self.leave_out, self.cut, STRETCH)
        column_in(self, self.text, self.ways, buttons, spacing=theme.SPACE_XS, margins=theme.SPACE_S)
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


def _two_lines(label: QLabel) -> QLabel:
    """Keep the room of two lines, so that nothing moves when the text changes."""
    label.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    theme.grow(label, "setMinimumHeight", TWO_LINES)
    return label


class _Equal(QWidget):
    """Cells side by side, of the same width; their text wraps. Where a word may not fit, two are side by side."""

    def __init__(self, cells: Sequence[QWidget]):
        super().__init__()
        self._cells, self._columns = cells, 0
        self._grid = grid_in(self, theme.SPACE_M, theme.SPACE_M)
        for cell in cells:
            cell.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._arrange(len(cells))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        narrow = self.width() < len(self._cells) * theme.scaled(WORD)
        self._arrange(2 if narrow else len(self._cells))

    def _arrange(self, columns: int) -> None:
        if columns == self._columns:
            return
        self._columns = columns
        for at, cell in enumerate(self._cells):
            self._grid.addWidget(cell, at // columns, at % columns)
            self._grid.setColumnStretch(at, 1 if at < columns else 0)


def _why_not(key: str) -> str:
    """Why a choice isn't offered."""
    return (tr("It wouldn't be much quicker than a normal run.") if key == "quick" else
            tr("It needs held-out rows, and no more than a night."))


class PlanView(Card):
    """What the coming run learns and takes, the ways to train, what will happen, and Start.

    Attributes:
        figures: of rows, time, memory and energy, the label with the figure, and the one below it.
        lost: what the run would lose of the rows.
        fit: what is said about its memory, and how to measure it.
        cards: the ways to train, by their keys.
        start, queue: what can be done with the plan.
    """

    def __init__(self, session: Session, planning: Planning):
        super().__init__(tr("Planning"))
        self._session, self._planning = session, planning
        self._ready = self._running = False
        self.state = Chip(tr("planning"), "accent", name="plan_state")
        keep_room(self.state)
        self.header.insertWidget(1, self.state)
        self.figures = {name: (
            text_label(NOTHING, "title", wrap=True, name=f"plan_{name}", selectable=True),
            _two_lines(text_label("", "small", wrap=True, name=f"plan_{name}_note", selectable=True)),
        ) for name in ("rows", "time", "memory", "energy")}
        self.lost, self.fit = LostRowsBanner(), FitLine()
        self.problem = text_label("", "small", wrap=True, name="plan_problem", tone="bad")
        self.why = text_label(" ", "small", wrap=True, name="plan_why")
        self.heat = text_label(" ", "small", wrap=True, name="plan_heat", tone="faint")
        self.start = PrimaryButton(tr("Start training"), name="start")
        self.queue = SecondaryButton(tr("Add to queue"),
                                     tr("Put this run in the queue. It starts when the current run ends. If nothing is "
                                        "running, press Start next."), name="queue")
        page = QWidget()
        figures = _Equal([column_widget(*pair, STRETCH, spacing=2) for pair in self.figures.values()])
        column_in(page, figures, self.fit, self.lost, self._make_cards(), self.why,
                  text_label(tr("What will happen"), "section"), self._make_course(), self.heat, STRETCH,
                  spacing=theme.SPACE_M, margins=(0, 0, theme.SPACE_XS, 0))
        fill(self.body, (scrolled(page, tr("Plan")), 1), row_of(self.queue, (self.problem, 1), self.start))
        self.lost.longer_wanted.connect(partial(planning.decide, "max_length"))
        self.lost.overlong_wanted.connect(partial(planning.decide, "overlong_rows"))
        planning.began.connect(self._show_state)
        planning.planned.connect(self._planned)
        planning.refused.connect(self._show_problems)
        session.settings_changed.connect(self._show)
        session.reading_changed.connect(self._show_heat)
        self._show_problems([])
        self.set_running(False)

    def _make_cards(self) -> QWidget:
        self.cards: dict[str, ChoiceCard] = {}
        self._times: dict[str, QLabel] = {}
        self._chips: dict[str, Chip] = {}
        self._group = QButtonGroup(self)
        for key, name in (("quick", tr("A quick try")), ("normal", tr("Normal")), ("thorough", tr("Thorough"))):
            card = ChoiceCard(f"choice_{key}", tr("Plan the run this way. Ctrl+Z takes it back."))
            card.describe(name, NOTHING)
            _two_lines(card.text)
            self._times[key], self._chips[key] = text_label(NOTHING, "small"), Chip(tr("recommended"), "accent")
            keep_room(self._chips[key])
            self._chips[key].hide()
            fill(card.column, self._times[key], (self._chips[key], 0, Qt.AlignmentFlag.AlignLeft), STRETCH)
            card.radio.clicked.connect(lambda _, key=key: self._planning.choose(key))
            card.radio.moved.connect(partial(self._move, key))
            self._group.addButton(card.radio)
            self.cards[key] = card
        self.cards["normal"].radio.setChecked(True)
        return _Equal(list(self.cards.values()))

    def _move(self, key: str, step: int) -> None:
        """Choose the next card that can be."""
        shown = [each for each, card in self.cards.items() if card.isEnabled()]
        radio = self.cards[shown[(shown.index(key) + step) % len(shown)]].radio
        radio.setFocus(Qt.FocusReason.TabFocusReason)
        radio.click()

    def _make_course(self) -> QWidget:
        """Three lines: what happens, and how long it takes."""
        page = QWidget()
        grid = grid_in(page, theme.SPACE_L, theme.SPACE_S, stretch=1)
        self.course = []
        for at in range(3):
            what, minutes = text_label(NOTHING, wrap=True, name=f"course_{at}"), text_label(NOTHING, "muted")
            grid.addWidget(text_label(str(at + 1), "muted"), 2 * at, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(what, 2 * at, 1)
            grid.addWidget(minutes, 2 * at, 2, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
            grid.addWidget(rule(), 2 * at + 1, 0, 1, 3)
            self.course.append((what, minutes))
        return page

    # -- the plan --------------------------------------------------------------------------------------------

    def set_running(self, on: bool) -> None:
        """Another run is in progress, so this one can't start now."""
        self._running = on
        self.start.setToolTip(
            tr("Another run is training. Add this one to the queue, and it starts when that one ends.") if on else
            tr("Create the run's folder and start. The run keeps going when you close this window."))
        self.set_ready(self._ready)

    def set_ready(self, on: bool) -> None:
        """Whether the plan can be used as it is."""
        self._ready = on
        self.start.setEnabled(on and not self._running)
        self.queue.setEnabled(on)

    def _planned(self) -> None:
        self._show_problems([])
        self.set_ready(True)
        self._show()

    def _show_state(self) -> None:
        self.state.setVisible(self._planning.is_busy() or self._planning.config is None)

    def _show_problems(self, problems: list[Problem]) -> None:
        """What is wrong is at its fields, too, but those may be folded."""
        self.problem.setText("\n".join(
            tr("{field}: {problem}", field=field_label(each.field or ""), problem=each.message) for each in problems))
        self._show_state()
        if problems:
            self.set_ready(False)

    def _show(self) -> None:
        choice, dataset, model = self._planning.current, self._session.dataset, self._session.model
        if choice is None or dataset is None or model is None:
            return
        assert isinstance(self.title, ElidedLabel)
        self.title.setText(tr("{data} on {model}", data=dataset.name, model=model.name))
        self._show_rows(choice, choice.plan.counts)
        self._show_takes(choice, choice.plan.outlook)
        self.lost.show_lost(choice.plan.lost)
        self._show_cards(choice)
        self._show_course(choice)
        self._show_heat()
        self.start.setText(tr("Start · {time}", time=choice.time.text()))

    def _show_figure(self, name: str, figure: str, note: str, tone: str = "", tip: str = "") -> None:
        for label, text in zip(self.figures[name], (figure, note), strict=True):
            label.setText(text)
            label.setToolTip(plain_tip(tip))
            if label.property("tone") != tone:
                label.setProperty("tone", tone)
                theme.restyle(label)

    def _show_rows(self, choice: Choice, counts: RowCounts) -> None:
        cut = counts.cut if counts.cut >= counts.left_out else counts.left_out
        note = join_sentences(
            ntr("{n:,} row is held out.", "{n:,} rows are held out.", choice.held_out) if choice.held_out else tr(
                "None are held out."),
            ntr("{n:,} row is cut or left out.", "{n:,} rows are cut or left out.", cut) if cut else tr(
                "Nothing is cut."))
        self._show_figure("rows", ntr("{n:,} row learned", "{n:,} rows learned", choice.rows), note,
                          "warn" if cut else "")

    def _show_takes(self, choice: Choice, outlook: Outlook) -> None:
        from slmstudio.core.run.time_estimate import source_text

        time, best, free = choice.time, outlook.best, outlook.free
        text = time.text()
        known = source_text(time)
        if (span := units.format_about_range(time.low, time.high)) != text:
            known = tr("{span}, {source}", span=span, source=known)
        self._show_figure("time", text[:1].upper() + text[1:], known)
        tried = best.measured
        size = (units.format_span(best.estimate.low, best.estimate.high) if tried is None
                else units.format_bytes(tried.peak_bytes))
        how = tr("estimated") if tried is None else tr("measured {when}", when=when(tried.when))
        note = how if free is None else tr("of {free} free, {how}", free=units.format_bytes(free), how=how)
        self._show_figure("memory", size, note, {"no": "bad", "tight": "warn"}.get(outlook.judgement.level, ""))
        if (expected := choice.energy) is None:
            self._show_figure("energy", "—", tr("The power that this machine draws isn't known."))
            return
        rates, joules = energy_costs.tariff(self._session.settings), expected.joules or 0.0
        energy, cost = units.format_energy(joules), rates.cost(joules)
        self._show_figure("energy", energy if cost is None else tr(
            "{energy} · {cost}", energy=energy, cost=energy_costs.format_money(cost, rates.currency)), tr(
            "{weight} CO₂, estimated", weight=units.format_weight(rates.co2(joules))),
            tip=energy_costs.expected(expected, rates))

    def _show_cards(self, chosen: Choice) -> None:
        choices = self._planning.choices
        assert choices is not None
        for key, card in self.cards.items():
            each = choices.offered.get(key)
            card.setEnabled(each is not None)
            card.describe(card.title.text(), _why_not(key) if each is None else each.text)
            self._times[key].setText("" if each is None else each.time.text())
            self._chips[key].setVisible(key == choices.recommended)
            self._chips[key].setToolTip(plain_tip(choices.why))
        self.cards[chosen.key].radio.setChecked(True)
        best = choices.of(choices.recommended)
        self.why.setText(join_sentences(tr("Recommended: {choice}.", choice=best.label), choices.why))

    def _show_course(self, choice: Choice) -> None:
        for (what, minutes), (text, time) in zip(self.course, choice.course(), strict=True):
            what.setText(text)
            minutes.setText("" if time is None else time.text())

    def _show_heat(self) -> None:
        if (config := self._planning.config) is not None:
            self.heat.setText(join_sentences(guard_text(config, self._session.reading),
                                             tr("Continues when this window is closed.")))
