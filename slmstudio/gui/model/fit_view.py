"""Whether a model fits: what training takes, worked out in a thread; and as a bar, with what would take less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QLabel, QWidget

from slmstudio.core import units
from slmstudio.core.i18n import number_text, tr
from slmstudio.core.run.memory import formula
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import variant_label, when
from slmstudio.gui.common.widgets.areas import Fold, rule
from slmstudio.gui.common.widgets.buttons import SecondaryButton, keep_room
from slmstudio.gui.common.widgets.figures import MeaningButton
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, grid_in, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip, Share, ShareBar

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.run.config import RunConfig
    from slmstudio.core.run.memory.fit_badge import CardRow
    from slmstudio.core.run.memory.formula import Judgement
    from slmstudio.core.run.memory.outlook import Best, Lever, Outlook
    from slmstudio.core.run.recommend import Suitability
    from slmstudio.core.run.time_estimate import TimeEstimate


@dataclass(frozen=True)
class Fit:
    """
    Attributes:
        config: the run that the figures are of.
        planned: it is what would be planned for the chosen data; otherwise a usual run.
        best: its memory.
        free: bytes that are free on `device`; None if nobody says.
        device: "cuda" or "cpu".
        judgement: whether that fits; `time`: how long training takes.
        levers: what would take less, the largest saving first.
        cards: the longest rows on other cards.
    """

    config: RunConfig
    planned: bool
    best: Best
    free: int | None
    device: str
    judgement: Judgement
    time: TimeEstimate
    levers: list[Lever]
    cards: list[CardRow]


def planned(facts: ModelFacts, machine: Machine, dataset: Dataset, evaluation: Dataset | None,
            chosen: dict[str, object]) -> Fit:
    """The memory of the run that would be planned with this model, which is on the disk. Runs in a thread.

    Args:
        evaluation: rows of a file of their own that are never learned.
        chosen: fields that the user has decided.

    Raises:
        UserError: no run can be planned with these rows.
    """
    from slmstudio.core.run.planning.plan_inputs import PlanInputs
    from slmstudio.core.run.planning.planner import plan

    made = plan(PlanInputs(dataset, facts, machine, evaluation and evaluation.path, chosen,
                           eval_map=evaluation and evaluation.line,
                           eval_rows=evaluation and len(evaluation.records)))
    return _fit(facts, made.config, made.outlook, True)


def expected(facts: ModelFacts, machine: Machine, suits: Suitability) -> Fit:
    """The memory of the run that is expected, while no data is chosen or the model isn't on the disk. Runs in a
    thread."""
    from slmstudio.core.run import measured
    from slmstudio.core.run.memory import outlook

    best = outlook.best_estimate(facts, suits.config, machine)
    return _fit(facts, suits.config, outlook.Outlook(best, *measured.free_on(suits.config, machine), suits.time), False)


def _fit(facts: ModelFacts, config: RunConfig, takes: Outlook, is_planned: bool) -> Fit:
    from slmstudio.core.run.memory.fit_badge import what_fits
    from slmstudio.core.run.memory.formula import COMFORTABLE
    from slmstudio.core.run.memory.outlook import levers

    free, time = takes.free, takes.time
    assert time is not None
    savings = levers(facts, config, int(COMFORTABLE * free), takes.device) if free is not None else []
    return Fit(config, is_planned, takes.best, free, takes.device, takes.judgement, time, savings,
               what_fits(facts, config))


PARTS = {"weights": "train", "adapter": "extra", "gradients": "pink", "optimizer": "teal", "activations": "eval",
         "logits": "olive", "fragmentation": "edge", "overhead": "grey"}
"""The parts of an estimate, and their colours."""
MOST_LEVERS = 4
EXPLAINED = 0.05
"""Share of the memory from which on a part is explained."""


class FitView(QWidget):
    """The memory that training takes, part by part, against what the machine has free; `measure` tries it."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ElidedLabel("", "section", Qt.TextElideMode.ElideRight)
        self.bar = ShareBar()
        self.bar.setObjectName("fit_bar")
        self.measure = SecondaryButton(tr("Measure now"), "", "small", name="fit_measure")
        self.set_measurable(False, tr("Choose a model first."))
        self.strip = ProgressStrip(name="fit_progress")
        self.strip.hide()
        self.verdict = text_label("", "body", wrap=True, name="fit_verdict")
        self.parts = text_label("", "small", wrap=True, name="fit_parts")
        self.levers, self.cards = Lines(tr("Ways to save memory"), 1), Lines(tr("What fits on which card"), 0)
        self.levers.setObjectName("fit_levers")
        self.cards.setObjectName("fit_cards")
        self.cards.setToolTip(tr("The longest sequence length that fits, with one row at a time and activations "
                                 "recomputed. Two cards share the rows of a batch, so the same length fits as on one "
                                 "card, and training is about twice as fast."))
        self._lay_out()

    def _lay_out(self) -> None:
        self.frame = QFrame()
        column_in(self.frame, self.verdict, spacing=None, margins=10)
        keep_room(self.measure)
        head = row_of(self.title,
                      MeaningButton("fit_check", "lora", "qlora", "sequence_length", "effective_batch_size", "bf16",
                                    "activations", "logits"), STRETCH, self.measure,
                      spacing=theme.SPACE_XS)
        column_in(self, head, self.strip, self.frame, self.bar, self.parts, self.levers, self.cards,
                  spacing=theme.SPACE_S)

    def show_fit(self, fit: Fit) -> None:
        """Show what a run takes."""
        config, best = fit.config, fit.best
        self.title.setText(tr("{method}, sequence length {length:,}, micro-batch {rows:,}, {precision}",
                              method=variant_label(config), length=config.max_length, rows=config.micro_batch_size,
                              precision=config.precision))
        estimate = best.estimate
        shares = [Share(amount, PARTS[name], f"{self._name(name)} {units.format_bytes(amount)}")
                  for name in PARTS if (amount := getattr(estimate, name))]
        self.bar.show_shares(shares, fit.free or 0)
        self.parts.setText(" · ".join(self._explained(name) for name in PARTS
                                      if getattr(estimate, name) >= EXPLAINED * estimate.total))
        self._show_verdict(fit)
        self._show_levers(fit)
        self._show_cards(fit)

    def set_measurable(self, on: bool, why_not: str) -> None:
        """Whether "Measure now" can be pressed, and if not why."""
        self.measure.setEnabled(on)
        self.measure.setToolTip(why_not if not on else tr("Try your data's longest rows with this model for a few "
                                                          "seconds, to see whether they fit in memory and how long a "
                                                          "step takes. Nothing is learned or changed."))

    def set_measuring(self, on: bool) -> None:
        self.strip.setVisible(on)
        self.measure.setVisible(not on)

    def _show_verdict(self, fit: Fit) -> None:
        kind, text = self._verdict(fit)
        self.verdict.setText(text)
        self.frame.setVisible(kind != "ok" or fit.best.measured is not None)  # the figures say it
        for widget, name in ((self.frame, "banner"), (self.frame, "verdict"), (self.verdict, "verdict")):
            widget.setProperty(name, kind)
        theme.restyle(self.frame)
        theme.restyle(self.verdict)

    def _verdict(self, fit: Fit) -> tuple[str, str]:
        """Its kind, and the sentence."""
        estimate, known, free = fit.best.estimate, fit.best.measured, fit.free
        span = units.format_span(estimate.low, estimate.high)
        if known is not None:
            peak, moment = units.format_bytes(known.peak_bytes), when(known.when)
            if known.ran_out:
                text = tr("Measured {when}: memory ran out at {peak}.", when=moment, peak=peak)
                return "bad", f"{text} {self._way_out(fit)}"
            if fit.judgement.reason == formula.SLOW:
                return "warn", self._slow(fit)
            if free is None or estimate.high <= free:
                return "ok" if fit.judgement.fits else "warn", tr(
                    "Measured {when}: {peak} at the peak with your longest rows. It fits.", when=moment, peak=peak)
            return "warn", tr("Measured {when}: {peak} at the peak with your longest rows. There is only {available} "
                              "now. Close other programs, or use one of the options below.", when=moment, peak=peak,
                              available=_available(free, fit.device))
        if free is None:
            return "warn", tr("It needs about {span}. It isn't known how much is free.", span=span)
        available = _available(free, fit.device)
        if fit.judgement.fits:
            return "ok", tr("It fits. It needs about {span}, and there is {available}.", span=span, available=available)
        if fit.judgement.reason == formula.SLOW:
            return "warn", self._slow(fit)
        if fit.judgement.level == formula.TIGHT:
            kind, text = "warn", tr("It may just fit. It needs {span}, and there is {available}.", span=span,
                                    available=available)
        else:
            kind, text = "bad", tr("It doesn't fit as it is. It needs {span}, and there is {available}. You can still "
                                   "try it.", span=span, available=available)
        return kind, f"{text} {self._way_out(fit)}"

    def _slow(self, fit: Fit) -> str:
        time = fit.time.text()
        return (tr("It would take long on this machine: {time} for your data. Choose a smaller model.", time=time)
                if fit.planned else
                tr("It would take long on this machine: {time} for 1,000 rows of 300 tokens. Choose a smaller model.",
                   time=time))

    def _way_out(self, fit: Fit) -> str:
        if any(lever.enough for lever in fit.levers):
            return tr("One of the options below makes enough room. Set it in Training.")
        return tr("Several of the options below may make enough room together. Otherwise choose a smaller model.")

    def _show_levers(self, fit: Fit) -> None:
        rows = [(self._lever(lever, fit.config), f"−{units.format_bytes(lever.saves)}", lever.cost)
                for lever in fit.levers[:MOST_LEVERS]]
        self.levers.show_lines((), rows)
        self.levers.set_open(not fit.judgement.fits)

    def _lever(self, lever: Lever, config: RunConfig) -> str:
        """What is changed, as in "Micro-batch 4 → 2, accumulation 4 → 8"."""
        change: dict[str, Any] = lever.change

        def to(field: str) -> str:
            return f"{number_text(getattr(config, field))} → {number_text(change[field])}"

        return {
            "checkpointing": lambda: tr("Recompute activations"),
            "micro_batch": lambda: tr("Micro-batch {rows}, accumulation {steps}", rows=to("micro_batch_size"),
                                      steps=to("gradient_accumulation_steps")),
            "qlora": lambda: tr("QLoRA (4-bit base)"),
            "lora": lambda: tr("LoRA instead of all weights"),
            "length": lambda: tr("Sequence length {tokens}", tokens=to("max_length")),
            "optimizer": lambda: tr("8-bit optimizer"),
            "rank": lambda: tr("Rank {rank}", rank=to("lora_rank")),
        }[lever.name]()

    def _show_cards(self, fit: Fit) -> None:
        names = {"full": tr("Full fine-tuning"), "lora": "LoRA", "qlora": "QLoRA"}
        rows = [(name, *(self._length(card.longest.get(method)) for card in fit.cards))
                for method, name in names.items()]
        if len({length for _, *lengths in rows for length in lengths}) < 2:
            rows = []  # a table of one figure says nothing about cards
        self.cards.show_lines(("", *(card.card for card in fit.cards)), rows)

    def _length(self, tokens: int | None) -> str:
        return "—" if tokens is None else tr("length {tokens:,}", tokens=tokens)

    def _name(self, part: str) -> str:
        return {"weights": tr("weights"), "adapter": tr("adapter"), "gradients": tr("gradients"),
                "optimizer": tr("optimizer"), "activations": tr("activations"),
                "logits": tr("logits"), "fragmentation": tr("fragmented memory"),
                "overhead": tr("libraries")}[part]


    def _explained(self, part: str) -> str:
        return {"weights": tr("weights: the model itself"), "adapter": tr("adapter: what is learned"),
                "gradients": tr("gradients: how each value should change"),
                "optimizer": tr("optimizer: what it remembers of earlier steps"),
                "activations": tr("activations: what a step keeps to learn from"),
                "logits": tr("logits: scores of the vocabulary"),
                "fragmentation": tr("fragmented memory: gaps that can't be used"),
                "overhead": tr("libraries: PyTorch and the driver")}[part]


