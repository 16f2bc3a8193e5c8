"""What is known about a run and of the evaluation by which it is judged, as far as files of either sort say it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slmstudio.core.evaluation.advice import curve
from slmstudio.core.evaluation.scores.verdicts import SAME_ANSWERS
from slmstudio.core.files import an_object, finite, objects
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory

BASE, TUNED = "base", "tuned"


@dataclass(frozen=True)
class Compared:
    """The comparison that decides.

    Attributes:
        verdict: of `scores.verdicts`.
        rows: that both models answered.
        rows_needed: how many would show the difference; None if these do, or where nobody can say.
        same: every answer is the same.
    """

    metric: str
    tuned: float
    base: float
    verdict: str
    rows: int
    rows_needed: int | None = None
    same: bool = False


@dataclass(frozen=True)
class Evidence:
    """
    Attributes:
        compared: None without an evaluation that has a base and a tuned model.
        exact: (answers equal to their reference, answers that have one).
        cut, base_cut: answers that reached the limit of new tokens, of `compared.rows`.
        learned: test rows that were in the training data.
        forgotten: benchmark in which the tuned model is worse, or "".
        weakest: category or language in which it is worse than the base, or "".
        train_rows: rows that it learned; 0 if nobody knows.
        losses: (step, eval loss) in their order.
        train_loss: of the last steps; None if nobody knows.
        best_epoch: at which the eval loss was lowest.
        learning_rate: the highest of the run.
        parameters: of the base; 0 if nobody knows.
    """

    compared: Compared | None = None
    exact: tuple[int, int] | None = None
    cut: int = 0
    base_cut: int = 0
    learned: int = 0
    forgotten: str = ""
    weakest: str = ""
    train_rows: int = 0
    epochs: float = 0.0
    losses: tuple[tuple[int, float], ...] = ()
    train_loss: float | None = None
    best_epoch: float = 0.0
    learning_rate: float = 0.0
    parameters: int = 0
    max_new_tokens: int = 0

    @property
    def shape(self) -> str:
        return curve.shape(self.losses)


def gather(config: RunConfig, history: RunHistory, scores: Mapping[str, Any] | None,
           request: Mapping[str, Any] | None = None) -> Evidence:
    """Take together what a run's events and one evaluation say; what is missing or damaged is left out."""
    losses, steps = history.series["eval_loss"], history.series["train_loss"]
    tail = [loss for loss in list(steps.y)[-max(1, len(steps) // 10):] if math.isfinite(loss)]
    plan, per_epoch = history.plan, finite(history.plan.get("steps_per_epoch")) or 0.0
    compared = _compared(scores or {})
    speeds = {name: an_object(model.get("speed")) for name, model in _models(scores or {}).items()}
    return Evidence(
        compared=compared, exact=_exact(scores or {}), cut=_count(speeds.get(TUNED, {}).get("cut")),
        base_cut=_count(speeds.get(BASE, {}).get("cut")),
        learned=_count(an_object((scores or {}).get("test")).get("trained_on")), forgotten=_forgotten(scores or {}),
        weakest=_weakest(scores or {}), train_rows=_count(plan.get("train_rows")), epochs=history.epoch,
        losses=tuple((int(step), loss) for step, loss in zip(losses.x, losses.y, strict=True)),
        train_loss=sum(tail) / len(tail) if tail else None,
        best_epoch=(history.best_step or 0) / per_epoch if per_epoch else 0.0,
        learning_rate=config.learning_rate, parameters=_count(plan.get("parameters")),
        max_new_tokens=_count((request or {}).get("max_new_tokens")))


def _compared(scores: Mapping[str, Any]) -> Compared | None:
    for each in objects(scores.get("comparisons")):
        metric, values = str(each.get("metric")), [
            finite(an_object(an_object(_models(scores).get(name, {}).get("scores")).get(str(each.get("metric"))))
                    .get("value")) for name in (TUNED, BASE)]
        if each.get("main") and (each.get("of"), each.get("with")) == (TUNED, BASE) and None not in values:
            return Compared(metric, float(values[0] or 0), float(values[1] or 0), str(each.get("verdict")),
                            _count(each.get("rows")), _count(each.get("rows_needed")) or None,
                            # Older files lack "same"; their sentences are English.
                            each.get("same") is True or str(each.get("sentence")).startswith(SAME_ANSWERS))
    return None


def _exact(scores: Mapping[str, Any]) -> tuple[int, int] | None:
    found = an_object(an_object(_models(scores).get(TUNED, {}).get("scores")).get("normalised"))
    share, rows = finite(found.get("value")), _count(found.get("rows"))
    return None if share is None or not rows else (round(share * rows / 100), rows)


def _forgotten(scores: Mapping[str, Any]) -> str:
    for result in objects(scores.get("benchmarks")):
        for each in objects(result.get("comparisons")):
            high = finite(each.get("high"))
            if each.get("of") == TUNED and high is not None and high < 0:
                return str(result.get("title") or result.get("name") or "")
    return ""


def _weakest(scores: Mapping[str, Any]) -> str:
    for name in ("category", "language"):
        for group, found in an_object(an_object(scores.get("group_comparisons")).get(name)).items():
            if any(each.get("of") == TUNED and each.get("verdict") == "worse" for each in objects(found)):
                return str(group)
    return ""


def _models(scores: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(model.get("name")): model for model in objects(scores.get("models"))}


def _count(value: Any) -> int:
    return int(finite(value) or 0)
