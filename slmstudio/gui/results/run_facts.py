"""Everything that is known about a run, by field: what the table shows, sorts by and searches."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import jobs
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.evaluation import comparability
from slmstudio.core.i18n import tr
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run import notes
from slmstudio.core.run.folder import RunSummary
from slmstudio.core.run.notes import Notes
from slmstudio.gui.common.widgets.fields import folded
from slmstudio.gui.evaluation.jobs import Evaluation, read_evaluations

ABOUT_FIELDS, HASHES = ("reasons", "chosen"), "hashes"
"""Fields of run.json that describe the other fields, which are neither compared nor searched; and those that a search
for free text skips."""


@dataclass(frozen=True)
class RunFacts:
    """A run in the table.

    Attributes:
        values: by field: those of run.json (nested ones as "versions.torch"), `base`, `outcome`, `created`,
            `eval_loss`, `train_loss`, `steps`, `seconds`, `joules`, `rested`, `peak_c`, `tags`, `note`, and scores
            as "tuned.chrf".
        text: what free text is looked for in, folded.
        evaluations: newest first.
    """

    summary: RunSummary
    values: dict[str, Any]
    text: str
    notes: Notes
    evaluations: list[Evaluation] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.summary.folder

    @property
    def scored(self) -> Evaluation | None:
        """The evaluation by which the run is judged, as its report does: a later look at a few rows changes nothing."""
        return next(iter(comparability.preferred(self.evaluations, self.summary.config.eval_file)), None)


@dataclass
class FactsReader:
    """Reads all runs, and reads again only those whose files have changed."""

    passed_over: dict[str, UserError] = field(default_factory=dict)
    """Runs that can't be shown, by folder name, as the last `read` found them."""
    so_far: list[RunFacts] = field(default_factory=list)
    """What the `read` that is at work, or the last one, has found, the newest about first. For any thread to copy."""
    _kept: dict[Path, tuple[object, RunFacts]] = field(default_factory=dict)

    def read(self, parent: Path, progress: Callable[[int, int], None] = lambda done, total: None,
             cancelled: Callable[[], bool] = lambda: False) -> list[RunFacts]:
        """All runs, newest first. Folders that aren't runs are left out.

        Args:
            progress: called with (runs read, all of them).
            cancelled: asked before each run; what was read by then need not be read again.

        Raises:
            UserError: the folder of the runs can't be listed.
        """
        kept: dict[Path, tuple[object, RunFacts]] = {}
        passed_over: dict[str, UserError] = {}
        self.so_far = found = []

        def pass_over(folder: Path, error: UserError) -> None:
            passed_over[folder.name] = error

        with os_errors_as(tr("Could not list the runs.")):
            folders = run_folder.run_folders(parent, pass_over)
        folders.sort(key=lambda folder: _stamp(folder / jobs.RUN), reverse=True)
        for number, folder in enumerate(folders):
            if cancelled():
                return []
            progress(number, len(folders))
            try:
                kept[folder] = self._kept[folder] = self._read_one(folder)
                found.append(kept[folder][1])
            except UserError as error:
                pass_over(folder, error)
            except OSError as error:
                pass_over(folder, run_folder.unreadable(error))
            except Exception as error:  # a damaged file in a way that nobody thought of must not hide the other runs
                logging.getLogger(__name__).exception("A run cannot be read: %s", folder)
                pass_over(folder, UserError(tr("It can't be read."), f"{type(error).__name__}: {error}."))
        progress(len(folders), len(folders))
        self._kept, self.passed_over = kept, passed_over
        return sorted(found, key=lambda facts: facts.summary.created, reverse=True)

    def _read_one(self, folder: Path) -> tuple[object, RunFacts]:
        """The state of a run's files, and what they say."""
        state, before = _state(folder), self._kept.get(folder)
        if before is not None and before[0] == state and not _may_change(before[1]):
            return before
        return state, read_facts(folder)


def read_facts(folder: Path) -> RunFacts:
    """Everything of one run.

    Raises:
        UserError: its run.json can't be used, or a newer program wrote a file of it.
        OSError: a file of it can't be read.
    """
    summary = run_folder.summarise(folder)
    request = jobs.Job(folder).request()
    noted, evaluations = notes.read(folder), read_evaluations(folder)
    values = dict(_flat({key: value for key, value in request.items() if key not in ABOUT_FIELDS}, ""))
    values |= {
        "base": Path(summary.config.model).name, "outcome": summary.state,
        "eval_loss": _finite(summary.eval_loss_after),
        "created": time.strftime("%Y-%m-%d %H:%M", time.localtime(summary.created)),
        "train_loss": summary.train_loss, "steps": summary.steps, "seconds": summary.seconds,
        "joules": summary.energy.joules if summary.energy else None,
        "rested": sum(summary.rests.values()) or None, "peak_c": summary.peak_c,
        "tags": list(noted.tags), "note": noted.text,
    }
    judged = comparability.preferred(evaluations, summary.config.eval_file)[:1]
    for evaluation in (*reversed(evaluations), *judged):  # the last one has the last word
        values |= evaluation.values()
    told = [f"{key} {value}" for key, value in values.items() if not key.startswith(HASHES)]
    return RunFacts(summary, values, folded("\n".join([folder.name, *told])), noted, evaluations)


def _finite(value: float | None) -> float | None:
    """A number that can be sorted by."""
    return value if value is not None and math.isfinite(value) else None


def _flat(value: dict[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        if isinstance(each, dict):
            yield from _flat(each, f"{before}{key}.")
        else:
            yield before + key, each


def _may_change(facts: RunFacts) -> bool:
    """Whether a process may be running whose death the files alone don't show."""
    return facts.summary.at_work or facts.summary.state == "new" or any(
        each.state == "running" for each in facts.evaluations)


def _state(folder: Path) -> object:
    """Changes whenever a file that is read does."""
    inner = folder / "jobs"
    made = list(inner.glob("evaluate*")) if inner.is_dir() else []
    paths = [folder / name for name in (jobs.RUN, jobs.EVENTS, jobs.OUTCOME, notes.FILE)]
    paths += [job / name for job in made for name in (jobs.REQUEST, jobs.OUTCOME, "scores.json", jobs.PROCESS)]
    return tuple((path, *_stamp(path)) for path in sorted(paths))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:
        return 0, 0
    return state.st_mtime_ns, state.st_size
