"""The fit check in the terminal: what a run takes, measured before it is started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmstudio.cli.progress import Follower, print_json, print_table, say
from slmstudio.core import program
from slmstudio.core.i18n import tr
from slmstudio.core.units import format_about, format_bytes, format_duration, format_span

if TYPE_CHECKING:
    from slmstudio.core.run.memory.outlook import Outlook

app = typer.Typer()
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]


@app.command(name="fit-check")
def fit_check(run: Annotated[Path, typer.Argument(help="A run configuration, as plan writes it.")],
              as_json: Json = False) -> int:
    """Try the longest real micro-batch of a run: does it fit, and how long does a step take? Nothing is changed."""
    from slmstudio.core.errors import from_os_error
    from slmstudio.core.jobs import new
    from slmstudio.core.run import config_file
    from slmstudio.core.run.memory import fit_result

    config = config_file.load(run)
    config.check()
    try:
        job = new.fit_check(config.to_dict())
    except OSError as error:
        raise from_os_error(error, tr("Could not start the fit check.")) from error
    job.start()
    with Follower(stopping="the fit check is cancelled") as follower:
        outcome = follower.follow(job, "fit check")
    result = fit_result.of_job(job, outcome)
    if as_json:
        print_json(result)
        return 0
    print_table(f"Fit check: {config.name}", _rows(result))
    if result["fits"]:
        say(f"\nIt fits. Start training: {program.command('train', run)}")
    else:
        say("\nIt doesn't fit as it is. A smaller micro-batch, a shorter sequence length or QLoRA takes less memory. "
            f"You may start it all the same: {program.command('train', run)}")
    return 0


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    estimate, free, peak = result["estimate"], result["free"], format_bytes(result["measured_peak"])
    estimated = [("Estimated", format_span(estimate["low"], estimate["high"]))] if estimate["low"] is not None else []
    rows = [("Device", "GPU" if result["device"] == "cuda" else "processor"), *estimated,
            ("Measured", f"memory ran out; it needs more than {peak}" if result["ran_out"] else f"{peak} at the peak"),
            ("Free", format_bytes(free) if free is not None else "unknown")]
    if result["seconds_per_step"] is not None:
        rows += [("A step", format_duration(result["seconds_per_step"])),
                 ("Speed", f"{result['tokens_per_second']:,.0f} tokens/s")]
    return rows


def told(outlook: Outlook) -> str:
    """What a run takes, in a line: "About 14 min, needs 7.9–8.6 GB of 11.2 GB free (measured here)."."""
    best, free = outlook.best, outlook.free
    of = f" of {format_bytes(free)} free" if free is not None else ""
    if best.measured is not None and best.measured.ran_out:
        return tr("When it was tried here, memory ran out at {size}.", size=format_bytes(best.measured.peak_bytes))
    if best.measured is not None:
        took = f"{format_about(outlook.seconds).capitalize()}, needs" if outlook.seconds else "Needs"
        return f"{took} {format_bytes(best.measured.peak_bytes)}{of} (measured here)."
    how = "estimated, corrected by what was measured here" if best.corrected_by else "estimated"
    line = f"Needs {format_span(best.estimate.low, best.estimate.high)}{of} ({how})."
    return line if outlook.fits != "no" else tr("{line} That doesn't fit, but you may start it all the same.",
                                                line=line)
