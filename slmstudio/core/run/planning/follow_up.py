"""A run that continues from a finished one: for more epochs, or on other data, from its adapter or model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs, paths, program
from slmstudio.core.data import split
from slmstudio.core.data.reader import read_as
from slmstudio.core.data.record import Record, as_row
from slmstudio.core.errors import Problem, UserError, os_errors_as
from slmstudio.core.i18n import join_sentences, noop, tr
from slmstudio.core.run import adjust, checkpoints, curves, folder
from slmstudio.core.run.config import FIELDS, SET, RunConfig
from slmstudio.core.run.config_file import IMPORTED
from slmstudio.core.run.planning import plan_inputs, plan_rows, row_counts
from slmstudio.core.run.planning.row_counts import MeasuredRows
from slmstudio.core.run.rows import disk_rows, run_rows
from slmstudio.core.run.rows.row_tokens import RowTokens
from slmstudio.core.run.run_fields import not_allowed

FIXED = {
    "model": noop("The weights that training continues from belong to the earlier run's base."),
    "method": noop("The earlier run's result was trained with that method."),
    "lora_rank": noop("The adapter has that rank; another rank needs a new adapter."),
    "lora_alpha": noop("The adapter was trained with that scale."),
    "target_modules": noop("The adapter belongs to those layers."),
    "use_dora": noop("The adapter is of that type."),
    "use_rslora": noop("The adapter was trained with that scale."),
    "scratch_size": noop("The model has that size."),
    "chat_template": noop("The earlier run was trained with it."),
    "start_from": noop("It is the earlier run's result."),
}
"""Fields that the earlier run's result decides, and why."""
SLOWER = 0.5
"""The proposed learning rate, as a share of the earlier one."""
KEPT = noop("As in the earlier run.")


def follow_up(run_folder: Path, *, epochs: float | None = None, train_file: Path | str | None = None,
              eval_file: Path | str | None = None, overrides: dict[str, Any] | None = None,
              records: Sequence[Record] | None = None, eval_rows: int | None = None,
              measured: MeasuredRows | None = None) -> RunConfig:
    """A configuration that continues from what `run_folder` learned, with a sentence in `reasons` for each value.

    Args:
        run_folder: a run that is finished, or was stopped and kept.
        epochs: passes over the rows; None keeps the earlier number.
        train_file: rows to learn; None learns the earlier ones again.
        eval_file: rows to evaluate; None keeps the earlier file, or splits rows off.
        overrides: fields that the user decided, as in `plan_inputs.plan`.
        records, eval_rows: the rows of `train_file`, and how many are in `eval_file`, where they were read already.
        measured: `records` as tokens, when that was done already.

    Raises:
        UserError: the run isn't finished, its result is gone or damaged, a file doesn't exist, or a value can't be
            used: all at once.
    """
    run_folder = Path(run_folder).absolute()
    state = jobs.Job(run_folder).request()
    earlier = adjust.apply(RunConfig.from_dict(state), run_folder)
    problems = _troubles(run_folder, earlier)
    given = {"epochs": epochs, "train_file": train_file, "eval_file": eval_file}
    asked = {name: value for name, value in given.items() if value is not None} | (overrides or {})
    chosen: dict[str, Any] = {}
    for name, value in asked.items():
        try:
            chosen |= plan_inputs.overrides({name: str(value) if isinstance(value, Path) else value})
        except UserError as error:
            problems += error.problems
    problems += _fixed(chosen, _method(earlier), earlier)
    config = _configuration(run_folder, earlier, chosen)
    problems += config.problems()
    if not problems:
        config = _with_lost_rows(config, run_folder, earlier)
    if IMPORTED in state and not chosen.get("train_file"):
        problems.append(Problem(tr("The adapter came from elsewhere, without its training rows: choose the rows to "
                                   "train on."), field="train_file"))
    for name in ("model", "train_file", "eval_file"):
        path = getattr(config, name)
        if path and not (name == "train_file" and IMPORTED in state and name not in chosen) and not Path(path).exists():
            problems.append(Problem(tr("{path} doesn't exist.", path=path), field=name))
    if problems:
        raise UserError(tr("{run} can't be continued like this.", run=earlier.name), "",
                        tr("Fix these problems."), problems)
    is_other = chosen.get("train_file") or chosen.get("eval_file")
    return _for_other_rows(config, {*earlier.chosen, *chosen}, records, eval_rows, measured) if is_other else config


