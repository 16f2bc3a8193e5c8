"""What is evaluated: which rows, which models, how many, and by whom it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QLineEdit, QPlainTextEdit, QWidget

from slmstudio.core.evaluation import rival_models
from slmstudio.core.i18n import ntr, ptr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import open_path
from slmstudio.gui.common.known_models import ModelPicker
from slmstudio.gui.common.widgets.areas import TakesFiles
from slmstudio.gui.common.widgets.buttons import SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.labels import ElidedLabel, show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in, grid_of, row_widget
from slmstudio.gui.evaluation.choice_parts import MOST_SHOTS, ModelBoxes, MoreFields, spin_box
from slmstudio.gui.evaluation.rivals import RivalBoxes
from slmstudio.gui.evaluation.tables import BENCHMARKS, benchmark_label

RUBRIC_LINES = 4
RUBRIC = "The better answer is right, complete and short, and is written in the language of the question."
"""In English whatever the window speaks: the judge reads it, and two evaluations should be comparable."""


class JudgeFields(QWidget):
    """A box that, once marked, shows the rest.

    Signals:
        changed: something else is chosen now.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._votes = 0
        self.wanted = named(QCheckBox(tr("Let another model judge the answers")), "evaluation_judged",
                            tip=tr("A model on this machine reads each pair of answers in both orders, and says which "
                                   "is better. It should be larger than the tuned model."))
        self.wanted.toggled.connect(self._show_state)
        self.model = ModelPicker(tr("Judge"), tr("Choose the judge…"),
                                 tr("The model that judges: a GGUF file or a model's folder. If you can, take one that "
                                    "is larger than the tuned model."))
        self.model.setObjectName("evaluation_judge")
        self.model.chosen.connect(self._show_state)
        self.rubric = named(QPlainTextEdit(), "evaluation_rubric", tr("What the judge looks for"),
                            tr("Say what makes an answer good in your case. The judge reads this."))
        self.rubric.setPlainText(RUBRIC)
        self.rubric.setFixedHeight(RUBRIC_LINES * self.rubric.fontMetrics().lineSpacing())
        self.rubric.setTabChangesFocus(True)
        self.rubric.textChanged.connect(self.changed)
        self.note = text_label("", "small", wrap=True, name="evaluation_votes")
        column_in(self, self.wanted, self.model, self.rubric, self.note)
        self._show_state()

    def set_votes(self, count: int) -> None:
        """Say against how many of the user's blind votes the judge will be held."""
        self._votes = count
        self._show_state()

    def _show_state(self) -> None:
        for widget in (self.model, self.rubric, self.note):
            widget.setVisible(self.wanted.isChecked())
        if self._votes:
            note = ntr("It also judges the answers of your {n:,} blind vote in Chat, so that you see how often it "
                       "agrees with you.", "It also judges the answers of your {n:,} blind votes in Chat, so that you "
                       "see how often it agrees with you.", self._votes)
        else:
            note = tr("Can you trust it? Afterwards, vote on some answers yourself without seeing whose they are "
                      "(“Vote blind…” above the answers). Then you see how often it agrees with you.")
        self.note.setText(note)
        self.changed.emit()

    def complete(self) -> bool:
        """Whether there is a judge, where one is wanted."""
        return not self.wanted.isChecked() or (self.model.path() is not None and bool(self.rubric_text()))

    def rubric_text(self) -> str:
        return self.rubric.toPlainText().strip()

    def path(self) -> Path | None:
        """The judge, where one is wanted."""
        return self.model.path() if self.wanted.isChecked() else None


HELD_OUT, FILE, BENCHMARK = range(3)
MOST_ROWS = 1_000_000
SUBJECT_ROWS = 10
"""Questions of each subject of a benchmark that are proposed."""
LETTERS = 12
"""How many letters of a benchmark's name are shown where there is little room."""
OWN_SHOTS = -1
"""As many examples as the benchmark itself takes."""


