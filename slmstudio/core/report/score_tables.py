"""Scores as tables of the page: each with its interval, one column per model."""

from __future__ import annotations

from typing import Any

from slmstudio.core.evaluation.scores import verdicts
from slmstudio.core.evaluation.scores.score_table import LEARNED, NEW
from slmstudio.core.files import finite
from slmstudio.core.i18n import noop, number_text, tr
from slmstudio.core.report.evaluations import Evaluation, metric_name
from slmstudio.core.report.text import Table, exact

VERDICTS = {"better": noop("better"), "worse": noop("worse"), "unknown": noop("no clear difference")}


def benchmark_table(result: dict[str, Any]) -> Table:
    """A benchmark's accuracy, overall and by subject, with one column per model, each with its 95% interval."""
    models = [each for each in result.get("models") or [] if isinstance(each, dict)]
    lines = [(tr("All"), [model.get("accuracy") for model in models])]
    lines += [(subject, [(model.get("by_subject") or {}).get(subject) for model in models])
              for subject in dict.fromkeys(name for model in models for name in model.get("by_subject") or {})]
    rows: list[tuple[Any, ...]] = [
        (name, *(_stacked(score, "accuracy") for score in scores),
         exact(next((score.get("rows") for score in scores if isinstance(score, dict)), None)))
        for name, scores in lines]
    names = [str(model.get("name")) for model in models]
    return Table((tr("Accuracy in %"), *names, tr("Questions")), "w" + "s" * len(names) + "r", rows)


def benchmark_tone(result: dict[str, Any]) -> str:
    """Whether its intervals say that knowledge was lost ("bad") or gained ("ok")."""
    pairs = [(finite(each.get("low")), finite(each.get("high"))) for each in result.get("comparisons") or []]
    if any(high is not None and high < 0 for _, high in pairs):
        return "bad"
    return "ok" if any(low is not None and low > 0 for low, _ in pairs) else ""


def score_table(evaluation: Evaluation) -> Table:
    """One row per score and one column per model: scores with their 95% intervals, rows, speed and length of
    answers."""
    models = evaluation.models
    rows: list[tuple[Any, ...]] = [
        (metric_name(key), *(_stacked((model.get("scores") or {}).get(key), key) for model in models))
        for key in evaluation.metrics]
    speeds = [model.get("speed") or {} for model in models]
    rows += [(tr("Rows answered"), *(exact(model.get("rows")) for model in models)),
             (tr("Rows skipped"), *(exact(model.get("skipped")) for model in models)),
             (tr("Tokens per second"), *(_one_digit(speed.get("tokens_per_second")) for speed in speeds)),
             (tr("Tokens per answer, mean"), *(_one_digit(speed.get("answer_tokens")) for speed in speeds)),
             (tr("Answers cut at the limit"), *(exact(speed.get("cut")) for speed in speeds)),
             (tr("Answers that repeat themselves"), *(exact(speed.get("repeated")) for speed in speeds))]
    return Table((tr("Score"), *(str(model.get("name")) for model in models)), "w" + "s" * len(models), rows)


def group_table(evaluation: Evaluation, key: str, title: str) -> Table | None:
    """By "by_category", "by_language" or "by_training": the score to judge by, else the first that a group has.

    None if the rows aren't tagged, or none was learned.
    """
    learned = {LEARNED: tr("yes"), NEW: tr("no")} if key == "by_training" else {}
    models = evaluation.models
    rows: list[tuple[Any, ...]] = []
    for group in dict.fromkeys(group for model in models for group in model.get(key) or {}):
        found = [(model.get(key) or {}).get(group) or {} for model in models]
        said = evaluation.of_group(key, group)
        present = [name for name in (*(str(each.get("metric")) for each in said), evaluation.main_metric,
                                     *evaluation.metrics) if any(name in one for one in found)]
        if present and present[0]:
            metric = present[0]
            count = next((one[metric].get("rows") for one in found if isinstance(one.get(metric), dict)), None)
            rows.append((learned.get(group, group), metric_name(metric),
                         *(_stacked(one.get(metric), metric) for one in found), exact(count), _verdicts(said)))
    names = [str(model.get("name")) for model in models]
    head, align = (title, tr("Score"), *names, tr("Rows"), tr("Verdict")), "ww" + "s" * len(names) + "rw"
    if not any(row[-1] for row in rows):  # one model, one group, or a program that didn't compare them
        head, align, rows = head[:-1], align[:-1], [row[:-1] for row in rows]
    return Table(head, align, rows) if rows else None


def _verdicts(said: list[dict[str, Any]]) -> str | None:
    """What the comparisons of a group say: "better, p < 0.001"; of several models each by its name."""
    lines = []
    for each in said:
        verdict, p = _verdict(each), p_value(each.get("p"))
        text = ", ".join(filter(None, (verdict, p and f"p {p if p.startswith('<') else f'= {p}'}")))
        lines.append(f"{each.get('of')}: {text}" if len(said) > 1 else text)
    return "\n".join(lines) or None


def comparison_table(evaluation: Evaluation) -> Table | None:
    """Every comparison with its difference, interval, p value and verdict."""
    rows = [(tr("{model} against {other}", model=each.get("of"), other=each.get("with")),
             tr("{score} (the one to judge by)", score=metric_name(each.get("metric"))) if each.get("main") else
             metric_name(each.get("metric")),
             _difference(each), p_value(each.get("p")), exact(each.get("rows")), exact(each.get("rows_needed")),
             _verdict(each)) for each in evaluation.comparisons]
    head = (tr("Compared"), tr("Score"), tr("Difference"), "p", tr("Rows"), tr("Rows needed"), tr("Verdict"))
    return Table(head, "wwsnrrl", rows) if rows else None


def _verdict(comparison: dict[str, Any]) -> str:
    verdict = str(comparison.get("verdict"))
    return tr(VERDICTS[verdict]) if verdict in VERDICTS else verdict


def _stacked(score: Any, key: str) -> str | None:
    found = _bounds(score, key)
    if found is None:
        return None
    value, low, high = found
    return f"{value}\n{tr('{low} to {high}', low=low, high=high)}" if low and high else value


def _bounds(score: Any, key: str) -> tuple[str, str | None, str | None] | None:
    """A score and its bounds, as they are written; None if there is no such score."""
    if not isinstance(score, dict) or (value := written(score.get("value"), key)) is None:
        return None
    return value, written(score.get("low"), key), written(score.get("high"), key)


def interval(score: Any, key: str) -> str | None:
    """ "52.4 (49.1 to 55.6)"; None if there is no such score."""
    found = _bounds(score, key)
    if found is None:
        return None
    value, low, high = found
    return tr("{value} ({low} to {high})", value=value, low=low, high=high) if low and high else value


def written(value: Any, key: str, sign: str = "") -> str | None:
    """A score with as many digits as mean something: three of a loss, one of all others."""
    if finite(value) is None:
        return None
    text = number_text(value, f"{sign},.{3 if key == 'loss' else 1}f")
    return text.replace("-", "−")


def p_value(value: Any) -> str | None:
    """ "< 0.001", "0.031": as in the sentences, never rounded up to the level that decides."""
    number = finite(value)
    return None if number is None else verdicts.p_text(number).removeprefix("p ").removeprefix("= ")


def _difference(each: dict[str, Any]) -> str | None:
    metric = str(each.get("metric"))
    value, low, high = (written(each.get(name), metric, "+") for name in ("difference", "low", "high"))
    return f"{value}\n{tr('{low} to {high}', low=low, high=high)}" if low and high else value


def _one_digit(value: Any) -> str | None:
    return f"{value:,.1f}" if finite(value) is not None else None
