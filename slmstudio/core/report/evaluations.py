"""The evaluations of a run, the one by which it is judged, and their scores as tables of the page."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import formats, jobs
from slmstudio.core.evaluation import gain, general, rivals
from slmstudio.core.evaluation.comparability import difference, is_own, model_names
from slmstudio.core.evaluation.scores import verdicts
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.score_table import LEARNED, NEW
from slmstudio.core.evaluation.scoring import SCORES, read_scores
from slmstudio.core.files import an_object, finite, objects
from slmstudio.core.i18n import noop, number_text, tr
from slmstudio.core.report import text
from slmstudio.core.report.text import Table, exact

# -- The evaluations of a run, and the one by which it is judged.


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a run.

    Attributes:
        scores: scores.json; empty while it isn't done.
        state: of its job: "finished", "crashed", ...; "running" while there is no outcome.
        created: seconds since 1970.
        gap: what couldn't be used of scores.json, in a sentence, or "".
    """

    folder: Path
    request: dict[str, Any]
    scores: dict[str, Any]
    state: str
    created: float
    gap: str = ""

    @property
    def benchmarks(self) -> list[dict[str, Any]]:
        """Results of benchmarks: {"name", "title", "models", "comparisons", "sentence", ...}."""
        return objects(self.scores.get("benchmarks"))

    @property
    def models(self) -> list[dict[str, Any]]:
        return objects(self.scores.get("models"))

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        return objects(self.scores.get("comparisons"))

    @property
    def main_comparisons(self) -> list[dict[str, Any]]:
        """Those in the score that was chosen to judge by; all of them where none is marked."""
        return [each for each in self.comparisons if each.get("main")] or self.comparisons

    def of_group(self, key: str, group: str) -> list[dict[str, Any]]:
        """Comparisons in a group of "by_category", "by_language" or "by_training"."""
        of_kind = an_object(self.scores.get("group_comparisons")).get(key.removeprefix("by_"))
        return objects(an_object(of_kind).get(group))

    @property
    def pair(self) -> tuple[str, str] | None:
        """Names of the model in question and of the one it is held against; None with a single model."""
        for each in self.main_comparisons:
            return str(each.get("of")), str(each.get("with"))
        names = [str(model.get("name")) for model in self.models]
        return (names[1], names[0]) if len(names) > 1 else None

    def score(self, model: str, metric: str) -> dict[str, Any] | None:
        """`{"value", "low", "high", "rows"}` of a model, or None."""
        known = next((each for each in self.models if each.get("name") == model), {})
        found = an_object(known.get("scores")).get(metric)
        return found if isinstance(found, dict) else None

    @property
    def metrics(self) -> list[str]:
        """All scores that a model has, the known ones in their order."""
        found = dict.fromkeys(name for model in self.models for name in model.get("scores") or {})
        return [*(name for name in METRICS if name in found), *(name for name in found if name not in METRICS)]

    @property
    def main_metric(self) -> str | None:
        """The score to judge by: the one that is marked, else the first there is."""
        compared = [str(each.get("metric")) for each in self.main_comparisons]
        return next(iter([*compared, *self.metrics]), None)


def metric_name(key: Any) -> str:
    """A score as people read it; an arrow down: lower is better."""
    known = METRICS.get(str(key))
    return str(key) if known is None else tr(known.name) + ("" if known.higher_is_better else " ↓")


def read_evaluations(run: Path) -> list[Evaluation]:
    """All evaluations below a run's jobs/, the newest first. Raises UserError: a newer program made one of them."""
    found = []
    for folder in sorted(path for path in (run / "jobs").glob("*") if path.is_dir()):  # held-out rows are there too
        request = formats.read("job", folder / jobs.REQUEST)
        if request is None or request.get("kind") != "evaluate":
            continue
        lost: list[str] = []
        scores = text.fit(read_scores(folder) or {}, text.SCORES, lost)
        if not lost and (folder / SCORES).exists() and not scores:
            lost.append(tr("everything"))
        ended = jobs.Job(folder).outcome()
        found.append(Evaluation(folder, request, scores, ended.state if ended else "running",
                                _created(scores, folder),
                                text.sentence(tr("{file} of {folder}", file=SCORES, folder=folder.name), lost)
                                if lost else ""))
    return sorted(found, key=lambda each: each.created, reverse=True)


def _created(scores: dict[str, Any], folder: Path) -> float:
    """When it was scored, as seconds or as ISO 8601; otherwise when it was asked for."""
    from datetime import datetime

    value = scores.get("created")
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            value = None
    return float(value) if isinstance(value, int | float) and 0 < value < time.time() + 86_400 \
        else (folder / jobs.REQUEST).stat().st_mtime


def why_main(main: Evaluation, evaluations: list[Evaluation], eval_file: str | None) -> str:
    """Why it is judged by this one, in a sentence; "" if there is no other."""
    if len([each for each in evaluations if each.models]) < 2:
        return ""
    rows, name = exact((main.scores.get("test") or {}).get("rows")) or "?", test_name(main)
    if is_own(main, eval_file):
        return tr("The run is judged by {rows} rows of {test_set}: the newest evaluation of its own held-out rows.",
                  rows=rows, test_set=name)
    return tr("The run is judged by {rows} rows of {test_set}: the newest of the evaluations with the most rows.",
              rows=rows, test_set=name)


def test_name(evaluation: Evaluation) -> str:
    path = (evaluation.scores.get("test") or {}).get("path")
    return Path(str(path)).name if path else tr("the test set")