def _troubles(run_folder: Path, earlier: RunConfig) -> list[Problem]:
    job = jobs.Job(run_folder)
    ended = job.outcome()
    if ended is None or not ended.was_successful():
        command = program.command("train", run_folder)
        if ended is None and not job.is_alive():
            return [Problem(tr("The run hasn't been started yet; train it first: {command}", command=command))]
        return [Problem(tr("The run isn't finished; resume it first: {command}", command=command))]
    name = folder.ADAPTER if earlier.has_adapter else folder.MODEL
    result = run_folder / name
    if not result.is_dir():
        return [Problem(tr("“{name}” is missing from {folder}; it was moved or deleted.", name=name,
                           folder=run_folder), field="start_from")]
    damage = checkpoints.damage(result)
    if damage is None:
        return []
    return [Problem(join_sentences(tr("“{name}” is damaged.", name=name), damage), field="start_from")]


def _method(earlier: RunConfig) -> str:
    """What begins with nothing the first time is full fine-tuning the second time."""
    return "full" if earlier.method == "scratch" else earlier.method


def _fixed(chosen: dict[str, Any], method: str, earlier: RunConfig) -> list[Problem]:
    """Values that wouldn't fit the earlier run's result; chosen ones that equal it are none."""
    problems = []
    for name, why in FIXED.items():
        kept = method if name == "method" else getattr(earlier, name)
        value = chosen.get(name, kept)
        same = Path(value).absolute() == Path(kept).absolute() if name == "model" else value == kept
        if not same:
            problems.append(Problem(join_sentences(
                not_allowed(value, tr("It must stay {kept!r}.", kept=kept)), tr(why)), field=name))
    return problems


def _configuration(run_folder: Path, earlier: RunConfig, chosen: dict[str, Any]) -> RunConfig:
    rate = float(f"{earlier.learning_rate * SLOWER:.2g}")
    values: dict[str, Any] = {
        "name": folder.following_name(earlier.name), "start_from": str(run_folder), "method": _method(earlier),
        "learning_rate": rate,
    }
    before = {name: "" if name in earlier.chosen else earlier.reasons.get(name, "") for name in FIELDS}
    reasons = {name: reason if reason and earlier.start_from else join_sentences(tr(KEPT), reason)
               for name, reason in before.items()}  # those of a run that continues from another one say it already
    reasons |= {
        "name": tr("It follows {earlier}.", earlier=earlier.name),
        "start_from": tr("The weights that {earlier} learned.", earlier=earlier.name),
        "learning_rate": tr("Half of the earlier run's {learning_rate:g}: the weights are already trained, and large "
                            "steps would undo that.", learning_rate=earlier.learning_rate),
    }
    if earlier.method == "scratch":
        reasons["method"] = tr("The model that was trained from scratch exists now, and all of its weights are "
                               "trained further.")
    if "epochs" in chosen and "max_steps" not in chosen:
        values["max_steps"], reasons["max_steps"] = None, tr("The number of epochs decides.")
    if "train_file" in chosen and earlier.eval_file and "eval_file" not in chosen:
        reasons["eval_file"] = tr("The earlier run's evaluation rows, so that its eval losses compare with these.")
    for name, columns in (("train_file", "train_map"), ("eval_file", "eval_map")):
        if chosen.get(name):
            chosen = {columns: None, **chosen, name: str(Path(chosen[name]).absolute())}
    chosen = {name: value for name, value in chosen.items() if name not in FIXED}
    return replace(earlier, **(values | chosen), chosen=list(chosen),
                   reasons=reasons | dict.fromkeys(chosen, tr(SET)))


