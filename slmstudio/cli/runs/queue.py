"""Commands about several runs: list them, show or rename one; the queue of those that are waiting for their turn."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmstudio.cli import asking, energy
from slmstudio.cli.evaluate import after_training, say_advice
from slmstudio.cli.output import (
    Json,
    Run,
    RunOrFile,
    print_error,
    print_json,
    print_next,
    print_table,
    print_time,
    print_warning,
    reading_shown,
    say,
)
from slmstudio.cli.progress import Follower
from slmstudio.cli.words import Group
from slmstudio.core import jobs, program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.outcome import state_text

if TYPE_CHECKING:
    from slmstudio.core.run.folder import RunSummary

# -- Commands about all runs: list them, rename one.

runs_app = typer.Typer(name="runs", cls=Group)


@runs_app.callback(invoke_without_command=True)
def runs(
    context: typer.Context, as_json: Json = False,
    folder_: Annotated[Path | None, typer.Option("--folder", help="Folder with the runs.")] = None
) -> int:
    """List all runs, newest first; or show or rename one."""
    if context.invoked_subcommand is not None:
        return 0
    from slmstudio.core.run import folder

    if folder_ is not None and not folder_.is_dir():
        raise UserError(tr("{folder} isn't a folder.", folder=folder_), "", tr("Check the path."))
    unreadable: list[tuple[Path, UserError]] = []
    with reading_shown():
        found = list(folder.all_runs(folder_, lambda path, why: unreadable.append((path, why))))
    for path, error in unreadable:
        shown = tr("{name} can't be shown.", name=path.name)
        print_warning(f"{shown} {str(error).splitlines()[0]}")
    if as_json:
        print_json({"runs": [_for_json(run) for run in found],
                    "unreadable": [{"run_dir": str(path), "error": error.to_dict()} for path, error in unreadable]})
        return 0
    if not found and not unreadable:
        say(tr("No runs yet. Start with: {command}", command=program.command("quickstart", "--out", "my-first-run")))
        return 0
    _print_runs(found, [path.name for path, _ in unreadable])
    return 0


def _print_runs(found: list[RunSummary], damaged: Iterable[str] = ()) -> None:
    from slmstudio.core import units

    rows = [
        (run.config.name, state_text(run.state), units.format_loss(run.eval_loss_after),
         units.format_duration(run.seconds), "–" if run.energy is None else units.format_energy(run.energy.joules),
         run.folder.name)
        for run in found]
    rows += [("–", tr("damaged"), "–", "–", "–", name) for name in damaged]
    print_table(tr("Runs"), rows,
                (tr("Run"), tr("Outcome"), tr("Eval loss"), tr("Time"), tr("Energy"), tr("Folder")))


def _for_json(run: RunSummary) -> dict[str, Any]:
    return {
        "run_dir": str(run.folder), "name": run.config.name, "state": run.state, "steps": run.steps,
        "train_loss": run.train_loss, "eval_loss_before": run.eval_loss_before,
        "eval_loss_after": run.eval_loss_after, "seconds": run.seconds, "model": run.config.model,
        "method": run.config.method, "exports": [str(path) for path in run.exports()],
        "energy": energy.drawn(run.energy, as_json=True)["energy"], "error": run.error,
    }


@runs_app.command("show")
def show(run: Run, as_json: Json = False) -> int:
    """Show what came of a run, and what to do next."""
    from slmstudio.core.evaluation import advice
    from slmstudio.core.evaluation.comparability import preferred
    from slmstudio.core.report.evaluations import read_evaluations
    from slmstudio.core.run import folder

    found = folder.summarise(run)
    main = next(iter(preferred(read_evaluations(run), found.config.eval_file)), None)
    said = advice.of_run(run, main.scores if main else None, main.request if main else None)
    if as_json:
        print_json({**_for_json(found), "advice": said.to_dict() if said else None})
        return 0
    _print_runs([found])
    if said is not None:
        say_advice(said, run)
    return 0


@runs_app.command("rename")
def rename(run: Run, name: Annotated[str, typer.Argument(help="Its new name.")],
           as_json: Json = False) -> int:
    """Give a run a new name. Its folder stays where it is."""
    from slmstudio.core.run import folder

    kept = folder.rename(run, name)
    if as_json:
        print_json({"run_dir": str(run.absolute()), "name": kept})
    else:
        say(tr("Renamed: {run} is now called {name}.", run=run.name, name=kept))
    return 0


app = typer.Typer(name="queue", cls=Group, no_args_is_help=True, help="Runs that are waiting for their turn.")


@app.command("add")
def add(run: RunOrFile, as_json: Json = False) -> int:
    """Put a run at the end of the queue. From a configuration, a run folder is created first."""
    from slmstudio.core.run import config_file, folder, queue
    from slmstudio.core.run.planning.planner import expected_time

    config = config_file.load(run)
    if not run.is_dir():
        config = asking.with_maps(config, convert=True)
        config.check()
        run = folder.create(config).folder
    entry = queue.add(run, time=expected_time(config))
    if as_json:
        print_json(entry.to_dict())
        return 0
    print_time(entry.time)
    say(tr("Waiting: {folder}", folder=entry.folder))
    print_next(program.command("queue", "run"))
    return 0


@app.command("list")
def list_(as_json: Json = False) -> int:
    """Show the queue in order."""
    from functools import reduce

    from slmstudio.core.run import queue
    from slmstudio.core.run.time_estimate import TimeEstimate

    found = queue.entries()
    if as_json:
        print_json({"queue": [entry.to_dict() for entry in found]})
    else:
        _show([(entry.folder.name, entry.state) for entry in found], tr("State"))
        if times := [entry.time for entry in found if entry.time is not None]:
            say(tr("Those whose time is known take {time} together.", time=reduce(TimeEstimate.plus, times).text()))
    return 0


def _show(runs: list[tuple[str, str]], heading: str) -> None:
    """Names of runs and how each is."""
    if runs:
        print_table(tr("Queue"), [(name, state_text(state)) for name, state in runs], (tr("Run"), heading))
    else:
        say(tr("The queue is empty. Add a run: {command}", command=program.command("queue", "add", "RUN.json")))


@app.command("move")
def move(run: Run, position: Annotated[int, typer.Argument(min=1, help="Its new position, starting from 1.")],
         as_json: Json = False) -> int:
    """Move a run to another place in the queue."""
    from slmstudio.core.run import queue

    queue.move(run, position - 1)
    return list_(as_json)


@app.command("remove")
def remove(run: Run, as_json: Json = False) -> int:
    """Take a run out of the queue. Its folder is kept."""
    from slmstudio.core.run import queue

    queue.remove(run)
    if as_json:
        print_json({"removed": str(run.absolute())})
    else:
        say(tr("Removed from the queue: {run}", run=run))
    return 0


@app.command("run")
def run_all(as_json: Json = False) -> int:
    """Work through the queue and what searches add to it. Ctrl-C stops the current run; the others keep waiting."""
    from slmstudio.core.evaluation import search_end
    from slmstudio.core.run import queue

    ended: list[dict[str, Any]] = []
    with interruptions() as pressed:
        while not pressed:
            if (score := search_end.advance_all()) is not None:
                with Follower() as follower:
                    follower.follow(score, "evaluate")
                continue
            job = next_job()
            if job is None:
                break
            say(tr("Run folder: {path}", path=job.folder), file=sys.stderr)
            with Follower() as follower:
                outcome = follower.follow(job, "train")
            ended.append(_told(job, outcome) | ({"evaluation": after_training(job, as_json)}
                                                if outcome.was_successful() and not pressed else {}))
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
    else:
        _show([(Path(run["run_dir"]).name, run["outcome"]) for run in ended], tr("Outcome"))
    return 0 if all(run["outcome"] in ("finished", "stopped", "paused") for run in ended) else 1


def next_job() -> jobs.Job | None:
    """The queue's running run, or the next one as soon as no other is running; None if none is waiting."""
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
def interruptions() -> Iterator[list[int]]:
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
