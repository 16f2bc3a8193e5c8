"""The first page: what was done and whether it is better, in sentences; and what nobody has checked."""

from __future__ import annotations

import math
from pathlib import Path

from slmstudio.core import units
from slmstudio.core.evaluation import advice
from slmstudio.core.i18n import noop, tr
from slmstudio.core.report.evaluations import (
    Evaluation,
    benchmark_results,
    metric_name,
    test_name,
    told_in_full,
    why_main,
)
from slmstudio.core.report.gather import Facts
from slmstudio.core.report.score_tables import benchmark_tone, interval, written
from slmstudio.core.report.text import exact, rounded
from slmstudio.core.report.timeline import device_name
from slmstudio.core.run.energy.money import format_money
from slmstudio.core.run.energy.tariff import tariff

METHODS = {
    "lora": noop("LoRA: an adapter learned, the base model stayed as it was"),
    "qlora": "QLoRA: an adapter learned on the base model in 4 bits, which stayed as it was",
    "full": "full fine-tuning: every weight learned",
    "scratch": "training from scratch: a new model began with random weights",
}
OBJECTIVES = {
    "sft": "to answer as its rows do", "text": "to continue text as its rows do",
    "dpo": "to prefer the better of two answers (DPO)", "orpo": "to prefer the better of two answers (ORPO)",
    "kto": "to prefer answers that were marked good (KTO)",
}
MOST_VERDICTS, MOST_OF_OTHERS, MOST_TEST_SETS = 6, 2, 4
STATES = {
    "finished": noop("The run finished"), "stopped": noop("The run was stopped by the user and what it had learned was "
                                                          "kept"),
    "paused": noop("The run is paused"), "cancelled": noop("The run was cancelled and nothing was kept"),
    "failed": noop("The run failed"), "crashed": noop("The run crashed: its process ended without a word"),
    "running": noop("The run is still in progress"), "resting": noop("The run is resting and not finished yet"),
    "new": noop("The run was never started"),
}
TONES = {"better": "ok", "worse": "bad"}
NOT_EVALUATED = noop("Not evaluated yet: nothing here says whether its answers are better than the base model's. The "
                     "command `evaluate` and the Results tab measure that.")


def sentences(facts: Facts) -> list[str]:
    """What was done, on what, and how it went."""
    config, run = facts.run.config, facts.run
    learned, held_out = facts.history.plan.get("train_rows"), facts.history.plan.get("eval_rows")
    train, held = Path(config.train_file).name, Path(config.eval_file or config.train_file).name
    rows = f"{exact(learned)} rows of {train}" if learned else f"the rows of {train}"
    said = [tr("{base} was tuned by {get}. It learned {get2}: {rows}.", base=facts.base.name,
               get=METHODS.get(config.method, config.method), get2=OBJECTIVES.get(config.objective, config.objective),
               rows=rows),
            tr("{exact} rows of {held} were held out: they were never learned, only used to measure.",
               exact=exact(held_out), held=held) if held_out else tr("No rows are known to have been held out.")]
    steps = f"{run.steps:,} of {run.total_steps:,} steps" if run.total_steps else units.counted(run.steps, "step")
    device = facts.history.plan.get("device")
    card = next(iter(facts.heat.gpus), "") if str(device).startswith("cuda") else ""
    where = f" on {card or device_name(device)}" if device else ""
    said.append(f"{STATES.get(run.state, run.state)}: {steps} in {units.format_duration(run.seconds)} of work{where}."
                + _troubles(facts))
    if run.state != "new":
        said.append(run.locked)
    if run.error:
        said.append(f"What it said: {run.error.get('what', '')} {run.error.get('why', '')}".strip())
    said += loss_sentences(facts)
    said += export_sentences(facts)
    return said


def _troubles(facts: Facts) -> str:
    line = facts.timeline
    found = [(line.crashes, "its process ended without a word", "times"), (line.pauses, "it was paused", "times")]
    parts = [f"{what} {'once' if count == 1 else f'{count} {unit}'}" for count, what, unit in found if count]
    return tr(" On the way {parts}.", parts=" and ".join(parts)) if parts else ""


