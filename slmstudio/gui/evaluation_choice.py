"""What is evaluated: which rows, which models, how many, and by whom it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QPlainTextEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from slmstudio.gui import theme
from slmstudio.gui.chat_models import ModelChoice
from slmstudio.gui.evaluation_words import BENCHMARKS, model_label
from slmstudio.gui.widgets import ElidedLabel, SecondaryButton, SegmentedControl, number_field, text_label
from slmstudio.gui.widgets.areas import local_paths

HELD_OUT, FILE, BENCHMARK = range(3)
MOST_ROWS = 1_000_000
RUBRIC_LINES = 4
BOXES_A_LINE = 3
SUBJECT_ROWS = 10
"""Questions of each subject of a benchmark that are proposed."""


class EvaluationChoice(QWidget):
    """The fields.

    Signals:
        changed: something else is chosen now.
        read_wanted(Path): a test file was chosen; how many rows has it?
    """

    changed = Signal()
    read_wanted = Signal(object)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setAcceptDrops(True)
        self.test: Path | None = None
        self.data: Path | None = None
        self._judge: Path | None = None
        self._limits = {False: 0, True: SUBJECT_ROWS}
        self._was_benchmark = False
        self.boxes: dict[str, QCheckBox] = {}
        self.source = SegmentedControl([self.tr("Held-out rows"), self.tr("A file"), self.tr("Benchmark")], tooltips=[
            self.tr("The rows of the run's own data that it never learned."),
            self.tr("A test set of your own: JSONL, JSON or CSV, with a question and what is expected."),
            self.tr("General knowledge, by the harness that the field quotes. Its files must be on this machine.")])
        self.source.setObjectName("evaluation_source")
        self._make_file_line()
        self._make_rows_line()
        self._make_more()
        self._lay_out()
        self.source.changed.connect(self._show_state)
        self._show_state()

    def _make_file_line(self) -> None:
        self.name = ElidedLabel("", "body")
        self.name.setObjectName("evaluation_file")
        self.browse = SecondaryButton(self.tr("Browse…"), self.tr("Choose it. A file may also be dropped here."),
                                      "small")
        self.browse.setObjectName("evaluation_browse")
        self.browse.clicked.connect(self._ask)
        self.benchmark = QComboBox()
        self.benchmark.setObjectName("evaluation_benchmark")
        self.benchmark.setAccessibleName(self.tr("Benchmark"))
        self.benchmark.setToolTip(self.tr("Which benchmark is in the folder."))
        for name, label in BENCHMARKS.items():
            self.benchmark.addItem(label, name)
        self.benchmark.currentIndexChanged.connect(lambda: self.changed.emit())
        self.found = text_label("", "small", wrap=True)
        self.found.setObjectName("evaluation_found")
        self.found.hide()

    def _make_rows_line(self) -> None:
        self.limit = number_field(QSpinBox())
        self.limit.setObjectName("evaluation_limit")
        self.limit.setRange(0, MOST_ROWS)
        self.limit.setGroupSeparatorShown(True)
        self.limit.setSpecialValueText(self.tr("all"))
        self.limit.setAccessibleName(self.tr("Rows at most"))
        self.limit.setToolTip(self.tr("So many rows are drawn by lot. Fewer are faster, and tell less: a difference of "
                                      "a few points needs hundreds."))
        self.limit.setMinimumWidth(96)
        self.limit.valueChanged.connect(lambda: self.changed.emit())
        self.limit_label = text_label("", "small")
        self.models = QWidget()
        self._models = QGridLayout(self.models)
        self._models.setContentsMargins(0, 0, 0, 0)
        self._models.setSpacing(theme.SPACE_M)

    def _make_more(self) -> None:
        self.more = SecondaryButton(self.tr("More"), self.tr("A judge model, and how long answers may be."), "small")
        self.more.setObjectName("evaluation_more")
        self.more.setCheckable(True)
        self.more.toggled.connect(self._show_state)
        self.longest = number_field(QSpinBox())
        self.longest.setObjectName("evaluation_longest")
        self.longest.setRange(1, 8192)
        self.longest.setAccessibleName(self.tr("Answers, tokens at most"))
        self.longest.setToolTip(self.tr("Where an answer is cut. Longer answers take longer, nearly in proportion."))
        self.longest.valueChanged.connect(lambda: self.changed.emit())
        self.judged = QCheckBox(self.tr("Let a judge model compare the answers"))
        self.judged.setObjectName("evaluation_judged")
        self.judged.setToolTip(self.tr("Another model on this machine reads both answers, in both orders, and says "
                                       "which is better. It should be larger than the one that was tuned."))
        self.judged.toggled.connect(self._show_state)
        self.judge = ModelChoice(self.tr("Judge"))
        self.judge.setToolTip(self.tr("The model that judges: any GGUF file."))
        self.judge.chosen.connect(self._choose_judge)
        self.rubric = QPlainTextEdit()
        self.rubric.setObjectName("evaluation_rubric")
        self.rubric.setAccessibleName(self.tr("What the judge looks for"))
        self.rubric.setToolTip(self.tr("Say what makes an answer good in your case; the judge reads it."))
        self.rubric.setPlainText(self.tr("The better answer is right, complete and short, and is written in the "
                                         "language of the question."))
        self.rubric.setFixedHeight(RUBRIC_LINES * self.rubric.fontMetrics().lineSpacing())
        self.rubric.setTabChangesFocus(True)

    def _lay_out(self) -> None:
        self._file = QWidget()
        file = QHBoxLayout(self._file)
        file.setContentsMargins(0, 0, 0, 0)
        file.setSpacing(theme.SPACE_S)
        file.addWidget(self.benchmark)
        file.addWidget(self.name, 1)
        file.addWidget(self.browse)
        rows = QHBoxLayout()
        rows.setSpacing(theme.SPACE_S)
        rows.addWidget(self.limit)
        rows.addWidget(self.limit_label, 1)
        self._extra = QWidget()
        extra = QGridLayout(self._extra)
        extra.setContentsMargins(0, 0, 0, 0)
        extra.setVerticalSpacing(theme.SPACE_S)
        extra.setColumnStretch(1, 1)
        extra.addWidget(text_label(self.tr("Answers, tokens at most"), "small"), 0, 0)
        extra.addWidget(self.longest, 0, 1, Qt.AlignmentFlag.AlignLeft)
        extra.addWidget(self.judged, 1, 0, 1, 2)
        extra.addWidget(self.judge, 2, 0, 1, 2)
        extra.addWidget(self.rubric, 3, 0, 1, 2)
        grid = QGridLayout()
        grid.setHorizontalSpacing(theme.SPACE_M)
        grid.setVerticalSpacing(theme.SPACE_S)
        grid.setColumnStretch(1, 1)
        for row, (name, line) in enumerate(((self.tr("Test"), self.source), ("", self._file), ("", self.found),
                                            (self.tr("Models"), self.models), (self.tr("Rows"), rows))):
            if name:  # an empty label would keep the height of a line that is hidden
                grid.addWidget(text_label(name, "small"), row, 0)
            if isinstance(line, QWidget):
                grid.addWidget(line, row, 1)
            else:
                grid.addLayout(line, row, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.SPACE_S)
        column.addLayout(grid)
        column.addWidget(self.more, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self._extra)

    # -- what is offered -------------------------------------------------------------------------------------

    def offer(self, models: list[str], longest: int, limit: int, *, held_out: bool) -> None:
        """Offer these models, and the run's held-out rows where it has some."""
        kept = {name for name, box in self.boxes.items() if box.isChecked()} if list(self.boxes) == models else None
        while (item := self._models.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self.boxes = {}
        for place, name in enumerate(models):
            box = QCheckBox(model_label(name))
            box.setObjectName(f"evaluate_{name}")
            box.setAccessibleName(model_label(name))
            box.setToolTip(self._model_tip(name))
            box.setChecked(name in kept if kept is not None else name in ("base", "tuned"))
            box.toggled.connect(lambda: self.changed.emit())
            self.boxes[name] = box
            self._models.addWidget(box, *divmod(place, BOXES_A_LINE))
        self._models.setColumnStretch(BOXES_A_LINE, 1)
        self._limits[False] = limit
        for box, value in ((self.longest, longest), (self.limit, self._limits[self._was_benchmark])):
            blocked = box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(blocked)
        self.source.button(HELD_OUT).setEnabled(held_out)
        if not held_out and self.source.current() == HELD_OUT:
            self.source.set_current(FILE)
        self._show_state()

    def _model_tip(self, name: str) -> str:
        return {"base": self.tr("The model as it was before training; the others are compared with it."),
                "tuned": self.tr("What the run has made of it."),
                }.get(name, self.tr("The exported file: shows what quantization costs on your task."))

    def set_found(self, text: str, rows: int | None = None) -> None:
        """Say what was found in the test set."""
        self.found.setText(text)
        self.found.setVisible(bool(text))
        self.limit_label.setText("" if rows is None else self.tr("of {rows}").format(rows=f"{rows:,}"))

    def _show_state(self) -> None:
        source = self.source.current()
        held_out, benchmark = source == HELD_OUT, source == BENCHMARK
        if benchmark != self._was_benchmark:
            self._limits[self._was_benchmark], self._was_benchmark = self.limit.value(), benchmark
            self.limit.setValue(self._limits[benchmark])
        path = self.data if benchmark else self.test
        self._file.setVisible(not held_out)
        self.benchmark.setVisible(benchmark)
        self.name.setText(str(path) if path else self.tr("no folder yet") if benchmark else
                          self.tr("no file yet; drop one here"))
        self._extra.setVisible(self.more.isChecked())
        self.judged.setEnabled(not benchmark)
        for widget in (self.judge, self.rubric):
            widget.setVisible(self.judged.isChecked() and not benchmark)
        self.changed.emit()

    # -- files -----------------------------------------------------------------------------------------------

    def _choose_judge(self, path: Path) -> None:
        self._judge = path
        self._show_state()

    def _ask(self) -> None:
        folder = self.source.current() == BENCHMARK
        title = self.tr("Choose the benchmark's folder") if folder else self.tr("Choose a test set")
        kinds = "" if folder else self.tr("Test sets (*.jsonl *.json *.ndjson *.csv *.tsv)")
        dialog = QFileDialog(self, title, "", kinds)
        dialog.setFileMode(QFileDialog.FileMode.Directory if folder else QFileDialog.FileMode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(lambda name: self.set_path(Path(name)))
        dialog.open()

    def set_path(self, path: Path) -> None:
        """Take a test file, or a benchmark's folder where that is asked for."""
        if self.source.current() == BENCHMARK and path.is_dir():
            self.data = path
            self._show_state()
            return
        self.test = path
        if self.source.current() != FILE:
            self.source.set_current(FILE)
        self._show_state()
        self.read_wanted.emit(path)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if local_paths(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self.set_path(local_paths(event.mimeData())[0])

    # -- what is chosen --------------------------------------------------------------------------------------

    def complete(self) -> bool:
        """Whether it can be started as it is."""
        source = self.source.current()
        there = source == HELD_OUT or (self.data if source == BENCHMARK else self.test) is not None
        judge = not (self.judged.isChecked() and self.more.isChecked()) or self._judge is not None
        return there and judge and any(box.isChecked() for box in self.boxes.values())

    def is_judged(self) -> bool:
        """Whether a judge model reads the answers too."""
        return self.more.isChecked() and self.judged.isChecked() and self.source.current() != BENCHMARK

    def names(self) -> list[str]:
        """The models that are marked, in the order in which they are shown."""
        return [name for name, box in self.boxes.items() if box.isChecked()]

    def apply(self, proposed: Mapping[str, Any]) -> dict[str, Any]:
        """A request as it was proposed, with what the person decided."""
        source, limit = self.source.current(), self.limit.value() or None
        request = {**proposed, "limit": limit, "max_new_tokens": self.longest.value(), "benchmark": None, "judge": None,
                   "models": [model for model in proposed["models"] if model["name"] in self.names()]}
        if source == FILE:
            request["test"] = str(self.test)
        elif source == BENCHMARK:
            request |= {"test": None, "limit": None, "benchmark": {
                "name": self.benchmark.currentData(), "data": str(self.data), "limit": limit, "shots": None}}
        if self.is_judged():
            request["judge"] = {"model": None, "gguf": str(self._judge),
                                "rubric": self.rubric.toPlainText().strip()}
        return request
