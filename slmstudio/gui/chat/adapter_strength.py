"""How much of an adapter is put on the model: a slider for each model that an adapter fits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.chat.pane import ChatPane
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.fields import ComboBox, Slider, SpinBox, number_field
from slmstudio.gui.common.widgets.labels import ElidedLabel, plain_tip
from slmstudio.gui.common.widgets.layouts import column_in, row_of

if TYPE_CHECKING:
    from slmstudio.core.model.gguf.lora import LoraFacts

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
        self._timer = QTimer(self, interval=SETTLE_MS, singleShot=True, timeout=self._tell)
        self._make()
        self._lay_out()
        pane.state_changed.connect(self._look)
        pane.adapter_changed.connect(self._show_state)
        self.hide()

    def _make(self) -> None:
        tooltip = tr("How strongly the adapter changes the model: 0% is the base model, 100% is what was trained, "
                     "and more exaggerates it. Lower it when answers sound too much like the training data.")
        self.adapter.setAccessibleName(tr("Adapter"))
        self.adapter.setToolTip(tr("The exported adapter (GGUF LoRA) that is applied to the model."))
        self.adapter.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.adapter.setMinimumContentsLength(12)
        self.slider.setRange(0, MOST_PERCENT)
        self.slider.setPageStep(10)
        self.percent.setRange(0, MOST_PERCENT)
        self.percent.setSingleStep(5)
        self.percent.setSuffix(tr("%"))
        self.percent.setKeyboardTracking(False)
        for widget, name in ((self.slider, "adapter_strength"), (self.percent, "adapter_percent")):
            widget.setObjectName(name)
            widget.setToolTip(tooltip)
            widget.setAccessibleName(tr("Adapter strength"))
        self.adapter.setObjectName("adapter")
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
            self._tell()

    def offer(self, loras: list[LoraFacts]) -> None:
        """Show these adapters, all of them off."""
        self.loras = loras
        self.adapter.clear()
        for lora in loras:
            self.adapter.addItem(lora.path.stem, str(lora.path))
            self.adapter.setItemData(self.adapter.count() - 1, plain_tip(str(lora.path)), Qt.ItemDataRole.ToolTipRole)
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

    def _tell(self) -> None:
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
