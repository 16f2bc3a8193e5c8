"""The plan's fields: their names for people, their order, and one row of the form each."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QCoreApplication, Qt, Signal
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from slmstudio.core.run import limits
from slmstudio.core.run.config import RunConfig
from slmstudio.gui import theme
from slmstudio.gui.widgets import ElidedLabel, IconButton, text_label

CHOICES = limits.CHOICES
FIXED = ("model", "train_file", "eval_file")
"""Decided in the tabs before; the plan only shows them."""
SIMPLE = ("name", "method", "lora_rank", "epochs", "max_length", "micro_batch_size", "gradient_accumulation_steps",
          "learning_rate", "precision")
PAIRS = {"method": "lora_rank", "micro_batch_size": "gradient_accumulation_steps"}
"""Fields that share a line with the one that follows them."""


def tr(text: str) -> str:
    return QCoreApplication.translate("PlanFields", text)


def groups() -> dict[str, tuple[str, ...]]:
    """All fields of a run in the order in which one decides them, under headings."""
    return {
        tr("Run"): ("name", "model", "train_file", "eval_file", "eval_fraction", "split_seed"),
        tr("Method"): ("method", "lora_rank", "lora_alpha", "lora_dropout", "target_modules"),
        tr("Length"): ("epochs", "max_steps"),
        tr("Batch"): (
            "max_length",
            "micro_batch_size",
            "gradient_accumulation_steps",
            "group_by_length",
            "completion_only_loss",
        ),
        tr("Learning"): (
            "learning_rate",
            "lr_scheduler",
            "warmup_fraction",
            "optimizer",
            "weight_decay",
            "max_grad_norm",
        ),
        tr("Machine"): ("device", "precision", "attention", "gradient_checkpointing", "threads"),
        tr("Saving"): ("eval_steps", "save_steps", "keep_checkpoints", "seed"),
    }


def label(name: str) -> str:
    """A field's name for people, in the field's own words."""
    return {
        "name": tr("Name"), "model": tr("Base model"), "train_file": tr("Training rows"), "eval_file": tr("Eval rows"),
        "eval_fraction": tr("Share split off for eval"), "split_seed": tr("Seed of the split"), "method": tr("Method"),
        "lora_rank": tr("Rank"), "lora_alpha": tr("Alpha"), "lora_dropout": tr("Dropout"),
        "target_modules": tr("Target modules"), "epochs": tr("Length of run, epochs"), "max_steps": tr("Steps at most"),
        "max_length": tr("Sequence length, tokens"), "micro_batch_size": tr("Micro-batch, rows"),
        "gradient_accumulation_steps": tr("× accumulated"), "group_by_length": tr("Group rows by length"),
        "completion_only_loss": tr("Completion-only loss"),
        "learning_rate": tr("Learning rate"), "lr_scheduler": tr("Scheduler"),
        "warmup_fraction": tr("Warm-up, share of steps"),
        "optimizer": tr("Optimizer"), "weight_decay": tr("Weight decay"),
        "max_grad_norm": tr("Clip gradients at norm"),
        "device": tr("Device"), "precision": tr("Precision"), "attention": tr("Attention"),
        "gradient_checkpointing": tr("Recompute activations"), "threads": tr("Processor threads"),
        "eval_steps": tr("Evaluate every, steps"), "save_steps": tr("Checkpoint every, steps"),
        "keep_checkpoints": tr("Checkpoints kept"), "seed": tr("Seed"),
    }.get(name, name)


def choice_label(value: str) -> str:
    return {"lora": tr("LoRA"), "full": tr("Full fine-tuning"), "auto": tr("auto: the GPU if there is one"),
            "cpu": tr("processor"), "cuda": tr("NVIDIA GPU"), "sdpa": tr("SDPA"), "fp32": "fp32", "bf16": "bf16",
            "fp16": "fp16", "constant_with_warmup": tr("constant, with warm-up")}.get(value, value)


def write(value: Any) -> str:
    """A value as it is typed.

    >>> write(2e-4), write(3.0), write(0.05), write(None), write(["q_proj", "v_proj"])
    ('2e-4', '3', '0.05', '', 'q_proj, v_proj')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        if value and abs(value) < 1e-3:
            mantissa, _, exponent = f"{value:.6e}".partition("e")
            return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        return f"{value:g}"
    return ", ".join(value) if isinstance(value, list) else str(value)


