"""What a run learned and how, in figures."""

from __future__ import annotations

import math

from PySide6.QtWidgets import QWidget

from slmstudio.core import units
from slmstudio.core.files import number
from slmstudio.core.i18n import tr
from slmstudio.core.run.energy import told
from slmstudio.core.run.energy.tariff import Tariff
from slmstudio.core.run.folder import RunSummary
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_grid import Grid, number_text, perplexity_text
from slmstudio.gui.common.run_texts import method_text, steps_text
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in


class RunOverview(QWidget):
    """Losses before and after with a sentence on them, and the run's facts."""

    def __init__(self) -> None:
        super().__init__()
        self.scores, self.facts = Grid(3), Grid(1)
        self.advice = text_label("", "small", wrap=True, name="overview_advice")
        column_in(self, text_label(tr("What it learned"), "section"), self.scores, self.advice,
                  text_label(tr("How"), "section"), self.facts, spacing=theme.SPACE_M)

    def show_run(self, run: RunSummary, tariff: Tariff) -> None:
        """Show the figures of a run.

        Args:
            tariff: price and CO2 of a kilowatt-hour.
        """
        self._show_scores(run)
        self._show_facts(run, tariff)

    def _show_scores(self, run: RunSummary) -> None:
        before, after = run.eval_loss_before, run.eval_loss_after
        first, last = number(run.result, "train_loss_first"), number(run.result, "train_loss_last")
        missing = before is not None and after is None
        self.scores.set_rows([
            ("", tr("Eval loss"), tr("Perplexity"), tr("Train loss")),
            (tr("Before"), number_text(before), perplexity_text(before), number_text(first)),
            (tr("After"), tr("not measured") if missing else number_text(after), perplexity_text(after),
             number_text(run.train_loss if last is None else last)),
        ], strong_row=2, terms={tr("Eval loss"): "eval_loss", tr("Perplexity"): "perplexity",
                                tr("Train loss"): "train_loss"})
        show_text(self.advice, self._judge(before, after))

    def _judge(self, before: float | None, after: float | None) -> str:
        if before is None or after is None or not math.isfinite(before):
            return ""
        if not math.isfinite(after):
            return tr("On rows it wasn't trained on, the latest loss isn't a number, so training has diverged. A "
                      "lower learning rate may help.")
        if after < before:
            return tr("On rows it wasn't trained on, the right next token became {factor:.2g} times as likely.",
                      factor=math.exp(before - after))
        return tr("It didn't get better on rows it wasn't trained on. Fewer epochs, a lower learning rate or more "
                  "rows may help.")

    def _show_facts(self, run: RunSummary, tariff: Tariff) -> None:
        config, total = run.config, run.total_steps
        steps = steps_text(run.steps) if not total or total == run.steps else tr("{done:,} of {all:,} steps",
                                                                                 done=run.steps, all=total)
        length = f"{steps}, {units.format_duration(run.seconds)}"
        batch = tr("{micro} × {accumulated} accumulated = {rows} rows per step", micro=config.micro_batch_size,
                   accumulated=config.gradient_accumulation_steps, rows=config.effective_batch_size)
        energy = [] if run.energy is None else [
            (tr("Energy"), told.energy(run.energy)), (tr("Cost"), told.cost(run.energy.joules, tariff)),
            (tr("CO₂"), told.co2(run.energy.joules, tariff))]
        self.facts.set_rows([
            (tr("Data"), config.train_file), (tr("Base model"), config.model),
            (tr("Method"), method_text(config)), (tr("Length"), length), (tr("Batch"), batch),
            *([(tr("Heat"), run.heat)] if run.heat else []), *energy, (tr("Network"), run.locked)],
            terms={tr("Base model"): "base_model", tr("Method"): "lora", tr("Length"): "epoch",
                   tr("Batch"): "effective_batch_size", tr("Energy"): "energy", tr("Cost"): "energy",
                   tr("CO₂"): "energy", tr("Network"): "network_lock"})
