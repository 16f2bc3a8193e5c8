"""Three ways to train the same rows: a quick try, what the planner proposes, and what an expert would do with more
time.

Each is a few fields that the planner is asked to take, below those that a user decided, with what it costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from slmstudio.core.data import split
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.hardware.guidance import LONG
from slmstudio.core.hardware.machine import Machine, read_machine
from slmstudio.core.i18n import join_sentences, noop, ntr, tr
from slmstudio.core.run import time_estimate
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.curves import steps_per_epoch, total_steps
from slmstudio.core.run.energy.energy_use import Forecast
from slmstudio.core.run.planning import plan_inputs, plan_rows, planner
from slmstudio.core.run.planning.plan_inputs import PlanInputs
from slmstudio.core.run.planning.planner import Plan
from slmstudio.core.run.run_fields import QUESTIONS
from slmstudio.core.run.time_estimate import TimeEstimate
from slmstudio.core.units import format_about

QUICK, NORMAL, THOROUGH = "quick", "normal", "thorough"
LABELS = {QUICK: noop("A quick try"), NORMAL: noop("Normal"), THOROUGH: noop("Thorough")}
QUICK_SECONDS, QUICK_STEPS, QUICK_BATCH = 240.0, 20, 4
"""How long a quick try trains, unless so many steps of so many rows take longer: fewer hardly move a model."""
FEW_ROWS, MANY_ROWS = 500, 2_000
"""With fewer rows, large steps overfit (docs/defaults.md); with more, three epochs are enough."""
LARGE_RANK = 64
"""A larger one than this did worse (docs/defaults.md)."""
FEW_STEPS = 60
"""A run of fewer learns little."""
FEW_HELD_OUT, MORE_HELD_OUT = 30, 0.2
EVENING, COFFEE = 3 * 3600.0, 1800.0
"""Seconds of a run that is better tried first, and of one that anybody waits for."""


@dataclass(frozen=True)
class Choice:
    """
    Attributes:
        key: one of `LABELS`.
        overrides: the fields that make it differ from the planner's proposal.
        plan: its configuration, rows, memory and energy.
        answering: the time of the questions that the model answers before the training and again after it; None if
            there are none.
        questions: how many; `held_out`: the rows that they are of.
    """

    key: str
    plan: Plan
    overrides: dict[str, Any] = field(default_factory=dict)
    questions: int = 0
    held_out: int = 0
    answering: TimeEstimate | None = None

    @property
    def training(self) -> TimeEstimate:
        """The time of the training."""
        assert self.plan.outlook.time is not None  # the rows of a plan are counted
        return self.plan.outlook.time

    @property
    def time(self) -> TimeEstimate:
        """From Start to the verdict."""
        return self.training if self.answering is None else self.answering.plus(self.training).plus(self.answering)

    @property
    def rows(self) -> int:
        """Of them, those that it learns from: a quick try doesn't reach them all."""
        return min(self.plan.counts.learned, self.plan.counts.steps * self.plan.config.effective_batch_size)

    @property
    def label(self) -> str:
        return tr(LABELS[self.key])

    @property
    def text(self) -> str:
        """What it brings, in a sentence."""
        config, counts = self.plan.config, self.plan.counts
        epochs = ntr("{n:g} epoch", "{n:g} epochs", config.epochs)
        if self.key == QUICK:
            return tr("Learns from about {rows:,} of {all:,} rows: shows whether they teach the model anything.",
                      rows=self.rows, all=counts.learned)
        if self.key == NORMAL:
            return (tr("{epochs}. Stops when it no longer improves.", epochs=epochs)
                    if self.held_out else tr("{epochs} over all rows.", epochs=epochs))
        if "eval_fraction" in self.overrides:
            return tr("{epochs}. More rows are held out, so the verdict is more reliable.", epochs=epochs)
        if "learning_rate" in self.overrides:
            return tr("{epochs} in smaller steps, which overfit less. Usually a little better.", epochs=epochs)
        if "lora_rank" in self.overrides:
            return tr("{epochs}, adapter of rank {rank}: learns more detail, and needs more memory.", epochs=epochs,
                      rank=config.lora_rank)
        return tr("{epochs}. Stops when it no longer improves. Usually a little better.", epochs=epochs)

    @property
    def energy(self) -> Forecast | None:
        """What the training takes; None if nobody knows what the machine draws."""
        expected = self.plan.outlook.energy
        return replace(expected, seconds=self.training.likely) if expected is not None else None

    def course(self) -> list[tuple[str, TimeEstimate | None]]:
        """What happens in the training and after it, each in a sentence with the time that it takes."""
        config, counts, questions = self.plan.config, self.plan.counts, self.questions
        much = {"steps": ntr("{n:,} step", "{n:,} steps", counts.steps), "every": config.eval_steps}
        training = (tr("Training: {steps}, evaluated every {every:,}; the best is kept.", **much)
                    if self.held_out and config.use_best_checkpoint else
                    tr("Training: {steps}, evaluated every {every:,}.", **much) if self.held_out else
                    tr("Training: {steps}.", **much))
        training = join_sentences(training, tr("You can pause, close the window, or pull the plug."))
        answers = ntr("Answers: the model as it was and the trained one answer {n} held-out question.",
                      "Answers: the model as it was and the trained one answer {n} held-out questions.", questions)
        return [(training, self.training),
                (answers if questions else tr("Answers: no question is asked."),
                 self.answering.plus(self.answering) if self.answering is not None else None),
                (tr("Then try the result in Chat.") if not questions else counts.known_text or
                 tr("Verdict: one sentence says what came of it, and what to do next."), None)]

    def to_dict(self) -> dict[str, Any]:
        return {"choice": self.key, "overrides": self.overrides, **self.plan.counts.to_dict(), **self.time.to_dict(),
                "memory": self.plan.outlook.best.estimate.high, "questions": self.questions,
                "joules": self.energy.joules if self.energy is not None else None}