def loss_sentences(facts: Facts) -> list[str]:
    before, after = facts.run.eval_loss_before, facts.run.eval_loss_after
    used, steps = facts.history.used_step, facts.run.steps
    said = []
    if before is None or after is None:
        said.append("The loss on held-out rows was not measured before and after.")
    elif not (math.isfinite(before) and math.isfinite(after)):
        when = "at the end" if math.isfinite(before) else "at the beginning"
        said.append(f"The loss on held-out rows wasn't a number {when}, so that nothing can be said of its change.")
    elif len(facts.evals) > 1:
        way = "fell" if after < before else "rose" if after > before else "stayed"
        change = f" ({(after - before) / before:+.0%})".replace("-", "−") if before > 0 else ""
        said.append(f"The loss on held-out rows {way} from {rounded(before)} to {rounded(after)}{change}; lower is "
                    "better.")
    if used is not None and used != steps:
        said.append(f"The result holds the weights of step {used:,}, where that loss was lowest, not of the last one.")
    if facts.history.overfit_step is not None:
        said.append(f"After step {facts.history.overfit_step:,} the loss on held-out rows rose again: the model had "
                    "begun to overfit.")
    return said


def export_sentences(facts: Facts) -> list[str]:
    files = [export for export in facts.exports if export.path.is_file()]
    if not files:
        return []
    passed = sum(export.parity.get("passed") is True for export in files)
    which = tr("The exported file was") if passed == len(files) == 1 else \
        f"{passed:,} of {len(files):,} exported files {'was' if passed == 1 else 'were'}"
    return [tr("{which} proven to answer as the model that was trained.", which=which)]


def alarms(facts: Facts) -> list[str]:
    """What nobody may overlook: files that are not what was trained, test rows that were learned, gaps."""
    found = [tr("{path} does not answer as the model that was trained: it failed its proof. Do not use it.",
                path=export.path.name)
             for export in facts.exports if export.parity.get("passed") is False]
    told = told_in_full(facts.evaluations, facts.main_evaluation)
    for each in told:
        test = each.scores.get("test") or {}
        if test.get("trained_on"):
            which = f" ({test_name(each)})" if len(told) > 1 else ""
            found.append(f"{exact(test['trained_on'])} of {exact(test.get('rows'))} test rows are among the rows that "
                         f"it learned{which}: on new rows its scores may be lower.")
    return found + facts.gaps


def verdicts(facts: Facts) -> list[tuple[str, str]]:
    """(tone, sentence) on whether it is better; one sentence when nobody looked."""
    main, (benchmarks, _) = facts.main_evaluation, benchmark_results(facts.evaluations)
    if main is None and not benchmarks:
        return [("warn", NOT_EVALUATED)]
    said = _in_plain_words(facts)
    said += [line for each in told_in_full(facts.evaluations, main)[:MOST_TEST_SETS]
            for line in of_evaluation(each)[:MOST_VERDICTS if each is main else MOST_OF_OTHERS]]
    if main is not None and (why := why_main(main, facts.evaluations, facts.run.config.eval_file)):
        said.append(("", why))
    said += [(benchmark_tone(each),
              str(each.get("sentence") or tr("{get} was run; nothing was compared.", get=each.get("title"))))
             for each in benchmarks]
    if main is None:
        said.append(("warn", "No test set of one's own was evaluated, only benchmarks."))
    return said


def _in_plain_words(facts: Facts) -> list[tuple[str, str]]:
    """The verdict without figures, and what to try first."""
    main = facts.main_evaluation
    if main is None:
        return []
    found = advice.advise(facts.run.config, facts.history, main.scores, main.request)
    next_step = [("", f"{each.text}: {each.reason}") for each in found.proposals[:1]]
    if found.evidence.compared is None:
        return next_step
    return [(found.tone, f"{found.headline} {found.caveat}".rstrip()), *next_step]


