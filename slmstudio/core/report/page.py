"""The report as one HTML file that needs nothing else: it has styles and pictures, but no scripts and links."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio import __version__
from slmstudio.core import files, paths
from slmstudio.core.data.record import message_text
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.evaluation import gain
from slmstudio.core.evaluation.answer_rows import Row
from slmstudio.core.evaluation.scores.metrics import METRICS, main_metric
from slmstudio.core.export.proof import HEADINGS, required, result
from slmstudio.core.export.proof import LABELS as CHECKS
from slmstudio.core.i18n import is_right_to_left, language, noop, ntr, number_text, tr
from slmstudio.core.jobs.outcome import state_text
from slmstudio.core.report import evaluations as scores
from slmstudio.core.report import sections, summary
from slmstudio.core.report.evaluations import Evaluation
from slmstudio.core.report.gather import Export, Facts, fitting, gather
from slmstudio.core.report.text import Cut, Table, exact, flat, moment, shortened, visible
from slmstudio.core.run.energy import energy_costs
from slmstudio.core.run.energy.energy_costs import tariff
from slmstudio.core.run.energy.energy_use import CARDS, EnergyUse
from slmstudio.core.run.history import RunHistory
from slmstudio.core.units import format_bytes, format_duration, format_energy

# -- The rows of an evaluation that gained most and lost most.

SHOWN_ROWS = 10
EARLIER_TURNS = 600
"""Characters that are shown of what was said before the question."""


@dataclass(frozen=True)
class ShownRow:
    """One row as the page shows it.

    Attributes:
        where: "line 12", with category and language where they are known.
        before: the turns before the question, or empty.
        references: good answers.
        answers: (name of a model, its score in words, its answer).
        change: in words, such as "+31.2".
    """

    where: str
    before: Cut
    question: Cut
    references: list[Cut]
    answers: list[tuple[str, str, Cut]]
    change: str


@dataclass(frozen=True)
class Ranking:
    """Best and worst rows.

    Attributes:
        title: by what they are ranked.
        note: why there are none, or "".
    """

    title: str
    best: list[ShownRow]
    worst: list[ShownRow]
    note: str = ""


def rank(evaluation: Evaluation, rows: Sequence[Row]) -> Ranking:
    """Ten best and ten worst rows, by the gain of the model in question over the one it is held against.

    Each row counts by the score for rows of its kind; with a single model, by that score itself.
    """
    names = list(evaluation.pair or [str(model.get("name")) for model in evaluation.models[:1]])
    gains = [(gain, row) for row in rows if (gain := _gain(row, names)) is not None]
    ranked = sorted(gains, key=lambda each: -each[0])
    if not ranked:
        return Ranking("", [], [], tr("No row has a score of its own."))
    count = min(SHOWN_ROWS, (len(ranked) + 1) // 2)
    worst = list(reversed(ranked))[: min(count, len(ranked) - count)]
    how = (tr("Ranked by how much {model} gained over {other}.", model=names[0], other=names[1]) if len(names) > 1 else
           tr("Ranked by the score of {model}.", model=names[0]))
    shown = [[_shown(row, gain, list(reversed(names))) for gain, row in part] for part in (ranked[:count], worst)]
    return Ranking(how, shown[0], shown[1])


def _gain(row: Row, names: list[str]) -> float | None:
    if len(names) > 1:
        return row.gain(names[0], names[1])
    key = _metric(row, names[0])
    if key is None:
        return None
    value = row.scores[names[0]][key]
    return value if METRICS[key].higher_is_better else -value


def _metric(row: Row, name: str) -> str | None:
    return main_metric(row.scores.get(name, {}), [row.kind])


def _shown(row: Row, gain: float, names: list[str]) -> ShownRow:
    parts = [tr("row {number:,}", number=row.id) if row.line is None else tr("line {number:,}", number=row.line),
             row.category, row.language, tr("also in the training rows") if row.trained_on else None]
    earlier = "\n".join(f"{turn.get('role')}: {message_text(turn)}" for turn in row.messages[:-1])
    question = str(row.messages[-1].get("content")) if row.messages else ""
    answers = [(name, _score(row, name), shortened(row.answers.get(name) or row.skipped.get(name) or ""))
               for name in names]
    change = number_text(gain, "+,.1f").replace("-", "−") if len(names) > 1 else ""
    return ShownRow(" · ".join(part for part in parts if part), shortened(earlier, EARLIER_TURNS),
                    shortened(question), [shortened(text) for text in row.references], answers, change)


def _score(row: Row, name: str) -> str:
    key = _metric(row, name)
    return tr("no score") if key is None else f"{number_text(row.scores[name][key], ',.1f')} {tr(METRICS[key].name)}"


FILE = "report.html"
LONGEST_DETAILS = 4000


_CAUSES = {"heat": noop("heat"), "power limit": noop("power limit"), "power supply": noop("power supply"),
           "hardware protection": noop("hardware protection")}
"""What a card says that holds its clock down."""


def write_report(run: Path, out: Path | None = None, cancelled: Callable[[], bool] = lambda: False) -> Path:
    """Write the report of a run folder; `RUN/report.html` unless `out` says another place. A PDF by its ending.

    Args:
        cancelled: asked now and then; once it says so, the browser is ended and nothing is written.

    Returns:
        The file.

    Raises:
        UserError: no run folder, a damaged run.json, no place to write, or, for a PDF, no browser to make it.
    """
    from slmstudio.core.report import pdf

    out = out or run / FILE
    suffix = out.suffix.lower()
    if suffix not in (".html", ".htm", ".pdf"):
        raise UserError(tr("{file} can't be written.", file=out.name), tr("A report is an HTML or PDF file."),
                        tr("End its name with .html or .pdf."))
    html = render(gather(run))
    if suffix == ".pdf":
        pdf.write_pdf(html, out, cancelled=cancelled)
        return out
    with os_errors_as(tr("Could not write the report.")):
        if not cancelled():
            files.write_atomically(out, html)
    return out


def render(facts: Facts, now: float | None = None) -> str:
    """The page.

    Args:
        now: seconds since 1970 that the page says it was made at; None is the present.
    """
    import time

    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    place = paths.resources() / "report"
    environment = Environment(
        loader=FileSystemLoader(place), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: "–" if value is None else visible(value)
        if isinstance(value, str) and not isinstance(value, Markup) else value)
    # In {{ tr("Read from {file}.")|fill(file=…) }}, the file may be markup; the rest of the sentence isn't.
    environment.filters["fill"] = lambda said, **values: escape(said).format(**values)
    style = Markup((place / "report.css").read_text(encoding="utf-8"))
    return environment.get_template("report.html").render(
        style=style, version=__version__, made=moment(time.time() if now is None else now), tr=tr, ntr=ntr,
        language=language().replace("_", "-"), direction="rtl" if is_right_to_left() else "ltr", **context(facts))


def context(facts: Facts) -> dict[str, Any]:
    """Everything that the template shows, by name."""
    from markupsafe import Markup

    lines, lines_note = fitting(facts.timeline.lines)
    steps, steps_note = sections.steps_table(facts)
    said, left_out = sections.left_out(facts)
    return {
        "notes": facts.notes, "title": facts.run.config.name, "state": facts.run.state,
        "state_name": state_text(facts.run.state), "folder": facts.run.folder.name,
        "alarms": summary.alarms(facts), "sentences": summary.sentences(facts),
        "verdicts": summary.verdicts(facts), "tiles": summary.tiles(facts),
        "not_checked": summary.not_checked(facts), "error": facts.run.error,
        "details": shortened(str(facts.outcome.get("details") or ""), LONGEST_DETAILS),
        "evaluations": [_evaluation(each) for each in scores.shown_in_full(facts.evaluations, facts.main_evaluation)],
        "benchmarks": _benchmarks(facts),
        "older": _older(facts), "unfinished": _unfinished(facts), "ranking": _ranking(facts),
        "ranked": "" if facts.main_evaluation is None else scores.test_name(facts.main_evaluation),
        "data": sections.data_table(facts), "left_out_said": said, "left_out": left_out, "base": facts.base,
        "base_path": facts.run.config.model, "exports": [_export(export) for export in facts.exports],
        "lines": [(None if line.time is None else moment(line.time), format_duration(line.work), line.text, line.tone)
                  for line in lines], "lines_note": lines_note, "damaged": facts.history.damaged,
        "suspended": facts.history.suspended_seconds and format_duration(facts.history.suspended_seconds),
        "plots": [{**plot, "picture": Markup(plot["picture"])} for plot in sections.plots(facts)],
        "step_figures": sections.step_figures(facts), "heat": _heat(facts),
        "configuration": sections.configuration(facts), "machines": sections.machines(facts),
        "machine_known": bool(facts.history.computers), "identity": sections.identity(facts),
        "outcome": sections.outcome_table(facts), "plan": sections.plan_table(facts),
        "evals": sections.evals_table(facts), "steps": steps, "steps_note": steps_note,
        "kept": sections.checkpoints_table(facts), "files": sections.files_table(facts),
        "samples": _samples(facts.history),
    }


def _evaluation(each: scores.Evaluation) -> dict[str, Any]:
    test = each.scores.get("test") or {}
    judge = each.scores.get("judge")
    groups = [scores.group_table(each, key, title) for key, title in (
        ("by_category", tr("Category")), ("by_language", tr("Language")), ("by_training", tr("Learned")))]
    return {
        "title": tr("Test set: {name}", name=scores.test_name(each)) if test.get("path") else tr("Test set"),
        "when": moment(each.created),
        "path": test.get("path") or tr("not recorded"), "sha256": test.get("sha256"), "rows": exact(test.get("rows")),
        "kinds": ", ".join(f"{exact(count)} {kind}" for kind, count in (test.get("kinds") or {}).items()),
        "trained_on": exact(test["trained_on"]) if test.get("trained_on") else None,
        "scores": scores.score_table(each), "comparisons": scores.comparison_table(each),
        "rivals": scores.rival_table(each), "rival_sentence": (each.scores.get("rivals") or {}).get("sentence"),
        "sentences": [tr("{model} against {other}: {verdict}", model=one.get("of"), other=one.get("with"),
                         verdict=one["sentence"]) for one in each.main_comparisons if one.get("sentence")],
        "remarks": each.scores.get("remarks") or [], "groups": [table for table in groups if table],
        "groups_compared": bool(each.scores.get("group_comparisons")), "judge": _judge(judge) if judge else None,
        "kept": scores.gain_table(each), "kept_said": gain.sentence(each.scores), "general": scores.general_table(each),
    }


def _older(facts: Facts) -> list[str]:
    """A line for each evaluation and each result of a benchmark that isn't told in full."""
    told = scores.shown_in_full(facts.evaluations, facts.main_evaluation)
    lines = [(each.created, tr("{verdict} Rows: {rows}.", verdict=sentence, rows=exact(
        (each.scores.get("test") or {}).get("rows")) or tr("unknown")))
             for each in facts.evaluations if each.models and not any(each is one for one in told)
             for _, sentence in summary.of_evaluation(each)]
    lines += [(each["created"], _of_benchmark(each)) for each in scores.benchmark_results(facts.evaluations)[1]]
    return [f"{moment(when)}: {line}" for when, line in sorted(lines, reverse=True)]


