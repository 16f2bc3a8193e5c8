"""What is known about a run and of the evaluation by which it is judged, and the shape of the run's eval losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core.evaluation import general
from slmstudio.core.evaluation.general import BASE, TUNED
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.files import an_object, finite, objects
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.folder import EXPORTS
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.planning.rates import usual_rate

# -- The shape of a run's eval losses: what they say about more or fewer steps.

FALLING, SETTLED, TURNED, RISING, UNMOVED, BROKEN, UNKNOWN = (
    "falling", "settled", "turned", "rising", "unmoved", "broken", "unknown")
TURN = 0.02
"""Share of the lowest loss by which the last one is above it before that is more than noise."""
MOVED = 0.02
"""Share of the first loss that a run must win before it has learned anything worth a word."""
STILL = 0.08
"""Share of all that was won that the last third of the run must have won, where the loss was still falling."""
BREAK = 1.5
"""Times the first loss from which the weights, not the data, are at fault."""
FEWEST = 3


def curve_shape(losses: Sequence[tuple[int, float]], train_loss: float | None = None) -> str:
    """One of the words above.

    Args:
        losses: (step, eval loss) with rising steps, the first before the training.
        train_loss: at the end. Where it is below every eval loss, the weights learned: they only overfitted.
    """
    values = [loss for _, loss in losses]
    if not values:
        return UNKNOWN
    learned = train_loss is not None and train_loss < min(filter(math.isfinite, values), default=-math.inf)
    if not math.isfinite(values[-1]) or (
            math.isfinite(values[0]) and values[-1] > BREAK * values[0] and not learned):
        return BROKEN
    finite = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    if len(finite) < 2 or finite[0][0] != 0:
        return UNKNOWN
    (_, first), (last_step, last) = finite[0], finite[-1]
    best_step, best = min(finite, key=lambda each: each[1])
    if best_step == 0 and last > first * (1 + TURN):
        return RISING
    if last > best * (1 + TURN):
        return TURNED
    won = first - best
    if won < MOVED * first:
        return UNMOVED
    if len(finite) < FEWEST:
        return UNKNOWN
    before = min(loss for step, loss in finite if step <= last_step * 2 / 3)
    return FALLING if before - last >= STILL * won else SETTLED


@dataclass(frozen=True)
class Compared:
    """The comparison that decides.

    Attributes:
        verdict: of `scores.verdicts`.
        tuned, base: their scores in `rows`, which both answered.
        low, high: 95% interval of the difference; None if nobody knows, or without a bound.
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
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Evidence:
    """
    Attributes:
        compared: None without an evaluation that has a base and a tuned model.
        exact: (answers equal to their reference, answers that have one).
        others: the same two models in every other score.
        cut, base_cut: answers that reached the limit of new tokens, of `compared.rows`.
        repeated, base_repeated: answers that were stopped because they repeated themselves.
        tokens, base_tokens, reference_tokens: of an answer and of a reference, mean; 0 if nobody knows.
        marked, base_marked: answers with marks of a chat template; `mark`: one of them.
        alike, base_alike: how often each model gave its most frequent answer; references_alike: the same of the
            references.
        test_rows: of the test file, asked or not; 0 if nobody knows.
        test: that file, where it isn't the run's own.
        learned: test rows that were in the training data.
        forgotten: benchmark in which the tuned model is worse, or "".
        general: (right answers before, after, questions) of the general questions where it forgot some of them.
        benchmark: what the first benchmark showed, in a sentence, or "".
        weakest: category or language in which it is worse than the base, or "".
        export: (name, score) of a file of this run that is certainly less good than the tuned model.
        rank: of its adapter; 0 without one.
        train_rows: rows that it learned; 0 if nobody knows.
        cut_rows: (rows that were cut at their end, of how many) in training; max_length: at so many tokens.
        losses: (step, eval loss) in their order.
        train_loss: of the last steps; None if nobody knows.
        used_step: whose weights are the result, as the best; 0 if they are the last step's.
        result_loss: its eval loss, where the run has chosen weights or strength by it.
        stopped: (steps made, steps planned) if the user stopped it.
        best_epoch: at which the eval loss was lowest.
        learning_rate: the highest of the run; usual_rate: what would be proposed, 0 if nobody knows.
        parameters: of the base; 0 if nobody knows.
    """

    compared: Compared | None = None
    others: tuple[Compared, ...] = ()
    exact: tuple[int, int] | None = None
    cut: int = 0
    base_cut: int = 0
    repeated: int = 0
    base_repeated: int = 0
    tokens: float = 0.0
    base_tokens: float = 0.0
    reference_tokens: float = 0.0
    marked: int = 0
    base_marked: int = 0
    mark: str = ""
    alike: int = 0
    base_alike: int = 0
    references_alike: int = 0
    test_rows: int = 0
    test: str = ""
    learned: int = 0
    forgotten: str = ""
    general: tuple[int, int, int] | None = None
    benchmark: str = ""
    weakest: str = ""
    export: tuple[str, float] | None = None
    method: str = "lora"
    objective: str = "sft"
    rank: int = 0
    train_rows: int = 0
    cut_rows: tuple[int, int] = (0, 0)
    max_length: int = 0
    epochs: float = 0.0
    losses: tuple[tuple[int, float], ...] = ()
    train_loss: float | None = None
    used_step: int = 0
    result_loss: float | None = None
    stopped: tuple[int, int] | None = None
    best_epoch: float = 0.0
    learning_rate: float = 0.0
    usual_rate: float = 0.0
    parameters: int = 0
    max_new_tokens: int = 0

    @property
    def shape(self) -> str:
        return curve_shape(self.losses, self.train_loss)


