"""The tables of the page: data, configuration, versions, curves, what came out, and every recorded figure; readings of
the machine as far as a sensor gave them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.files import finite, objects
from slmstudio.core.i18n import noop, tr
from slmstudio.core.report import curves
from slmstudio.core.report.gather import Facts
from slmstudio.core.report.text import Table, exact, flat, moment
from slmstudio.core.run.config import FIELDS, in_groups, label
from slmstudio.core.run.curves import CPU_LIMIT, CPU_TEMPERATURE, MachineCurves, Series, of_card
from slmstudio.core.run.rows.run_rows import EVALUATION, TRAIN, Manifest
from slmstudio.core.units import format_bytes, format_reading

READ_AGAIN = 200 * 1024**2
"""Bytes up to which a dataset is read once more, to name the rows that were left out."""
MOST_PROBLEMS = 20
SMOOTHED_FROM = 50
DATA_WARNINGS = frozenset({"rows_left_out", "rows_cut", "rows_overlong", "rows_without_answer", "test_rows_learned",
                           "data_changed", "kept_rows_mended"})


def data_table(facts: Facts) -> Table:
    config, plan, kept = facts.run.config, facts.history.plan, facts.rows
    hashes = {name: file.sha256 for name, file in kept.sources.items()} if kept else facts.record.get("hashes") or {}
    counts = {name: side.rows for name, side in kept.sides.items()} if kept else {}
    learned = exact(plan.get("train_rows", counts.get(TRAIN)))
    held_out = exact(plan.get("eval_rows", counts.get(EVALUATION)))
    rows: list[tuple[Any, ...]] = [(tr("Learned"), config.train_file, learned, hashes.get("train_file"))]
    held = (tr("Held out"), config.eval_file, held_out, hashes.get("eval_file")) if config.eval_file else \
        (tr("Held out"), tr("split from {file}", file=config.train_file), held_out, hashes.get("train_file"))
    return Table((tr("Used"), tr("File"), tr("Rows"), tr("SHA-256 when the run was created")), "lmrm", [*rows, held])


def left_out(facts: Facts) -> tuple[list[str], Table | None]:
    """What the worker said about the rows, and the lines that couldn't be used, where they are known."""
    warnings = facts.history.warnings
    said = list(dict.fromkeys(str(event.get("message") or event.get("code")) for event in warnings
                              if event.get("code") in DATA_WARNINGS))
    if not any(event.get("code") == "rows_left_out" for event in warnings):
        return said, None
    found, count = _left_out_of_kept(facts.rows) if facts.rows else _left_out_of_files(facts)
    if not found:
        return [*said,
                tr("These rows can't be listed here: the file is gone, has changed, or is too large to read "
                   "again.")], None
    if count > MOST_PROBLEMS:
        said.append(tr("The first {shown} of {problems:,} problems:", shown=MOST_PROBLEMS, problems=count))
    return said, Table((tr("File"), tr("Line"), tr("Why it was left out")), "wrw", found[:MOST_PROBLEMS])


def _left_out_of_kept(rows: Manifest) -> tuple[list[tuple[Any, ...]], int]:
    """The first problems of the files when their rows were kept, and how many there were."""
    return ([(file.name, exact(problem.line), problem.message) for file in rows.sources.values()
             for problem in file.named], sum(file.problems for file in rows.sources.values()))


def _left_out_of_files(facts: Facts) -> tuple[list[tuple[Any, ...]], int]:
    """The same of a run that keeps no rows: of its files, where they are the same."""
    found: list[tuple[Any, ...]] = []
    for name in ("train_file", "eval_file"):
        path = getattr(facts.run.config, name)
        said = getattr(facts.run.config, name.replace("_file", "_map"))
        known = (facts.record.get("hashes") or {}).get(name)
        found += [(Path(path).name, exact(problem.line), problem.message)
                  for problem in _problems(Path(path), said, known)] if path else []
    return found, len(found)


def _problems(path: Path, said: str | None, sha256: str | None) -> list[Any]:
    from slmstudio.core.data.reader import read_as

    try:
        if path.stat().st_size > READ_AGAIN:
            return []
        dataset = read_as(path, said)
    except (OSError, ValueError, UserError):  # ValueError: a name that isn't a path, as with half a character
        return []
    return dataset.problems if dataset.sha256 == sha256 else []