def _of_benchmark(result: dict[str, Any]) -> str:
    title, verdict = result.get("title") or result.get("name"), result.get("sentence") or tr("Nothing was compared.")
    if result.get("limit"):
        return tr("{benchmark}, {limit} questions per subject: {verdict}", benchmark=title,
                  limit=exact(result["limit"]), verdict=verdict)
    return tr("{benchmark}, all questions: {verdict}", benchmark=title, verdict=verdict)


def _asked(result: dict[str, Any]) -> str:
    if result.get("shots") is None:
        return tr("The harness chose how many examples come before each question.")
    return tr("Examples before each question: {shots}.", shots=exact(result["shots"]))


def _benchmarks(facts: Facts) -> list[dict[str, Any]]:
    return [{"title": each.get("title") or each.get("name"), "data": each.get("data"), "when": moment(each["created"]),
             "asked": _asked(each),
             "limit": exact(each.get("limit")), "sentence": each.get("sentence") or "",
             "table": scores.benchmark_table(each)} for each in scores.benchmark_results(facts.evaluations)[0]]


def _judge(judge: Any) -> dict[str, Any]:
    """What a judge model said: its sentences, and every figure."""
    said = flat({"judge": judge} if isinstance(judge, list) else judge)
    return {"sentences": [value for name, value in said if name.endswith("sentence")],
            "table": Table((tr("Judge"), tr("Value")), "lw", [
                (name, exact(value)) for name, value in said if not name.endswith("sentence")])}


