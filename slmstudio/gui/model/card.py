"""The base model that is looked at: its facts, whether it fits, or how to make it ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from slmstudio.core import units
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.common.widgets.areas import EmptyState
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton
from slmstudio.gui.common.widgets.card import Card
from slmstudio.gui.common.widgets.labels import Chip, text_label
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.model.facts import FactsTable, FitView
from slmstudio.gui.model.template_choice import TemplateChoice

if TYPE_CHECKING:
    from pathlib import Path

    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.run.config import RunConfig
    from slmstudio.core.run.memory import MemoryEstimate
    from slmstudio.gui.model.entry import ModelEntry
    from slmstudio.gui.model.import_job import ModelImport

READY, PREPARE, DAMAGED = range(3)


class ModelCard(Card):
    """Shows one entry of the list.

    Signals:
        use_wanted(ModelFacts): the user chose this model.
    """

    use_wanted = Signal(object)

    def __init__(self, session: Session, importer: ModelImport, parent: QWidget | None = None):
        super().__init__(" ", parent=parent)
        self._session, self._importer = session, importer
        self._entry: ModelEntry | None = None
        self._task: Task | None = None
        self.title.setObjectName("model_name")
        self.chip = Chip()
        self.chip.setObjectName("model_chip")
        self.header.insertWidget(1, self.chip)
        self._pages = QStackedWidget()
        for page in (self._ready_page(), self._prepare_page(), self._damaged_page()):
            self._pages.addWidget(page)
        self.body.addWidget(self._pages, 1)
        session.machine_changed.connect(self._estimate)
        session.dataset_changed.connect(self._estimate)
        importer.changed.connect(self._show_import)
        importer.progressed.connect(self._show_progress)

    def _ready_page(self) -> QWidget:
        self.facts = FactsTable()
        self.facts.setObjectName("model_facts")
        self.fit = FitView()
        self.fit.hide()
        self.use = PrimaryButton(self.tr("Use this model →"), self.tr("Train on top of this model; go on to the plan."))
        self.use.setObjectName("model_use")
        self.use.clicked.connect(lambda: self.use_wanted.emit(self._entry.facts if self._entry else None))
        self.banner_ready = ErrorBanner()
        self.template = TemplateChoice()
        self.template.chosen.connect(self._choose_template)
        return _page(self.facts, self.template, self.banner_ready, self.fit, button=self.use)

    def _prepare_page(self) -> QWidget:
        title = text_label(self.tr("It must be unpacked before it can learn"), "heading")
        self.explain = text_label("", "muted", wrap=True)
        for label in (title, self.explain):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.prepare = PrimaryButton(self.tr("Prepare it"), self.tr("Unpack the file into a folder that can learn. "
                                                                   "You can go on working meanwhile."))
        self.prepare.setObjectName("model_prepare")
        self.prepare.clicked.connect(self._start_import)
        self.strip = ProgressStrip()
        self.strip.setObjectName("model_progress")
        self.strip.cancelled.connect(self._importer.cancel)
        column = QWidget()
        column.setFixedWidth(520)
        inner = QVBoxLayout(column)
        inner.setSpacing(theme.SPACE_L)
        for widget in (title, self.explain, self.strip):
            inner.addWidget(widget)
        inner.addWidget(self.prepare, 0, Qt.AlignmentFlag.AlignHCenter)
        return EmptyState.centred(column)

    def _damaged_page(self) -> QWidget:
        self.banner = ErrorBanner(closable=False)
        self.banner.setObjectName("model_error")
        return _page(self.banner)

    def show_entry(self, entry: ModelEntry) -> None:
        """Show another model."""
        self._entry = entry
        self.title.setText(entry.facts.name if entry.facts else entry.folder.name)
        if entry.facts is not None:
            self._pages.setCurrentIndex(READY)
            self._show_facts(entry.facts)
        elif entry.gguf is not None:
            self._pages.setCurrentIndex(PREPARE)
            self.chip.set(self.tr("not ready yet"), "accent")
            self._show_import()
        elif entry.error is not None:
            self._pages.setCurrentIndex(DAMAGED)
            self.chip.set(self.tr("cannot be used"), "bad")
            self.banner.show_error(entry.error)

    def _show_facts(self, facts: ModelFacts) -> None:
        self.facts.show_facts(facts)
        self.fit.hide()
        self.banner_ready.clear()
        if facts.has_chat_template:
            self.chip.set(self.tr("✓ safetensors, tokenizer and chat template are there"), "ok")
        else:
            self.chip.set(self.tr("base model"), "accent", self.tr(
                "This model was never taught to chat. It learns a chat template with your rows."))
        self.template.show_model(facts, self._session.chat_template_of(facts.path))
        self._estimate()

    def _choose_template(self, name: str) -> None:
        if self._entry is not None and self._entry.facts is not None:
            self._session.choose_template(self._entry.facts.path, name)
            self._estimate()

    def _estimate(self) -> None:
        session, entry = self._session, self._entry
        if session.machine is None or entry is None or entry.facts is None:
            return
        if self._task is not None:
            self._task.cancel()
        facts, machine, dataset = entry.facts, session.machine, session.dataset
        eval_file = session.eval_dataset.path if session.eval_dataset is not None else None
        name = session.chat_template_of(facts.path)
        self._task = run_task(self, lambda task: _estimate(facts, machine, dataset, eval_file, name), self._show_fit,
                              self._no_fit)

    def _show_fit(self, answer: tuple[RunConfig, MemoryEstimate]) -> None:
        config, estimate = answer
        machine = self._session.machine
        assert machine is not None
        self.fit.show_estimate(
            self.tr("Will it fit? LoRA, sequence length {length}, micro-batch {rows}, {precision}").format(
                length=f"{config.max_length:,}", rows=config.micro_batch_size, precision=config.precision),
            estimate, machine)
        self.fit.show()

    def _no_fit(self, error: Exception) -> None:
        self.fit.hide()
        self.banner_ready.show_error(error)

    def _start_import(self) -> None:
        if self._entry is not None and self._entry.gguf is not None:
            self.strip.start(self.tr("Starting"))
            self._importer.start(self._entry.gguf, self._entry.folder)

    def _show_import(self) -> None:
        entry = self._entry
        if entry is None or entry.gguf is None:
            return
        at_work = self._importer.target == entry.folder
        self.strip.setVisible(at_work)
        self.prepare.setVisible(not at_work)
        self.prepare.setEnabled(self._importer.target is None)
        self.explain.setText(self.tr(
            "{file} holds compressed weights, {size}. Unpacking them takes well under a minute for a small model, "
            "and is done once. Nothing is downloaded.").format(
                file=entry.gguf.name, size=units.format_bytes(entry.gguf.stat().st_size)))

    def _show_progress(self, text: str, done: int, total: int) -> None:
        self.strip.label.setText(text)
        self.strip.label.show()
        self.strip.set_progress(done, total)


def _page(*widgets: QWidget, button: PrimaryButton | None = None) -> QWidget:
    """Widgets from the top, and the primary button in the lower right corner."""
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(theme.SPACE_L)
    for widget in widgets:
        column.addWidget(widget)
    column.addStretch(1)
    if button is not None:
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(button)
        column.addLayout(row)
    return page


def _estimate(facts: ModelFacts, machine: Machine, dataset: Dataset | None, eval_file: Path | None,
              chat_template: str) -> tuple[RunConfig, MemoryEstimate]:
    """Runs in a thread: the run that would be planned, or a usual one while no data is chosen, and its memory."""
    from slmstudio.core.run import memory, planner
    from slmstudio.core.run.config import RunConfig

    if dataset is not None:
        chosen = {"chat_template": chat_template} if chat_template else {}
        config = planner.plan(planner.PlanRequest(dataset, facts, machine, eval_file, chosen))
    else:
        half = machine.gpus or machine.cpu_bf16
        config = RunConfig("", str(facts.path), "", max_length=min(1024, facts.context_length),
                           precision="bf16" if half else "fp32")
    return config, memory.estimate(facts, config, "cuda" if machine.gpus else "cpu")