class _Choice(QComboBox):
    """A combo box that the page's scrolling cannot change."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class FieldRow(QWidget):
    """One field: label, editor, the reason for its value, and what is wrong with it.

    Signals:
        edited(name, text or bool): the person decided another value.
        reset(name): the plan shall decide again.
    """

    edited = Signal(str, object)
    reset = Signal(str)

    def __init__(self, name: str, help_text: str, parent: QWidget | None = None):
        super().__init__(parent)
        self.name = name
        self.label = text_label(label(name), "small")
        self.reason = text_label("", "small", wrap=True)
        self.reason.setProperty("tone", "faint")
        self.problem = text_label("", "small", wrap=True)
        self.problem.setProperty("tone", "bad")
        self.problem.hide()
        self._reset = IconButton("undo", self.tr("Let the plan decide this again"))
        self._reset.setObjectName(f"reset_{name}")
        self._reset.hide()
        self._reset.clicked.connect(lambda: self.reset.emit(self.name))
        self.editor = self._make_editor()
        self.editor.setObjectName(f"field_{name}")
        self.editor.setAccessibleName(label(name))
        for each in (self, self.editor):
            each.setToolTip(help_text)
        self._lay_out()

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setSpacing(theme.SPACE_XS)
        head.addWidget(self.label, 1)
        head.addWidget(self._reset)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        if not isinstance(self.editor, QCheckBox):
            column.addLayout(head)
            column.addWidget(self.editor)
        else:
            line = QHBoxLayout()
            line.addWidget(self.editor, 1)
            line.addWidget(self._reset)
            self.label.setParent(self)
            self.label.hide()
            column.addLayout(line)
        column.addWidget(self.problem)
        column.addWidget(self.reason)

    def _make_editor(self) -> QWidget:
        if self.name in FIXED:
            return ElidedLabel()
        if self.name in CHOICES:
            box = _Choice()
            box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            for value in CHOICES[self.name]:
                box.addItem(choice_label(value), value)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(6)
            box.activated.connect(lambda: self.edited.emit(self.name, box.currentData()))
            return box
        if isinstance(RunConfig.__dataclass_fields__[self.name].default, bool):
            check = QCheckBox(label(self.name))
            check.clicked.connect(lambda on: self.edited.emit(self.name, on))
            return check
        line = QLineEdit()
        line.editingFinished.connect(self._finished)
        return line

    def _finished(self) -> None:
        assert isinstance(self.editor, QLineEdit)
        if self.editor.isModified():
            self.editor.setModified(False)
            self.edited.emit(self.name, self.editor.text())

    def show_value(self, value: Any, reason: str, changed: bool) -> None:
        """Show a value that the plan holds now.

        Args:
            changed: whether the person decided it; then it can be given back to the plan.
        """
        editor = self.editor
        if isinstance(editor, QComboBox):
            editor.setCurrentIndex(editor.findData(value))
        elif isinstance(editor, QCheckBox):
            editor.setChecked(bool(value))
        elif isinstance(editor, QLineEdit):
            editor.setText(write(value))
            editor.setCursorPosition(0)
        elif isinstance(editor, ElidedLabel):
            editor.setText(write(value) or self.tr("split off the training rows"))
        self.reason.setText(reason)
        self._reset.setVisible(changed)
        self.show_problem("")

    def show_problem(self, text: str) -> None:
        self.problem.setText(text)
        self.problem.setVisible(bool(text))
        if text:
            self.reason.hide()
        self.editor.setProperty("invalid", bool(text))
        theme.restyle(self.editor)

    def set_editable(self, on: bool) -> None:
        if isinstance(self.editor, QLineEdit):
            self.editor.setReadOnly(not on)
        elif not isinstance(self.editor, ElidedLabel):
            self.editor.setEnabled(on)
        self.editor.setProperty("locked", not on)
        theme.restyle(self.editor)
        self._reset.setEnabled(on)
