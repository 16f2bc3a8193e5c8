"""The first page: what was done and whether it is better, in sentences; and what nobody has checked."""

from __future__ import annotations

import math
from pathlib import Path

from slmstudio.core import units
from slmstudio.core.evaluation import advice
from slmstudio.core.export.proof import LABELS
from slmstudio.core.i18n import noop, ntr, tr
from slmstudio.core.report.evaluations import (
    Evaluation,
    benchmark_results,
    benchmark_tone,
    interval,
    metric_name,
    shown_in_full,
    test_name,
    why_main,
    written,
)
from slmstudio.core.report.gather import Facts, device_name
from slmstudio.core.report.sections import gpu_names
from slmstudio.core.report.text import exact, rounded
from slmstudio.core.run.energy.energy_costs import format_money, tariff

METHODS = {
    "lora": noop("{base} was tuned with LoRA: an adapter was trained, and the base model didn't change."),
    "qlora": noop("{base} was tuned with QLoRA: an adapter was trained on the base model in 4 bits, which didn't "
                  "change."),
    "full": noop("{base} was fully fine-tuned: every weight was trained."),
    "scratch": noop("{base} was trained from scratch: a new model started from random weights."),
}
OBJECTIVES = {
    "sft": noop("It learned to answer as its rows do: {rows}."),
    "text": noop("It learned to continue text as its rows do: {rows}."),
    "dpo": noop("It learned to prefer the better of two answers (DPO): {rows}."),
    "orpo": noop("It learned to prefer the better of two answers (ORPO): {rows}."),
    "kto": noop("It learned to prefer answers that were marked as good (KTO): {rows}."),
}
MOST_VERDICTS, MOST_OF_OTHERS, MOST_TEST_SETS = 6, 2, 4
STATES = {
    "finished": noop("The run finished."),
    "stopped": noop("The run was stopped by the user, and what it had learned was kept."),
    "paused": noop("The run is paused."), "cancelled": noop("The run was cancelled, and nothing was kept."),
    "failed": noop("The run failed."), "crashed": noop("The run crashed: its process ended unexpectedly."),
    "running": noop("The run is still in progress."), "resting": noop("The run is resting and hasn't finished yet."),
    "new": noop("The run was never started."),
}
TONES = {"better": "ok", "worse": "bad"}
NOT_EVALUATED = noop("Not evaluated yet: nothing here says whether its answers are better than the base model's. "
                     "Measure that with the command `evaluate` or in the Results tab.")


def sentences(facts: Facts) -> list[str]:
    """What was done, on what, and how it went."""
    config, run = facts.run.config, facts.run
    learned, held_out = facts.history.plan.get("train_rows"), facts.history.plan.get("eval_rows")
    train, held = Path(config.train_file).name, Path(config.eval_file or config.train_file).name
    rows = (tr("{rows} rows of {file}", rows=exact(learned), file=train) if learned else
            tr("the rows of {file}", file=train))
    tuned = (tr(METHODS[config.method], base=facts.base.name) if config.method in METHODS else
             tr("{base} was tuned with {method}.", base=facts.base.name, method=config.method))
    taught = (tr(OBJECTIVES[config.objective], rows=rows) if config.objective in OBJECTIVES else
              tr("It learned ({objective}): {rows}.", objective=config.objective, rows=rows))
    said = [f"{tuned} {taught}",
            tr("{rows} rows of {file} were held out: they were used only for measuring, never for training.",
               rows=exact(held_out), file=held) if held_out else tr("As far as is known, no rows were held out.")]
    done = (tr("It completed {done:,} of {total:,} steps.", done=run.steps, total=run.total_steps) if run.total_steps
            else ntr("It completed {n:,} step.", "It completed {n:,} steps.", run.steps))
    said.append(" ".join([tr(STATES.get(run.state, run.state)), done, *_troubles(facts)]))
    if run.state != "new":
        said.append(run.locked)
    if run.error:
        said.append(tr("Its message: {message}",
                       message=f"{run.error.get('what', '')} {run.error.get('why', '')}".strip()))
    said += loss_sentences(facts)
    said += export_sentences(facts)
    return said


def _troubles(facts: Facts) -> list[str]:
    line, said = facts.timeline, []
    if line.crashes:
        said.append(ntr("Its process ended unexpectedly {n:,} time.", "Its process ended unexpectedly {n:,} times.",
                        line.crashes))
    if line.pauses:
        said.append(ntr("It was paused {n:,} time.", "It was paused {n:,} times.", line.pauses))
    return said


