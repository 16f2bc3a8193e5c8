"""Scores of an evaluation: their names, as rows of figures, and what they rest on in a sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.files import an_object, objects
from slmstudio.core.i18n import ntr, number_text, ptr, tr
from slmstudio.gui.common.run_texts import outcome_chip, when
from slmstudio.gui.common.widgets.figures import Figure
from slmstudio.gui.evaluation.jobs import Evaluation, usable

BENCHMARKS = ("mmlu", "arc_challenge", "arc_easy", "hellaswag", "gsm8k", "m_mmlu_hi", "global_mmlu_hi", "arc_hi",
              "hellaswag_hi", "indicparam")
"""Those that have a name here; the harness knows more."""


def metric_label(metric: str) -> str:
    """A score's name, as the field writes it."""
    return tr(METRICS[metric].label) if metric in METRICS else metric


def metric_help(metric: str) -> str:
    return tr(METRICS[metric].help) if metric in METRICS else ""


def figure(metric: str, value: float | None) -> str:
    """A score as it is written: percentages and points with one decimal, a loss with two.

    >>> figure("chrf", 52.44), figure("loss", 1.2345), figure("perplexity", 1234.5), figure("bleu", None)
    ('52.4', '1.23', '1,234.5', '—')
    """
    if value is None or not math.isfinite(value):
        return "—"
    text = f"{value:.2f}" if metric == "loss" else number_text(value, ",.1f")
    return text.replace("-", "−")


def interval(metric: str, score: Mapping[str, Any]) -> str:
    """The 95% interval of a score: "49.1–55.6"; "" without one."""
    low, high = score.get("low"), score.get("high")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return ""
    return f"{figure(metric, low)}–{figure(metric, high)}"


def model_label(name: str) -> str:
    return {"base": ptr("model", "Base"), "tuned": ptr("model", "Tuned")}.get(name, name)


def benchmark_label(name: str) -> str:
    """A benchmark's name for people."""
    return {"mmlu": "MMLU", "arc_challenge": "ARC Challenge", "arc_easy": "ARC Easy", "hellaswag": "HellaSwag",
            "gsm8k": "GSM8K", "m_mmlu_hi": tr("MMLU in Hindi"), "global_mmlu_hi": tr("Global MMLU in Hindi"),
            "arc_hi": tr("ARC in Hindi"), "hellaswag_hi": tr("HellaSwag in Hindi"),
            "indicparam": tr("IndicParam (Indian languages)")}.get(name, name.replace("_", " "))


MOST_SENTENCES = 12
_P_VALUE = re.compile(r"\bp ([<=]) ")


def main_comparisons(comparisons: object) -> list[dict[str, Any]]:
    """The comparison of each model by the score that decides, the tuned model's first."""
    found = objects(comparisons)
    main = [each for each in found if each.get("main")] or found[:1]
    return sorted(main, key=lambda each: each.get("of") != "tuned")


def sentence(comparison: Mapping[str, Any]) -> str:
    """What a comparison says; its p value is not torn apart at a line's end.

    >>> sentence({"sentence": "Better: 52 against 21 chrF++, p < 0.001."})
    'Better: 52 against 21 chrF++, p\\xa0<\\xa00.001.'
    """
    return _P_VALUE.sub("p\xa0\\1\xa0", str(comparison.get("sentence") or ""))


def title(evaluation: Evaluation) -> str:
    """As in "today 15:31 · 100 rows of tests.jsonl"."""
    test = _test(evaluation)
    name, rows = test_name(evaluation), test.get("rows")
    what = (ntr("{n:,} row of {name}", "{n:,} rows of {name}", rows, name=name) if isinstance(rows, int) else name)
    state = "" if evaluation.scores else " · " + outcome_chip(evaluation.state)[0]
    return f"{when(evaluation.created)} · {what}{state}"


def test_name(evaluation: Evaluation) -> str:
    """The benchmark, the file, or that it is the run's own held-out rows."""
    if evaluation.benchmark:
        return benchmark_label(evaluation.benchmark)
    path = Path(str(_test(evaluation).get("path") or evaluation.request.get("test") or ""))
    own = path.name.startswith("held-out-") and path.parent == evaluation.folder.parent
    return tr("the held-out data") if own else path.name


def tested_text(evaluation: Evaluation) -> str:
    """On what the scores rest."""
    test = _test(evaluation)
    rows = test.get("rows")
    name, moment = test_name(evaluation), when(evaluation.created)
    return " ".join((
        ntr("{n:,} row of {name}, {when}.", "{n:,} rows of {name}, {when}.", rows, name=name, when=moment)
        if isinstance(rows, int) else tr("{name}, {when}.", name=name, when=moment),
        tr("Below each score is its 95% interval. ▲ better, ▼ worse than the base, by more than chance.")))


def speed_text(scores: Mapping[str, Any]) -> str:
    """How fast the models answered, and how long their answers were."""
    parts = []
    for model in objects(scores.get("models")):
        speed = an_object(model.get("speed"))
        rate, tokens = speed.get("tokens_per_second"), speed.get("answer_tokens")
        if isinstance(rate, int | float) and isinstance(tokens, int | float):
            parts.append(tr("{model}: {rate:,.0f} tokens/s, answers of {tokens:,.0f} tokens",
                            model=model_label(str(model.get("name"))), rate=rate, tokens=tokens))
    return " · ".join(parts)


