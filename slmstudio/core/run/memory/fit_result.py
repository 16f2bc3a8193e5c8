"""What a fit check found, also where the system ended its worker because memory ran out."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.files import number
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.model.facts import read_model
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory import measured
from slmstudio.core.run.rows import kept_rows

EXPECTED = "fit_expected"
"""Type of the event with which a fit check begins: the estimate, and what is free."""


def of_figures(expected: dict[str, Any], peak: int, *, ran_out: bool = False, longest_tokens: int | None = None,
               seconds_per_step: float | None = None, seconds_per_evaluation: float | None = None,
               tokens_per_second: float | None = None) -> dict[str, Any]:
    """The result of a fit check.

    Args:
        expected: the fields of the `EXPECTED` event.
        peak: bytes at the peak; where memory ran out, the least that would have been taken.
        longest_tokens: of the longest micro-batch, padding included.
    """
    free = number(expected, "free")
    return {"estimate": {name: expected.get(name) for name in ("low", "likely", "high")}, "measured_peak": peak,
            "seconds_per_step": seconds_per_step, "seconds_per_evaluation": seconds_per_evaluation,
            "tokens_per_second": tokens_per_second, "longest_tokens": longest_tokens,
            "fits": not ran_out and (free is None or peak <= free), "free": free, "device": expected.get("device"),
            "ran_out": ran_out}


def of_job(job: Job, outcome: Outcome) -> dict[str, Any]:
    """The result of a fit check that has ended. A worker that the system killed for its memory ran out of it.

    Raises:
        UserError: it was cancelled or failed for another reason.
    """
    if outcome.was_successful():
        return outcome.result
    shutil.rmtree(job.folder / kept_rows.FOLDER, ignore_errors=True)  # a worker that was killed leaves its rows
    if outcome.state == "cancelled":
        raise UserError(tr("The fit check was cancelled."))
    if outcome.state != "crashed" or not job.died_of_memory():
        raise outcome.user_error()
    expected: dict[str, Any] = {}
    peak = 0.0
    for event in job.events():
        if event.get("type") == EXPECTED:
            expected = event
        elif event.get("type") == "sensors":
            peak = max(peak, number(event, "process_memory") or 0.0)
    _keep(RunConfig.from_dict(job.request()["config"]), int(peak))
    return of_figures(expected, int(peak), ran_out=True)


def _keep(config: RunConfig, peak: int) -> None:
    """Keep with the machine what its worker couldn't."""
    with contextlib.suppress(UserError, OSError):
        measured.record(measured.measure(read_model(Path(config.model)), config, read_machine(), "fit_check",
                                         config.micro_batch_size * config.max_length, peak, ran_out=True))
