"""Commands about runs as a whole: show one as code, queue several, continue a finished one."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from slmstudio.cli.progress import Follower, outcome_word, print_error, print_json, print_next, print_table, say
from slmstudio.cli.targets import Run, RunOrFile, spare
from slmstudio.cli.words import Group
from slmstudio.core import jobs, program, quoting
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

app = typer.Typer()
queue_app = typer.Typer(cls=Group, no_args_is_help=True, help="Runs that wait for their turn.")
app.add_typer(queue_app, name="queue")
runs_app = typer.Typer(cls=Group)
app.add_typer(runs_app, name="runs")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]


@app.command()
def code(
    run: RunOrFile,
    out: Annotated[Path, typer.Option(help="Where the script goes.")],
    as_json: Json = False,
) -> int:
    """Write a run as a script, with its rows beside it: the usual libraries, the same losses."""
    from slmstudio.core.run.script import script

    written = script.write_script(run, out)
    if as_json:
        print_json({"out": str(written.path), "train_file": str(written.train_file),
                    "eval_file": str(written.eval_file), "rows_are_ids": written.rows_are_ids})
        return 0
    say(tr("Written: {script}, {train_file} and {eval_file}", script=written.path, train_file=written.train_file.name,
           eval_file=written.eval_file.name))
    print_next(quoting.command(["python", "-P", str(written.path)]))
    return 0


@app.command("continue")
def continue_(
    run: Run,
    out: Annotated[Path, typer.Option(help="Where to write the run configuration.")],
    data: Annotated[
        Path | None, typer.Option(help="JSONL file with the rows to learn; by default, the same rows.")] = None,
    test: Annotated[Path | None, typer.Option(help="JSONL file with rows that are never learned.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the rows; without it, as many as before.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Overrule a field.")] = None,
    as_json: Json = False,
) -> int:
    """Propose a run that continues from a finished one's adapter or model, and write it to a file."""
    from slmstudio.core import files
    from slmstudio.core.errors import from_os_error
    from slmstudio.core.run import follow_up, planner

    config = follow_up.follow_up(run, epochs=epochs, train_file=data, eval_file=test,
                                 overrides=planner.parse_settings(set_ or []))
    spare([run / jobs.RUN, config.model, config.train_file, config.eval_file], out)
    try:
        files.write_atomically(out, files.dump_pretty(config.to_dict()))
    except OSError as error:
        raise from_os_error(error, tr("Could not write {file}.", file=out)) from error
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
    limit: Annotated[str | None, typer.Option(help="°C at which it pauses, or that it holds; \"auto\" is 5 °C less "
                                                   "than where the card slows itself down.")] = None,
    mode: Annotated[str | None, typer.Option(help="\"pause\" when too hot, \"hold\" the limit by short rests between "
                                                  "steps, or \"off\".")] = None,
    rest: Annotated[int | None, typer.Option(help="The shortest pause, in seconds.")] = None,
    battery: Annotated[bool | None, typer.Option("--pause-on-battery/--train-on-battery",
                                                 help="Whether to rest while the machine isn't plugged in.")] = None,
    hours: Annotated[str | None, typer.Option(help="When to train, as in 22:00-06:00; \"always\" for all day.")] = None,
    as_json: Json = False,
) -> int:
    """Show what protects the machine from a run's heat, and change it, even while the run trains."""
    from slmstudio.core.run.guard import settings, summary

    job = jobs.Job(run)
    asked = {"heat_guard": mode, "heat_limit_c": "" if limit == "auto" else limit, "heat_rest_seconds": rest,
             "pause_on_battery": battery, "train_hours": "" if hours == "always" else hours}
    config = settings.ask(job, {name: value for name, value in asked.items() if value is not None})
    found = summary.of_events(job.events())
    values = {name: getattr(config, name) for name in settings.GUARD_FIELDS}
    if as_json:
        print_json({"run_dir": str(job.folder), **values, "guard": found.to_dict()})
        return 0
    print_table(tr("Heat and hours"), [tuple(line.rsplit(": ", 1)) for line in settings.told(values)])
    if sentence := found.sentence():
        say(sentence)
    return 0


@runs_app.command("rename")
def runs_rename(run: Run, name: Annotated[str, typer.Argument(help="Its new name.")], as_json: Json = False) -> int:
    """Give a run another name. Its folder stays where it is."""
    from slmstudio.core.run import folder

    kept = folder.rename(run, name)
    if as_json:
        print_json({"run_dir": str(run.absolute()), "name": kept})
    else:
        say(tr("Renamed: {run} is now called {name}.", run=run.name, name=kept))
    return 0


