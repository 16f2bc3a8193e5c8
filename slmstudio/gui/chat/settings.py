"""How it answers: system prompt, sampling, length, stop strings, and how much of an adapter is on the model."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QIntValidator, QTextCursor
from PySide6.QtWidgets import QLineEdit, QPlainTextEdit, QWidget

from slmstudio.core.chat.sampling import LIMITS, Sampling
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import number_text, tr
from slmstudio.gui.chat.device_panel import DevicePanel
from slmstudio.gui.chat.pane import ChatPane
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.areas import Card, scrolled
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import ComboBox, Slider, SpinBox, named, number_field
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_widget, row_of

if TYPE_CHECKING:
    from slmstudio.core.model.gguf.lora import LoraFacts

WIDTH = 240
CONTEXTS = (0, 1024, 2048, 4096, 8192, 16384, 32768)
TOP_KS = (0, 1, 2, 5, 10, 20, 40, 60, 80, 100, 200, 500, 1000)
DEFAULTS = Sampling()
SCALES = {"temperature": 0.05, "top_p": 0.01, "max_tokens": 32, "min_p": 0.01, "repeat_penalty": 0.01}
"""What one position of each slider is worth."""


class SliderRow(QWidget):
    """A name, a figure, and a slider below.

    Args:
        scale: what one position of the slider is worth.
    """

    changed = Signal()

    def __init__(self, name: str, tooltip: str, low: int, high: int, value: int, scale: float,
                 form: Callable[[float], str]):
        super().__init__()
        self._scale, self._form = scale, form
        self.figure = text_label("", "strong")
        self.slider = named(Slider(Qt.Orientation.Horizontal), "", name, tooltip)
        self.slider.setRange(low, high)
        self.slider.setPageStep(max(1, (high - low) // 10))
        self.slider.setValue(value)
        self.slider.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip(tooltip)
        self.slider.valueChanged.connect(self._show)
        column_in(self, row_of(text_label(name, "small"), STRETCH, self.figure, spacing=None), self.slider,
                  spacing=theme.SPACE_XS)
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
        context_changed: another context length, cache or batch is wanted; the models must be loaded again.
        system_changed: the system prompt is different now.
        changed: something that `to_dict` has is different now.
    """

    context_changed = Signal()
    system_changed = Signal()
    changed = Signal()

    def __init__(self) -> None:
        super().__init__(tr("How it answers"))
        self.header.addWidget(IconButton("undo",
                                         tr("Reset everything in this column, including the system prompt. Ctrl+Z in "
                                            "its field brings the prompt back."), name="reset_sampling",
                                         clicked=self.reset))
        theme.grow(self, "setFixedWidth", WIDTH)
        self._make_system()
        self.rows = self._make_rows()
        self.context = SliderRow(tr("Context, tokens"),
                                 tr("How much of the conversation the model sees. A longer context takes more memory. "
                                    "Changing it reloads the model."), 0, len(CONTEXTS) - 1, 0, 1, self._context_text)
        self._settled = QTimer(self, interval=SETTLE_MS, singleShot=True)
        self._settled.timeout.connect(self.context_changed)
        self.context.changed.connect(self._context_moved)
        self.context.slider.sliderReleased.connect(self._settled.start)
        self.device = DevicePanel()
        self.device.changed.connect(self.context_changed)
        self._make_seed_and_stops()
        self._lay_out()
        self.reset()

    def _make_system(self) -> None:
        self.system = named(QPlainTextEdit(), "system_prompt", tr("System prompt"),
                            tr("What the model is told before the conversation. Use the one it was trained with, or "
                               "none if there was none."))
        self.system.setPlaceholderText(tr("What the model is and how it should speak (optional)"))
        self.system.setTabChangesFocus(True)
        theme.grow(self.system, "setFixedHeight", 80)
        self.system.textChanged.connect(self.system_changed)

    def _make_rows(self) -> dict[str, SliderRow]:
        """The sliders by the name of the field of `Sampling` that each sets."""
        def two_digits(value: float) -> str:
            return f"{value:.2f}"

        def row(name: str, title: str, tooltip: str, form: Callable[[float], str] = two_digits) -> SliderRow:
            scale, (low, high) = SCALES[name], LIMITS[name]
            high = min(high, 4096)
            return SliderRow(title, tooltip, max(round(low / scale), 1 if name in ("max_tokens", "top_p") else 0),
                             round(high / scale), 0, scale, form)

        return {
            "temperature": row("temperature", tr("Temperature"),
                               tr("How freely the model chooses its words. 0 always takes the most likely word; above "
                                  "1 it rambles.")),
            "top_p": row("top_p", tr("Top-p"),
                         tr("The model chooses among the most likely tokens that together make up this share. Lower it "
                            "if it uses odd words.")),
            "max_tokens": row("max_tokens", tr("Max tokens"),
                              tr("The longest an answer can be. Raise it when answers are cut off."),
                              lambda value: number_text(value, ",.0f")),
            "top_k": SliderRow(tr("Top-k"),
                               tr("The model chooses among this many of the most likely tokens. Lower it if it uses "
                                  "odd words; “off” allows all."), 0, len(TOP_KS) - 1, 0, 1,
                               lambda value: str(TOP_KS[round(value)]) if value else tr("off")),
            "min_p": row("min_p", tr("Min-p"),
                         tr("Leaves out tokens that are less likely than this share of the most likely one. Raise it "
                            "when a high temperature produces nonsense.")),
            "repeat_penalty": row("repeat_penalty", tr("Repeat penalty"),
                                  tr("Makes words that were just used less likely. Raise it slightly, to 1.1, when an "
                                     "answer goes round in circles. 1 has no effect.")),
        }

    def _make_seed_and_stops(self) -> None:
        self.seed = named(QLineEdit(placeholderText=tr("a new one each time")), "seed", tr("Seed"),
                          tr("The same seed, question and settings give the same answer. If it is empty, each answer "
                             "gets a new seed."))
        self.seed.setValidator(QIntValidator(0, 2**31 - 1, self))
        self.stop = named(QPlainTextEdit(placeholderText=tr("one per line; \\n means a line break")), "stop_strings",
                          tr("Stop strings"),
                          tr("An answer ends just before any of these texts. Use them when a model writes the next "
                             "question itself."))
        self.stop.setTabChangesFocus(True)
        theme.grow(self.stop, "setFixedHeight", 56)

    def _lay_out(self) -> None:
        for name, row in {**self.rows, "context": self.context}.items():
            row.slider.setObjectName(name)
        self.more = SecondaryButton(tr("More settings"), tr("Show or hide settings that are rarely changed."), "small",
                                    name="more_sampling")
        self.more.setCheckable(True)
        self._strengths: list[AdapterStrength] = []
        self._strength_title = text_label(tr("Adapter strength"), "small")
        self._strength_title.hide()
        self._seldom = column_widget(self.rows["top_k"], self.rows["min_p"], self.rows["repeat_penalty"],
                                     text_label(tr("Seed"), "small"), self.seed,
                                     text_label(tr("Stop strings"), "small"), self.stop, spacing=theme.SPACE_M)
        page = QWidget()
        self._column = column_in(page, text_label(tr("System prompt"), "small"), self.system, self.rows["temperature"],
                                 self.rows["top_p"], self.rows["max_tokens"], self.context, self.device,
                                 self._strength_title, self.more, self._seldom, STRETCH, spacing=theme.SPACE_M,
                                 margins=(0, 0, theme.SPACE_S, 0))
        self._seldom.hide()
        self.more.toggled.connect(self._seldom.setVisible)
        for signal in (self.system_changed, self.seed.textChanged, self.stop.textChanged,
                       *(row.changed for row in self.rows.values())):
            signal.connect(self.changed)
        self.body.addWidget(scrolled(page), 1)

    def add_strength(self, strength: AdapterStrength) -> None:
        """Put the strength of one more model's adapter above what is changed more seldom."""
        self._strengths.append(strength)
        strength.offered.connect(self._show_strengths)
        self._column.insertWidget(self._column.indexOf(self.more), strength)

    def _show_strengths(self) -> None:
        self._strength_title.setVisible(any(not each.isHidden() for each in self._strengths))

    def _context_moved(self) -> None:
        if not self.context.slider.isSliderDown():  # by a key, a click beside the handle, or Reset
            self._settled.start()

    def _context_text(self, value: float) -> str:
        tokens = CONTEXTS[round(value)]
        return number_text(tokens) if tokens else tr("default")

    def set_context(self, position: float) -> None:
        """Put the slider there, before a model is loaded."""
        self.context.set_value(position)
        self._settled.stop()

    def context_length(self) -> int | None:
        """Tokens, or None for the worker's own choice."""
        return CONTEXTS[round(self.context.value())] or None

    def max_tokens(self) -> int:
        return round(self.rows["max_tokens"].value())

    def reset(self) -> None:
        """Set everything back to what it was at first."""
        self._set_sampling(DEFAULTS.to_dict())
        self.context.set_value(0)
        for strength in self._strengths:
            strength.reset()
        prompt = QTextCursor(self.system.document())  # unlike setPlainText, this can be undone
        prompt.select(QTextCursor.SelectionType.Document)
        prompt.removeSelectedText()

    def options(self) -> dict[str, Any]:
        """The fields of `Sampling`. An empty seed is drawn here, so that all models get the same."""
        found: dict[str, Any] = {name: round(row.value(), 2) for name, row in self.rows.items()}
        stops = [line.replace("\\n", "\n") for line in self.stop.toPlainText().split("\n") if line]
        return {**found, "max_tokens": self.max_tokens(), "top_k": TOP_KS[round(self.rows["top_k"].value())],
                "seed": int(self.seed.text()) if self.seed.text() else secrets.randbelow(2**31), "stop": stops}

    def to_dict(self) -> dict[str, Any]:
        """The settings as a conversation keeps them."""
        return {"system": self.system.toPlainText().strip(), **self.options(), "seed": self.seed.text()}

    def from_dict(self, state: dict[str, Any]) -> None:
        """Take a conversation's settings; what doesn't fit is passed over."""
        self.system.setPlainText(str(state.get("system") or ""))
        self._set_sampling(state)

    def _set_sampling(self, state: dict[str, Any]) -> None:
        seed = state.get("seed")
        self.seed.setText("" if seed is None else str(seed))
        stops = state.get("stop")
        self.stop.setPlainText("\n".join(each.replace("\n", "\\n") for each in stops if isinstance(each, str))
                               if isinstance(stops, list) else "")
        for name, row in self.rows.items():
            value = state.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                row.set_value(_nearest(value) if name == "top_k" else value)