def configuration(facts: Facts) -> list[tuple[str, list[tuple[str, str, str, Any]]]]:
    """Every field of run.json below its heading: plain name, name in run.json, value, and the planner's reason."""
    record = facts.record
    notes = {"format", "kind", "protocol", "created", "versions", "hashes", "reasons", "chosen"}
    groups = {**in_groups(), tr("Other"): tuple(name for name in record if name not in FIELDS.keys() | notes)}
    found = []
    for title, names in groups.items():
        rows = [(label(name), name, _value(facts, name), facts.run.config.reasons.get(name, ""))
                for name in names if name in record]
        if rows:
            found.append((title, rows))
    return found


def _value(facts: Facts, name: str) -> str:
    """A field's value; where another one won over it later, both."""
    written = exact(facts.record[name])
    text = tr("not set") if written is None or written == "" else written
    if name in facts.adjusted and facts.adjusted[name] != facts.record[name]:
        return tr("{before} → {after} (changed while it was running)", before=text,
                  after=exact(facts.adjusted[name]) or tr("not set"))
    return text


def identity(facts: Facts) -> Table:
    """What run.json holds beside the fields."""
    record = facts.record
    rows: list[tuple[Any, ...]] = [(tr("Run folder"), str(facts.run.folder))]
    if isinstance(record.get("created"), int | float):
        rows.append((tr("Created"), moment(record["created"])))
    rows += [(tr(title), exact(record.get(name))) for name, title in (
        ("format", noop("Format")), ("kind", noop("Kind")), ("protocol", noop("Protocol"))) if name in record]
    rows += [(tr("SHA-256 of {file}", file=name), value) for name, value in flat(record.get("hashes") or {})]
    return Table((tr("Record"), tr("Value")), "lm", rows)


def machines(facts: Facts) -> Table | None:
    """Versions of the programs, and the machines that the run was on."""
    rows: list[tuple[Any, ...]] = [(name, value) for name, value in (facts.record.get("versions") or {}).items()]
    for machine in facts.history.computers:
        rows += [(tr("System"), machine.get("system")), (tr("Processor"), machine.get("cpu")),
                 (tr("Cores"), exact(machine.get("cores"))), (tr("Main memory"), _size(machine.get("ram_total")))]
        rows += [("GPU", ", ".join(filter(None, (str(card.get("name")), _size(card.get("memory_total"))))))
                 for card in objects(machine.get("gpus"))] or [("GPU", tr("no NVIDIA GPU"))]
    return Table((tr("What"), tr("Version or kind")), "lw", rows) if rows else None


def _size(value: Any) -> str | None:
    number = finite(value)
    return None if number is None else format_bytes(number)


def plots(facts: Facts) -> list[dict[str, Any]]:
    """Every curve that has points: title, picture (SVG), legend of (style, label), and whether it is wide."""
    found = []
    for number, plot in enumerate([_loss_plot(facts), *_step_plots(facts), *_time_plots(facts)]):
        picture = curves.draw(plot, f"plot{number}")
        if picture:
            found.append({"title": plot.title, "picture": picture, "wide": plot.wide,
                          "legend": [(curve.style, curve.label) for curve in plot.curves if len(curve.x)]})
    return found


def _loss_plot(facts: Facts) -> curves.Plot:
    train, held_out = facts.history.series["train_loss"], facts.history.series["eval_loss"]
    drawn = [curves.Curve(tr("Train loss"), "train", train.x, train.y)]
    if len(train) >= SMOOTHED_FROM:
        drawn = [curves.Curve(tr("Train loss, each step"), "faded", train.x, train.y),
                 curves.Curve(tr("Train loss, smoothed"), "train", train.x, train.smoothed())]
    drawn.append(curves.Curve(tr("Loss on held-out rows"), "eval", held_out.x, held_out.y, dots=True))
    used = facts.history.used_step
    return curves.Plot(tr("Loss, nats per token"), tr("step"), tuple(drawn), lambda value: f"{value:.3g}", wide=True,
                       mark=None if used is None else (tr("kept: step {step:,}", step=used), float(used)))


