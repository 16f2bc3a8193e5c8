"""Commands about all runs: list them, rename one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmstudio.cli import energy
from slmstudio.cli.output import Json, print_json, print_table, print_warning, reading_shown, say
from slmstudio.cli.targets import Run
from slmstudio.cli.words import Group
from slmstudio.core import program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.outcome import state_text

if TYPE_CHECKING:
    from slmstudio.core.run.folder import RunSummary

app = typer.Typer(name="runs", cls=Group)


@app.callback(invoke_without_command=True)
def runs(
    context: typer.Context, as_json: Json = False,
    folder_: Annotated[Path | None, typer.Option("--folder", help="Folder with the runs.")] = None
) -> int:
    """List all runs, newest first; or rename one."""
    if context.invoked_subcommand is not None:
        return 0
    from slmstudio.core import units
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
    rows = [
        (run.config.name, state_text(run.state), units.format_loss(run.eval_loss_after),
         units.format_duration(run.seconds), "–" if run.energy is None else units.format_energy(run.energy.joules),
         run.folder.name)
        for run in found]
    rows += [("–", tr("damaged"), "–", "–", "–", path.name) for path, _ in unreadable]
    print_table(tr("Runs"), rows,
                (tr("Run"), tr("Outcome"), tr("Eval loss"), tr("Time"), tr("Energy"), tr("Folder")))
    return 0


def _for_json(run: RunSummary) -> dict[str, Any]:
    return {
        "run_dir": str(run.folder), "name": run.config.name, "state": run.state, "steps": run.steps,
        "train_loss": run.train_loss, "eval_loss_before": run.eval_loss_before,
        "eval_loss_after": run.eval_loss_after, "seconds": run.seconds, "model": run.config.model,
        "method": run.config.method, "exports": [str(path) for path in run.exports()],
        "energy": energy.drawn(run.energy, as_json=True)["energy"], "error": run.error,
    }


@app.command("rename")
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
