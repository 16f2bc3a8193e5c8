"""How it answers: system prompt, temperature, top-p, length and seed."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QIntValidator
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPlainTextEdit, QSlider, QVBoxLayout, QWidget

from slmstudio.gui import theme
from slmstudio.gui.widgets import Card, text_label

WIDTH = 240
CONTEXTS = (0, 1024, 2048, 4096, 8192, 16384, 32768)


class SliderRow(QWidget):
    """A name, a figure, and a slider below.

    Args:
        scale: what one position of the slider is worth.
    """

    changed = Signal()

    def __init__(self, name: str, tooltip: str, low: int, high: int, value: int, scale: float,
                 form: Callable[[float], str], parent: QWidget | None = None):
        super().__init__(parent)
        self._scale, self._form = scale, form
        self.figure = text_label("", "strong")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(low, high)
        self.slider.setPageStep(max(1, (high - low) // 10))
        self.slider.setValue(value)
        self.slider.setAccessibleName(name)
        self.slider.setToolTip(tooltip)
        self.slider.valueChanged.connect(self._show)
        head = QHBoxLayout()
        head.addWidget(text_label(name, "small"))
        head.addStretch(1)
        head.addWidget(self.figure)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.SPACE_XS)
        column.addLayout(head)
        column.addWidget(self.slider)
        self._show()

    def value(self) -> float:
        return self.slider.value() * self._scale

    def set_value(self, value: float) -> None:
        self.slider.setValue(round(value / self._scale))

    def _show(self) -> None:
        self.figure.setText(self._form(self.value()))
        self.changed.emit()


class ChatSettings(Card):
    """The right column of the Chat tab.

    Signals:
        context_changed: another context length is wanted; the models must be loaded again.
        system_changed: the system prompt is different now.
    """

    context_changed = Signal()
    system_changed = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(self.tr("How it answers"), parent=parent)
        self.setFixedWidth(WIDTH)
        self.system = QPlainTextEdit()
        self.system.setObjectName("system_prompt")
        self.system.setPlaceholderText(self.tr("What the model is and how it shall speak; may be empty"))
        self.system.setAccessibleName(self.tr("System prompt"))
        self.system.setToolTip(self.tr("Said to the model before the conversation. Use the one it was trained with, "
                                       "or none if there was none."))
        self.system.setTabChangesFocus(True)
        self.system.setFixedHeight(96)
        self.system.textChanged.connect(self.system_changed)
        self.temperature = SliderRow(self.tr("Temperature"), self.tr(
            "How freely it chooses its words. 0 always takes the likeliest; above 1 it rambles."),
            0, 40, 6, 0.05, lambda value: f"{value:.2f}")
        self.top_p = SliderRow(self.tr("Top-p"), self.tr(
            "It chooses among the likeliest tokens that together make up this share. Lower it against odd words."),
            1, 100, 90, 0.01, lambda value: f"{value:.2f}")
        self.max_tokens = SliderRow(self.tr("Max tokens"), self.tr(
            "An answer ends here at the latest. Raise it when answers are cut off."),
            1, 128, 16, 32, lambda value: f"{value:,.0f}")
        self.context = SliderRow(
            self.tr("Context, tokens"),
            self.tr(
                "How much of the conversation the model sees. Longer takes more memory; "
                "changing it loads the model again."
            ),
            0,
            len(CONTEXTS) - 1,
            0,
            1,
            self._context_text,
        )
        self.context.slider.sliderReleased.connect(self.context_changed)
        self.seed = QLineEdit()
        self._lay_out()

    def _lay_out(self) -> None:
        for name, widget in (("temperature", self.temperature.slider), ("top_p", self.top_p.slider),
                             ("max_tokens", self.max_tokens.slider), ("context", self.context.slider),
                             ("seed", self.seed)):
            widget.setObjectName(name)
        self.seed.setValidator(QIntValidator(0, 2**31 - 1, self))
        self.seed.setPlaceholderText(self.tr("another one each time"))
        self.seed.setAccessibleName(self.tr("Seed"))
        self.seed.setToolTip(self.tr("The same seed, question and settings give the same answer. "
                                     "Empty: each answer is drawn anew."))
        self.body.addWidget(text_label(self.tr("System prompt"), "small"))
        self.body.addWidget(self.system)
        for row in (self.temperature, self.top_p, self.max_tokens, self.context):
            self.body.addWidget(row)
        self.body.addWidget(text_label(self.tr("Seed"), "small"))
        self.body.addWidget(self.seed)
        self.body.addStretch(1)

    def _context_text(self, value: float) -> str:
        tokens = CONTEXTS[round(value)]
        return f"{tokens:,}" if tokens else self.tr("usual")

    def context_length(self) -> int | None:
        """Tokens, or None for the worker's own choice."""
        return CONTEXTS[round(self.context.value())] or None

    def options(self) -> dict[str, Any]:
        """The fields of a "generate" command. An empty seed is drawn here, so that both models get the same."""
        return {"temperature": round(self.temperature.value(), 2), "top_p": round(self.top_p.value(), 2),
                "max_tokens": round(self.max_tokens.value()),
                "seed": int(self.seed.text()) if self.seed.text() else secrets.randbelow(2**31)}

    def to_dict(self) -> dict[str, Any]:
        """The settings as a transcript keeps them."""
        return {"system": self.system.toPlainText().strip(), **self.options(), "seed": self.seed.text()}

    def from_dict(self, state: dict[str, Any]) -> None:
        """Take a transcript's settings; what does not fit is passed over."""
        self.system.setPlainText(str(state.get("system") or ""))
        self.seed.setText(str(state.get("seed") or ""))
        for name, row in (("temperature", self.temperature), ("top_p", self.top_p), ("max_tokens", self.max_tokens)):
            value = state.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                row.set_value(value)
