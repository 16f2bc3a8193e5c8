"""A run's report, and several runs side by side, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slmstudio.cli.output import Json, print_json, print_table, reading_shown, say
from slmstudio.cli.targets import Run, run_named
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