def _available(free: int, device: str) -> str:
    """Memory that is free, as part of a sentence."""
    size = units.format_bytes(free)
    return tr("{size} free on the GPU", size=size) if device == "cuda" else tr("{size} free on this machine", size=size)


class Lines(Fold):
    """A small table that is read, not worked with: a title, names of columns, and rows with rules between them.

    Args:
        figures: the column with figures, which the last column explains; with 0, all columns are as wide as each other.
    """

    def __init__(self, title: str, figures: int):
        table = QWidget()
        self._figures = figures
        self._grid = grid_in(table, theme.SPACE_M, theme.SPACE_S)
        super().__init__(title, table)
        self.setAccessibleName(title)

    def rows(self) -> list[list[str]]:
        """What is shown, line by line."""
        found: list[list[str]] = []
        for line in range(self._grid.rowCount()):
            cells = [self._grid.itemAtPosition(line, place) for place in range(self._grid.columnCount())]
            texts = [cell.widget().text() for cell in cells if cell is not None and isinstance(cell.widget(), QLabel)]
            found += [texts] if texts else []
        return found

    def show_lines(self, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Show these rows; none hides the table."""
        while (item := self._grid.takeAt(0)) is not None:
            item.widget().hide()
            item.widget().deleteLater()
        self.setVisible(bool(rows))
        width = len(header or (rows[0] if rows else ()))
        for place in range(width):
            self._grid.setColumnStretch(place, 1 if not self._figures or place == width - 1 else 0)
        line = 0
        for number, cells in enumerate([header, *rows] if header else rows):
            for place, text in enumerate(cells):
                small = (header and not number) or (self._figures and place == width - 1)
                label = text_label(text, "small" if small else "body", wrap=not self._figures or place == width - 1)
                if place and place == self._figures:
                    label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self._grid.addWidget(label, line, place)
            self._grid.addWidget(rule(), line + 1, 0, 1, width)
            line += 2