def _step_plots(facts: Facts) -> list[curves.Plot]:
    lines = (("learning_rate", tr("Learning rate"), "extra", lambda value: f"{value:.3g}"),
             ("grad_norm", tr("Gradient norm"), "teal", lambda value: f"{value:.3g}"),
             ("tokens_per_second", tr("Speed, tokens per second"), "pink", lambda value: f"{value:,.0f}"))
    series = facts.history.series
    return [curves.Plot(title, tr("step"), (curves.Curve(title, style, series[name].x, series[name].y),), form,
                        from_zero=True) for name, title, style, form in lines]


def _time_plots(facts: Facts) -> list[curves.Plot]:
    found = []
    for name, title, style, unit, limit, said in _SENSED:
        series, bound = facts.history.series[name], facts.history.limits.get(limit)
        found.append(curves.Plot(
            tr(title), tr("seconds of work"),
            (curves.Curve(tr(title), style, series.x, [value / unit for value in series.y]),),
            lambda value: f"{value:,.4g}", from_zero=name != "temperature_c",
            limits=() if bound is None else ((tr(said), bound / unit),)))
    return found


_SENSED = (("temperature_c", noop("GPU temperature, °C"), "eval", 1, "slowdown_c", noop("slows down at")),
           ("power_w", noop("GPU power, W"), "extra", 1, "power_limit_w", noop("power limit")),
           ("memory_used", noop("GPU memory, GB"), "teal", 1024**3, "memory_total", noop("total")),
           ("process_memory", noop("Main memory of the worker, GB"), "teal", 1024**3, "", ""))
"""Field, title, style, size of the unit, field of the limit and what it is called."""


def evals_table(facts: Facts) -> Table | None:
    return _events_table(facts.history.evaluations, ("global_step", "eval_loss", "seconds"))


def steps_table(facts: Facts) -> tuple[Table | None, str]:
    """The steps with all their figures; of a long run some, evenly spread, and a sentence that says so."""
    steps, count, note = facts.steps, len(facts.history.lines), ""
    if len(steps) < count:
        note = tr("{picked:,} of {steps:,} steps, evenly spread; events.jsonl has them all.", picked=len(steps),
                  steps=count)
    return _events_table(steps, ("global_step", "epoch", "train_loss", "learning_rate", "grad_norm",
                                 "tokens_per_second", "tokens", "step_seconds")), note


def _events_table(events: list[dict[str, Any]], first: tuple[str, ...]) -> Table | None:
    dull = {"protocol", "time", "type", "seconds_left", "non_finite", "best"}
    names = dict.fromkeys(name for event in events for name, value in event.items()
                          if name not in dull and (value is None or isinstance(value, int | float)))
    order = [*(name for name in first if name in names), *(name for name in names if name not in first)]
    rows = [tuple(_figure(event, name) for name in order) for event in events]
    return Table(tuple(map(_name, order)), "r" * len(order), rows) if rows else None


_NAMES = {"global_step": noop("step"), "epoch": noop("epoch"), "train_loss": noop("train loss"),
          "eval_loss": noop("eval loss"), "learning_rate": noop("learning rate"), "grad_norm": noop("gradient norm"),
          "tokens_per_second": noop("tokens per second"), "tokens": noop("tokens"),
          "step_seconds": noop("seconds of the step"), "seconds": noop("seconds")}


def _name(field: str) -> str:
    """A field of an event, as a column is called; one that isn't known by its own name."""
    return tr(_NAMES[field]) if field in _NAMES else field.replace("_", " ")


def _figure(event: dict[str, Any], name: str) -> str | None:
    flags = event.get("non_finite")
    return str(flags[name]) if isinstance(flags, dict) and name in flags else exact(event.get(name))


def step_figures(facts: Facts) -> Table | None:
    """First, last, lowest, highest and mean of each curve over steps."""
    rows = []
    for name in ("train_loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second"):
        series = facts.history.series[name]
        points = [(y, x) for x, y in zip(series.x, series.y, strict=True) if math.isfinite(y)]
        if points:
            low, high = min(points), max(points)
            rows.append((_name(name), f"{points[0][0]:.4g}", f"{points[-1][0]:.4g}",
                         tr("{value:.4g} at {step:,.0f}", value=low[0], step=low[1]),
                         tr("{value:.4g} at {step:,.0f}", value=high[0], step=high[1]),
                         f"{sum(y for y, _ in points) / len(points):.4g}", exact(len(points)),
                         exact(len(series) - len(points))))
    head = (tr("Figure"), tr("First"), tr("Last"), tr("Lowest, at step"), tr("Highest, at step"), tr("Mean"),
            tr("Points"), tr("Not a number"))
    return Table(head, "lrrrrrrr", rows) if rows else None


