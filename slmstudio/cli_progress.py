"""What the terminal shows while a job runs, and how results and errors are printed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Container
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.time_left import ProgressLeft
from slmstudio.core.words import format_about


class Follower:
    """A progress bar on stderr that is fed with a job's events.

    Args:
        since: events from before this time (seconds since 1970) are of an earlier life of the job, and are not told.
        told: codes of warnings that are not told here, since they are elsewhere.
        stopping: what the first Ctrl-C does.
    """

    def __init__(self, since: float = 0.0, told: Container[str] = (),
                 stopping: str = "the step is finished and saved") -> None:
        self._since, self._told, self._stopping = since, told, stopping
        console = Console(stderr=True)
        self._plain = not console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=self._plain,
        )
        self._task = self._progress.add_task("", total=None, detail="", left="", visible=False)
        self._reading = ProgressLeft(time.monotonic())
        self._left = ProgressLeft(0.0)  # of a phase, by the clock of its events
        self._total_steps = 0
        self._said = ""

    def __enter__(self) -> Follower:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def follow(self, job: jobs.Job, phase: str) -> jobs.Outcome:
        """Follow to the end. Ctrl-C asks the job to stop; a second one ends it."""
        asked = False
        while True:
            try:
                return job.wait(lambda event: self.on_event(phase, event))
            except KeyboardInterrupt:
                if asked:
                    job.kill()
                else:
                    self._say(f"Stopping: {self._stopping}. Ctrl-C again ends it at once.", always=True)
                    job.send("stop")
                    asked = True

    def on_bytes(self, done: int, total: int) -> None:
        self._show("reading", done, total, "", self._reading.update(done, total, time.monotonic()))

    def on_event(self, phase: str, event: dict[str, Any]) -> None:
        """Show one event of a job."""
        kind = event.get("type")
        if event.get("time", self._since) < self._since:
            return
        if kind == "phase":
            self._left = ProgressLeft(event.get("time", 0.0))
            self._show(event["phase"], 0, None, event.get("detail", ""))
            self._say(" ".join(filter(None, (f"{phase}:", event["phase"], event.get("detail", "")))))
        elif kind == "progress":
            left = event["seconds_left"] if "seconds_left" in event else self._left.update(
                event["done"], event["total"], event.get("time", 0.0))
            self._show(event["phase"], event["done"], event["total"], event.get("detail", ""), left)
        elif kind == "plan":
            self._total_steps = event["total_steps"]
        elif kind == "step":
            loss = event["train_loss"]
            detail = f"loss {loss:.3f}" if loss is not None else "loss is not a number"
            self._show(
                "training",
                event["global_step"],
                self._total_steps,
                f"{detail} · {event['tokens_per_second']:.0f} tokens/s",
                event.get("seconds_left"),
            )
            if event["global_step"] % 10 == 0 or event["global_step"] == self._total_steps:
                self._say(f"step {event['global_step']}/{self._total_steps} {detail}")
        elif kind == "eval":
            self._say(f"step {event['global_step']}: eval loss {event['eval_loss']:.4f}", always=True)
        elif kind == "warning" and event.get("code") not in self._told:
            self._say("warning: " + event["message"], always=True)
        elif kind == "sample":
            for sample in event["samples"]:
                self._say(f"step {event['global_step']}: {_short(sample['prompt'])} → {_short(sample['answer'])}", True)
        elif kind in ("overfitting", "early_stop", "best_used", "adjusted"):
            self._say(event["message"], always=True)
        elif kind == "changed":
            self._total_steps = event["total_steps"]
            self._say(f"changed: learning rate {event['learning_rate']:g}, {event['total_steps']:,} steps", always=True)
        elif kind == "suspended":
            self._say(f"the machine slept for {event['seconds']:.0f} s", always=True)

    def _show(self, description: str, done: float, total: float | None, detail: str, seconds_left: float | None = None
              ) -> None:
        left = "" if seconds_left is None else f"{format_about(seconds_left)} left"
        self._progress.update(
            self._task, description=description, completed=done, total=total, detail=detail, left=left, visible=True
        )

    def _say(self, line: str, always: bool = False) -> None:
        """A line of its own; on a terminal only what the bar does not show."""
        if line == self._said:
            return
        self._said = line
        if self._plain:
            print(line, file=sys.stderr, flush=True)
        elif always:
            self._progress.console.print(line, markup=False)


def _short(text: str, most: int = 70) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on one line, the last one of stdout."""
    print(json.dumps(files.without_non_finite(value), ensure_ascii=False), flush=True)


def print_error(error: UserError, as_json: bool) -> None:
    """The sentences of an error on stderr; with --json also the object on stdout."""
    print(f"error: {error}", file=sys.stderr)
    if as_json:
        print_json({"error": error.to_dict()})


def print_table(title: str, rows: list[Any], headers: tuple[str, ...] | None = None) -> None:
    """A table on stdout; a line, where it has no rows."""
    if not rows:
        print(f"{title}: none")
        return
    table = Table(title=title, show_header=headers is not None, title_justify="left")
    for i in range(len(rows[0])):
        table.add_column(headers[i] if headers else "", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(markup=False).print(table)