def metrics_of(evaluation: Evaluation) -> list[str]:
    """Keys of the scores that any of the models has, the deciding ones first."""
    scores = [evaluation.model_scores(name) for name in evaluation.model_names()]
    deciding = [str(each.get("metric")) for each in objects((evaluation.scores or {}).get("comparisons"))
                if each.get("main")]
    return [metric for metric in sorted(METRICS, key=lambda metric: metric not in deciding)
            if any(metric in each for each in scores)]


def metric_rows(evaluation: Evaluation) -> tuple[list[str], list[list[Figure]]]:
    """Scores in rows, models in columns."""
    names = evaluation.model_names()
    scores = [evaluation.model_scores(name) for name in names]
    rows = []
    verdicts = {(str(each.get("of")), str(each.get("metric"))): each
                for each in objects((evaluation.scores or {}).get("comparisons"))}
    for metric in metrics_of(evaluation):
        rows.append([Figure(metric_label(metric), tip=metric_help(metric)),
                     *(score_figure(metric, each.get(metric), name == "tuned", verdicts.get((name, metric)))
                       for each, name in zip(scores, names, strict=True))])
    return ["", *map(model_label, names)], rows


def group_rows(evaluation: Evaluation, key: str) -> tuple[list[str], list[list[Figure]]]:
    """Categories or languages in rows, the score that decides of each model in columns."""
    from slmstudio.core.evaluation.scores.metrics import main_metric

    scores = evaluation.scores or {}
    names = evaluation.model_names()
    kinds = list(an_object(_test(evaluation).get("kinds")))
    by_model = {str(model.get("name")): an_object(model.get(key)) for model in objects(scores.get("models"))}
    said = _of_groups(scores, key)
    rows = []
    for group in group_names(scores, key):
        found = [usable(by_model.get(name, {}).get(group)) for name in names]
        metric = main_metric({metric: None for each in found for metric in each}, kinds)
        if metric is None:
            continue
        counts = next((each[metric].get("rows") for each in found if metric in each), None)
        label = group_label(group, key)
        detail = (ntr("{n:,} row, {metric}", "{n:,} rows, {metric}", counts, metric=metric_label(metric)) if counts
                  else "")
        rows.append([Figure(label, detail, raw={"": label, tr("score"): metric_label(metric)}),
                     *(score_figure(metric, each.get(metric), name == "tuned",
                                    next((one for one in said.get(group, ()) if one.get("of") == name), None))
                       for each, name in zip(found, names, strict=True))])
    return ["", *map(model_label, names)], rows


def group_sentences(scores: Mapping[str, Any], key: str) -> list[str]:
    """The verdict on the tuned model in each category or language: what is certain first, and no more than can be
    read."""
    found = [(group, main_comparisons(said)[0]) for group, said in _of_groups(scores, key).items()]
    found.sort(key=lambda each: each[1].get("verdict") not in ("better", "worse"))
    lines = [f"{group_label(group, key)}: {sentence(each)}" for group, each in found[:MOST_SENTENCES]]
    if len(found) > MOST_SENTENCES:
        lines.append(ntr("And {n:,} more.", "And {n:,} more.", len(found) - MOST_SENTENCES))
    return lines


def _of_groups(scores: Mapping[str, Any], key: str) -> dict[str, list[dict[str, Any]]]:
    found = an_object(an_object(scores.get("group_comparisons")).get(key.removeprefix("by_")))
    return {str(group): objects(said) for group, said in found.items() if objects(said)}


def _test(evaluation: Evaluation) -> dict[str, Any]:
    return an_object((evaluation.scores or {}).get("test"))


def judge_sentences(scores: Mapping[str, Any]) -> list[str]:
    """What the judge says, and how far it agrees with the user's own blind votes."""
    judge = scores.get("judge")
    if not isinstance(judge, dict):
        return []
    agreement = judge.get("agreement")
    return [str(each["sentence"]) for each in (judge, agreement) if isinstance(each, dict) and each.get("sentence")]


def score_figure(metric: str, score: Mapping[str, Any] | None, strong: bool,
                 comparison: Mapping[str, Any] | None = None) -> Figure:
    """A score with its interval; an arrow tells where it is better or worse than the base, by more than chance."""
    if not score:
        return Figure("—", raw="")
    between = interval(metric, score)
    rows = score.get("rows")
    tip = (ntr("{n:,} row. With 95% certainty, the score is in the range {interval}.",
               "{n:,} rows. With 95% certainty, the score is in the range {interval}.", rows, interval=between)
           if between and rows else "")
    arrow = {"better": "▲ ", "worse": "▼ "}.get(str((comparison or {}).get("verdict")), "")
    tip = "\n".join(filter(None, (sentence(comparison or {}), tip)))
    text = arrow + figure(metric, score["value"])
    return Figure(text, between, raw=_values(score, comparison), tip=tip, strong=strong)


def _values(score: Mapping[str, Any], comparison: Mapping[str, Any] | None) -> dict[str, object]:
    """What a spreadsheet computes with: the score as it was kept, its interval, its rows, and the p value of the
    comparison with the base."""
    named = {tr("95% from"): score.get("low"), tr("95% to"): score.get("high"), tr("rows"): score.get("rows"),
             "p": (comparison or {}).get("p")}
    return {"": score["value"], **{name: value for name, value in named.items() if isinstance(value, int | float)}}


def group_label(group: str, key: str) -> str:
    """A category, a language, or whether rows were learned, as a user reads it."""
    if key == "by_training":
        return {"learned": tr("In the training rows"), "new": tr("Not in the training rows")}.get(group, group)
    return group or tr("(none)")


def group_names(scores: Mapping[str, Any], key: str) -> list[str]:
    names = {str(group) for model in objects(scores.get("models")) for group in an_object(model.get(key))}
    return sorted(names, key=str.casefold)