@dataclass(frozen=True)
class Choices:
    """
    Attributes:
        offered: by their keys, the quickest first; `NORMAL` is always among them.
        recommended: the key of the one that suits these rows and this machine.
    """

    offered: Mapping[str, Choice]
    recommended: str = NORMAL

    @property
    def why(self) -> str:
        """Why that one is recommended, in a sentence."""
        normal = self.offered[NORMAL]
        if self.recommended == QUICK:
            return tr("The normal run takes {time}: see first whether the rows teach the model anything.",
                      time=format_about(normal.time.likely))
        if self.recommended == THOROUGH:
            return ntr("The normal run has only {n} step, and more of them take little time.",
                       "The normal run has only {n} steps, and more of them take little time.",
                       normal.plan.counts.steps)
        return tr("Enough for most rows.")

    def of(self, key: str) -> Choice:
        """The one with this key; the normal one where that isn't offered."""
        return self.offered.get(key, self.offered[NORMAL])


def propose(inputs: PlanInputs, evaluates: bool = True) -> Choices:
    """Plan these rows, and in other ways as far as they differ.

    Args:
        evaluates: held-out questions are answered before and after the training.

    Raises:
        UserError: as `planner.plan`; a way that can't be planned isn't offered.
    """
    machine, own = inputs.machine or read_machine(), plan_inputs.overrides(inputs.overrides)
    inputs = replace(inputs, machine=machine)
    questions = QUESTIONS if evaluates else 0
    normal = _choice(NORMAL, planner.plan(inputs), inputs, machine, questions)
    inputs = replace(inputs, measured=normal.plan.measured)
    offered = {NORMAL: normal}
    for key, fields in ((QUICK, _quick(normal, own)), (THOROUGH, _thorough(normal, inputs))):
        extra = {name: value for name, value in fields.items() if name not in own}
        try:
            made = planner.plan(replace(inputs, overrides=extra | inputs.overrides)) if extra else normal.plan
        except UserError:
            continue
        if not _same(made.config, normal.plan.config):
            planner.chosen_before(made.config, extra.keys(), tr("From the choice “{choice}”.", choice=tr(LABELS[key])))
            offered[key] = _choice(key, made, inputs, machine, questions, extra)
    return Choices({key: offered[key] for key in LABELS if key in offered}, _recommended(offered))


