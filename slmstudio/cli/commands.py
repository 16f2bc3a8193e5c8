"""The terminal: one command per capability. It parses, calls core, and prints; nothing else.

Progress goes to stderr. With --json the last line of stdout is one JSON object. Exit status: 0 done,
1 failed, 2 the user has to change something.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from slmstudio import __version__
from slmstudio.cli import (
    chat,
    data,
    doctor,
    energy,
    estimate,
    evaluate,
    exports,
    fit_check,
    launch,
    lock,
    models,
    place,
    problems,
    report,
    serve,
    setup,
    words,
)
from slmstudio.cli import runs as run_commands
from slmstudio.cli.data import Mapped, Sheet, TextBy, said
from slmstudio.cli.progress import (
    Follower,
    figure,
    outcome_word,
    print_error,
    print_json,
    print_next,
    print_table,
    print_warning,
    say,
)
from slmstudio.cli.targets import RunOrFile, spare
from slmstudio.core import home_folder, jobs, paths, program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

app = typer.Typer(
    cls=words.Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": words.HELP},
    help="Fine-tune a small language model on your own machine, on your own data, offline.",
)
app.add_typer(data.app, name="data")
app.add_typer(exports.app)
app.add_typer(fit_check.app)
app.add_typer(models.app, name="models")
app.add_typer(estimate.app)
app.add_typer(run_commands.app)
app.add_typer(launch.app)
app.add_typer(chat.app)
app.add_typer(serve.app)
app.add_typer(evaluate.app)
app.add_typer(report.app)
app.add_typer(place.app)
app.add_typer(energy.app)
app.add_typer(lock.app)
app.add_typer(setup.app)
app.add_typer(doctor.app)
WHEN = ("before", "after")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]


def main(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    as_json = "--json" in arguments
    try:
        if arguments[:1] not in (["place"], ["doctor"], ["--version"]) and not set(arguments).intersection(words.HELP):
            home_folder.require()
            home_folder.keep_private(paths.home())
        return int(words.command(app)(arguments, standalone_mode=False) or 0)
    except UserError as error:
        print_error(error, as_json)
        return 2
    except typer.TyperException as error:
        words.show(error, as_json)
        return 2
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        print_error(home_folder.explain(error, tr("Could not finish the command.")), as_json)
        return 2
    except (typer.Abort, KeyboardInterrupt):
        say(tr("Cancelled."), file=sys.stderr)
        return 1
    except Exception as error:
        import traceback

        say(traceback.format_exc(), file=sys.stderr, end="")
        print_error(
            UserError(
                tr("Something went wrong in SLM Studio itself."),
                f"{type(error).__name__}: {error}",
                tr("Please report the lines above."),
            ),
            as_json,
        )
        return 1


def _show_version(wanted: bool) -> None:
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback()
def _whole(version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_show_version,
                                                 help="Show the version.")] = False) -> None:
    pass


@app.command()
def quickstart(out: Annotated[Path, typer.Option(help="Folder for the run.")], as_json: Json = False) -> int:
    """Tune the starter model on the sample data, ask it before and after, export it, and prove the export."""
    from slmstudio.core import quickstart as flow

    with Follower() as follower:
        result = flow.run(out, follower.on_event)
    if as_json:
        print_json(result)
        return 0
    _show_first_run(result)
    return 0


def _show_first_run(result: dict[str, Any]) -> None:
    """What a newcomer looks for first: the same question, answered before the training and after it."""
    from slmstudio.core import units

    say("\n" + tr("Question: {question}\nA good answer: {answer}\n", question=result["question"],
                  answer=result["reference"]))
    print_table(tr("Your first tuned model"), [
        (tr("Its answer"), result["answer_before"], result["answer_after"]),
        (tr("Eval loss (lower is better)"), *(units.format_loss(result[f"eval_loss_{when}"]) for when in WHEN)),
        (tr("chrF++ of its answers to questions it never saw (higher is better)"),
         *(figure(result[f"chrf_{when}"], ".1f") for when in WHEN)),
    ], ("", tr("Before training"), tr("After training")))
    rows = [(tr("Run folder"), result["run_dir"]), (tr("Training steps"), str(result["steps"]))]
    if not result["left_out"]:
        parity = result["parity"]
        same = tr("yes") if parity["passed"] else tr("NO")
        rows += [
            (tr("Exported file"), result["gguf"]),
            (tr("Same answers as the trained model"), f"{same} (NMSE {figure(parity['nmse'], '.1e')}, "
                                                       f"top-1 {figure(parity['top1'], '.1%')})"),
            (tr("The exported file in chat"), result["reply"]),
        ]
    say()
    print_table(tr("What was made"), [*rows, (tr("Time"), units.format_duration(result["seconds"]["total"]))])
    if result["left_out"]:
        say(f"\n{result['left_out']}")
    print_next(program.command("report", result["run_dir"]) if result["left_out"]
               else program.command("chat", result["gguf"]))


@app.command()
def plan(
    model: Annotated[str, typer.Option(help="Folder of the base model, its name on the hub where it is on "
                                             "this machine, or \"starter\".")],
    data: Annotated[Path, typer.Option(help="File or folder with the rows to learn.")],
    out: Annotated[Path, typer.Option(help="Where to write the run configuration.")],
    test: Annotated[Path | None, typer.Option(help="File with rows that are never learned.")] = None,
    map_: Mapped = None,
    sheet: Sheet = None,
    text_by: TextBy = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Overrule a field.")] = None,
    as_json: Json = False,
) -> int:
    """Propose a whole run configuration, with a reason for each value, and write it to a file."""
    from slmstudio.core import files, starter
    from slmstudio.core.data import given
    from slmstudio.core.errors import from_os_error
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.model.hub import on_disk
    from slmstudio.core.model.vetting import vet
    from slmstudio.core.run import plan_rows, planner, schedule
    from slmstudio.core.run.energy import told
    from slmstudio.core.run.energy.tariff import tariff
    from slmstudio.core.run.memory import outlook

    overrides = planner.parse_settings(set_ or [])
    spare([data, test], out)
    with Follower() as follower:
        model_facts = (
            starter.prepare(lambda event: follower.on_event("model", event))
            if model == "starter"
            else vet.read_vetted(on_disk.resolve(model))
        )
        dataset = given.read(data.absolute(), said(map_, sheet, text_by), follower.on_bytes)
    machine = read_machine()
    config = planner.plan(
        planner.PlanRequest(dataset, model_facts, machine, test.absolute() if test else None, overrides)
    )
    spare([model_facts.path, config.train_file, config.eval_file], out)
    found = outlook.look(model_facts, config, machine, len(schedule.divided(dataset.records, config)[0]))
    try:
        files.write_atomically(out, files.dump_pretty(config.to_dict()))
    except OSError as error:
        raise from_os_error(error, tr("Could not write {file}.", file=out)) from error
    for line in problems.first(dataset.problems, data):
        print_warning(tr("{file}, a row is left out: {problem}", file=data, problem=line))
    warnings = plan_rows.template_warnings(config)
    for sentence in warnings:
        print_warning(sentence)
    state = config.to_dict()
    if as_json:
        print_json(
            {
                "out": str(out),
                "config": state,
                "reasons": config.reasons,
                "outlook": found.to_dict(),
                "energy": energy.expected(found.energy),
                **problems.for_json(dataset.problems),
                "warnings": warnings,
            }
        )
        return 0
    print_table(
        tr("Plan: {name}", name=config.name),
        [
            (name, str(state[name]), config.reasons.get(name, ""))
            for name in state
            if name not in ("reasons", "chosen", "format", "kind")
        ],
    )
    say(f"\n{fit_check.told(found)}")
    if found.energy is not None:
        say(told.expected(found.energy, tariff()))
    if found.best.measured is None:
        say(tr("Measure it: {command}", command=program.command("fit-check", out)))
    say(tr("Start training: {command}", command=program.command("train", out)))
    return 0


@app.command()
def train(
    run: RunOrFile,
    out: Annotated[Path | None, typer.Option(help="Folder in which the run folder is made.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Overrule a field.")] = None,
    processes: launch.Processes = None,
    parallelism: launch.Parallelism = None,
    as_json: Json = False,
) -> int:
    """Train as a run configuration says; given a run, resume from its checkpoint. Ctrl-C stops and saves."""
    import time
    from dataclasses import replace

    from slmstudio.core.run import adjust, config_file, folder, planner
    from slmstudio.core.run.guard import summary as guard

    config, changed = config_file.load(run), planner.overrides(
        {**planner.parse_settings(set_ or []), **launch.chosen(processes, parallelism)})
    launch.need_machine(replace(config, **changed))
    if run.is_dir():
        job = launch.unfinished(run)
        if changed:
            adjust.consent(job.folder, changed)
        if adjust.apply(config, job.folder).nodes > 1:
            launch.invite_again(job.folder)
    else:
        config = replace(config, **changed)
        config.check()
        job = folder.create(config, out.absolute() if out else None)
    since = time.time()
    job.start()
    say(tr("Run folder: {path}", path=job.folder), file=sys.stderr)
    with Follower(since) as follower:
        outcome = follower.follow(job, "train")
    rests = guard.of_events(job.events())
    if not as_json and (sentence := rests.sentence()):
        say(sentence)
    return _report_outcome(outcome, as_json, {
        "run_dir": str(job.folder), **energy.drawn(follower.energy.use, as_json),
        **({"guard": rests.to_dict()} if as_json else {})})


@run_commands.runs_app.callback(invoke_without_command=True)
def runs(
    context: typer.Context, as_json: Json = False,
    folder_: Annotated[Path | None, typer.Option("--folder", help="Where runs are.")] = None
) -> int:
    """List all runs, newest first; or rename one."""
    if context.invoked_subcommand is not None:
        return 0
    from slmstudio.core import units
    from slmstudio.core.run import folder

    if folder_ is not None and not folder_.is_dir():
        raise UserError(tr("{folder} isn't a folder.", folder=folder_), "", tr("Check the path."))
    unreadable: list[tuple[Path, UserError]] = []
    found = list(folder.all_runs(folder_, lambda path, why: unreadable.append((path, why))))
    for path, error in unreadable:
        shown = tr("{name} can't be shown.", name=path.name)
        print_warning(f"{shown} {str(error).splitlines()[0]}")
    if as_json:
        print_json(
            {
                "runs": [
                    {
                        "run_dir": str(run.folder),
                        "name": run.config.name,
                        "state": run.state,
                        "steps": run.steps,
                        "train_loss": run.train_loss,
                        "eval_loss_before": run.eval_loss_before,
                        "eval_loss_after": run.eval_loss_after,
                        "seconds": run.seconds,
                        "model": run.config.model,
                        "method": run.config.method,
                        "exports": [str(path) for path in run.exports()],
                        "energy": energy.drawn(run.energy, as_json)["energy"],
                        "error": run.error,
                    }
                    for run in found
                ],
                "unreadable": [{"run_dir": str(path), "error": error.to_dict()} for path, error in unreadable],
            }
        )
        return 0
    if not found:
        say(tr("No runs yet. Start with: {command}", command=program.command("quickstart", "--out", "my-first-run")))
        return 0
    print_table(
        tr("Runs"),
        [
            (
                run.config.name,
                outcome_word(run.state),
                units.format_loss(run.eval_loss_after),
                units.format_duration(run.seconds),
                "–" if run.energy is None else units.format_energy(run.energy.joules),
                run.folder.name,
            )
            for run in found
        ],
        (tr("Run"), tr("Outcome"), tr("Eval loss"), tr("Time"), tr("Energy"), tr("Folder")),
    )
    return 0


def _report_outcome(outcome: jobs.Outcome, as_json: bool, extra: dict[str, Any]) -> int:
    """Print how a job ended; 0 when it did its work, else 1."""
    if not outcome.was_successful():
        print_error(outcome.user_error(), as_json=False)
    if as_json:
        print_json({**extra, "outcome": outcome.state, **outcome.result, "error": outcome.error})
    elif outcome.was_successful():
        rows = [
            (key, json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value))
            for key, value in {**extra, **outcome.result}.items()
        ]
        print_table(tr("Outcome: {outcome}", outcome=outcome_word(outcome.state)), rows)
    return 0 if outcome.was_successful() else 1