def gather(config: RunConfig, history: RunHistory, scores: Mapping[str, Any] | None,
           request: Mapping[str, Any] | None = None) -> Evidence:
    """Take together what a run's events and one evaluation say; what is missing or damaged is left out."""
    scores, request, plan = scores or {}, request or {}, history.plan
    losses, steps = history.series["eval_loss"], history.series["train_loss"]
    tail = [loss for loss in list(steps.y)[-max(1, len(steps) // 10):] if math.isfinite(loss)]
    per_epoch, parameters = finite(plan.get("steps_per_epoch")) or 0.0, _count(plan.get("parameters"))
    said = {name: an_object(model.get("speed")) for name, model in _models(scores).items()}
    tuned, base, test = said.get(TUNED, {}), said.get(BASE, {}), an_object(scores.get("test"))
    compared, others = _comparisons(scores)
    return Evidence(
        compared=compared, others=others, exact=_exact(scores),
        cut=_count(tuned.get("cut")), base_cut=_count(base.get("cut")),
        repeated=_count(tuned.get("repeated")), base_repeated=_count(base.get("repeated")),
        tokens=finite(tuned.get("answer_tokens")) or 0.0, base_tokens=finite(base.get("answer_tokens")) or 0.0,
        reference_tokens=finite(tuned.get("reference_tokens")) or 0.0,
        marked=_count(tuned.get("marked")), base_marked=_count(base.get("marked")), mark=str(tuned.get("mark") or ""),
        alike=_count(tuned.get("alike")), base_alike=_count(base.get("alike")),
        references_alike=_count(test.get("references_alike")),
        test_rows=_test_rows(test, request), test=_other_test(config, request),
        learned=_count(test.get("trained_on")), forgotten=_forgotten(scores), general=general.loss(scores),
        benchmark=next((str(each.get("sentence") or "") for each in objects(scores.get("benchmarks"))), ""),
        weakest=_weakest(scores), export=_weaker_export(scores, request, compared),
        method=config.method, objective=config.objective, rank=config.lora_rank if config.has_adapter else 0,
        train_rows=_count(plan.get("train_rows")), cut_rows=_cut_rows(history), max_length=config.max_length,
        epochs=history.epoch, losses=tuple((int(step), loss) for step, loss in zip(losses.x, losses.y, strict=True)),
        train_loss=sum(tail) / len(tail) if tail else None,
        used_step=history.used_step if history.used_step and history.used_step != history.step else 0,
        result_loss=history.result_loss,
        stopped=_stopped(history), best_epoch=(history.best_step or 0) / per_epoch if per_epoch else 0.0,
        learning_rate=config.learning_rate, parameters=parameters,
        usual_rate=usual_rate(config.method, config.objective, parameters, config.lora_rank) if parameters else 0.0,
        max_new_tokens=_count(request.get("max_new_tokens")))


def _stopped(history: RunHistory) -> tuple[int, int] | None:
    ended: dict[str, Any] = next((each for each in reversed(history.told) if each.get("type") == "job_ended"), {})
    return (history.step, history.total_steps) if ended.get("state") == "stopped" and (
        history.step < history.total_steps) else None


def _test_rows(test: Mapping[str, Any], request: Mapping[str, Any]) -> int:
    """Known only where all were asked, of files whose rows nobody has counted."""
    asked = _count(test.get("rows"))
    return _count(test.get("rows_in_file")) or (0 if _count(request.get("limit")) == asked else asked)


def _other_test(config: RunConfig, request: Mapping[str, Any]) -> str:
    """The test file, unless it has the rows that a run's evaluation takes without being told."""
    test, run = request.get("test"), request.get("train_run")
    if not test or (run and Path(test).is_relative_to(run)):
        return ""
    return "" if config.eval_file and Path(test) == Path(config.eval_file).absolute() else str(test)


def _cut_rows(history: RunHistory) -> tuple[int, int]:
    """Of the rows that are learned; those of the evaluation, which are fewer, are told in the same way."""
    learned = _count(history.plan.get("train_rows"))
    told: dict[str, Any] = next((each for each in reversed(history.log) if each.get("code") == "rows_cut"
                                 and _count(each.get("rows")) >= learned), {})
    return _count(told.get("cut")), _count(told.get("rows"))


def _comparisons(scores: Mapping[str, Any]) -> tuple[Compared | None, tuple[Compared, ...]]:
    """The tuned model against its base: in the score that decides, and in the others."""
    main, others = None, []
    for each in objects(scores.get("comparisons")):
        if (each.get("of"), each.get("with")) != (TUNED, BASE) or (found := _compared(scores, each)) is None:
            continue
        if each.get("main") and main is None:
            main = found
        else:
            others.append(found)
    return main, tuple(others)


def _compared(scores: Mapping[str, Any], each: Mapping[str, Any]) -> Compared | None:
    metric, tuned, base = str(each.get("metric")), finite(each.get("score")), finite(each.get("other"))
    if tuned is None or base is None:
        return None
    return Compared(metric, tuned, base, str(each.get("verdict")),
                    _count(each.get("rows")), _count(each.get("rows_needed")) or None,
                    each.get("same") is True,
                    finite(each.get("low")), finite(each.get("high")))


def _score(scores: Mapping[str, Any], model: str, metric: str) -> dict[str, Any]:
    return an_object(an_object(_models(scores).get(model, {}).get("scores")).get(metric))


def _weaker_export(scores: Mapping[str, Any], request: Mapping[str, Any],
                   compared: Compared | None) -> tuple[str, float] | None:
    """The first file of this run whose interval is below the tuned model's."""
    if compared is None or compared.metric not in METRICS or not METRICS[compared.metric].higher_is_better:
        return None
    least = finite(_score(scores, TUNED, compared.metric).get("low"))
    own = Path(str(request.get("train_run"))) / EXPORTS
    for model in objects(request.get("models")):
        found = _score(scores, str(model.get("name")), compared.metric)
        value, most = finite(found.get("value")), finite(found.get("high"))
        ours = model.get("gguf") and Path(str(model["gguf"])).parent == own
        if ours and None not in (least, value, most) and most < least:  # type: ignore[operator]
            return str(model["name"]), float(value or 0)
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
