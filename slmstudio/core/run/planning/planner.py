"""Plans a run: its whole configuration, with a reason for each value, and what it takes."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path

from slmstudio.core.data.reader import read_as
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.hardware.machine import Machine, read_machine
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.model.facts import read_model
from slmstudio.core.model.named_templates import NAMED
from slmstudio.core.model.vetting.vet import why_no_gguf
from slmstudio.core.run import curves, time_estimate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory import outlook
from slmstudio.core.run.memory.outlook import Outlook
from slmstudio.core.run.planning import plan_rows, row_counts
from slmstudio.core.run.planning.follow_up import follow_up
from slmstudio.core.run.planning.plan_inputs import Draft, PlanInputs, measure_for, measure_rows, overrides
from slmstudio.core.run.planning.proposal import propose
from slmstudio.core.run.planning.row_counts import LostRows, MeasuredRows, RowCounts
from slmstudio.core.run.time_estimate import TimeEstimate


@dataclass(frozen=True)
class Plan:
    """
    Attributes:
        measured: the rows as tokens.
        counts: its rows and steps; `lost`: what it would lose of its rows, None if nothing.
        outlook: the memory, the time and the energy that it takes.
    """

    config: RunConfig
    measured: MeasuredRows
    counts: RowCounts
    lost: LostRows | None
    outlook: Outlook


def plan(inputs: PlanInputs) -> Plan:
    """Propose a run, or one that continues from the result of another. Raises UserError, as `configure` and
    `follow_up` do."""
    machine, rows = inputs.machine or read_machine(), inputs.dataset.records
    config, measured = _continue(inputs, inputs.after) if inputs.after is not None else _propose(inputs, machine)
    counts = row_counts.count(rows, measured, config)
    return Plan(config, measured, counts, row_counts.lost(rows, measured, counts, inputs.model, config, machine),
                outlook.look(inputs.model, config, machine, counts.learned, counts.tokens,
                             inputs.eval_rows if config.eval_file else counts.evaluated))


def expected_time(config: RunConfig) -> TimeEstimate | None:
    """How long a run takes whose configuration exists already; None where its rows or its model can't be read, of which
    its start tells."""
    try:
        model, rows = read_model(Path(config.model)), read_as(Path(config.train_file), config.train_map).records
        counts = row_counts.count(rows, measure_for(rows, config), config)
    except UserError:
        return None
    return time_estimate.training(model, config, read_machine(), counts.learned, counts.tokens,
                                  None if config.eval_file else counts.evaluated)


def _propose(inputs: PlanInputs, machine: Machine) -> tuple[RunConfig, MeasuredRows]:
    split = {name: value for name, value in inputs.split.items()
             if name != "eval_fraction" or not inputs.share_is_usual}
    template = {"chat_template": inputs.template} if inputs.template else {}
    chosen = overrides({**split, **template, **inputs.overrides})
    measured = inputs.measured or measure_rows(inputs.dataset, inputs.model, chosen)
    config = configure(replace(inputs, machine=machine, overrides=chosen, measured=measured))
    if template.keys() - inputs.overrides.keys():
        chosen_before(config, template.keys(), tr("Chosen with the model."), *plan_rows.template_warnings(config))
    chosen_before(config, split.keys() - inputs.overrides.keys(), tr("Chosen with the data."))
    return config, measured


def _continue(inputs: PlanInputs, after: Path) -> tuple[RunConfig, MeasuredRows]:
    """The earlier run's rows keep their split; others are split as was chosen with the data."""
    earlier, train_map = RunConfig.from_dict(Job(after).request()), inputs.dataset.line
    same = Path(earlier.train_file) == Path(inputs.dataset.path) and earlier.train_map == train_map
    split = {} if same or earlier.eval_file else inputs.split
    maps = {name: columns for name, columns, is_new in (
        ("train_map", train_map, not same), ("eval_map", inputs.eval_map, inputs.eval_file is not None))
        if columns and is_new}
    rows = inputs.dataset.records
    config = follow_up(after, train_file=None if same else inputs.dataset.path, eval_file=inputs.eval_file,
                       overrides={**split, **maps, **inputs.overrides}, records=rows, eval_rows=inputs.eval_rows,
                       measured=inputs.measured)
    chosen_before(config, (split | maps).keys() - inputs.overrides.keys(), tr("Chosen with the data."))
    if split and inputs.share_is_usual and "eval_fraction" not in inputs.overrides:
        config.reasons["eval_fraction"] = plan_rows.what_is_held_back(curves.divided(rows, config)[1], len(rows))
    return config, inputs.measured or measure_for(rows, config)


def chosen_before(config: RunConfig, names: Set[str], *reasons: str) -> None:
    """Say where these fields were chosen; in the plan itself, the user decided nothing about them."""
    config.reasons |= dict.fromkeys(names, join_sentences(*reasons))
    config.chosen = [name for name in config.chosen if name not in names]


def configure(inputs: PlanInputs) -> RunConfig:
    """The configuration of a new run, from the base model and `overrides` alone.

    Returns:
        A configuration with a sentence in `reasons` for each field that was chosen.

    Raises:
        UserError: an override names no field or has a wrong value, or a file isn't there: all of them at once; or the
            model's chat template or its embeddings don't take the rows.
    """
    chosen = overrides(inputs.overrides)
    template, why = plan_rows.choose_template(inputs.dataset.records, inputs.model, chosen)
    plan_rows.check_tools(inputs.dataset.records, inputs.model, template)
    plan_rows.check_embeddings(inputs.dataset.records, inputs.model, template)
    measured = inputs.measured or measure_rows(inputs.dataset, inputs.model, chosen)
    draft = Draft(inputs, inputs.machine or read_machine(), chosen, measured)
    if draft.set("chat_template", template, why) != template and not draft.values["chat_template"]:
        draft.problems.append(Problem(
            join_sentences(tr("{model} has no chat template of its own.", model=inputs.model.name),
                           tr("It must be one of {words}.", words=", ".join(NAMED))), field="chat_template"))
    config = propose(draft)
    problems = [*config.problems(), *config.file_problems(), *draft.problems]
    if not problems and (cut := plan_rows.out_of_reach(measured, inputs.model, config)):
        problems.append(cut)
    found = {problem.field: problem for problem in problems}
    if found:
        raise UserError(tr("The plan can't be used."), tr("Some values don't fit."), tr("Correct them."),
                        list(found.values()))
    if no_gguf := why_no_gguf(inputs.model):
        config.reasons["method"] = join_sentences(config.reasons["method"], no_gguf)
    config.reasons["chat_template"] = join_sentences(config.reasons["chat_template"],
                                                     *plan_rows.template_warnings(config))
    return config
