"""What the terminal shows while a job runs."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Container
from pathlib import Path
from typing import Any

from slmstudio.cli.output import print_error, say, warning
from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.files import number
from slmstudio.core.i18n import tr
from slmstudio.core.report.text import visible
from slmstudio.core.time_left import ProgressLeft
from slmstudio.core.units import format_about, format_energy

HOLD_SHARE, HOLD_SECONDS = 0.1, 3600.0
"""A held temperature is printed again once the share of work has changed by this much, or after this long."""


class Follower:
    """A progress bar on stderr that is fed with a job's events.

    Args:
        told: codes of warnings that are not told here, since they are elsewhere.
        stopping: a sentence on what the first Ctrl-C does.
        command: that the first Ctrl-C sends.

    Attributes:
        history: what has happened to the job so far, in all its lives.
    """

    def __init__(self, told: Container[str] = (), stopping: str = "", command: str = "stop") -> None:
        from rich.console import Console  # here, since most commands follow nothing
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from slmstudio.core.run.history import RunHistory

        self._told, self._command = told, command
        self._stopping = stopping or tr("Stopping once this step is finished and saved.")
        console = Console(stderr=True)
        self._plain = not console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(),
            TextColumn("{task.fields[detail]}", markup=False), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"), console=console, disable=self._plain)
        self.history = RunHistory()
        self._task = self._progress.add_task("", total=None, detail="", left="", visible=False)
        self._reading = ProgressLeft(time.monotonic())
        self._left = ProgressLeft(0.0)  # of a phase, by the clock of its events
        self._said = ""
        self._hold = (-math.inf, -math.inf)  # the share of work that was told last, and when
        self._passed_over = False
        self._awaited: Path | None = None  # process.json of a worker whose first event ends those of earlier starts

    def __enter__(self) -> Follower:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def follow(self, job: jobs.Job, phase: str) -> jobs.Outcome:
        """Follow the job that was started last to its end. Ctrl-C asks it to stop; a second one ends it.

        Raises:
            UserError: as `Job.follow`.
        """
        asked, taken = False, 0
        self._awaited = process if (process := job.folder / jobs.PROCESS).exists() else None
        while True:
            try:
                for count, event in enumerate(job.follow(), 1):
                    if count > taken:  # it is followed from its first event, after Ctrl-C too
                        taken = count
                        self.on_event(phase, event)
                outcome = job.outcome()
                assert outcome is not None
                return outcome
            except KeyboardInterrupt:
                if asked:
                    job.end(self._command == "cancel")
                else:
                    self._say(f"{self._stopping} {tr('Press Ctrl-C again to end it immediately.')}", always=True)
                    asked = True
                    try:
                        job.send(self._command)
                    except UserError as error:
                        print_error(error, as_json=False)

    def on_bytes(self, done: int, total: int) -> None:
        self._show(tr("reading"), done, total, "", self._reading.update(done, total, time.monotonic()))

    def on_rows(self, done: int, total: int) -> None:
        self._show(tr("checking"), done, total, tr("rows"), self._reading.update(done, total, time.monotonic()))

    def on_event(self, phase: str, event: dict[str, Any]) -> None:
        """Show one event of a job. One that makes no sense is skipped, which is reported once."""
        self.history.add(event)
        if self._awaited is not None:
            # Looked at now: on Windows, the process that was started starts the worker, which then enters itself.
            if event.get("type") != "job_started" or event.get("pid") != (
                    files.read_json(self._awaited) or {}).get("pid"):
                return
            self._awaited = None
        try:
            self._report(phase, event)
        except (KeyError, TypeError, ValueError, OverflowError):
            self._pass_over()

    def _report(self, phase: str, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "phase":
            detail = str(event.get("detail", ""))
            self._left = ProgressLeft(number(event, "time") or 0.0)
            self._show(str(event["phase"]), 0, None, detail)
            self._say(" ".join(filter(None, (f"{phase}:", str(event["phase"]), detail))))
        elif kind == "progress":
            self._report_progress(event)
        elif kind == "step":
            self._report_step(event)
        elif kind == "eval":
            self._say(tr("step {step}: eval {loss}", step=_count(event, "global_step"),
                         loss=_loss(event, "eval_loss", 4)), always=True)
        elif kind == "warning" and event.get("code") == jobs.DAMAGED:
            self._pass_over()
        elif kind == "warning" and event.get("code") not in self._told:
            self._say(warning(event["message"]), always=True)
        elif kind == "sample":
            for sample in event["samples"]:
                self._say(tr("step {step}: {question} → {answer}", step=_count(event, "global_step"),
                             question=_short(str(sample["prompt"])), answer=_short(str(sample["answer"]))), always=True)
        elif kind in ("overfitting", "early_stop", "best_used", "adjusted", "changed", "fit_measured", "suspended",
                      "guard_rest", "guard_resume", "guard_changed", "guard_unavailable", "power_limit_advised"):
            from slmstudio.core.run.event_text import event_text  # here, since most commands follow nothing

            if text := event_text(event):
                self._say(text, always=True)
        elif kind == "guard_hold":
            self._report_hold(event)
        elif kind == "machines" and event["joined"] == 1:
            from slmstudio.core.run import launch  # which most commands don't need

            file, wanted = Path(event["file"]), int(event["wanted"])
            self._say(f"{launch.how_to_join(file, wanted)}\n{launch.commands(wanted)}", always=True)

    def _report_hold(self, event: dict[str, Any]) -> None:
        """It arrives every minute, all night, so it is reported only when the share of work has changed, and once an
        hour."""
        working, when = float(event["working"]), float(event["time"])
        before, at = self._hold
        if round(abs(working - before), 3) >= HOLD_SHARE or when - at >= HOLD_SECONDS:
            self._hold = working, when
            self._say(str(event["message"]), always=True)

    def _report_progress(self, event: dict[str, Any]) -> None:
        done, total = _count(event, "done"), _count(event, "total")
        left = number(event, "seconds_left") if "seconds_left" in event else self._left.update(
            done, total, number(event, "time") or 0.0)
        self._show(str(event["phase"]), done, total, str(event.get("detail", "")), left)

    def _report_step(self, event: dict[str, Any]) -> None:
        step, loss = _count(event, "global_step"), _loss(event, "train_loss", 3)
        speed = number(event, "tokens_per_second")
        use = self.history.energy.use
        detail = [loss, "" if speed is None else tr("{speed:.0f} tokens/s", speed=speed),
                  "" if use is None else format_energy(use.joules)]
        self._show(tr("training"), step, self.history.total_steps, " · ".join(filter(None, detail)),
                   number(event, "seconds_left"))
        if step % 10 == 0 or step == self.history.total_steps:
            self._say(tr("step {step}/{steps} {loss}", step=step, steps=self.history.total_steps, loss=loss))

    def _pass_over(self) -> None:
        if not self._passed_over:
            self._passed_over = True
            self._say(warning(tr(jobs.DAMAGED_SENTENCE)), always=True)

    def _show(self, description: str, done: float, total: float | None, detail: str, seconds_left: float | None = None
              ) -> None:
        left = "" if seconds_left is None else tr("{time} left", time=format_about(seconds_left))
        self._progress.update(
            self._task, description=visible(description), completed=done, total=total, detail=visible(detail),
            left=left, visible=True,
        )

    def _say(self, line: str, always: bool = False) -> None:
        """A line of its own; on a terminal only what the bar does not show."""
        if line == self._said:
            return
        self._said = line
        if self._plain:
            say(line, file=sys.stderr, flush=True)
        elif always:
            self._progress.console.print(visible(line), markup=False, emoji=False)


def carry_out(job: jobs.Job, phase: str, stopping: str = "", command: str = "stop") -> jobs.Outcome:
    """Start a job, and follow it to its end. Arguments as of `Follower`."""
    job.start()
    with Follower(stopping=stopping, command=command) as follower:
        return follower.follow(job, phase)


def _count(event: dict[str, Any], name: str) -> int:
    """Raises ValueError: it isn't a number."""
    value = number(event, name)
    if value is None:
        raise ValueError(name)
    return int(value)


def _loss(event: dict[str, Any], name: str, digits: int) -> str:
    """A loss with its figure, or with the word for what is none: NaN and Inf travel as null plus a flag."""
    value = number(event, name)
    if value is not None:
        return tr("loss {loss}", loss=f"{value:.{digits}f}")
    flags = event.get("non_finite")
    flag = flags.get(name) if isinstance(flags, dict) else event[name]
    return tr("loss is infinite") if flag in ("inf", "-inf") else tr("loss isn't a number")


def _short(text: str, most: int = 70) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