def _unfinished(facts: Facts) -> list[str]:
    return [tr("The evaluation {folder} has no scores yet; its state: {state}.", folder=each.folder.name,
               state=state_text(each.state))
            for each in facts.evaluations if not (each.models or each.benchmarks)]


def _ranking(facts: Facts) -> Ranking | None:
    from slmstudio.core.evaluation.scoring import row_scores

    main = facts.main_evaluation
    if main is None:
        return None
    try:
        return rank(main, row_scores(main.folder))
    except UserError as error:
        return Ranking("", [], [], tr("The rows can't be read.") + f" {error}")


def _export(export: Export) -> dict[str, Any]:
    parity = export.parity
    checks = [(tr(str(CHECKS.get(str(check.get("name")), check.get("name")))), check.get("figure"), required(check),
               result(check).upper() if check.get("passed") is False else result(check))
              for check in parity.get("checks") or [] if isinstance(check, dict)]
    return {
        "name": export.path.name, "size": format_bytes(export.bytes), "bytes": exact(export.bytes),
        "type": parity.get("type"), "sha256": parity.get("sha256"), "passed": parity.get("passed"),
        "verdict": parity.get("verdict"), "failures": parity.get("failures") or [],
        "checks": Table(tuple(map(tr, HEADINGS)), "wwwl", checks) if checks else None,
    }


