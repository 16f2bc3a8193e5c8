"""Commands before a run: propose its configuration, list what can be set in it, and measure what it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmstudio.cli import asking, energy, output
from slmstudio.cli.data import Mapped, Sheet, TextBy, mapping_text
from slmstudio.cli.output import Json, Set, print_json, print_next, print_table, print_warning, say, spare
from slmstudio.cli.progress import Follower, carry_out
from slmstudio.core import program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.core.units import format_bytes, format_duration, format_span

if TYPE_CHECKING:
    from slmstudio.core.run.memory.outlook import Outlook
    from slmstudio.core.run.planning.plan_inputs import PlanInputs
    from slmstudio.core.run.planning.planner import Plan

app = typer.Typer()


@app.command()
def plan(
    model: Annotated[str, typer.Option(help='Folder of the base model, its hub name if it is on this machine, or '
                                            '"starter".')],
    data: Annotated[Path, typer.Option(help="File or folder with the training rows.")],
    out: Annotated[Path, typer.Option(help="Where to write the run configuration.")],
    test: Annotated[Path | None, typer.Option(help="File with evaluation rows, which are never used for "
                                                   "training.")] = None,
    map_: Mapped = None,
    sheet: Sheet = None,
    text_by: TextBy = None,
    set_: Set = None,
    choice: Annotated[str, typer.Option(help="quick (a few minutes, to see whether the rows teach the model anything), "
                                             "normal or thorough, as far as they differ for these rows.")] = "normal",
    as_json: Json = False,
) -> int:
    """Propose a whole run configuration, with a reason for each value, and write it to a file."""
    from slmstudio.core.run import config_file
    from slmstudio.core.run.planning import choices, plan_rows
    from slmstudio.core.run.run_fields import LEAVE_OUT

    spare([data, test], out)
    inputs = read_inputs(model, data, test, mapping_text(map_, sheet, text_by), set_)
    dataset, model_facts, proposed = inputs.dataset, inputs.model, choices.propose(inputs)
    choices.check(choice, proposed.offered)
    made = proposed.offered[choice].plan
    config, counts, lost = made.config, made.counts, made.lost
    spare([model_facts.path, config.train_file, config.eval_file], out)
    config_file.write(config, out)
    for line in output.first(dataset.problems, data):
        print_warning(tr("a row of {file} is left out: {problem}", file=data, problem=line))
    warnings = plan_rows.template_warnings(config)
    for sentence in warnings:
        print_warning(sentence)
    if as_json:
        print_json({"out": str(out), "config": config.to_dict(), "reasons": config.reasons, **counts.to_dict(),
                    "longer_length": lost.longer if lost else None, "outlook": made.outlook.to_dict(),
                    **(made.outlook.time.to_dict() if made.outlook.time else {}),
                    "energy": energy.expected(made.outlook.energy), **output.for_json(dataset.problems),
                    "choice": choice, "choices": [each.to_dict() for each in proposed.offered.values()],
                    "recommended": proposed.recommended, "warnings": warnings})
    else:
        _show_plan(made, out)
        if len(proposed.offered) > 1:
            print_table(tr("Choices"), [(f"--choice {key}", each.time.text(), each.text)
                                        for key, each in proposed.offered.items()])
            say(join_sentences(tr("Recommended: {choice}.", choice=proposed.recommended), proposed.why))
        if lost is not None:
            print_warning(join_sentences(
                lost.what, lost.ways,
                *([tr("To keep them: {option}", option=f"--set max_length={lost.longer}")] if lost.longer else []),
                *([tr("To leave them out: {option}", option=f"--set overlong_rows={LEAVE_OUT}")]
                  if lost.can_leave_out else [])))
    return 0


def read_inputs(model: str, data: Path, test: Path | None, columns: str | None, set_: list[str] | None) -> PlanInputs:
    """What a plan is made from, by what was typed.

    Raises:
        UserError: something of it can't be used.
    """
    from slmstudio.core import starter
    from slmstudio.core.model.hub import on_disk
    from slmstudio.core.model.vetting import vet
    from slmstudio.core.run.planning import plan_inputs

    overrides = plan_inputs.parse_settings(set_ or [])
    with Follower() as follower:
        model_facts = (starter.prepare(lambda event: follower.on_event("model", event)) if model == "starter"
                       else vet.read_vetted(on_disk.resolve(model)))
        chosen = plan_inputs.overrides(overrides)
        dataset = asking.read(data, columns or chosen.get("train_map"), follower)
        eval_map = asking.map_text(test, "eval_map", chosen, dataset.line)
    return plan_inputs.PlanInputs(dataset, model_facts, None, test.absolute() if test else None, overrides,
                                  eval_map=eval_map)


def _show_plan(plan: Plan, out: Path) -> None:
    from slmstudio.core.run.energy import energy_costs as energy_told
    from slmstudio.core.run.energy.energy_costs import tariff

    config, counts, outlook = plan.config, plan.counts, plan.outlook
    print_table(tr("Plan: {name}", name=config.name), [
        (name, str(value), config.reasons.get(name, "")) for name, value in config.to_dict().items()
        if name not in ("reasons", "chosen", "format", "kind")])
    trains = tr("Trains on {rows} in {steps}.", rows=ntr("{n:,} row", "{n:,} rows", counts.learned),
                steps=ntr("{n:,} step", "{n:,} steps", counts.steps))
    say("\n" + join_sentences(trains, counts.known_text))
    say(outlook_text(outlook))
    if outlook.energy is not None:
        say(energy_told.expected(outlook.energy, tariff()))
    if outlook.best.measured is None:
        say(tr("Measure it: {command}", command=program.command("fit-check", out)))
    say(tr("Start training: {command}", command=program.command("train", out)))


@app.command(name="fit-check")
def fit_check(run: Annotated[Path, typer.Argument(help="A run configuration, as plan writes it.")],
              as_json: Json = False) -> int:
    """Try the longest real micro-batch of a run: does it fit, and how long does a step take? Nothing is changed."""
    from slmstudio.core.errors import os_errors_as
    from slmstudio.core.jobs import new
    from slmstudio.core.run import config_file
    from slmstudio.core.run.memory import fit_badge

    config = config_file.load(run)
    config.check()
    with os_errors_as(tr("Could not start the fit check.")):
        job = new.fit_check(config.to_dict())
    outcome = carry_out(job, tr("fit check"), tr("Cancelling the fit check."))
    result = fit_badge.of_job(job, outcome)
    if as_json:
        print_json(result)
        return 0
    print_table(tr("Fit check: {name}", name=config.name), _rows(result))
    if result["fits"]:
        say("\n" + tr("It fits. Start training: {command}", command=program.command("train", run)))
    else:
        say("\n" + tr("It doesn't fit as it is. A smaller micro-batch, a shorter sequence length or QLoRA takes less "
                      "memory. You can start it anyway: {command}", command=program.command("train", run)))
    return 0


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    estimate, free, peak = result["estimate"], result["free"], format_bytes(result["measured_peak"])
    known = estimate["low"] is not None
    estimated = [(tr("Estimated"), format_span(estimate["low"], estimate["high"]))] if known else []
    measured = tr("memory ran out; it needs more than {size}", size=peak) if result["ran_out"] else tr(
        "{size} at the peak", size=peak)
    rows = [(tr("Device"), "GPU" if result["device"] == "cuda" else tr("processor")), *estimated,
            (tr("Measured"), measured), (tr("Free"), format_bytes(free) if free is not None else tr("unknown"))]
    if result["seconds_per_step"] is not None:
        rows += [(tr("One step"), format_duration(result["seconds_per_step"])),
                 (tr("Speed"), tr("{speed:,.0f} tokens/s", speed=result["tokens_per_second"]))]
    return rows


def outlook_text(outlook: Outlook) -> str:
    """What a run takes: "Needs 7.9 to 8.6 GB (estimated). 11.2 GB is free. It takes about 14 min."."""
    from slmstudio.core.run.memory import formula
    from slmstudio.core.run.time_estimate import source_text

    best = outlook.best
    if best.measured is not None and best.measured.ran_out:
        return tr("When it was tried on this machine, memory ran out at {size}.",
                  size=format_bytes(best.measured.peak_bytes))
    if best.measured is not None:
        sentences = [tr("Needs {size} (measured on this machine).", size=format_bytes(best.measured.peak_bytes))]
    else:
        size = format_span(best.estimate.low, best.estimate.high)
        sentences = [tr("Needs {size} (estimated, and corrected by measurements on this machine).", size=size)
                if best.corrected_by else tr("Needs {size} (estimated).", size=size)]
    if outlook.free is not None:
        sentences.append(tr("{size} is free.", size=format_bytes(outlook.free)))
    if outlook.time is not None:
        sentences.append(tr("It takes {time} ({source}).", time=outlook.time.text(), source=source_text(outlook.time)))
    if outlook.judgement.reason == formula.SLOW:
        sentences.append(tr("That is longer than an evening. A smaller model or fewer rows take less."))
    if best.measured is None and outlook.judgement.level == formula.NO:
        sentences.append(tr("That doesn't fit, but you can start it anyway."))
    return " ".join(sentences)


@app.command()
def fields(
    text: Annotated[str, typer.Argument(metavar="[TEXT]", help="Only fields with this in their name.")] = "",
    as_json: Json = False,
) -> int:
    """List the fields of a run that --set can change: what each one does, and its value if no plan decides it."""
    from dataclasses import asdict

    from slmstudio.core.run.config import FIELDS, RunConfig, in_groups

    found = {name: about for name, about in FIELDS.items()
             if any(text.lower() in word for word in (name, *about.aliases))}
    if not found:
        raise UserError(tr("No field has “{text}” in its name.", text=text), "",
                        tr("To see them all: {command}", command=program.command("fields")))
    defaults = RunConfig(name="", model="", train_file="").to_dict()
    if as_json:
        print_json({"fields": [
            {"name": name, "aliases": list(about.aliases), "group": about.group, "label": about.label,
             "help": about.help, "default": defaults[name], "kind": type(about.kind).__name__.lower(),
             **asdict(about.kind)} for name, about in found.items()]})
        return 0
    for group, names in in_groups().items():
        if rows := [(name, _typed(defaults[name]), found[name].help) for name in names if name in found]:
            print_table(group, rows, (tr("Field"), tr("Default"), tr("What it does")))
    print_next(program.command("plan", "--model", "M", "--data", "FILE", "--set", "FIELD=VALUE", "--out", "RUN.json"))
    return 0


def _typed(value: Any) -> str:
    """As --set takes it."""
    if value in (None, []):
        return ""
    return value if isinstance(value, str) else json.dumps(value)