def _nearest(top_k: float) -> int:
    """The position of the slider that comes nearest."""
    return min(range(len(TOP_KS)), key=lambda index: abs(TOP_KS[index] - top_k))


# -- How much of an adapter is put on the model: a slider for each model that an adapter fits.

MOST_PERCENT = 150
SETTLE_MS = 150
"""The slider must rest this long before the worker hears of it: each change makes it read the conversation again."""


class AdapterStrength(QWidget):
    """The adapter of one model. It is there only while the model has one that fits.

    Signals:
        offered: it is there now, or no longer.
    """

    offered = Signal()

    def __init__(self, pane: ChatPane):
        super().__init__()
        self._pane = pane
        self._model, self._loaded = "", False
        self.loras: list[LoraFacts] = []
        self.name = ElidedLabel("", "small")
        self.adapter, self.slider, self.percent = ComboBox(), Slider(Qt.Orientation.Horizontal), SpinBox()
        self._timer = QTimer(self, interval=SETTLE_MS, singleShot=True, timeout=self._report)
        self._make()
        self._lay_out()
        pane.state_changed.connect(self._look)
        pane.adapter_changed.connect(self._show_state)
        self.hide()

    def _make(self) -> None:
        tooltip = tr("How strongly the adapter changes the model: 0% is the base model, 100% is what was trained, "
                     "and more exaggerates it. Lower it when answers sound too much like the training data.")
        named(self.adapter, "adapter", tr("Adapter"),
              tr("The exported adapter (GGUF LoRA) that is applied to the model."))
        self.adapter.keep_narrow(12)
        self.slider.setRange(0, MOST_PERCENT)
        self.slider.setPageStep(10)
        self.percent.setRange(0, MOST_PERCENT)
        self.percent.setSingleStep(5)
        self.percent.setSuffix(tr("%"))
        self.percent.setKeyboardTracking(False)
        for widget, name in ((self.slider, "adapter_strength"), (self.percent, "adapter_percent")):
            named(widget, name, tr("Adapter strength"), tooltip)
        self.slider.valueChanged.connect(self._moved)
        self.percent.valueChanged.connect(self.slider.setValue)
        self.adapter.activated.connect(lambda _: self._timer.start())

    def _lay_out(self) -> None:
        column_in(self, self.name, row_of((self.slider, 1), number_field(self.percent)), self.adapter,
                  spacing=theme.SPACE_XS)

    # -- which adapters --------------------------------------------------------------------------------------

    def _look(self) -> None:
        """A model was loaded: which adapters fit it?"""
        loaded = self._pane.state not in ("empty", "loading", "failed")
        if loaded == self._loaded:
            return
        self._loaded = loaded
        self.setVisible(False)
        self.offered.emit()
        if loaded:
            model = self._pane.lane.model
            run_task(self, lambda task: _adapters(Path(model)), partial(self._found, model), lambda error: None)

    def _found(self, model: str, loras: list[LoraFacts]) -> None:
        if not self._loaded or model != self._pane.lane.model:
            return  # another one was loaded meanwhile
        before = (self.adapter.currentData(), self.slider.value()) if model == self._model else (None, 0)
        self._model = model
        self.offer(loras)
        at = self.adapter.findData(before[0])
        if at >= 0 and before[1]:  # the same model with another context length keeps its adapter
            self.adapter.setCurrentIndex(at)
            self._set_percent(before[1])
            self._report()

    def offer(self, loras: list[LoraFacts]) -> None:
        """Show these adapters, all of them off."""
        self.loras = loras
        self.adapter.clear()
        for lora in loras:
            self.adapter.add_path(lora.path.stem, lora.path)
        self.adapter.setVisible(len(loras) > 1)
        if loras:
            model = self._pane.name
            self.name.setText(tr("{adapter} on {model}", adapter=loras[0].path.stem, model=model)
                              if len(loras) == 1 else tr("on {model}", model=model))
        self._set_percent(0)
        self.setVisible(bool(loras))
        self.offered.emit()

    # -- how much --------------------------------------------------------------------------------------------

    def _moved(self, percent: int) -> None:
        self._set_percent(percent)
        self._timer.start()

    def reset(self) -> None:
        """Take the adapter off."""
        if self.loras and self.slider.value():
            self._moved(0)

    def _set_percent(self, percent: int) -> None:
        for widget in (self.slider, self.percent):
            with QSignalBlocker(widget):
                widget.setValue(percent)

    def _report(self) -> None:
        if self.loras:
            self._pane.set_adapter(Path(self.adapter.currentData()), self.slider.value() / 100)

    def _show_state(self) -> None:
        """What the worker says is on; it may have refused what was wanted."""
        if self._timer.isActive():
            return
        at = self.adapter.findData(str(self._pane.adapter)) if self._pane.adapter is not None else -1
        if at >= 0:
            self.adapter.setCurrentIndex(at)
        self._set_percent(round(100 * self._pane.strength))


def _adapters(model: Path) -> list[LoraFacts]:
    from slmstudio.core.chat.partners import adapters

    try:
        return adapters(model)
    except UserError:
        return []  # the pane says what is wrong with the model