def _heat(facts: Facts) -> dict[str, Any]:
    machine, use = facts.history.machine, facts.history.energy.use
    gpus = sections.gpu_names(machine)
    slowed = [ntr("{cause} ({n:,} reading)", "{cause} ({n:,} readings)", count, cause=tr(_CAUSES.get(cause, cause)))
              for cause, count in sorted(machine.slowed_by.items(), key=lambda each: -each[1])]
    return {"gpus": ", ".join(gpus), "missing": facts.history.sensors_missing, "energy": _energy(use),
            "no_power": bool(gpus) and (use is None or use.of(CARDS) is None), "slowed": "; ".join(slowed),
            "rested": facts.history.guard.sentence(), "table": sections.readings_table(machine)}


def _energy(use: EnergyUse | None) -> dict[str, Any] | None:
    """What it drew by part, its price and its CO2; None if it isn't known."""
    if use is None:
        return None
    here = tariff()
    rows: list[tuple[Any, ...]] = [(part.label, format_energy(part.joules), part.basis)
                                   for part in use.parts]
    return {"total": energy_costs.energy(use), "joules": f"{use.joules:,.0f} J",
            "seconds": format_duration(use.seconds),
            "cost": energy_costs.cost(use.joules, here), "co2": energy_costs.co2(use.joules, here),
            "table": Table((tr("Part"), tr("Energy"), tr("How it is known")), "lrw", rows)}


def _samples(history: RunHistory) -> list[dict[str, Any]]:
    """What it answered first and last to the fixed questions."""
    chosen = [history.samples[0], history.samples[-1]] if len(history.samples) > 1 else history.samples
    questions: dict[str, dict[str, Any]] = {}
    for event in chosen:
        for sample in event["samples"]:
            entry = questions.setdefault(str(sample.get("prompt")), {"answers": [], "reference": ""})
            entry["answers"].append((exact(event["global_step"]), shortened(str(sample.get("answer") or ""))))
            entry["reference"] = shortened(str(sample.get("reference") or ""))
    return [{"prompt": shortened(prompt), **entry} for prompt, entry in questions.items()]