def _with_lost_rows(config: RunConfig, run_folder: Path, earlier: RunConfig) -> RunConfig:
    """Where a file with the earlier rows is gone, what the earlier run kept of it, written among the datasets.

    Raises:
        UserError: what it kept is damaged, or can't be written.
    """
    lost = [name for name in ("train_file", "eval_file") if (path := getattr(config, name))
            and path == getattr(earlier, name) and not Path(path).exists()]
    kept = run_rows.read(run_folder) if lost else None
    if kept is None:
        return config
    whole = kept.train if earlier.eval_file else sorted([*kept.train, *kept.evaluation], key=lambda row: row.line)
    found: dict[str, Any] = {"reasons": dict(config.reasons)}
    for name in lost:
        gone, rows = Path(getattr(config, name)), kept.evaluation if name == "eval_file" else whole
        found[name] = str(_among_the_datasets(gone.stem, rows))
        found[name.replace("_file", "_map")] = None
        found["reasons"][name] = tr("{file} is missing; these are its rows, which {run} kept.", file=gone.name,
                                    run=earlier.name)
    return replace(config, **found)


def _for_other_rows(config: RunConfig, chosen: set[str], records: Sequence[Record] | None,
                    eval_rows: int | None, measured: MeasuredRows | None) -> RunConfig:
    """What fits as many rows as there are now: the share that is held out, and how often it is evaluated.

    Args:
        chosen: fields that the user decided, now or for the earlier run; they stay.
    """
    try:
        rows = read_as(Path(config.train_file), config.train_map).records if records is None else records
    except (UserError, OSError):  # whoever learns them tells
        return config
    found: dict[str, Any] = {"reasons": dict(config.reasons)}
    if not config.eval_file and "eval_fraction" not in chosen and 0 < config.eval_fraction <= split.USUAL_SHARE:
        found["eval_fraction"] = split.usual_share(len(rows))
    measured = _measured(rows, config) if measured is None else measured
    _, held_back = curves.divided(rows, replace(config, **found))
    if "eval_fraction" in found:
        found["reasons"]["eval_fraction"] = plan_rows.what_is_held_back(held_back, len(rows))
    counts = row_counts.count(rows, measured, replace(config, **found))
    evaluated, total = counts.evaluated, counts.steps
    if config.eval_file:
        evaluated = plan_rows.in_test_file(config.eval_file, config.eval_map) if eval_rows is None else eval_rows
    every = math.ceil(total / curves.most_evaluations(config, counts.learned, evaluated))
    if "eval_steps" not in chosen and every > config.eval_steps:
        found["eval_steps"], found["reasons"]["eval_steps"] = every, plan_rows.how_often(total, every, bounded=True)
    return replace(config, **found)


def _measured(rows: Sequence[Record], config: RunConfig) -> MeasuredRows:
    """The rows as tokens; where the base model can't be used, which whoever loads it tells, each counts as one row."""
    try:
        return plan_inputs.measure_for(rows, config)
    except (UserError, OSError):
        return MeasuredRows(dict.fromkeys(range(len(rows)), RowTokens(1, 0)), len(rows))


def _among_the_datasets(stem: str, rows: Sequence[Record]) -> Path:
    """A file with these rows; its name says which they are, so that it is written once.

    Raises:
        UserError: it can't be written.
    """
    content = b"".join(disk_rows.as_json(as_row(row)) for row in rows)
    place = paths.datasets_dir() / f"{stem}-{hashlib.sha256(content).hexdigest()[:8]}.jsonl"
    with os_errors_as(tr("Could not write the rows that the earlier run kept.")):
        if not place.exists():
            files.write_atomically(place, content)
    return place