def loss_sentences(facts: Facts) -> list[str]:
    before, after = facts.run.eval_loss_before, facts.run.eval_loss_after
    used, steps = facts.history.used_step, facts.run.steps
    said = []
    if before is None or after is None:
        said.append(tr("The loss on held-out rows wasn't measured before and after."))
    elif not (math.isfinite(before) and math.isfinite(after)):
        said.append(tr("The loss on held-out rows wasn't a number at the end, so nothing is known about its change.")
                    if math.isfinite(before) else
                    tr("The loss on held-out rows wasn't a number at the start, so nothing is known about its change."))
    if used is not None and used != steps:
        said.append(tr("The result has the weights of step {step:,}, where that loss was lowest, not those of the last "
                       "step.", step=used))
    if (strength := facts.history.strength) not in (None, 1.0):
        said.append(tr("Its adapter is applied at {share} of its strength, which did best on rows that weren't used "
                       "for training.", share=f"{strength:.0%}"))
    if facts.history.overfit_step is not None:
        said.append(tr("After step {step:,}, the loss on held-out rows rose again: the model had begun to overfit.",
                       step=facts.history.overfit_step))
    return said


def export_sentences(facts: Facts) -> list[str]:
    files = [export for export in facts.exports if export.path.is_file()]
    if not files:
        return []
    passed = sum(export.parity.get("passed") is True for export in files)
    if passed == len(files) == 1:
        return [tr("The exported file was proven to answer like the trained model.")]
    return [ntr("{n:,} of {files:,} exported files was proven to answer like the trained model.",
                "{n:,} of {files:,} exported files were proven to answer like the trained model.", passed,
                files=len(files))]


def alarms(facts: Facts) -> list[str]:
    """What nobody may overlook: files that aren't what was trained, test rows that were learned, gaps."""
    found = [tr("{file} doesn't answer like the trained model: its proof failed. Don't use it.",
                file=export.path.name)
             for export in facts.exports if export.parity.get("passed") is False]
    told = shown_in_full(facts.evaluations, facts.main_evaluation)
    for each in told:
        test = each.scores.get("test") or {}
        if test.get("trained_on"):
            values = {"learned": exact(test["trained_on"]), "rows": exact(test.get("rows"))}
            found.append(tr("The model was trained on {learned} of {rows} test rows of {test_set}. On new rows, its "
                            "scores may be lower.", **values, test_set=test_name(each)) if len(told) > 1 else
                         tr("The model was trained on {learned} of {rows} test rows. On new rows, its scores may be "
                            "lower.", **values))
    return found + facts.gaps


def verdicts(facts: Facts) -> list[tuple[str, str]]:
    """(tone, sentence) on whether it is better; one sentence when nobody looked."""
    main, (benchmarks, _) = facts.main_evaluation, benchmark_results(facts.evaluations)
    if main is None and not benchmarks:
        return [("warn", tr(NOT_EVALUATED))]
    said = _in_plain_words(facts)
    said += [line for each in shown_in_full(facts.evaluations, main)[:MOST_TEST_SETS]
            for line in of_evaluation(each)[:MOST_VERDICTS if each is main else MOST_OF_OTHERS]]
    if main is not None and (why := why_main(main, facts.evaluations, facts.run.config.eval_file)):
        said.append(("", why))
    said += [(benchmark_tone(each), str(each.get("sentence") or tr(
        "{benchmark} was run; nothing was compared.", benchmark=each.get("title")))) for each in benchmarks]
    if main is None:
        said.append(("warn", tr("No test set of your own was evaluated, only benchmarks.")))
    return said


def _in_plain_words(facts: Facts) -> list[tuple[str, str]]:
    """The verdict without figures, and what to try first."""
    main = facts.main_evaluation
    if main is None:
        return []
    found = advice.advise(facts.run.config, facts.history, main.scores, main.request)
    next_step = [("", tr("{proposal}: {reason}", proposal=each.text, reason=each.reason))
                 for each in found.proposals[:1]]
    if found.evidence.compared is None:
        return next_step
    return [(found.tone, f"{found.headline} {found.caveat}".rstrip()), *next_step]