class EvaluationChoice(TakesFiles, QWidget):
    """The fields.

    Signals:
        changed: something else is chosen now.
        read_wanted: other rows, or another folder, are chosen; what is in them?
        model_wanted(Path): another model is to be added.
    """

    changed = Signal()
    read_wanted = Signal()
    model_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.test: Path | None = None
        self._folders: dict[str, Path] = {}
        self._fetched = ""
        self._limits = {False: 0, True: SUBJECT_ROWS}
        self._was_benchmark = False
        self.source = SegmentedControl([tr("Held-out rows"), tr("A file"), tr("Benchmark")], tooltips=[
            tr("Rows of the run's own data that weren't used for training."),
            tr("Your own test set: JSONL, JSON or CSV, with questions and the expected answers."),
            tr("General knowledge, measured with the standard harness (lm_eval). Its files must be on this machine.")],
            name="evaluation_source")
        self.models, self.judge, self.fields = ModelBoxes(), JudgeFields(), MoreFields()
        self.rivals = RivalBoxes()
        self.longest = self.fields.longest
        self._make_file_line()
        self._make_rows_line()
        self.more = SecondaryButton(tr("More"), tr("The length of answers, a system prompt, and which rows are drawn."),
                                    "small", name="evaluation_more")
        self.more.setCheckable(True)
        self._lay_out()
        self.more.toggled.connect(self._show_state)
        self.source.changed.connect(self._change_source)
        self.models.changed.connect(self.changed)
        self.models.wanted.connect(self.model_wanted)
        self.judge.changed.connect(self.changed)
        self.rivals.changed.connect(self.changed)
        self.fields.changed.connect(self.changed)
        self._show_state()

    def _make_file_line(self) -> None:
        self.name = ElidedLabel("", "body", name="evaluation_file")
        self.browse = SecondaryButton(tr("Browse…"), tr("Choose the file or folder. You can also drop a file here."),
                                      "small", name="evaluation_browse", clicked=self._ask)
        self.download = SecondaryButton(tr("Download…"),
                                        tr("Download its data from the hub once. It's kept and used offline. You're "
                                           "asked first."), "small", name="evaluation_download")
        self.benchmark = named(ComboBox(), "evaluation_benchmark", tr("Benchmark"),
                               tr("Which questions the models are asked."))
        self.benchmark.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.benchmark.setMinimumContentsLength(LETTERS)
        for name in BENCHMARKS:
            self.benchmark.addItem(benchmark_label(name), name)
        self.benchmark.insertSeparator(self.benchmark.count())
        self.benchmark.addItem(ptr("benchmark", "Another…"), "")
        self.benchmark.currentIndexChanged.connect(self._change_source)
        self.task = named(QLineEdit(placeholderText=tr("for example mmlu_anatomy")), "evaluation_task",
                          tr("Name of the benchmark in lm_eval"),
                          tr("The name of any lm_eval task or group that counts right answers."))
        self.task.editingFinished.connect(self._change_source)
        self.task.textChanged.connect(self._change_name)
        example = tr("Columns, for example {example}", example="question=Ask,answer=Right")
        self.columns = named(QLineEdit(placeholderText=example), "evaluation_columns", tr("Columns"),
                             tr("What the columns of the file contain. Leave it empty where their names say it."))
        self.columns.editingFinished.connect(self.read_wanted)
        self.found = text_label("", "small", wrap=True, name="evaluation_found")
        self.found.hide()

    def _make_rows_line(self) -> None:
        self.limit = spin_box("evaluation_limit", tr("Maximum rows"),
                              tr("This many rows are drawn at random. Fewer rows are faster but say less: to see a "
                                 "difference of a few points, you need hundreds."), 0, MOST_ROWS)
        self.limit.setSpecialValueText(ptr("rows", "all"))
        self.limit.valueChanged.connect(lambda: self.changed.emit())
        self.limit_label = text_label("", "small")
        self.shots = spin_box("evaluation_shots", tr("Examples before each question"),
                              tr("Solved questions that the model reads first (few-shot). To compare with published "
                                 "figures, leave it unchanged. Fewer are faster."), OWN_SHOTS, MOST_SHOTS)
        self.shots.setSpecialValueText(tr("default"))
        self.shots.setValue(OWN_SHOTS)
        self.shots_label = text_label(tr("Examples"), "small")

    def _lay_out(self) -> None:
        self._file = row_widget((self.benchmark, 1), (self.name, 1), self.download, self.browse)
        rows_line = row_widget(self.limit, (self.limit_label, 1), self.shots_label, self.shots)
        grid = grid_of(theme.SPACE_M, theme.SPACE_S, stretch=1)
        top = Qt.AlignmentFlag.AlignTop
        for row, (name, widget) in enumerate(((tr("Test set"), self.source), ("", self._file), ("", self.task),
                                              ("", self.columns), ("", self.found), (tr("Models"), self.models),
                                              ("", self.rivals), (tr("Rows"), rows_line), ("", self.judge),
                                              ("", self.more), ("", self.fields))):
            if name:  # an empty label would keep the height of a line that is hidden
                grid.addWidget(text_label(name, "small"), row, 0, top if widget is self.models else Qt.AlignmentFlag(0))
            grid.addWidget(widget, row, 1, Qt.AlignmentFlag.AlignLeft if widget is self.more else Qt.AlignmentFlag(0))
        column_in(self, grid, spacing=None)

    # -- what is offered -------------------------------------------------------------------------------------

    def offer(self, run: Path, models: list[str], longest: int, limit: int, *, held_out: bool) -> None:
        """Offer these models of a run, and its held-out rows where it has some."""
        self.models.offer(run, models)
        self._limits[False] = limit
        for box, value in ((self.longest, longest), (self.limit, self._limits[self._was_benchmark])):
            with QSignalBlocker(box):
                box.setValue(value)
        self.source.button(HELD_OUT).setEnabled(held_out)
        if not held_out and self.source.current() == HELD_OUT:
            self.source.set_current(FILE)
        self._show_state()

    def set_found(self, text: str, rows: int | None = None) -> None:
        """Say what was found in the test set."""
        show_text(self.found, text)
        self.limit_label.setText(tr("per subject") if self.is_benchmark() else
                                 "" if rows is None else tr("of {rows:,}", rows=rows))

    def set_fetched(self, name: str, sentence: str) -> None:
        """Say that the data of this benchmark are on this machine, and where they came from; "" if they aren't."""
        if name == self.benchmark_name():
            self._fetched = sentence
            self._show_state()

    @property
    def data(self) -> Path | None:
        """The folder that was chosen for the benchmark."""
        return self._folders.get(self.benchmark_name())

    def is_benchmark(self) -> bool:
        return self.source.current() == BENCHMARK

    def _change_source(self) -> None:
        self._fetched = ""
        self._show_state()
        self.read_wanted.emit()

    def _change_name(self) -> None:
        """A name is being typed: whether its data are here is looked at when it is whole."""
        self._fetched = ""
        self._show_state()

    def _show_state(self) -> None:
        benchmark = self.is_benchmark()
        if benchmark != self._was_benchmark:
            self._limits[self._was_benchmark], self._was_benchmark = self.limit.value(), benchmark
            self.limit.setValue(self._limits[benchmark])
        path = self.data if benchmark else self.test
        self._file.setVisible(self.source.current() != HELD_OUT)
        self.columns.setVisible(self.source.current() == FILE and path is not None)
        self.task.setVisible(benchmark and not self.benchmark.currentData())
        show_text(self.name, str(path) if path else self._fetched if benchmark else tr("No file yet. Drop one here."))
        self.download.setVisible(benchmark and not path and not self._fetched)
        self.download.setEnabled(bool(self.benchmark_name()))
        for widget in (self.benchmark, self.shots, self.shots_label):
            widget.setVisible(benchmark)
        for widget in (self.rivals, self.judge, self.more):
            widget.setVisible(not benchmark)  # the harness asks and scores in its own way
        self.fields.setVisible(self.more.isChecked() and not benchmark)
        self.changed.emit()

    # -- files -----------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        folder = self.is_benchmark()
        title = tr("Choose the benchmark's folder") if folder else tr("Choose a test set")
        kinds = "" if folder else tr("Test sets") + " (*.jsonl *.json *.ndjson *.csv *.tsv)"
        open_path(self, title, self.set_path, kinds, folder=folder)

    def set_path(self, path: Path) -> None:
        """Take a test file, or a benchmark's folder where that is asked for."""
        if self.is_benchmark() and path.is_dir():
            self._folders[self.benchmark_name()] = path
        else:
            self.test = path
            self.columns.clear()
            with QSignalBlocker(self.source):
                self.source.set_current(FILE)
        self._change_source()

    def forget_file(self) -> None:
        """Take back a test file that is none."""
        self.test = None
        self._show_state()

    def take_files(self, files: list[Path]) -> None:
        """A file is a test set, a GGUF file or a folder one more model; for a benchmark, a folder holds its data."""
        path = files[0]
        if path.suffix.lower() == ".gguf" or (path.is_dir() and not self.is_benchmark()):
            self.model_wanted.emit(path)
        else:
            self.set_path(path)

    # -- what is chosen --------------------------------------------------------------------------------------

    def complete(self) -> bool:
        """Whether it can be started as it is."""
        there = {HELD_OUT: True, FILE: self.test is not None,
                 BENCHMARK: bool(self.benchmark_name() and (self.data or self._fetched))}[self.source.current()]
        return there and bool(self.names()) and (self.is_benchmark() or (
            self.judge.complete() and not self.rivals.missing(self.names())))

    def missing(self) -> str:
        """What a user must still choose where it isn't plain to see; "" if nothing is."""
        if not self.names():
            return tr("Select at least one model.")
        if not self.is_benchmark() and not self.judge.complete():
            return tr("Choose the judge and say what it should look for, or turn it off.")
        return "" if self.is_benchmark() else self.rivals.missing(self.names())

    def benchmark_name(self) -> str:
        """As the harness calls it."""
        return str(self.benchmark.currentData() or "") or self.task.text().strip()

    def judge_path(self) -> Path | None:
        """The judge's folder or file, where one reads the answers too."""
        return None if self.is_benchmark() else self.judge.path()

    def names(self) -> list[str]:
        """The models that are marked, in the order in which they are shown."""
        return self.models.names()

    def answering(self) -> list[str]:
        """All that will answer: these, and the rivals that are marked."""
        return [*self.names(), *(() if self.is_benchmark() else self.rivals.names())]

    def apply(self, proposed: Mapping[str, Any]) -> dict[str, Any]:
        """A request as it was proposed, with what the user decided; the judge is named by its path yet."""
        source, limit = self.source.current(), self.limit.value() or None
        models = [model for model in (*proposed["models"], *self.models.added) if model["name"] in self.names()]
        if source != BENCHMARK and self.rivals.names() and not self.rivals.missing(self.names()):
            models = rival_models.added(models, self.rivals.names(), self.rivals.prompt())
        request = {**proposed, **self.fields.values(), "limit": limit, "benchmark": None, "judge": None,
                   "models": models}
        if source == FILE:
            request["test"] = str(self.test)
            request["test_columns"] = self.columns.text().strip(' "') or None
        elif source == BENCHMARK:
            shots = self.shots.value()
            request |= {"test": None, "limit": None, "system": proposed["system"], "benchmark": {
                "name": self.benchmark_name(), "data": str(self.data) if self.data else None,
                "limit": limit,
                "shots": None if shots == OWN_SHOTS else shots}}
        judge = self.judge_path()
        if judge is not None:
            request["judge"] = {"place": str(judge), "rubric": self.judge.rubric_text()}
        return request
