"""Choosing quantization types, the export job that makes them, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QCheckBox, QFrame, QGridLayout, QWidget

from slmstudio.core import jobs, llama, units
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import gain
from slmstudio.core.export import types
from slmstudio.core.export.types import OTHER_FORMATS, QUANT_TYPES
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import new
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run import time_estimate
from slmstudio.core.run.folder import RunSummary
from slmstudio.core.run.time_estimate import Timing, exporting, source_text
from slmstudio.gui.common import theme
from slmstudio.gui.common.followed_job import EXPORT, FollowedJob, report_end
from slmstudio.gui.common.run_texts import work_text
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.areas import ScrolledIfNeeded
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.labels import Chip, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, grid_of, row_in, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.export.exports_table import Export, MadeFiles, read_made

if TYPE_CHECKING:
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.facts import ModelFacts

LEAST_HEIGHT = 96
"""Height of the list of types: three of them."""


class ExportPanel(QFrame):
    """The types with their sizes; while it works, the progress and Cancel; then the files that it made.

    The types scroll where there is little room; the row that confirms the choice is always seen.

    Signals:
        works(bool): an export is running now, or no longer.
        closed: the user doesn't want to export now, or has seen what was made.
    """

    works = Signal(bool)
    closed = Signal()

    def __init__(self, session: Session):
        super().__init__()
        self.setProperty("inset", True)
        self._session = session
        self._run: RunSummary | None = None
        self._exporting: RunSummary | None = None
        self._known: list[Timing] = []
        self.followed = FollowedJob(self, session, "export")
        self.followed.moved.connect(self._show_progress)
        self.followed.ended.connect(self._ended)
        self.followed.lost.connect(self._stop_showing)
        self.banner = ErrorBanner()
        self.followed.failed.connect(self.banner.show_error)
        self.choice = ExportChoice()
        self.choice.changed.connect(self._show_choice)
        session.machine_changed.connect(lambda: self.choice.set_machine(session.machine))
        self.choice.set_machine(session.machine)
        self.strip = ProgressStrip(name="export_progress",
                                   tip=tr("Stop the export. The unfinished file is removed; older files stay."),
                                   cancelled=self.cancel, lines=2)
        self.strip.hide()
        self.made = MadeFiles()
        self.made.hide()
        self.made.closed.connect(self.closed)
        self.made.chat_wanted.connect(lambda path: session.open_chat([path]))
        self._lay_out()
        self._show_choice()
        if (before := self.followed.before()) is not None:
            self.follow(*before)

    def _lay_out(self) -> None:
        column = column_in(self, self.banner, margins=theme.SPACE_M)
        self._choice = QWidget()
        inner = column_in(self._choice, ScrolledIfNeeded(self.choice, LEAST_HEIGHT))
        self.time = text_label("", "small", name="export_time")
        close = SecondaryButton(tr("Not now"), tr("Close without exporting."), name="export_close", clicked=self.closed)
        self.button = PrimaryButton(tr("Export"), tr("Make the selected files, and compare each with the trained "
                                                     "model."),
                                    name="export_start", clicked=self.start)
        inner.addLayout(row_of(self.time, STRETCH, close, self.button, spacing=None))
        fill(column, self._choice, self.strip, self.made)

    def is_running(self) -> bool:
        return self.followed.is_running()

    def exports(self, run: RunSummary) -> bool:
        """Whether the running export is of this run."""
        return self.is_running() and self._exporting is not None and self._exporting.folder == run.folder

    def show_run(self, run: RunSummary) -> None:
        """Offer the export of this run; the sizes come from its base model's files."""
        self._show_only(self.strip if self.is_running() else self._choice)
        if self._run is not None and self._run.folder == run.folder:
            self._run = run
            return
        self._run = run
        if not self.is_running():
            self.banner.clear()
        self.choice.clear()
        # Without the base model nothing can be exported: that is said before the user tries.
        run_task(self, lambda task: (_facts(run), time_estimate.load(), gain.by_type(gain.of_run(run.folder)),
                                       types.came_in(Path(run.config.model))),
                 lambda found: self._show_sizes(run, *found), self.banner.show_error)

    def _show_sizes(self, run: RunSummary, facts: ModelFacts, known: list[Timing],
                    kept: dict[str, tuple[float, float]], base_type: str) -> None:
        if self._run is not run:
            return
        self._known, self.choice.kept, self.choice.base_type = known, kept, base_type
        self.choice.show_facts(facts, run_folder.has_adapter(run.folder))
        self._show_choice()

    def _show_choice(self) -> None:
        names, facts, machine = self.choice.names(), self.choice.facts, self._session.machine
        self.button.setEnabled(bool(names))
        expected = exporting(facts, machine, names, self._known) if names and facts and machine else None
        self.time.setText(expected.text() if expected else "")
        self.time.setToolTip(plain_tip(source_text(expected)) if expected else "")

    def start(self) -> None:
        """Make the job and start its worker."""
        run = self._run
        types = self.choice.names()
        if run is None or self.is_running() or not types:
            return
        self.banner.clear()
        run_task(self, lambda task: new.export(run.folder, types),
                 lambda job: self.follow(run, job, start_worker=True), self.banner.show_error)

    def follow(self, run: RunSummary, job: Job, *, start_worker: bool = False) -> None:
        """Show an export's progress: one that starts now, or one that was already running."""
        if self.is_running():
            return
        self._exporting = run
        self._show_only(self.strip)
        self.works.emit(True)
        self.strip.start(tr("Exporting {name}", name=run.config.name))
        self.followed.follow(job, start_worker=start_worker, about=run)

    def cancel(self) -> None:
        if self.is_running():
            self.strip.start(tr("Cancelling…"))
            self.followed.send("cancel")

    def _show_progress(self) -> None:
        assert self._exporting is not None
        history, name = self.followed.history, self._exporting.config.name
        text = work_text(history, history.detail)
        elsewhere = self._run is not None and not self.exports(self._run)
        self.strip.label.setText(f"{name}: {text}" if elsewhere else text)
        self.strip.set_progress(int(history.done), int(history.total))
        self.followed.show_status(JobStatus(tr("Exporting {name}", name=name), int(history.done),
                                            int(history.total), None, text))

    def _ended(self, job: Job, outcome: Outcome) -> None:
        if self._exporting is not None:
            report_end(self._session, EXPORT, self._exporting.config.name, outcome)
        self._stop_showing()
        if outcome.was_successful():
            run_task(self, lambda task: read_made(outcome.result), self._show_made, self.banner.show_error)
        elif outcome.state != "cancelled":
            self.banner.show_error(outcome.user_error())
        self._session.report_runs_changed()

    def _show_made(self, files: list[Export]) -> None:
        """Say what was made, unless another run is shown by now: a notice has told of it."""
        if self.is_running():
            return
        if self._run is None or self._exporting is None or self._run.folder != self._exporting.folder or not files:
            self.closed.emit()
            return
        self.made.show_files(files)
        self._show_only(self.made)

    def _stop_showing(self) -> None:
        self._show_only(self._choice)
        self.works.emit(False)

    def _show_only(self, part: QWidget) -> None:
        for each in (self._choice, self.strip, self.made):
            each.setVisible(each is part)


