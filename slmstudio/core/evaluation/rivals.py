"""Whether tuning is worth it: the tuned model against what needs no training, on the rows that none of them has seen;
and what each of them costs."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, jobs, program, units
from slmstudio.core.chat.assistant import ASSISTANT, ASSISTANT_ROWS
from slmstudio.core.chat.context import EXAMPLES, RETRIEVAL
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.evaluation.answer_rows import Rows
from slmstudio.core.evaluation.comparability import TUNED
from slmstudio.core.evaluation.rival_models import BASE, NAMES, PROMPT, TUNED_RETRIEVAL
from slmstudio.core.evaluation.scores import verdicts
from slmstudio.core.evaluation.scores.metrics import METRICS, main_metric
from slmstudio.core.evaluation.scores.score_table import NEW, ScoreTable
from slmstudio.core.evaluation.scores.statistics import interval
from slmstudio.core.evaluation.scores.verdicts import BETTER, WORSE, rounded, score_text
from slmstudio.core.i18n import join_sentences, noop, ntr, tr

State = dict[str, Any]
SCORES = "scores.json"
CASES = TUNED_BETTER, AS_GOOD, RETRIEVAL_BETTER, RIVAL_BETTER, TOO_FEW, LEAK, UNTRAINED = (
    "tuned_better", "prompt_as_good", "retrieval_better", "rival_better", "too_few_rows", "leak", "without_training")
"""What a comparison comes to. The last is that of a trial before training: there is no tuned model yet."""
MARGIN, MARGIN_NATS = 3.0, 0.05
"""A rival is as good if the tuned model can hardly be better by more than this: points of a score, nats of a loss."""
LEAST_ROWS = 30
"""With fewer rows nothing is called as good, however alike the answers are."""
POWERED = 2.8 / 1.96
"""How much narrower an interval must be than the margin, so that four of five tries show it."""


def compare(rows: Rows, table: ScoreTable) -> State | None:
    """"rivals" of scores.json; None where no rival was asked, or no row has an answer of all of them.

    Only rows that weren't learned, and that all have answered, count. The tuned model is compared with each other, of
    a trial each other with the base; p is corrected for their number.
    """
    asked = [at for at, name in enumerate(rows.names) if name in (*NAMES, TUNED) or not at]
    if not any(rows.names[at] in NAMES for at in asked):
        return None
    new = table.groups("training").get(NEW)
    metric_key = main_metric({key: None for key, metric in METRICS.items() if len(table.counts(metric, 0))},
                             [kind for kind, _ in table.kinds.most_common()])
    if metric_key is None:
        return None
    metric = METRICS[metric_key]
    common = reduce(lambda left, at: table.common(metric, 0, at, left), asked, new)
    if common is None or not len(common):
        return None
    tuned = next((at for at in asked if rows.names[at] == TUNED), None)
    first, others = (0, asked[1:]) if tuned is None else (tuned, [at for at in asked if at != tuned])
    sides = [(at, first) if tuned is None else (first, at) for at in others]
    pairs = [pair for of, with_ in sides if (pair := verdicts.pair(metric, table, of, common, with_))]
    corrected = verdicts.holm([pair.found.p for pair in pairs])
    compared = [{"of": rows.names[pair.model], "with": rows.names[pair.first], **pair.to_dict(p, len(pairs))}
                for pair, p in zip(pairs, corrected, strict=True)]
    spent = costs(rows)
    lines = []
    for at in asked:
        its = interval(table.counts(metric, at, common), metric)
        lines.append({"name": rows.names[at], "rival": rows.names[at] if at else BASE, "value": rounded(its.value),
                      "low": rounded(its.low), "high": rounded(its.high), "rows": its.rows, **spent[at]})
    seen = table.trained_on
    found = {"metric": metric_key, "table": lines, "comparisons": compared, "rows": len(common), "seen": seen,
             "all_rows": len(table)}
    case, best, needed = (LEAK, "", None) if 2 * seen > len(table) else decide(found)
    return {**found, "case": case, "best": best, "rows_needed": needed}


def costs(rows: Rows) -> list[State]:
    """Of each model, means of an answer: tokens of the question as asked, seconds to read it and to write the answer,
    rows that it was shown; the most memory in bytes; and how many rows were left out since they ask the same."""
    keys = ("prompt_tokens", "read_seconds", "seconds", "context_rows")
    sums: list[dict[str, float]] = [dict.fromkeys((*keys, "same", "memory", "answers"), 0.0) for _ in rows.names]
    for _, answers in rows:
        for its, line in zip(sums, answers, strict=True):
            if line is None or line.get("skipped"):
                continue
            its["answers"] += 1
            its["same"] += line.get("context_same") or 0
            its["memory"] = max(its["memory"], line.get("memory_bytes") or 0)
            for key in keys:
                its[key] += line.get(key) or 0

    def mean(its: dict[str, float], *names: str) -> float | None:
        return round(sum(its[key] for key in names) / its["answers"], 4) if its["answers"] else None

    return [{"prompt_tokens": mean(its, "prompt_tokens") or None, "seconds": mean(its, "read_seconds", "seconds"),
             "memory_bytes": int(its["memory"]) or None, "context_rows": mean(its, "context_rows"),
             "left_out_of_context": int(its["same"])} for its in sums]


def decide(rivals: Mapping[str, Any]) -> tuple[str, str, int | None]:
    """What the figures carry: one of `CASES`, the model that is best, and how many rows would be enough where these
    are too few (None if nobody knows).

    Args:
        rivals: {"metric", "table", "comparisons"}, as in scores.json.
    """
    higher = METRICS[rivals["metric"]].higher_is_better
    values = {each["name"]: each["value"] if higher else -each["value"] for each in rivals["table"]}
    tokens = {each["name"]: each.get("prompt_tokens") or 0 for each in rivals["table"]}
    if TUNED not in values:
        return UNTRAINED, max(values, key=values.__getitem__), None
    compared = rivals["comparisons"]
    if better := [each["with"] for each in compared if each["verdict"] == WORSE]:
        best = max(better, key=values.__getitem__)
        return RETRIEVAL_BETTER if best == RETRIEVAL else RIVAL_BETTER, best, None
    untrained = [each for each in compared if each["with"] != TUNED_RETRIEVAL]
    unbeaten = [each for each in untrained if each["verdict"] != BETTER]
    if untrained and not unbeaten:
        return TUNED_BETTER, TUNED, None
    margin = MARGIN if METRICS[rivals["metric"]].most < math.inf else MARGIN_NATS
    if as_good := [each["with"] for each in unbeaten
                   if each["rows"] >= LEAST_ROWS and (most := _lead(each, higher)[1]) is not None and most <= margin]:
        return AS_GOOD, min(as_good, key=lambda name: (tokens[name], -values[name])), None
    strongest = max(unbeaten, key=lambda each: values[each["with"]], default=None)
    return TOO_FEW, max(values, key=values.__getitem__), _rows_needed(strongest, margin, higher) if strongest else None


def _lead(comparison: Mapping[str, Any], higher: bool) -> tuple[float, float | None]:
    """By how much the tuned model is better, and by how much it may be at most."""
    if higher:
        return comparison["difference"], comparison["high"]
    return -comparison["difference"], None if comparison["low"] is None else -comparison["low"]


def _rows_needed(comparison: Mapping[str, Any], margin: float, higher: bool) -> int | None:
    """Rows that would show either a difference as large as the one seen, or that it is none that matters."""
    found = [comparison["rows_needed"]] if comparison["rows_needed"] else []
    lead, most = _lead(comparison, higher)
    if most is not None and lead < margin:
        rows = max(LEAST_ROWS, math.ceil(comparison["rows"] * ((most - lead) * POWERED / (margin - lead)) ** 2))
        found += [rows] if rows > comparison["rows"] else []
    return min(found, default=None)


_NOUNS = {BASE: noop("the base model"), PROMPT: noop("the best prompt"),
          EXAMPLES: noop("a prompt with examples"), RETRIEVAL: noop("looking answers up in your rows"),
          TUNED: noop("the tuned model"), TUNED_RETRIEVAL: noop("the tuned model that looks answers up")}
_AS_GOOD = {
    BASE: noop("The base model is as good without tuning: {other} against {score} {metric}."),
    PROMPT: noop("A prompt is as good as tuning: {other} against {score} {metric}."),
    EXAMPLES: noop("A prompt with {shown} examples is as good as tuning: {other} against {score} {metric}."),
    RETRIEVAL: noop("Looking answers up in your rows is as good as tuning: {other} against {score} {metric}.")}
_BETTER = {
    BASE: noop("The base model is better than the tuned one: {other} against {score} {metric}."),
    PROMPT: noop("A prompt is better than tuning: {other} against {score} {metric}."),
    EXAMPLES: noop("A prompt with {shown} examples is better than tuning: {other} against {score} {metric}."),
    RETRIEVAL: noop("Looking answers up in your rows is better than tuning: {other} against {score} {metric}."),
    TUNED_RETRIEVAL: noop("The tuned model is better still if it looks answers up: {other} against {score} {metric}.")}


def noun(name: str) -> str:
    """A rival, the base or the tuned model, as in a sentence."""
    return tr(_NOUNS[name]) if name in _NOUNS else name


def sentence(scores: Mapping[str, Any]) -> str:
    """What the rivals of a scores.json come to; "" where none was asked.

    Raises:
        KeyError, TypeError, ValueError: it isn't whole.
    """
    rivals = scores.get("rivals")
    if not rivals:
        return ""
    case, best, metric = rivals["case"], rivals["best"], rivals["metric"]
    if case == LEAK:
        return ntr("{n:,} of {rows:,} test rows is among the training rows, so they can't show whether tuning is worth "
                   "it.", "{n:,} of {rows:,} test rows are among the training rows, so they can't show whether tuning "
                          "is worth it.", rivals["seen"], rows=rivals["all_rows"])
    lines = {each["rival"]: each for each in rivals["table"]}
    higher, name = METRICS[metric].higher_is_better, tr(METRICS[metric].name)

    def text(rival: str, key: str = "value") -> str:
        return score_text(metric, lines[rival][key])

    best = next((each["rival"] for each in rivals["table"] if each["name"] == best), best)
    if case == UNTRAINED:
        return tr("The best score without training is {score} {metric} ({low} to {high}), of {rival}. Training has to "
                  "beat that.",
                  rival=noun(best), score=text(best), metric=name, low=text(best, "low"), high=text(best, "high"))
    beaten = {each["with"] for each in rivals["comparisons"] if case == TOO_FEW and each["verdict"] == BETTER}
    others = [key for key, each in lines.items() if key not in (TUNED, TUNED_RETRIEVAL) and each["name"] not in beaten]
    strongest = (max if higher else min)(others, key=lambda rival: float(lines[rival]["value"]))
    if case == TUNED_BETTER:
        return tr("Tuning is worth it: {score} against {other} {metric} for {rival}.", score=text(TUNED),
                  other=text(strongest), metric=name, rival=noun(strongest))
    if case == TOO_FEW:
        found = ntr("{n:,} row is too few to say whether tuning is worth it: {score} against {other} {metric} for "
                    "{rival}.", "{n:,} rows are too few to say whether tuning is worth it: {score} against {other} "
                                "{metric} for {rival}.", rivals["rows"], score=text(TUNED), other=text(strongest),
                    metric=name, rival=noun(strongest))
        needed = rivals["rows_needed"]
        return found if needed is None else join_sentences(
            found, tr("About {needed:,} would be enough.", needed=verdicts.rounded_up(needed)))
    found = tr((_AS_GOOD if case == AS_GOOD else _BETTER)[best], other=text(best), score=text(TUNED), metric=name,
               shown=round(lines[best].get("context_rows") or 0))
    tokens = lines[best]["prompt_tokens"]
    return found if best == BASE or not tokens else join_sentences(
        found, tr("It costs {tokens:,} tokens per answer.", tokens=round(tokens)))


def table(rivals: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """What each model reached and what an answer of it costs, as people read it: the head of a table, and its rows."""
    metric = rivals["metric"]

    def row(each: Mapping[str, Any]) -> tuple[str, ...]:
        value, low, high = (score_text(metric, each[key]) for key in ("value", "low", "high"))
        tokens, seconds, memory = (each.get(key) for key in ("prompt_tokens", "seconds", "memory_bytes"))
        return (str(each["name"]), tr("{score} ({low} to {high})", score=value, low=low, high=high),
                f"{tokens:,.0f}" if tokens else "–", tr("{seconds:.2f} s", seconds=seconds) if seconds else "–",
                units.format_bytes(memory) if memory else "–")

    head = (tr("Model"), tr(METRICS[metric].label), tr("Tokens read per answer"), tr("Time per answer"), tr("Memory"))
    return head, [row(each) for each in rivals["table"]]


def retranslated(scores: Mapping[str, Any]) -> State:
    """"rivals" of a scores.json with its sentences in the language that is spoken now. Raises as `sentence`."""
    rivals = scores["rivals"]
    compared: Sequence[State] = rivals["comparisons"]
    return {**rivals, "comparisons": [{**each, "sentence": verdicts.sentence(each)} for each in compared],
            "sentence": sentence(scores)}


def newest(run: Path, name: str) -> Path:
    """The folder of a run's last evaluation in which a rival was asked. Raises UserError: there is none."""
    found = [path.parent for path in (run / "jobs").glob(f"*/{SCORES}") if name in {
        each.get("name") for each in ((files.read_json(path) or {}).get("rivals") or {}).get("table") or ()}]
    if not found:
        raise UserError(tr("No evaluation of {run} has asked “{name}”.", run=run.name, name=name), "",
                        tr("Ask it first: {command}", command=program.command("evaluate", run, "--rivals", name)))
    return max(found, key=lambda folder: (folder / SCORES).stat().st_mtime)


