"""What computes the answers: the device and why, and the cache, attention and batch that go with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.chat.devices import CHOICES
from slmstudio.core.chat.placement import BATCHES, CACHE_TYPES, NAMES
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Fold
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_widget, row_of


def device_choice(name: str) -> ComboBox:
    """The devices that can be asked for."""
    box = named(ComboBox(), name, tr("Device for chat"),
                tr("What computes the answers of GGUF files. Automatic takes a graphics card that has room, by CUDA or "
                   "Vulkan. Choose Processor if the card's driver crashes or another program needs the card."))
    for choice in CHOICES:
        box.addItem(tr(NAMES[choice]), choice)
    return box


class DevicePanel(Fold):
    """Folded, it says where the model computes; open, why, and what can be chosen instead.

    Signals:
        changed: something else is chosen; the models must be loaded again.
        device_chosen(str): one of `CHOICES`.
    """

    changed = Signal()
    device_chosen = Signal(str)

    def __init__(self) -> None:
        content = QWidget()
        super().__init__(tr("Device"), content, name="chat_device_fold")
        self.reason = text_label("", "small", wrap=True, name="chat_device_reason")
        self.device = device_choice("chat_device")
        self.fields: dict[str, ComboBox] = {}
        self._whys = {name: text_label("", "muted", wrap=True) for name in ("cache_type", "flash_attention", "batch")}
        self._rows: list[QWidget] = []
        on_off = ((tr("on"), True), (tr("off"), False))
        for name, title, tip, values in (
            ("cache_type", tr("KV cache"),
             tr("How exactly the conversation is remembered. q8_0 takes half the memory of f16."),
             [(each, each) for each in CACHE_TYPES]),
            ("flash_attention", tr("Flash attention"),
             tr("Computes attention in small parts. It takes less memory, and is faster on most cards."), on_off),
            ("batch", tr("Batch"), tr("How many tokens of a prompt are read at once."),
             [(str(each), each) for each in BATCHES]),
        ):
            box = self.fields[name] = named(ComboBox(), f"chat_{name}", title, tip)
            box.addItem(tr("Proposed"), None)
            for text, value in values:
                box.addItem(text, value)
            box.activated.connect(self.changed)
            self._rows.append(column_widget(row_of(text_label(title, "small"), STRETCH, box, spacing=None),
                                            self._whys[name], spacing=theme.SPACE_XS))
        column_in(content, self.reason, row_of(text_label(tr("Device"), "small"), STRETCH, self.device, spacing=None),
                  *self._rows, spacing=theme.SPACE_S)
        self.device.activated.connect(lambda: self.device_chosen.emit(self.device.currentData()))
        self.show_placement({})

    def set_device(self, device: str) -> bool:
        """Show the choice of the settings. Returns whether it's another one than before."""
        before = self.device.currentIndex()
        with QSignalBlocker(self.device):
            self.device.setCurrentIndex(max(0, self.device.findData(device)))
        return self.device.currentIndex() != before

    def options(self) -> dict[str, Any]:
        """Fields of a "load" command; None is left to the worker."""
        return {"device": self.device.currentData(), **{name: box.currentData() for name, box in self.fields.items()}}

    def show_placement(self, placed: Mapping[str, Any]) -> None:
        """Show where a model was loaded, as `Placement.to_dict` has it; nothing before one is."""
        layers, everything = placed.get("layers_on_device") or 0, placed.get("layers") or 0
        if not placed:
            self.set_title(tr("Device"))
        elif not layers:
            self.set_title(tr("Device: processor · why"))
        elif layers >= everything:
            self.set_title(tr("Device: graphics card · why"))
        else:
            self.set_title(tr("Device: {count} of {all} layers on the card · why", count=layers, all=everything))
        facts = [str(placed.get("reason") or tr("It's decided when a model is loaded."))]
        if layers:
            facts.append(tr("{count} of {all} layers on {card}.", count=layers, all=everything,
                            card=placed.get("device_name")))
        if placed.get("context_length"):
            facts.append(tr("A context of {tokens:,} tokens.", tokens=placed["context_length"]))
        self.reason.setText("\n".join(facts))
        whys = placed.get("why") or {}
        for (name, box), row in zip(self.fields.items(), self._rows, strict=True):
            row.setVisible(name in whys)
            show_text(self._whys[name], str(whys.get(name) or ""))
            if box.currentIndex() == 0:
                value = placed.get(name)
                text = {True: tr("on"), False: tr("off")}.get(value, str(value)) if isinstance(value, bool) else value
                box.setItemText(0, tr("Proposed") if value is None else tr("Proposed: {value}", value=text))
