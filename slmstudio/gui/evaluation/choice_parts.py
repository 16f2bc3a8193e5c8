"""Parts of the choice of an evaluation: which models answer, and the fields that are seldom changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QLineEdit, QWidget

from slmstudio.core.i18n import ptr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.known_models import ModelPicker, known_models
from slmstudio.gui.common.widgets.fields import SpinBox, named, number_field
from slmstudio.gui.common.widgets.labels import plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import column_in, column_of, grid_in, grid_of
from slmstudio.gui.evaluation.tables import model_label

LONGEST = 8192
LARGEST_SEED = 2**31 - 1
MOST_SHOTS = 100


class MoreFields(QWidget):
    """
    Signals:
        changed: something else is chosen now.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.longest = spin_box("evaluation_longest", tr("Maximum answer length, tokens"),
                                tr("Longer answers are cut off here. The longer the answers, the longer it takes."), 1,
                                LONGEST)
        self.longest.valueChanged.connect(lambda: self.changed.emit())
        self.system = named(QLineEdit(placeholderText=ptr("system prompt", "none")), "evaluation_system",
                            tr("System prompt"),
                            tr("Used for every question that has none of its own. Enter the one that the model will be "
                               "used with."))
        self.seed = spin_box("evaluation_seed", tr("Seed for drawing rows"),
                             tr("Decides which rows are drawn when not all are used. The same number draws the same "
                                "rows, so that two evaluations can be compared."), 0, LARGEST_SEED)
        self.general = named(QCheckBox(tr("General questions")), "evaluation_general",
                             tip=tr("Ask base and tuned model 48 questions of general knowledge too, in English and "
                                    "Hindi. Shows in seconds whether training made it forget something."))
        self.general.setChecked(True)
        grid = grid_in(self, theme.SPACE_M, theme.SPACE_S, stretch=1)
        grid.addWidget(self.general, 3, 0, 1, 2)
        for row, field in enumerate((self.longest, self.system, self.seed)):
            grid.addWidget(text_label(field.accessibleName(), "small"), row, 0)
            if field is self.system:
                grid.addWidget(field, row, 1)
            else:
                grid.addWidget(field, row, 1, Qt.AlignmentFlag.AlignLeft)

    def values(self) -> dict[str, Any]:
        """Those keys of a request."""
        return {"max_new_tokens": self.longest.value(), "system": self.system.text().strip() or None,
                "seed": self.seed.value(), "general": self.general.isChecked()}


def spin_box(name: str, label: str, tooltip: str, least: int, most: int) -> SpinBox:
    """A field for a whole number."""
    box = named(number_field(SpinBox()), name, label, tooltip)
    box.setRange(least, most)
    box.setGroupSeparatorShown(True)
    box.setMinimumWidth(96)
    return box


BOXES_A_LINE = 3
WIDEST = 330
"""Pixels of a model's name."""


def offered_models(but: Path) -> list[tuple[str, Path]]:
    """Names and places of the models on this machine that an evaluation can take: the results of the other runs, base
    models, GGUF files. May take a while.

    Args:
        but: the run whose own models aren't named again.
    """
    from slmstudio.core.files import number
    from slmstudio.core.model.hub import on_disk
    from slmstudio.core.run import folder

    runs = [(run, request) for run, request in folder.requests()
            if run != but and folder.result_folder(run) is not None]
    runs.sort(key=lambda each: number(each[1], "created") or 0.0, reverse=True)
    results = [(str(request.get("name") or run.name), run) for run, request in runs]
    bases = [(found.name, found.path) for found in on_disk.local_models() if found.kind == "folder"]
    return [*results, *bases, *((name, path) for name, path in known_models() if but not in path.parents)]


class ModelBoxes(QWidget):
    """A mark beside each model that answers, and a list of others below.

    Signals:
        changed: other models are marked.
        wanted(Path): the user chose another model; whoever listens finds out what it is and calls `add`.
    """

    changed = Signal()
    wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.boxes: dict[str, QCheckBox] = {}
        self.added: list[dict[str, Any]] = []
        self._run: Path | None = None
        self.picker = ModelPicker(tr("Add a model"), tr("Add a model…"),
                                  tr("Let another model answer the same rows: another run's result, a base model, or a "
                                     "GGUF file."), keeps=False)
        self.picker.setObjectName("evaluation_add_model")
        self.picker.chosen.connect(self.wanted)
        self._grid = grid_of(theme.SPACE_M, theme.SPACE_XS, stretch=BOXES_A_LINE)
        self._others = column_of(spacing=theme.SPACE_XS)  # their names are long
        column_in(self, self._grid, self._others, (self.picker, 0, Qt.AlignmentFlag.AlignLeft), spacing=theme.SPACE_XS)

    def offer(self, run: Path, models: list[str]) -> None:
        """Show a run's models; the base and the result are marked. The same run's keep their marks, and what was added
        to them."""
        same = list(self.boxes)[:len(models)] == models and len(self.boxes) == len(models) + len(self.added)
        if run == self._run and same:
            return
        self._run = run
        for box in self.boxes.values():
            box.hide()
            box.deleteLater()
        self.boxes, self.added = {}, []
        row = column = 0
        for name in models:
            box = self._box(name, self._tip(name), name in ("base", "tuned"))
            wide = BOXES_A_LINE if box.sizeHint().width() > WIDEST // BOXES_A_LINE else 1
            if column + wide > BOXES_A_LINE:
                row, column = row + 1, 0
            self._grid.addWidget(box, row, column, 1, wide)
            column += wide

    def add(self, model: Mapping[str, Any]) -> None:
        """Show one more model, marked. One that was added already is marked again."""
        from slmstudio.core.evaluation.request import with_own_name

        place = str(model["gguf"] or model["adapter"] or model["model"])
        same = next((each for each in self.added if place in (each["gguf"], each["adapter"], each["model"])
                     and each["adapter"] == model["adapter"]), None)
        if same is not None:
            self.boxes[same["name"]].setChecked(True)
            return
        own = with_own_name(model, self.boxes)
        self.added.append(own)
        self._others.addWidget(self._box(own["name"], place, True))
        self.changed.emit()

    def _box(self, name: str, tooltip: str, on: bool) -> QCheckBox:
        box = named(QCheckBox(self.fontMetrics().elidedText(model_label(name), Qt.TextElideMode.ElideMiddle, WIDEST)),
                    f"evaluate_{name}", model_label(name), plain_tip(tooltip))
        box.setChecked(on)
        box.toggled.connect(lambda: self.changed.emit())
        self.boxes[name] = box
        return box

    def _tip(self, name: str) -> str:
        return {"base": tr("The model before training. The others are compared with it."),
                "tuned": tr("The model that this run trained."),
                }.get(name, tr("The exported file. Shows what quantization costs on your task."))

    def names(self) -> list[str]:
        """The models that are marked, in the order in which they are shown."""
        return [name for name, box in self.boxes.items() if box.isChecked()]
