"""What Start would take, above the button: time, memory and energy, measured or estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core import units
from slmstudio.core.i18n import tr
from slmstudio.core.run.energy import energy_texts
from slmstudio.core.run.memory import formula
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import when
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import column_in
from slmstudio.gui.common.widgets.progress import ProgressStrip

if TYPE_CHECKING:
    from slmstudio.core.run.energy.tariff import Tariff
    from slmstudio.core.run.memory.outlook import Outlook


class FitLine(QWidget):
    """A sentence, and either "Measure now" or how far that is.

    Signals:
        measure_wanted: the user wants it measured.
        cancel_wanted: the user has changed their mind.
    """

    measure_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._outlook: Outlook | None = None
        self._measuring = self._can_measure = False
        self.line = text_label("", "small", wrap=True, name="plan_fit", selectable=True)
        self.line.setMinimumHeight(2 * self.line.fontMetrics().lineSpacing())  # what is below stays in its place
        self.energy = text_label("", "small", wrap=True, name="plan_energy", selectable=True)
        self.measure = SecondaryButton(tr("Measure now"),
                                       tr("Try this plan's longest rows for a few seconds, to see whether they fit in "
                                          "memory and how long a step takes. Nothing is learned or changed."), "small",
                                       name="measure_fit", clicked=self.measure_wanted)
        self.strip = ProgressStrip(name="fit_progress", cancelled=self.cancel_wanted)
        column_in(self, self.line, self.energy, (self.measure, 0, Qt.AlignmentFlag.AlignLeft), self.strip)
        self.show_outlook(None, can_measure=False)

    def show_outlook(self, outlook: Outlook | None, *, can_measure: bool, tariff: Tariff | None = None) -> None:
        """Show what a plan takes; None hides it all.

        Args:
            can_measure: nothing else is running that would be in the way.
            tariff: price and CO2 of a kilowatt-hour; without it nothing is said about energy.
        """
        self._outlook, self._can_measure = outlook, can_measure
        self.setVisible(outlook is not None)
        expected = outlook.energy if outlook is not None else None
        known = expected is not None and tariff is not None
        self.energy.setText(energy_texts.expected_in_short(expected, tariff) if known else "")
        self.energy.setToolTip(plain_tip(energy_texts.expected(expected, tariff)) if known else "")
        self.energy.setVisible(known)
        self._show()

    def begin(self) -> None:
        """It is being measured."""
        self._measuring = True
        self.strip.start("")
        self._show()

    def set_progress(self, text: str, done: int, total: int) -> None:
        """How far the measuring is. What it does is above the bar, since beside it there is no room."""
        self.line.setText(f"{text} …")
        self.strip.set_progress(done, total)

    def end(self) -> None:
        """It is measured, or was given up."""
        self._measuring = False
        self._show()

    def _show(self) -> None:
        if self._outlook is not None and not self._measuring:
            self.line.setText(self._sentence(self._outlook))
        level = self._outlook.judgement.level if self._outlook is not None and not self._measuring else ""
        self.line.setProperty("tone", {formula.NO: "bad", formula.TIGHT: "warn"}.get(level, ""))
        theme.restyle(self.line)
        self.strip.setVisible(self._measuring)
        self.measure.setVisible(not self._measuring)  # nothing moves while something else is running
        self.measure.setEnabled(self._can_measure)
        known = self._outlook.best.measured if self._outlook is not None else None
        self.measure.setText(tr("Measure again") if known is not None else tr("Measure now"))

    def _sentence(self, outlook: Outlook) -> str:
        """Memory and time; energy has a line of its own."""
        parts = [self._time(outlook), self._memory(outlook)]
        text = " · ".join(part for part in parts if part)
        return f"{text} {self._advice(outlook)}".strip()

    def _time(self, outlook: Outlook) -> str:
        if outlook.seconds is None:
            return ""
        text = units.format_about(outlook.seconds)
        return text[:1].upper() + text[1:]

    def _memory(self, outlook: Outlook) -> str:
        best, free = outlook.best, outlook.free
        size = units.format_span(best.estimate.low, best.estimate.high)
        if best.measured is not None:
            size, measured = units.format_bytes(best.measured.peak_bytes), when(best.measured.when)
            if best.measured.ran_out:
                text = tr("memory ran out at {size} (measured {when}).", size=size, when=measured)
            elif free is None:
                text = tr("needs {size} (measured {when}).", size=size, when=measured)
            else:
                text = tr("needs {size} of {free} free (measured {when}).", size=size, free=units.format_bytes(free),
                          when=measured)
        elif free is None:
            text = tr("not measured yet: needs about {size}.", size=size)
        elif best.corrected_by:
            text = tr("not measured yet: needs about {size} of {free} free, judging by other runs on this machine.",
                      size=size, free=units.format_bytes(free))
        else:
            text = tr("not measured yet: needs about {size} of {free} free.", size=size, free=units.format_bytes(free))
        return text if outlook.seconds is not None else text[:1].upper() + text[1:]

    def _advice(self, outlook: Outlook) -> str:
        found = outlook.judgement
        if found.level == formula.NO:
            return tr("This doesn't fit. A smaller micro-batch, a shorter sequence length or QLoRA takes less. You can "
                      "still start: a run that runs out of memory lowers its own micro-batch.")
        if found.reason == formula.LITTLE_ROOM:
            return tr("It may just fit.")
        if found.reason == formula.SLOW and outlook.seconds is None:
            return tr("Training on this machine would take long: {time}, by a rough estimate.",
                      time=units.format_about(outlook.rough_seconds or 0.0))
        return ""