def outcome_table(facts: Facts) -> Table | None:
    rows = [(name, tr("none") if value == "" else exact(value)) for name, value in flat(
        {name: value for name, value in facts.outcome.items() if name not in ("details", "time")})]
    if isinstance(facts.outcome.get("time"), int | float):
        rows.insert(0, (tr("written"), moment(facts.outcome["time"])))
    return Table((tr("In outcome.json"), tr("Value")), "mw", rows) if rows else None


def plan_table(facts: Facts) -> Table | None:
    rows = [(name.replace("_", " "), exact(value)) for name, value in flat(facts.history.plan)
            if name not in ("protocol", "time", "type")]
    return Table((tr("As the worker counted"), tr("Figure")), "lr", rows) if rows else None


def files_table(facts: Facts) -> Table | None:
    rows = [(name, format_bytes(size), digest) for name, size, digest in facts.result_files]
    return Table((tr("File of the result"), tr("Size"), "SHA-256"), "mrm", rows) if rows else None


def checkpoints_table(facts: Facts) -> Table | None:
    rows = [(each.path.name, exact(each.global_step), exact(each.eval_loss)) for each in facts.kept]
    return Table((tr("Checkpoint kept"), tr("Step"), tr("Eval loss")), "mrr", rows) if rows else None


def gpu_names(machine: MachineCurves) -> list[str]:
    """The cards that were read."""
    return [name or tr("an NVIDIA GPU") for name in machine.names]


def readings_table(machine: MachineCurves) -> Table | None:
    """One line a reading: lowest, mean, highest, and its limit; None if there are no readings."""
    rows = []
    numbered = sorted((number, place) for place, (number, _) in enumerate(machine.cards))
    lines: list[tuple[int | None, int, _Reading]] = [
        (number, place, line) for number, place in numbered for line in _CARD_READINGS]
    for number, place, (name, title, unit, limit) in (*lines, *((None, 0, line) for line in _OTHER_READINGS)):
        values = (machine.series.get(of_card(name, place)) or Series()).y
        if not values:
            continue
        title = tr(title)
        if len(numbered) > 1 and number is not None:
            title = tr("{reading}, card {index}", reading=title, index=number)
        cells = [_reading(value, unit) for value in (min(values), math.fsum(values) / len(values), max(values))]
        bound = machine.limits.get(of_card(limit, place))
        rows.append((title, *cells, None if bound is None else _reading(bound, unit), exact(len(values))))
    return Table((tr("Reading"), tr("Lowest"), tr("Mean"), tr("Highest"), tr("Limit"), tr("Readings")), "lrrrrr",
                 rows) if rows else None


_Reading = tuple[str, str, str, str]
"""Field of a reading, what it is called, its unit, and the field of its limit."""
_CARD_READINGS: tuple[_Reading, ...] = (
    ("temperature_c", noop("GPU temperature"), "°C", "slowdown_c"),
    ("power_w", noop("GPU power"), "W", "power_limit_w"),
    ("memory_used", noop("GPU memory, all programs"), "B", "memory_total"),
    ("utilisation", noop("GPU use"), "%", ""), ("clock_mhz", noop("GPU clock"), "MHz", ""),
    ("fan_percent", noop("GPU fan"), "%", ""),
)
_OTHER_READINGS: tuple[_Reading, ...] = (
    (CPU_TEMPERATURE, noop("Processor temperature"), "°C", CPU_LIMIT),
    ("process_memory", noop("Main memory of the worker"), "B", ""),
    ("cpu_percent", noop("Processor use of the worker (100% is one core)"), "%", ""),
)


def _reading(value: float, unit: str) -> str:
    return format_bytes(value) if unit == "B" else format_reading(value, unit)
