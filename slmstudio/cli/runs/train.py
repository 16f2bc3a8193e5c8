"""Commands that train: on this machine, on several of its cards, and on several machines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmstudio.cli import asking, energy
from slmstudio.cli.evaluate import after_training
from slmstudio.cli.output import Json, RunOrFile, Set, print_error, print_json, print_table, say
from slmstudio.cli.progress import Follower, carry_out
from slmstudio.core import jobs, program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.outcome import state_text

if TYPE_CHECKING:
    from slmstudio.core.run.config import RunConfig
    from slmstudio.core.run.history import RunHistory

app = typer.Typer()
Processes = Annotated[int | None, typer.Option(
    help="How many cards of this machine train together, each in a process of its own.")]
Parallelism = Annotated[str | None, typer.Option(
    help='"faster" (each card holds the whole model and trains on its share of each batch) or "bigger" (the cards '
         'share a model that is too big for one card).')]


def _changed(set_: list[str] | None, **options: Any) -> dict[str, Any]:
    """The fields that --set and these options set.

    Raises:
        UserError: one of them can't be set to that.
    """
    from slmstudio.core.run.planning import plan_inputs

    asked = {name: value for name, value in options.items() if value is not None}
    return plan_inputs.overrides({**plan_inputs.parse_settings(set_ or []), **asked})


def _need_machine(config: RunConfig) -> None:
    """Raises UserError: several processes are asked for, and this machine can't run them."""
    if config.world_size > 1:
        from slmstudio.core.hardware.machine import read_machine
        from slmstudio.core.run import launch

        launch.need(config, read_machine())


def _unfinished(run: Path) -> jobs.Job:
    """The job of a run folder, to be resumed.

    Raises:
        UserError: it is finished, or running.
    """
    job = jobs.Job(run)
    ended = job.outcome()
    if ended is not None and ended.state == "finished":
        raise UserError(tr("{run} is already finished.", run=run.name), "",
                        tr("Export it: {export_command}\nOr continue training: {continue_command}",
                           export_command=program.command("export", run),
                           continue_command=program.command("continue", run, "--out", "M.json")))
    if ended is None and job.is_alive():
        raise UserError(tr("{run} is already running.", run=run.name), tr("Another process is working on it."),
                        tr("Stop it first."))
    return job


def _job(run: Path, config: RunConfig, changed: dict[str, Any], out: Path | None, evaluate: bool = True) -> jobs.Job:
    """The job of a run folder, to be resumed with what is changed; or of a new one for a configuration.

    Raises:
        UserError: as `_unfinished`, or the run can't have these values.
    """
    from slmstudio.core.run import adjust, folder

    if not run.is_dir():
        config = asking.with_maps(config)
        config.check()
        return folder.create(config, out.absolute() if out else None, evaluate)
    job = _unfinished(run)
    if not evaluate:
        folder.skip_evaluation(run)
    if changed:
        adjust.consent(job.folder, changed)
    return job


def _follow(job: jobs.Job) -> tuple[jobs.Outcome, RunHistory]:
    job.start()
    say(tr("Run folder: {path}", path=job.folder), file=sys.stderr)
    with Follower() as follower:
        return follower.follow(job, "train"), follower.history


@app.command()
def train(
    run: RunOrFile,
    out: Annotated[Path | None, typer.Option(help="Folder in which the run's folder is created.")] = None,
    set_: Set = None,
    processes: Processes = None,
    parallelism: Parallelism = None,
    evaluate: Annotated[bool, typer.Option(help="Let the base and the tuned model answer a few held-out rows when the "
                                                "training has ended well.")] = True,
    as_json: Json = False,
) -> int:
    """Train a run from its configuration, or resume a run from its last checkpoint. Ctrl-C stops and saves."""
    from dataclasses import replace

    from slmstudio.core.run import config_file

    changed = _changed(set_, processes=processes, parallelism=parallelism)
    config = replace(config_file.load(run), **changed)
    _need_machine(config)
    job = _job(run, config, changed, out, evaluate)
    outcome, history = _follow(job)
    rests = history.guard.ended()
    if not as_json and (sentence := rests.sentence()):
        say(sentence)
    evaluation = after_training(job, as_json) if evaluate else None
    return _report_outcome(outcome, as_json, {
        "run_dir": str(job.folder), **energy.drawn(history.energy.use, as_json),
        **({"guard": rests.to_dict(), "evaluation": evaluation} if as_json else {})})


@app.command()
def launch(
    run: RunOrFile,
    nodes: Annotated[int, typer.Option(min=2, help="How many machines train together, including this one.")] = 2,
    address: Annotated[str | None, typer.Option(help="The address at which the other machines reach this one.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="TCP port on which this machine waits for the "
                                                                    "others.")] = None,
    processes: Processes = None,
    parallelism: Parallelism = None,
    out: Annotated[Path | None, typer.Option(help="Folder in which the run's folder is created.")] = None,
    set_: Set = None,
    as_json: Json = False,
) -> int:
    """Train on several machines: print what to copy and type there, wait for them, and follow the run from here."""
    from dataclasses import replace

    from slmstudio.core.run import config_file
    from slmstudio.core.run import launch as launching

    changed = _changed(set_, processes=processes, parallelism=parallelism, nodes=nodes)
    config = replace(config_file.load(run), **changed)
    _need_machine(config)
    launching.own_address(address)
    job = _job(run, config, changed, out)
    launching.write(job.folder, address, port)
    outcome, _ = _follow(job)
    return _report_outcome(outcome, as_json, {"run_dir": str(job.folder)}, {
        "file": str(job.folder / launching.FILE), "command": launching.commands(nodes),
        "evaluation": after_training(job, as_json)})


@app.command()
def join(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy of the run's launch.json from the first "
                                                              "machine.")],
    machine: Annotated[int, typer.Option(min=2, help="The number of this machine, where more than two train.")] = 2,
    model: Annotated[Path | None, typer.Option(help="Folder of the same base model on this machine; by default, it "
                                                    "is searched for.")] = None,
    as_json: Json = False,
) -> int:
    """Take part in a run that another machine has launched. Ctrl-C leaves it."""
    from slmstudio.core.jobs import new
    from slmstudio.core.run import launch as launching

    launching.read(file)
    job = new.join(file, machine, model)
    outcome = carry_out(job, "join", tr("This machine is leaving the run."), "cancel")
    return _report_outcome(outcome, as_json, {"folder": str(job.folder)})


def _report_outcome(outcome: jobs.Outcome, as_json: bool, extra: dict[str, Any],
                    in_json: dict[str, Any] | None = None) -> int:
    """Print how a job ended; returns the exit status.

    Args:
        extra: what is printed beside its result.
        in_json: what only --json has beside it.
    """
    if not outcome.was_successful():
        print_error(outcome.user_error(), as_json=False)
    if as_json:
        print_json({**extra, **(in_json or {}), "outcome": outcome.state, **outcome.result, "error": outcome.error})
    elif outcome.was_successful():
        rows = [
            (key, json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value))
            for key, value in {**extra, **outcome.result}.items()
        ]
        print_table(tr("Outcome: {outcome}", outcome=state_text(outcome.state)), rows)
    return outcome.exit_status