def keep(run: Path | None, evaluation: Path | None, name: str) -> Path | None:
    """Let Chat and the server answer for a run as a rival of one of its evaluations did, with its prompt and rows.

    Args:
        run: None for a trial without a run: the assistant is kept in its own folder.
        evaluation: its folder; may be None for the tuned model.
        name: the rival's in the evaluation; the tuned model's takes away what was kept.

    Returns:
        The file that was written, or None.

    Raises:
        UserError: the evaluation has no such model, or the file can't be written.
    """
    target = run or evaluation
    if name == TUNED and target is not None:
        with os_errors_as(tr("Could not remove what was kept.")):
            for each in (ASSISTANT, ASSISTANT_ROWS):
                (target / each).unlink(missing_ok=True)
        return None
    request = (formats.read("job", evaluation / jobs.REQUEST) if evaluation else None) or {}
    known = {each["name"]: each for each in request.get("models") or () if each["name"] in (*NAMES, BASE)}
    if evaluation is None or target is None or name not in known:
        raise UserError(tr("The evaluation has no model called “{name}” that can be kept.", name=name), "",
                        tr("Choose among {names}.", names=", ".join((*known, TUNED))))
    model = known[name]
    with os_errors_as(tr("Could not keep the rival.")):
        context = model.get("context")
        if context:
            shutil.copyfile(evaluation / str(context["rows"]), target / ASSISTANT_ROWS)
            context = {**context, "rows": ASSISTANT_ROWS}
        system = model.get("system", request.get("system"))
        plain = {key: model.get(key) for key in ("model", "gguf", "load_in_4bit", "chat_template") if model.get(key)}
        found = {**formats.stamp("assistant"), "rival": name, "system": system, "context": context,
                 "model": None if name == TUNED_RETRIEVAL else plain, "evaluation": str(evaluation)}
        files.write_atomically(target / ASSISTANT, files.dump_pretty(found))
    return target / ASSISTANT
