"""Proposes a whole run configuration from the data, the model and the machine, with a reason for each value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core.data import layouts
from slmstudio.core.data.reader import Dataset, Record
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.model import named_templates, tokens
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.model.named_templates import NAMED
from slmstudio.core.model.vetting.gguf_outlook import why_no_gguf
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.planning import plan_rows, row_counts
from slmstudio.core.run.planning.draft import Draft
from slmstudio.core.run.planning.proposal import propose
from slmstudio.core.run.planning.row_counts import MeasuredRows
from slmstudio.core.run.rows.row_tokens import RowEncoder
from slmstudio.core.run.run_fields import METHOD_WORDS, PARALLELISM_WORDS


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is made from.

    Attributes:
        eval_file: rows that are never learned; None splits them off the dataset.
        overrides: fields that the user decided, by name or by another trainer's name for them.
        measured: the rows as tokens, when that was done already.
        eval_map: what was said about the columns of `eval_file`, as `given.of` has it.
        eval_rows: how many rows are in `eval_file`, when it was read already.
    """

    dataset: Dataset
    model: ModelFacts
    machine: Machine
    eval_file: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    measured: MeasuredRows | None = None
    eval_map: str | None = None
    eval_rows: int | None = None


def plan(request: PlanRequest) -> RunConfig:
    """
    Returns:
        A configuration with a sentence in `reasons` for each field that was chosen.

    Raises:
        UserError: an override names no field or has a wrong value, or a file isn't there: all of them at once; or the
            model's chat template or its embeddings don't take the rows.
    """
    chosen = overrides(request.overrides)
    template, why = plan_rows.choose_template(request.dataset.records, request.model, chosen)
    plan_rows.check_tools(request.dataset.records, request.model, template)
    plan_rows.check_embeddings(request.dataset.records, request.model, template)
    measured = request.measured or measure_rows(request.dataset, request.model, chosen)
    draft = Draft(request.dataset, request.model, request.machine, request.eval_file, chosen, measured,
                  request.eval_map, request.eval_rows)
    if draft.set("chat_template", template, why) != template and not draft.values["chat_template"]:
        draft.problems.append(Problem(
            join_sentences(tr("{model} has no chat template of its own.", model=request.model.name),
                           tr("It must be one of {words}.", words=", ".join(NAMED))), field="chat_template"))
    config = propose(draft)
    problems = [*config.problems(), *config.file_problems(), *draft.problems]
    if not problems and (cut := plan_rows.out_of_reach(measured, request.model, config)):
        problems.append(cut)
    found = {problem.field: problem for problem in problems}
    if found:
        raise UserError(tr("The plan can't be used."), tr("Some values don't fit."), tr("Correct them."),
                        list(found.values()))
    if no_gguf := why_no_gguf(request.model):
        config.reasons["method"] = join_sentences(config.reasons["method"], no_gguf)
    config.reasons["chat_template"] = join_sentences(config.reasons["chat_template"],
                                                     *plan_rows.template_warnings(config))
    return config


def parse_settings(settings: list[str]) -> dict[str, str]:
    """`["learning_rate=1e-4"]` as a dictionary.

    Raises:
        UserError: an entry without "=".
    """
    wrong = [Problem(tr('There is no "="; write FIELD=VALUE.'), field=entry) for entry in settings if "=" not in entry]
    if wrong:
        raise UserError(tr("Some settings can't be used."), "", tr("Correct them."), wrong)
    return dict(entry.split("=", 1) for entry in settings)


def overrides(raw: dict[str, Any]) -> dict[str, Any]:
    """The user's values under our names and in our types.

    Raises:
        UserError: unknown names and wrong values, all at once.
    """
    chosen: dict[str, Any] = {}
    ours = {alias: name for name, about in FIELDS.items() for alias in about.aliases}
    problems = []
    for given, value in raw.items():
        name = ours.get(given, given)
        if name not in FIELDS:
            problems.append(Problem(join_sentences(tr("It isn't a field of a run."), tr(
                "The fields are: {names}.", names=", ".join(FIELDS))), field=given))
            continue
        if name == "method" and str(value).strip().lower() in METHOD_WORDS:
            chosen |= METHOD_WORDS[str(value).strip().lower()]
            continue
        if name == "parallelism":
            value = PARALLELISM_WORDS.get(str(value).strip().lower(), value)
        try:
            chosen[name] = FIELDS[name].read(value)
        except ValueError as error:
            problems.append(Problem(str(error), field=given))
    if problems:
        raise UserError(tr("Some settings can't be used."), "", tr("Correct them."), problems)
    return chosen


def measure_rows(dataset: Dataset, model: ModelFacts, chosen: Mapping[str, Any] | None = None) -> MeasuredRows:
    """The rows as tokens, as the planned run will learn them.

    Args:
        chosen: fields that the user decided.

    Raises:
        UserError: the template doesn't take the rows.
    """
    chosen = chosen or {}
    name, _ = plan_rows.choose_template(dataset.records, model, chosen)
    plan_rows.check_tools(dataset.records, model, name)
    learning = {name: chosen[name] for name in ("objective", "completion_only_loss") if name in chosen}
    return measure_for(dataset.records, RunConfig(name="", model=str(model.path), train_file="", chat_template=name, **{
        "objective": layouts.objectives(dataset.layout)[0], **learning}))


def measure_for(records: Sequence[Record], config: RunConfig) -> MeasuredRows:
    """The rows as tokens, as a run learns them. Raises UserError, as `tokens.encode` does."""
    return row_counts.measure(records, RowEncoder(
        tokens.load_tokenizer(config.model), named_templates.optional_template(config.model, config.chat_template),
        config.objective, config.completion_only_loss))