def _choice(key: str, plan: Plan, inputs: PlanInputs, machine: Machine, questions: int,
            overrides: dict[str, Any] | None = None) -> Choice:
    config, counts = plan.config, plan.counts
    held_out = _held_out(plan, inputs)
    count = 0 if config.objective == "text" else min(questions, held_out)
    answering = time_estimate.answering(inputs.model, machine, count, counts.tokens / max(1, counts.learned)).plus(
        time_estimate.general(inputs.model, machine))
    return Choice(key, plan, overrides or {}, count, held_out, answering if count else None)


def _held_out(plan: Plan, inputs: PlanInputs) -> int:
    """Rows that are never learned."""
    if not plan.config.eval_file:
        return plan.counts.evaluated
    return inputs.eval_rows if inputs.eval_rows is not None else plan_rows.in_test_file(
        plan.config.eval_file, plan.config.eval_map)


def _same(one: RunConfig, other: RunConfig) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in FIELDS)


def _quick(normal: Choice, own: Mapping[str, Any]) -> dict[str, Any]:
    """A few minutes of training, of fewer rows a step where a step takes long; nothing where the whole is short, or a
    user decided how long it is."""
    if own.keys() & {"epochs", "max_steps"}:
        return {}
    config, counts, seconds = normal.plan.config, normal.plan.counts, max(1.0, normal.training.likely)
    fields: dict[str, Any] = {}
    if QUICK_STEPS * seconds > QUICK_SECONDS * counts.steps and config.effective_batch_size > QUICK_BATCH:
        rows = min(config.micro_batch_size, QUICK_BATCH)
        fields = {"micro_batch_size": rows, "gradient_accumulation_steps": QUICK_BATCH // rows}
        config = replace(config, **fields)
    of = max(1, total_steps(config, counts.learned))
    steps = max(QUICK_STEPS, round(of * QUICK_SECONDS / seconds))
    if 3 * steps > of or seconds * steps / of > COFFEE:
        return {}
    return {"epochs": float(f"{steps / steps_per_epoch(config, counts.learned):.2g}"), **fields}


def _thorough(normal: Choice, inputs: PlanInputs) -> dict[str, Any]:
    """More epochs, as long as held-out rows show when to stop; smaller steps for few rows, a larger adapter for many.
    Nothing where the normal run takes a night already."""
    config, rows, held_out = normal.plan.config, normal.plan.counts.learned, normal.held_out
    if not held_out or normal.training.likely > LONG:
        return {}
    if config.is_preference or rows < MANY_ROWS:
        more: dict[str, Any] = {"epochs": 2 * config.epochs}
    else:
        more = {"epochs": max(3.0, config.epochs)}
    if rows < FEW_ROWS:
        more["learning_rate"] = float(f"{config.learning_rate / 2:.2g}")
        if held_out < FEW_HELD_OUT and not config.eval_file and (
                config.eval_fraction == split.usual_share(len(inputs.dataset.records))):
            more["eval_fraction"] = MORE_HELD_OUT
    elif config.has_adapter and not config.is_preference and not inputs.after and config.lora_rank < LARGE_RANK:
        more["lora_rank"] = 2 * config.lora_rank
    return more


def _recommended(offered: Mapping[str, Choice]) -> str:
    normal = offered[NORMAL]
    if QUICK in offered and normal.time.likely > EVENING:
        return QUICK
    if THOROUGH in offered and normal.plan.counts.steps < FEW_STEPS and offered[THOROUGH].time.likely <= COFFEE:
        return THOROUGH
    return NORMAL


def check(key: str, offered: Iterable[str]) -> None:
    """Raises UserError: there is no such choice for these rows."""
    if key not in offered:
        raise UserError(tr("This choice can't be used."), "", tr("Choose another one."), [Problem(
            tr("It must be one of {words}.", words=", ".join(offered)), field="choice")])