@queue_app.command("add")
def queue_add(run: RunOrFile, as_json: Json = False) -> int:
    """Put a run at the end of the queue. A configuration is made into a run folder first."""
    from slmstudio.core.run import config_file, folder, queue

    config = config_file.load(run)
    if run.is_dir():
        target = run
    else:
        config.check()
        target = folder.create(config).folder
    entry = queue.add(target)
    if as_json:
        print_json(entry.to_dict())
        return 0
    say(tr("Waiting: {folder}", folder=entry.folder))
    print_next(program.command("queue", "run"))
    return 0


@queue_app.command("list")
def queue_list(as_json: Json = False) -> int:
    """Show the queue in its order."""
    from slmstudio.core.run import queue

    found = queue.entries()
    if as_json:
        print_json({"queue": [entry.to_dict() for entry in found]})
    elif found:
        print_table(tr("Queue"), [(entry.folder.name, outcome_word(entry.state)) for entry in found],
                    (tr("Run"), tr("State")))
    else:
        say(tr("The queue is empty. Add a run: {command}", command=program.command("queue", "add", "RUN.json")))
    return 0


@queue_app.command("move")
def queue_move(run: Run, position: Annotated[int, typer.Argument(min=1, help="Its new place, from 1.")],
               as_json: Json = False) -> int:
    """Move a run to another place in the queue."""
    from slmstudio.core.run import queue

    queue.move(run, position - 1)
    return queue_list(as_json)


@queue_app.command("remove")
def queue_remove(run: Run, as_json: Json = False) -> int:
    """Take a run out of the queue. Its folder is kept."""
    from slmstudio.core.run import queue

    queue.remove(run)
    if as_json:
        print_json({"removed": str(run.absolute())})
    else:
        say(tr("Removed from the queue: {run}", run=run))
    return 0


@queue_app.command("run")
def queue_run(as_json: Json = False) -> int:
    """Work through the queue, one run after another. Ctrl-C stops the current run; the others keep waiting."""
    from slmstudio.core.run import queue

    ended: list[dict[str, Any]] = []
    with _interruptions() as pressed:
        while not pressed:
            since = time.time()
            job = _next_job()
            if job is None:
                break
            say(tr("Run folder: {path}", path=job.folder), file=sys.stderr)
            with Follower(since) as follower:
                outcome = follower.follow(job, "train")
            ended.append(_told(job, outcome))
            if outcome.state == "paused":
                say(tr("Its memory was freed. The queue waits until you resume it."), file=sys.stderr)
                break
    seen = {run["run_dir"] for run in ended}
    left = queue.entries()
    for entry in left:
        if entry.error and str(entry.folder) not in seen:
            ended.append({"run_dir": str(entry.folder), "name": entry.name, "outcome": entry.state,
                          "error": entry.error})
            print_error(UserError.from_dict(entry.error), as_json=False)
    waiting = [str(entry.folder) for entry in left if entry.state == "waiting"]
    if as_json:
        print_json({"runs": ended, "waiting": waiting})
    elif ended:
        print_table(tr("Queue"), [(Path(run["run_dir"]).name, outcome_word(run["outcome"])) for run in ended],
                    (tr("Run"), tr("Outcome")))
    else:
        say(tr("The queue is empty. Add a run: {command}", command=program.command("queue", "add", "RUN.json")))
    return 0 if all(run["outcome"] in ("finished", "stopped", "paused") for run in ended) else 1


def _next_job() -> jobs.Job | None:
    """The queue's running run, or the next one as soon as no other runs; None when none waits."""
    from slmstudio.core.run import queue

    said = None
    while True:
        found = queue.entries()
        at_work = next((entry for entry in found if entry.state == "running"), None)
        if at_work is not None:
            return jobs.Job(at_work.folder)
        if not any(entry.state == "waiting" for entry in found):
            return None
        job = queue.start_next()
        if job is not None:
            return job
        busy = queue.at_work()
        if busy is not None and busy.outcome() is None and busy.folder != said:
            said = busy.folder
            say(tr("Waiting for {run} to end.", run=busy.folder.name), file=sys.stderr)
        time.sleep(jobs.POLL_SECONDS)  # another run is running, or has ended while its process is about to


def _told(job: jobs.Job, outcome: jobs.Outcome) -> dict[str, Any]:
    """How a run ended, for --json; a bad end is also told at once."""
    if not outcome.was_successful() and outcome.state != "paused":
        print_error(outcome.user_error(), as_json=False)
    return {"run_dir": str(job.folder), "name": job.request().get("name"), "outcome": outcome.state,
            "error": outcome.error, **outcome.result}


@contextmanager
def _interruptions() -> Iterator[list[int]]:
    """Notes each Ctrl-C, which otherwise does what it always does."""
    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