def of_evaluation(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(tone, sentence) of each comparison in the score to judge by, or what a single model scored."""
    name = test_name(evaluation)
    if not evaluation.comparisons:
        found = [f"{model.get('name')} {interval((model.get('scores') or {}).get(key), key)} {metric_name(key)}"
                 for model in evaluation.models for key in evaluation.metrics[:1]]
        return [("", tr("{test_set}: {scores}. Nothing was compared.", test_set=name, scores="; ".join(found)))]
    return [(TONES.get(str(each.get("verdict")), ""),
             tr("{test_set}, {model} against {other}: {verdict}", test_set=name, model=each.get("of"),
                other=each.get("with"), verdict=each.get("sentence") or each.get("verdict")))
            for each in evaluation.main_comparisons]


def tiles(facts: Facts) -> list[tuple[str, str, str]]:
    """(label, figure, small print) of the few figures that matter most."""
    run = facts.run
    before, after = run.eval_loss_before, run.eval_loss_after
    found = []
    if before is not None and after is not None and len(facts.history.series["eval_loss"]) > 1:
        change = (after - before) / before if before > 0 else math.nan  # a share of less would mean nothing
        found.append((tr("Loss on held-out rows"), f"{rounded(before)} → {rounded(after)}",
                      tr("{change}, lower is better", change=f"{change:+.0%}".replace("-", "−"))
                      if math.isfinite(change) else tr("before → after, lower is better")))
    found += _score_tile(facts.main_evaluation)
    device = str(facts.history.plan.get("device") or "")
    card = next(iter(gpu_names(facts.history.machine)), "") if device.startswith("cuda") else ""
    found.append((tr("Work"), units.format_duration(run.seconds), card or (device and device_name(device))))
    speed = [value for value in facts.history.series["tokens_per_second"].y if math.isfinite(value)]
    if speed:
        found.append((tr("Speed"), tr("{speed:,.0f} tokens/s", speed=sum(speed) / len(speed)),
                      tr("mean of all steps")))
    use = facts.history.energy.use
    if use is not None:
        price = tariff()
        cost = price.cost(use.joules)
        known = (tr("{percent:.0f}% measured, the rest estimated", percent=100 * use.measured / use.joules)
                 if use.measured else tr("estimated"))
        found.append((tr("Energy"), units.format_energy(use.joules),
                      known if cost is None else f"{format_money(cost, price.currency)}; {known}"))
    return found


def _score_tile(main: Evaluation | None) -> list[tuple[str, str, str]]:
    """The score to judge by, before and after; nothing where one of the two isn't known."""
    if main is None or main.pair is None or main.main_metric is None:
        return []
    of, base = main.pair
    metric = main.main_metric
    figures = [written((main.score(name, metric) or {}).get("value"), metric) for name in (base, of)]
    if None in figures:
        return []
    return [(metric_name(metric), " → ".join(filter(None, figures)), f"{base} → {of}")]


def not_checked(facts: Facts) -> list[str]:
    """What this report can't vouch for."""
    main, (benchmarks, _) = facts.main_evaluation, benchmark_results(facts.evaluations)
    open_points = []
    if main is None:
        open_points.append(tr("Whether the answers are better than the base model's: it wasn't evaluated on a test "
                              "set."))
    else:
        open_points += [tr(point) for key, point in (("by_category",
                                                      noop("How well it does in each category: the test rows have no "
                                                           "categories.")),
                                                     ("by_language",
                                                      noop("How well it does in each language: the test rows don't say "
                                                           "what language they're in.")))
            if not any(model.get(key) for model in main.models)]
        if not main.scores.get("judge"):
            open_points.append(tr("Whether a person would prefer the answers: scores compare them with reference "
                                  "answers, and no judge read them."))
    if not benchmarks:
        open_points.append(tr("Whether general knowledge was kept: no benchmark was run."))
    open_points += _unproven(facts)
    if not facts.base.licence:
        open_points.append(tr("The licence of the base model: its folder doesn't state one."))
    open_points.append(tr("The base model's weights: only config.json and tokenizer.json have a recorded hash.")
                       if facts.record.get("hashes") else tr("Which files were used: no hash is recorded."))
    return [*open_points, tr("Harmful, biased or untrue answers: they weren't tested for."),
            tr("Whether the rows contain personal data, and whether they may be used for training: that wasn't "
               "checked here.")]


def _unproven(facts: Facts) -> list[str]:
    files = [export for export in facts.exports if export.path.is_file()]
    if not files:
        return [tr("Exports: there are none, so no file was compared with what was trained.")]
    open_points = [tr("Whether {file} answers like the trained model: it has no proof.", file=export.path.name)
                   for export in files if not export.parity]
    for export in files:
        names = [str(check.get("name")) for check in export.parity.get("checks") or [] if check.get("passed") is None]
        if names:
            open_points.append(tr("{file}: these couldn't be measured: {checks}.", file=export.path.name,
                                  checks=", ".join(tr(LABELS.get(name, name)) for name in names)))
    return open_points