def of_evaluation(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(tone, sentence) of each comparison in the score to judge by, or what a single model scored."""
    what = test_name(evaluation)
    if not evaluation.comparisons:
        found = [f"{model.get('name')} {interval((model.get('scores') or {}).get(name), name)} {metric_name(name)}"
                 for model in evaluation.models for name in evaluation.metrics[:1]]
        return [("", tr("{what}: {found}. Nothing was compared.", what=what, found="; ".join(found)))]
    return [(TONES.get(str(each.get("verdict")), ""),
             f"{what}, {each.get('of')} against {each.get('with')}: {each.get('sentence') or each.get('verdict')}")
            for each in evaluation.main_comparisons]


def tiles(facts: Facts) -> list[tuple[str, str, str]]:
    """(label, figure, small print) of the few figures that matter most."""
    run = facts.run
    before, after = run.eval_loss_before, run.eval_loss_after
    found = []
    if before is not None and after is not None and len(facts.evals) > 1:
        found.append(("Loss on held-out rows", f"{rounded(before)} → {rounded(after)}",
                      "before → after, lower is better"))
    found += _score_tile(facts.main_evaluation)
    found.append(("Work", units.format_duration(run.seconds), units.counted(run.steps, "step")))
    speed = [value for value in facts.history.series["tokens_per_second"].y if math.isfinite(value)]
    if speed:
        found.append(("Speed", f"{sum(speed) / len(speed):,.0f} tokens/s", "mean of all steps"))
    use = facts.history.energy.use
    if use is not None:
        price = tariff()
        cost = price.cost(use.joules)
        known = f"{100 * use.measured / use.joules:.0f} % measured, the rest estimated" if use.measured else "estimated"
        found.append(("Energy", units.format_energy(use.joules),
                      known if cost is None else f"{format_money(cost, price.currency)}; {known}"))
    return found


def _score_tile(main: Evaluation | None) -> list[tuple[str, str, str]]:
    """The score to judge by, before and after; nothing where one of the two is not known."""
    if main is None or main.pair is None or main.main_metric is None:
        return []
    of, base = main.pair
    metric = main.main_metric
    figures = [written((main.score(name, metric) or {}).get("value"), metric) for name in (base, of)]
    if None in figures:
        return []
    return [(metric_name(metric), " → ".join(filter(None, figures)), f"{base} → {of}")]


def not_checked(facts: Facts) -> list[str]:
    """What this report cannot vouch for."""
    main, (benchmarks, _) = facts.main_evaluation, benchmark_results(facts.evaluations)
    open_points = []
    if main is None:
        open_points.append("Whether the answers are better than the base model's: no evaluation on a test set.")
    else:
        open_points += [tr("How well it does by {name}: the test rows are not tagged.", name=name) for key, name in
                        (("by_category", "category"), ("by_language", "language"))
                        if not any(model.get(key) for model in main.models)]
        if not main.scores.get("judge"):
            open_points.append("Whether a person would prefer the answers: scores compare them with reference answers; "
                               "no judge read them.")
    if not benchmarks:
        open_points.append("Whether general knowledge was kept: no benchmark was run.")
    open_points += _unproven(facts)
    if not facts.base.licence:
        open_points.append("The licence of the base model: it is not stated in its folder.")
    open_points.append("The base model's weights: only config.json and tokenizer.json have a recorded hash."
                       if facts.record.get("hashes") else "Which files were used: no hash is recorded.")
    return [*open_points,
            tr("Harmful, biased or untrue answers: no test of them was made."),
            tr("Whether the rows hold personal data, and whether they may be used for training: nobody looked here.")]


def _unproven(facts: Facts) -> list[str]:
    files = [export for export in facts.exports if export.path.is_file()]
    if not files:
        return [tr("Exports: there is none, so no file was compared with what was trained.")]
    open_points = [tr("Whether {path} answers as the model that was trained: it has no proof beside it.",
                      path=export.path.name)
                   for export in files if not export.parity]
    for export in files:
        names = [str(check.get("name")) for check in export.parity.get("checks") or [] if check.get("passed") is None]
        if names:
            open_points.append(f"{export.path.name}: {', '.join(names)} could not be measured.")
    return open_points
