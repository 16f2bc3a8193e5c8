"""Commands about existing runs: report, compare, show as code, continue, protect the machine from their heat."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slmstudio.cli import asking
from slmstudio.cli.output import (
    Json,
    Run,
    RunOrFile,
    Set,
    print_json,
    print_next,
    print_table,
    reading_shown,
    run_named,
    say,
    spare,
)
from slmstudio.core import jobs, program
from slmstudio.core.i18n import tr
from slmstudio.core.report.text import exact

app = typer.Typer()


@app.command()
def report(
    run: Run,
    out: Annotated[Path | None, typer.Option(
        help="FILE.html or FILE.pdf; by default report.html in the run's folder. A PDF needs Chromium, Chrome or "
             "Edge.")] = None,
    as_json: Json = False,
) -> int:
    """Write a run's report: one file that needs no network, with every figure of the run."""
    from slmstudio.core.report.page import write_report

    with reading_shown():
        written = write_report(run.absolute(), out.absolute() if out else None)
    if as_json:
        print_json({"run_dir": str(run), "out": str(written), "bytes": written.stat().st_size})
    else:
        say(tr("Written: {path}", path=written))
    return 0


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(parser=run_named, help="Two or more runs, by their names or folders.")],
    as_json: Json = False,
) -> int:
    """Compare runs: losses, scores on the same test set with a paired test, time, and the fields that differ."""
    from slmstudio.core.report.compare import compare as compare_runs
    from slmstudio.core.run.config import label

    with reading_shown():
        found = compare_runs([run.absolute() for run in runs])
    if as_json:
        print_json(found.to_dict())
        return 0
    head = ("", *(run["label"] for run in found.runs))
    print_table(tr("Runs"), found.rows(), head)
    for line in found.words:
        say("\n" + line)
    for line in found.warnings:
        say("\n" + tr("Warning: {text}", text=line))
    said = found.paired.sentences()
    if said:
        say("\n" + tr("The tuned models, row by row:"))
    for line in (*said, *found.paired.remarks):
        say(line)
    if not found.differences:
        say("\n" + tr("Their configurations are the same."))
        return 0
    print_table(tr("Only these fields differ"), [
        (label(name), *(exact(value) or tr("not set") for value in values))
        for name, values in found.differences], head)
    return 0


@app.command()
def code(
    run: RunOrFile,
    out: Annotated[Path, typer.Option(help="File for the script.")],
    as_json: Json = False,
) -> int:
    """Write a run as a script, with its rows beside it: the usual libraries, the same losses."""
    from slmstudio.core.run import run_script

    written = run_script.write_script(run, out)
    if as_json:
        print_json({"out": str(written.path), "train_file": str(written.train_file),
                    "eval_file": str(written.eval_file), "rows_are_ids": written.rows_are_ids})
        return 0
    say(tr("Written: {script}, {train_file} and {eval_file}", script=written.path, train_file=written.train_file.name,
           eval_file=written.eval_file.name))
    print_next(program.shell_line(["python", "-P", str(written.path)]))
    return 0


@app.command("continue")
def continue_(
    run: Run,
    out: Annotated[Path, typer.Option(help="Where to write the run configuration.")],
    data: Annotated[
        Path | None, typer.Option(help="File or folder with the training rows; by default, the same rows as "
                                       "before.")] = None,
    test: Annotated[Path | None, typer.Option(help="File with evaluation rows, which are never used for "
                                                   "training.")] = None,
    epochs: Annotated[
        float | None, typer.Option(help="How many epochs to train; by default, as many as before.")] = None,
    set_: Set = None,
    as_json: Json = False,
) -> int:
    """Propose a run that continues from a finished one's adapter or model, and write it to a file."""
    from slmstudio.core.run import config_file
    from slmstudio.core.run.planning import follow_up, plan_inputs

    overrides = plan_inputs.parse_settings(set_ or [])
    earlier, said = config_file.load(run), plan_inputs.overrides(overrides)
    for file, field in ((data, "train_map"), (test, "eval_map")):
        if line := asking.map_text(file, field, said, earlier.train_map):
            overrides[field] = line
    config = follow_up.follow_up(run, epochs=epochs, train_file=data, eval_file=test, overrides=overrides)
    spare([run / jobs.RUN, config.model, config.train_file, config.eval_file], out)
    config_file.write(config, out)
    if as_json:
        print_json({"out": str(out), "config": config.to_dict(), "reasons": config.reasons})
        return 0
    told = ("name", "start_from", "train_file", "eval_file", "epochs", "max_steps", "learning_rate")
    print_table(tr("Plan: {name}", name=config.name),
                [(name, str(getattr(config, name)), config.reasons.get(name, "")) for name in told])
    print_next(program.command("train", out))
    return 0


@app.command()
def guard(
    run: Run,
    limit: Annotated[str | None, typer.Option(help='Temperature in °C at which it pauses, or which it holds. "auto" '
                                                   'is 5 °C below the temperature at which the card slows itself '
                                                   'down.')] = None,
    mode: Annotated[str | None, typer.Option(help='"pause" when too hot, "hold" the limit with short rests between '
                                                  'steps, or "off".')] = None,
    rest: Annotated[int | None, typer.Option(help="The shortest pause, in seconds.")] = None,
    battery: Annotated[bool | None, typer.Option("--pause-on-battery/--train-on-battery",
                                                 help="Whether to rest while the machine isn't plugged in.")] = None,
    hours: Annotated[str | None, typer.Option(help="When to train, for example 22:00-06:00; \"always\" for all "
                                                   "day.")] = None,
    as_json: Json = False,
) -> int:
    """Show or change what protects the machine from a run's heat, even while the run trains."""
    from slmstudio.core.run import guard_summary
    from slmstudio.core.run.store import RUNS

    job = jobs.Job(run)
    asked = {"heat_guard": mode, "heat_limit_c": "" if limit == "auto" else limit, "heat_rest_seconds": rest,
             "pause_on_battery": battery, "train_hours": "" if hours == "always" else hours}
    config = guard_summary.ask(job, {name: value for name, value in asked.items() if value is not None})
    found = RUNS.history(run).guard.ended()
    values = {name: getattr(config, name) for name in guard_summary.GUARD_FIELDS}
    if as_json:
        print_json({"run_dir": str(job.folder), **values, "guard": found.to_dict()})
        return 0
    print_table(tr("Heat and hours"), [tuple(line.rsplit(": ", 1)) for line in guard_summary.told(values)])
    if sentence := found.sentence():
        say(sentence)
    return 0