def _facts(run: RunSummary) -> ModelFacts:
    """Facts of the model that would be exported. Raises UserError when its base is gone."""
    from slmstudio.core.model.facts import read_model

    base = Path(run.config.model)
    if not base.exists():
        raise UserError(tr("The base model {base} is no longer where it was.", base=base.name),
                        tr("{base} doesn't exist.", base=base),
                        tr("Put it back. The export needs the base model and the adapter."))
    return read_model(base)


def running_export(folder: Path) -> Job | None:
    """An export of this run that is running now, as after the window was closed."""
    for each in (folder / "jobs").glob("export-*"):
        job = Job(each)
        if (each / jobs.PROCESS).is_file() and job.is_alive():
            return job
    return None


# -- What an export makes: quantization types with size, memory and a proposal, and formats for other programs.

USUAL = ("F16", "Q8_0", "Q4_K_M")
PLAIN = tuple(other.name for other in OTHER_FORMATS)
"""What is made without the chat engine."""
HERE_SHARE = 0.7
"""The share of this machine's memory that a model may take."""


class ExportChoice(QWidget):
    """The boxes to mark.

    Attributes:
        facts: of the model; None before they are read.
        kept, base_type: as of `types.propose`.

    Signals:
        changed: other boxes are marked now.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.facts: ModelFacts | None = None
        self.kept: dict[str, tuple[float, float]] = {}
        self.base_type = ""
        self._missing = llama.trouble()
        self._targets = list(types.TARGETS)
        self.target = named(ComboBox(), "export_target", tr("Where the file will be used"),
                            tr("The proposed types fit this machine. Any type runs on any machine with enough memory."))
        self._show_targets()
        self.target.currentIndexChanged.connect(self._propose)
        self.more = SecondaryButton(tr("All types"),
                                    tr("Show every type, and formats for vLLM, Ollama and further training."), "small",
                                    name="export_all_types")
        self.more.setCheckable(True)
        self.more.toggled.connect(self._show_rows)
        self.reason = text_label("", "small", wrap=True)
        self.note = text_label("", "small", wrap=True)
        self.boxes: dict[str, QCheckBox] = {}
        self._rows: dict[str, list[QWidget]] = {}
        self._chips: dict[str, Chip] = {}
        self._figures = {kind.name: text_label("", "small") for kind in QUANT_TYPES}
        self._lay_out()
        self._show_rows()

    def _lay_out(self) -> None:
        column = column_in(self)
        head = QWidget()  # speaks of GGUF files alone
        row_in(head, text_label(tr("Used on"), "small"), (self.target, 1), self.more, spacing=None)
        for widget in (head, self.reason):
            column.addWidget(widget)
            widget.setVisible(self._missing is None)
        grid = grid_of(theme.SPACE_M, theme.SPACE_S, stretch=1)
        for number, kind in enumerate(QUANT_TYPES):
            self._add(grid, number, kind.name, kind.name, kind.description, self._figures[kind.name])
        names = {"MERGED": tr("Merged folder"), "ADAPTER": tr("Adapter"), "LORA": tr("GGUF LoRA")}
        for number, other in enumerate(OTHER_FORMATS, len(QUANT_TYPES)):
            self._add(grid, number, other.name, names[other.name], other.description,
                      text_label(other.description, "small", wrap=True))
        fill(column, grid, self.note)
        self.engine = text_label(str(self._missing or ""), "small", wrap=True, name="export_no_engine", tone="warn")
        self.engine.setVisible(self._missing is not None)
        column.addWidget(self.engine)

    def _add(self, grid: QGridLayout, row: int, key: str, name: str, description: str, figures: QWidget) -> None:
        box = named(QCheckBox(name), f"type_{key}", tip=description)
        figures.setToolTip(description)
        box.toggled.connect(self.changed)
        chip = Chip()
        chip.hide()
        self.boxes[key], self._chips[key], self._rows[key] = box, chip, [box, figures]
        grid.addWidget(box, row, 0)
        grid.addWidget(figures, row, 1)
        grid.addWidget(chip, row, 2)

    def names(self) -> list[str]:
        """What is marked, also where it isn't shown."""
        return [name for name, box in self.boxes.items() if box.isChecked()]

    def clear(self) -> None:
        """Forget the model and what was marked for it: without it there are no sizes."""
        self.facts = None
        for box in self.boxes.values():
            box.setChecked(False)
        self.reason.clear()
        self.note.clear()
        self.note.hide()
        for label in self._figures.values():
            label.clear()

    def set_machine(self, machine: Machine | None) -> None:
        """Offer this machine as the place where the file is used."""
        if machine is None or len(self._targets) > len(types.TARGETS):
            return
        cards = [gpu.memory_total for gpu in machine.gpus if gpu.memory_total]
        budget = max(cards) if cards else machine.ram_total
        here = types.Target("here", tr("this computer"), int(HERE_SHARE * budget), not cards)
        self._targets.insert(0, here)
        self._show_targets()
        self._propose()

    def _show_targets(self) -> None:
        names = {"laptop-8": tr("8 GB laptop, CPU"), "laptop-16": tr("16 GB laptop, CPU"),
                 "gpu-8": tr("GPU with 8 GB"), "gpu-12": tr("GPU with 12 GB"),
                 "gpu-24": tr("GPU with 24 GB")}
        with QSignalBlocker(self.target):
            self.target.clear()
            for target in self._targets:
                self.target.addItem(names.get(target.key, target.name), target.key)

    def show_facts(self, facts: ModelFacts, has_adapter: bool) -> None:
        """Show sizes and memory of this model, and mark the proposal where nothing was marked."""
        self.facts = facts
        for kind in QUANT_TYPES:
            self._figures[kind.name].setText(tr("{size} · needs {memory}",
                                                size=units.format_bytes(kind.estimate_bytes(facts)),
                                                memory=units.format_bytes(types.memory_bytes(kind, facts))))
        for other in OTHER_FORMATS:
            self.boxes[other.name].setEnabled(has_adapter or not other.needs_adapter)
            if not self.boxes[other.name].isEnabled():
                self.boxes[other.name].setChecked(False)
        fallen = self._missing is None and any(kind.falls_back(facts.hidden_size) for kind in QUANT_TYPES)
        self.note.setText(tr("This model's rows of {size} weights don't fit the blocks of the small types, so most of "
                             "them are stored in a larger type.", size=facts.hidden_size) if fallen else "")
        self.note.setVisible(fallen)
        self._propose()
        if not self.names():
            self._mark_proposed()

    def _proposal(self) -> types.Proposal | None:
        if self.facts is None or self.target.currentIndex() < 0:
            return None
        return types.propose(self.facts, self._targets[self.target.currentIndex()], self.kept, self.base_type)

    def _propose(self) -> None:
        proposal = self._proposal()
        name = proposal.type.name if proposal is not None and proposal.type is not None else ""
        self.reason.setText(proposal.reason if proposal is not None else "")
        for key, chip in self._chips.items():
            chip.set(tr("proposed"), "ok")
            chip.setVisible(key == name and self._missing is None)
        self._show_rows()

    def _mark_proposed(self) -> None:
        proposal = self._proposal()
        if proposal is not None and proposal.type is not None and self._missing is None:
            self.boxes[proposal.type.name].setChecked(True)

    def _show_rows(self) -> None:
        for key, widgets in self._rows.items():
            shown = (self.more.isChecked() or key in USUAL or self.boxes[key].isChecked()
                     or not self._chips[key].isHidden())
            if self._missing is not None:
                shown = key in PLAIN
            for widget in widgets:
                widget.setVisible(shown)