def shown_in_full(evaluations: list[Evaluation], main: Evaluation | None) -> list[Evaluation]:
    """The main one first, then the newest of each other test set; older ones with models that it lacks are among them.

    Args:
        evaluations: the newest first.
    """
    found: list[Evaluation] = [] if main is None else [main]
    for each in evaluations:
        if each.models and each is not main and not any(
                not difference([each, one]) and set(model_names(each.scores)) <= set(model_names(one.scores))
                for one in found):
            found.append(each)
    return found


def benchmark_results(evaluations: list[Evaluation]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """For each benchmark, the result from the most questions, or the newest of several; and all others.

    Returns:
        Results as in scores.json, each with its evaluation's "folder", when it was scored as "created", and the "seed"
        that drew its questions.
    """
    results = [{**result, "folder": each.folder, "created": each.created, "seed": each.request.get("seed")}
               for each in evaluations for result in each.benchmarks]
    best: dict[str, dict[str, Any]] = {}
    for result in results:
        known = best.setdefault(str(result.get("name")), result)
        if _questions(result) > _questions(known):
            best[str(result.get("name"))] = result
    chosen = list(best.values())
    return chosen, [result for result in results if not any(result is one for one in chosen)]


def _questions(result: dict[str, Any]) -> float:
    models = objects(result.get("models"))
    return max((finite((each.get("accuracy") or {}).get("rows")) or 0.0 for each in models), default=0.0)


VERDICTS = {"better": noop("better"), "worse": noop("worse"), "unknown": noop("no clear difference")}


def benchmark_table(result: dict[str, Any]) -> Table:
    """A benchmark's accuracy, overall and by subject, with one column per model, each with its 95% interval."""
    models = objects(result.get("models"))
    lines = [(tr("All"), [model.get("accuracy") for model in models])]
    lines += [(subject, [(model.get("by_subject") or {}).get(subject) for model in models])
              for subject in dict.fromkeys(name for model in models for name in model.get("by_subject") or {})]
    rows: list[tuple[Any, ...]] = [
        (name, *(interval(score, "accuracy", stacked=True) for score in scores),
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
        (metric_name(key), *(interval((model.get("scores") or {}).get(key), key, stacked=True) for model in models))
        for key in evaluation.metrics]
    speeds = [model.get("speed") or {} for model in models]
    rows += [(tr("Rows answered"), *(exact(model.get("rows")) for model in models)),
             (tr("Rows skipped"), *(exact(model.get("skipped")) for model in models)),
             (tr("Tokens per second"), *(_one_digit(speed.get("tokens_per_second")) for speed in speeds)),
             (tr("Tokens per answer, mean"), *(_one_digit(speed.get("answer_tokens")) for speed in speeds)),
             (tr("Answers cut at the limit"), *(exact(speed.get("cut")) for speed in speeds)),
             (tr("Answers that repeat themselves"), *(exact(speed.get("repeated")) for speed in speeds))]
    return Table((tr("Score"), *(str(model.get("name")) for model in models)), "w" + "s" * len(models), rows)


def rival_table(evaluation: Evaluation) -> Table | None:
    """What the tuned model and its rivals reached, and what an answer of each costs; None where none was asked, or it
    is damaged."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        head, rows = rivals.table(an_object(evaluation.scores["rivals"]))
        return Table(head, "lwrrr", list(rows))
    return None


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
                         *(interval(one.get(metric), metric, stacked=True) for one in found), exact(count),
                         _verdicts(said)))
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
             interval({**each, "value": each.get("difference")}, str(each.get("metric")), stacked=True, sign="+"),
             p_value(each.get("p")), exact(each.get("rows")), exact(each.get("rows_needed")),
             _verdict(each)) for each in evaluation.comparisons]
    head = (tr("Compared"), tr("Score"), tr("Difference"), "p", tr("Rows"), tr("Rows needed"), tr("Verdict"))
    return Table(head, "wwsnrrl", rows) if rows else None


def gain_table(evaluation: Evaluation) -> Table | None:
    """What each export keeps of the gain over the base, with its size and speed."""
    head, rows = gain.table(evaluation.scores)
    return Table(head, "wsrr", list(rows)) if rows else None


def general_table(evaluation: Evaluation) -> Table | None:
    """Right answers to the general questions, in all and by language; None where they weren't asked."""
    models = objects(an_object(evaluation.scores.get(general.KEY)).get("models"))
    if not models:
        return None
    rows: list[tuple[Any, ...]] = [
        (tr("All {n} questions", n=exact(models[0].get("questions"))), *(exact(each.get("right")) for each in models))]
    rows += [(language, *(exact(an_object(each.get("by_language")).get(language)) for each in models))
             for language in an_object(models[0].get("by_language"))]
    return Table((tr("General questions answered right"), *(str(each.get("name")) for each in models)),
                 "w" + "r" * len(models), rows)


def _verdict(comparison: dict[str, Any]) -> str:
    verdict = str(comparison.get("verdict"))
    return tr(VERDICTS[verdict]) if verdict in VERDICTS else verdict


def interval(score: Any, key: str, stacked: bool = False, sign: str = "") -> str | None:
    """ "52.4 (49.1 to 55.6)"; None if there is no such score.

    Args:
        stacked: whether the interval has a line of its own.
        sign: "+" for a difference, which has one.
    """
    value, low, high = (written(an_object(score).get(name), key, sign) for name in ("value", "low", "high"))
    if not (value and low and high):
        return value
    return (f"{value}\n{tr('{low} to {high}', low=low, high=high)}" if stacked else
            tr("{value} ({low} to {high})", value=value, low=low, high=high))


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


def _one_digit(value: Any) -> str | None:
    return f"{value:,.1f}" if finite(value) is not None else None
