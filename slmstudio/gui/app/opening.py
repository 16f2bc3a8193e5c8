"""Files that the program is started with, as by a double-click on one: each opens in the tab that it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from slmstudio.core import jobs, paths
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task

if TYPE_CHECKING:
    from slmstudio.gui.app.main_window import MainWindow
    from slmstudio.gui.results.tab import ResultsTab


@dataclass
class Sorted:
    """Files by what they are.

    Attributes:
        run: the folder of a run, where Results finds it; the last one, as one is selected.
    """

    datasets: list[Path] = field(default_factory=list)
    run: Path | None = None
    models: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def open_files(files: Sequence[Path], session: Session, window: MainWindow) -> None:
    """Open files and run folders: rows in Data, a run in Results, GGUF files in Chat. A message names
    what can't be opened."""
    run_task(window, lambda task: sort(files), lambda found: _open(found, session, window))


def sort(files: Sequence[Path]) -> Sorted:
    """Look at files and say what they are."""
    found = Sorted()
    for file in files:
        path = file.absolute()
        folder = path.parent if path.name == jobs.RUN else path
        if not path.exists():
            found.problems.append(Problem(tr("{path} doesn't exist. It may have been moved or deleted.", path=path)))
        elif (folder / jobs.RUN).is_file():
            _take_run(folder, found)
        elif path.is_dir():
            found.problems.append(Problem(tr("{path} is a folder without a {run}, so it isn't a run.", path=path,
                                             run=jobs.RUN)))
        elif path.suffix.lower() == ".gguf":
            found.models.append(path)
        else:
            found.datasets.append(path)
    return found


def _take_run(folder: Path, found: Sorted) -> None:
    runs = paths.runs_dir()
    if folder.resolve().parent == runs.resolve():
        found.run = runs / folder.name
    else:
        found.problems.append(Problem(tr("{folder} isn't among this machine's runs. Copy it into {runs}.",
                                         folder=folder, runs=runs)))


def _open(found: Sorted, session: Session, window: MainWindow) -> None:
    if found.problems:
        what = ntr("This couldn't be opened.", "{n:,} of the files couldn't be opened.", len(found.problems))
        window.show_error(UserError(what, problems=found.problems))
    if found.datasets:
        session.open_data(found.datasets)
    if found.run is not None:
        session.go_to("results")
        _select(cast("ResultsTab", window.page("results")), found.run)
    if found.models:
        session.open_chat(found.models)


def _select(page: ResultsTab, run: Path) -> None:
    """Select a run as soon as the runs are read."""
    table = page.table

    def look() -> None:
        if any(facts.folder == run for facts in table.runs.shown):
            table.runs.modelReset.disconnect(look)
            table.select({run})
            table.chosen.emit(table.selected())

    table.runs.modelReset.connect(look)
    look()
