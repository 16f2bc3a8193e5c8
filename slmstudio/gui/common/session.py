"""What is chosen so far. The tabs know this, and nothing of each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.settings import Settings

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.hardware.readings import MachineReader, MachineReading
    from slmstudio.core.jobs.job import Job
    from slmstudio.core.lock.proof import Proof
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.run.config import RunConfig
    from slmstudio.core.run.planning.row_counts import LostRows, RowCounts

TABS = ("data", "model", "training", "results", "chat")


@dataclass(frozen=True)
class JobStatus:
    """What the status bar says about the running job.

    Attributes:
        name: as in "Training pune-helpdesk".
        done, total: in steps, rows or bytes; total 0 means that nobody knows.
        text: overrides the "46% · 58 min left" that is made of the numbers, as in "paused".
        right: is at the right end, beside what the machine's sensors say, as in "0.4 kWh · ₹3.2".
        config: of the run that is at work, as it is now; None for other jobs.
        alarming: `text` wants to be noticed.
    """

    name: str
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    text: str = ""
    right: str = ""
    config: RunConfig | None = None
    alarming: bool = False


@dataclass(frozen=True)
class Notice:
    """Something has ended, or needs the user.

    Attributes:
        title: a short sentence without a full stop.
        text: which run, and what is wrong with it.
        urgent: it failed, or waits for an answer.
    """

    title: str
    text: str
    urgent: bool = False


class Session(QObject):
    """The choices of one session, and who must hear of them.

    Attributes:
        lock_proof: what was tried of the network lock; None until it's known.
        pages: what pages of a window that this session's window replaces had open, by tab, until they are made again.
        followed: jobs that views follow, and what those know of them, by the names of the views.
        reported: jobs whose end was told.
        sensors, model_server (a ModelServer): live on when the window is made again; None until they are needed.

    Signals:
        dataset_changed: `dataset`, `eval_dataset`, `eval_fraction`, `split_seed` or `split_by` is different now.
        model_changed: `model` is different now, or the chat template that was chosen for one that has none.
        machine_changed: `machine` was read, or read again.
        memory_changed: `machine` has noticeably more or less memory free.
        reading_changed: `reading` is newer; about every two seconds.
        run_started(Job): a training run was started, by the Training tab or elsewhere.
        run_changed: something about the runs on disk is different: Results reads them again.
        job_changed: `job` (a JobStatus or None) or `server` is different now.
        notice(Notice): a run, an export or an evaluation has ended, or needs the user.
        starter_ready: the starter model was prepared in the background.
        rows_written(Path): rows were added to a dataset, or taken out of it again.
        page_wanted(str, str, tuple): show this tab, as in `go_to`, and call this method of its page or of a part of it,
            as in "next.plan_again"; "" calls none.
        done_changed: `done` holds other tabs now.
        settings_changed: the user changed the settings.
        language_changed: the settings have another language: the window opens again.
        plan_changed: `plan` is different now.
        field_wanted(str, object): this field of the next run should have this value; None leaves it to the plan.
        place_changed: runs and models are kept in another folder now, and `settings` are those kept there.
    """

    dataset_changed = Signal()
    model_changed = Signal()
    machine_changed = Signal()
    memory_changed = Signal()
    reading_changed = Signal()
    run_started = Signal(object)
    run_changed = Signal()
    job_changed = Signal()
    notice = Signal(object)
    starter_ready = Signal()
    rows_written = Signal(object)
    page_wanted = Signal(str, str, object)
    done_changed = Signal()
    settings_changed = Signal()
    language_changed = Signal()
    plan_changed = Signal()
    field_wanted = Signal(str, object)
    place_changed = Signal()

    def __init__(self, settings: Settings):
        super().__init__()
        self.settings = settings
        self.dataset: Dataset | None = None
        self.eval_dataset: Dataset | None = None
        self.eval_fraction = 0.1
        self.split_seed = 0
        self.split_by = "rows"
        self.model: ModelFacts | None = None
        self._templates: dict[Path, str] = {}
        self.machine: Machine | None = None
        self.reading: MachineReading | None = None
        self.plan: RunConfig | None = None
        self.plan_counts: RowCounts | None = None
        self.plan_lost: LostRows | None = None
        self.run: Job | None = None
        self.job: JobStatus | None = None
        self._statuses: dict[object, JobStatus] = {}
        self.server = ""
        self.done: set[str] = set()
        self.pages: dict[str, dict[str, Any]] = {}
        self.followed: dict[str, tuple[Any, Job]] = {}
        self.reported: set[Path] = set()
        self.sensors: MachineReader | None = None
        self.model_server: Any = None
        self.lock_proof: Proof | None = None

    def successor(self) -> Session:
        """The same choices, for a window that takes the place of this one's. Nobody listens to it yet."""
        made = Session(self.settings)
        for name in ("dataset", "eval_dataset", "eval_fraction", "split_seed", "split_by", "model", "machine",
                     "reading", "run", "done", "job", "lock_proof", "sensors", "model_server"):
            setattr(made, name, getattr(self, name))
        made._templates, made.followed = dict(self._templates), dict(self.followed)
        return made

    def set_dataset(self, dataset: Dataset | None, eval_dataset: Dataset | None = None, eval_fraction: float = 0.1,
                    split_seed: int = 0, split_by: str = "rows") -> None:
        """Choose the data to learn.

        Args:
            eval_dataset: rows of a file of their own that are never learned; None splits them off `dataset`.
            eval_fraction: share of `dataset` that is split off when there is no `eval_dataset`.
        """
        self.dataset, self.eval_dataset = dataset, eval_dataset
        self.eval_fraction, self.split_seed, self.split_by = eval_fraction, split_seed, split_by
        self.mark_done("data", dataset is not None)
        self.dataset_changed.emit()

    def set_model(self, model: ModelFacts | None) -> None:
        """Choose the base model, for the next sessions too."""
        self.model = model
        folder = str(model.path) if model is not None else ""
        if folder != self.settings.model:
            self.settings.model = folder
            self.settings_changed.emit()
        self.mark_done("model", model is not None)
        self.model_changed.emit()

    def choose_template(self, folder: Path, name: str) -> None:
        """Choose the chat template, by its name, of a base model that has none."""
        self._templates[folder] = name
        self.model_changed.emit()

    def chat_template_of(self, folder: Path) -> str:
        """Name of the chat template that was chosen for a model; "" if nobody has chosen one."""
        return self._templates.get(folder, "")

    def set_plan(self, plan: RunConfig | None, counts: RowCounts | None = None, lost: LostRows | None = None) -> None:
        """Say what the next run would be, of `dataset` its rows, and what it loses of them; None while nothing can be
        planned."""
        if (plan, counts, lost) != (self.plan, self.plan_counts, self.plan_lost):
            self.plan, self.plan_counts, self.plan_lost = plan, counts, lost
            self.plan_changed.emit()

    def set_machine(self, machine: Machine) -> None:
        self.machine = machine
        self.machine_changed.emit()

    def set_reading(self, reading: MachineReading) -> None:
        """Read the machine again. While a job is running, `machine` keeps its earlier memory figures: the job's own
        share is free again when it ends, and the next run is planned for that.
        """
        from slmstudio.core.hardware.readings import with_memory

        self.reading = reading
        self.reading_changed.emit()
        if self.machine is None or self.job is not None:
            return
        refreshed = with_memory(self.machine, reading)
        if refreshed is not self.machine:
            self.machine = refreshed
            self.memory_changed.emit()

    def start_run(self, job: Job) -> None:
        """Tell everybody that a training run was started, or attached to."""
        self.run = job
        self.run_started.emit(job)
        self.run_changed.emit()

    def set_job(self, status: JobStatus | None, owner: object = None) -> None:
        """Show a running job in the status bar, whichever tab is open: a run, else the job that began first.

        Args:
            status: None when it runs no more.
            owner: who follows the job; others don't change its status.
        """
        self._statuses.pop(owner, None) if status is None else self._statuses.update({owner: status})
        known = self._statuses.values()
        shown = next((each for each in known if each.config is not None), next(iter(known), None))
        if shown != self.job:
            self.job = shown
            self.job_changed.emit()

    def set_server(self, server: str) -> None:
        """Say which model is served, and where; empty when none is."""
        if server != self.server:
            self.server = server
            self.job_changed.emit()

    def go_to(self, tab: str) -> None:
        """Show a tab, one of TABS, or the one below the welcome page (""); or "welcome", "doctor" or "help"."""
        self.page_wanted.emit(tab, "", ())

    def open_data(self, files: list[Path], line: int = 0) -> None:
        """Show these datasets in the Data tab, and the row of that line of the last; 0 for the first."""
        self.page_wanted.emit("data", "open_files", (files, line))

    def report_written(self, path: Path, *, gone: bool = False) -> None:
        """Say that rows were added to a dataset, or taken out of it again.

        Args:
            gone: there was nothing else in it, so there is no such file now.
        """
        from slmstudio.core.data import remembered

        known = remembered.read_all(self.settings.datasets)
        known = remembered.without(known, path) if gone else remembered.with_written(known, path)
        self.settings.datasets = [each.to_dict() for each in known]
        self.settings_changed.emit()
        self.rows_written.emit(path)

    def open_sample(self) -> None:
        """Show the dataset that comes with the program in the Data tab."""
        self.page_wanted.emit("data", "open_sample", ())

    def open_chat(self, models: list[Path]) -> None:
        """Show the Chat tab with these GGUF files, side by side when there are several."""
        self.page_wanted.emit("chat", "open_models", (models,))

    def open_run_chat(self, run: Path) -> None:
        """Show the Chat tab with what a finished run has learned, beside its base."""
        self.page_wanted.emit("chat", "opening.open", (run,))

    def open_answers(self, evaluation: Any, name: str) -> None:
        """Show all answers of an evaluation of the run of this name in the Results tab."""
        self.page_wanted.emit("results", "open_answers", (evaluation, name))

    def continue_run(self, run: Path, changes: dict[str, Any]) -> None:
        """Plan a run in the Training tab that continues from this finished one, with these fields changed."""
        self.page_wanted.emit("training", "next.go_on_from", (run, changes))

    def repeat_run(self, run: Path, changes: dict[str, Any]) -> None:
        """Plan this run once more in the Training tab, from where it began, with these fields changed."""
        self.page_wanted.emit("training", "next.plan_again", (run, changes))

    def notify(self, title: str, text: str, *, urgent: bool = False) -> None:
        """Tell that something has ended or needs the user; see `Notice`."""
        self.notice.emit(Notice(title, text, urgent))

    def report_runs_changed(self) -> None:
        """Let Results read the runs on disk again."""
        self.run_changed.emit()

    def report_settings_changed(self) -> None:
        """Save `settings`, which a user changed, and show them everywhere."""
        self.settings_changed.emit()

    def change_language(self, code: str) -> None:
        """Open the window again in this language; "" is the system's."""
        self.settings.language = code
        self.settings_changed.emit()
        self.language_changed.emit()

    def adopt_settings(self, settings: Settings) -> None:
        """Continue in another folder, with the settings that are kept there."""
        self.settings = settings
        self.place_changed.emit()
        self.run_changed.emit()
        self.settings_changed.emit()

    def report_starter_ready(self) -> None:
        """Say that the starter model is prepared."""
        self.starter_ready.emit()

    def mark_done(self, tab: str, done: bool = True) -> None:
        """Put the tick beside a tab's name, or take it away."""
        if done != (tab in self.done):
            self.done = self.done | {tab} if done else self.done - {tab}
            self.done_changed.emit()
