"""What computes the answers: the device and why, and the cache, attention and batch that go with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.chat.devices import CHOICES
from slmstudio.core.chat.placement import BATCHES, CACHE_TYPES, NAMES
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Fold
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, row_of


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
    """

    changed = Signal()

    def __init__(self) -> None:
        content = QWidget()
        super().__init__(tr("Device"), content, name="chat_device_fold")
        self.reason = text_label("", "small", wrap=True, name="chat_device_reason")
        self.fields = {"device": device_choice("chat_device")}
        self._whys = {"device": self.reason}
        column = column_in(content, self.reason, spacing=theme.SPACE_S)
        for name, title, tip, values in (
            ("device", tr("Device"), "", {}),
            ("cache_type", tr("KV cache"), tr("How exactly the conversation is kept. q8_0 takes half of f16's memory."),
             {each: each for each in CACHE_TYPES}),
            ("flash_attention", tr("Flash attention"), tr("Takes less memory, and is faster on most cards."),
             {tr("on"): True, tr("off"): False}),
            ("batch", tr("Batch"), tr("How many tokens of a prompt are read at once."),
             {str(each): each for each in BATCHES}),
        ):
            box = self.fields.setdefault(name, named(ComboBox(), f"chat_{name}", title, tip))
            for text, value in ({tr("Auto"): None} | values if values else {}).items():
                box.addItem(text, value)
            box.activated.connect(self.changed)
            column.addLayout(row_of(text_label(title, "small"), STRETCH, box, spacing=None))
            if name not in self._whys:
                box.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToContents)  # its first text changes
                self._whys[name] = text_label("", "small", wrap=True)
                column.addWidget(self._whys[name])
        self.show_placement({})

    def set_device(self, device: str) -> bool:
        """Choose what the settings say. Returns whether it's another one than before."""
        box = self.fields["device"]
        before = box.currentIndex()
        box.setCurrentIndex(max(0, box.findData(device)))
        return box.currentIndex() != before

    def options(self) -> dict[str, Any]:
        """Fields of a "load" command; None is left to the worker."""
        return {name: box.currentData() for name, box in self.fields.items()}

    def show_placement(self, placed: Mapping[str, Any]) -> None:
        """Show where a model was loaded, as `Placement.to_dict` has it; nothing before one is."""
        layers, everything = placed.get("layers_on_device") or 0, placed.get("layers") or 0
        self.set_title(
            tr("Device") if not placed else tr("Device: processor · why") if not layers else
            tr("Device: graphics card · why") if layers >= everything else
            tr("Card: {count} of {all} layers · why", count=layers, all=everything))
        facts = [str(placed.get("reason") or tr("It's decided when a model is loaded."))]
        if placed.get("context_length"):
            facts.append(tr("A context of {tokens:,} tokens.", tokens=placed["context_length"]))
        show_text(self.reason, "\n".join(facts))
        words = {True: tr("on"), False: tr("off")}  # no batch is 0 or 1
        for name, reason in (placed.get("why") or {}).items():
            show_text(self._whys[name], str(reason))
            if self.fields[name].currentIndex() == 0:
                value = placed.get(name)
                self.fields[name].setItemText(0, tr("Auto: {value}", value=words.get(value, value)))
