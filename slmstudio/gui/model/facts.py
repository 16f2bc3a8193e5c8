"""What a base model is, in one row of figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from slmstudio.core import units
from slmstudio.core.i18n import number_text, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import rule
from slmstudio.gui.common.widgets.labels import ElidedLabel, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import grid_in

if TYPE_CHECKING:
    from slmstudio.core.model.catalogue import CatalogueEntry
    from slmstudio.core.model.facts import ModelFacts


class FactsTable(QWidget):
    """One row of figures under their names, and a line below: the folder, or the name on the hub."""

    def __init__(self) -> None:
        super().__init__()
        names = (tr("Family"), tr("Parameters"), tr("Context"), tr("Vocabulary"), tr("Layers"),
                 tr("Disk"), tr("Licence"))
        grid = grid_in(self, theme.SPACE_L, theme.SPACE_S)
        self.values = []
        for column, (name, stretch) in enumerate(zip(names, (2, 2, 2, 2, 1, 2, 3), strict=True)):
            grid.addWidget(text_label(name, "small"), 0, column)
            value = ElidedLabel("", "body", Qt.TextElideMode.ElideRight)
            value.setAccessibleName(name)
            self.values.append(value)
            grid.addWidget(value, 2, column)
            grid.setColumnStretch(column, stretch)
        for line in (1, 3):
            grid.addWidget(rule(), line, 0, 1, len(names))
        self.folder = ElidedLabel("", "small")
        grid.addWidget(self.folder, 4, 0, 1, len(names))

    def show_facts(self, facts: ModelFacts) -> None:
        """Show what a folder holds."""
        licence = facts.licence or tr("not stated")
        self._show((facts.family, units.format_count(facts.parameters), number_text(facts.context_length),
                    number_text(facts.vocabulary_size), str(facts.layers), units.format_bytes(facts.disk_bytes),
                    licence), facts.architecture, number_text(facts.hidden_size), str(facts.path))

    def show_entry(self, entry: CatalogueEntry) -> None:
        """Show what the catalogue knows; what it doesn't know is left out."""
        unknown = tr("not known")
        self._show((entry.family, units.format_count(entry.parameters),
                    number_text(entry.context) if entry.context else unknown, number_text(entry.vocabulary),
                    str(entry.layers or unknown), units.format_bytes(entry.download_bytes),
                    entry.licence.name if entry.licence.id else tr("not stated")),
                   entry.model_type, number_text(entry.hidden_size) if entry.hidden_size else unknown, entry.id)

    def _show(self, texts: Sequence[str], architecture: str, hidden: str, folder: str) -> None:
        tips = (tr("The architecture's name: {name}", name=architecture),
                tr("How many numbers the model consists of."), tr("How many tokens the model can see at once."),
                tr("How many different tokens the model knows."),
                tr("Decoder layers, each with a hidden size of {size}.", size=hidden), tr("Size of the weight files."),
                tr("As stated by the model. Read it before you use the model commercially."))
        for label, text, tip in zip(self.values, texts, tips, strict=True):
            label.setText(text)
            label.setToolTip(plain_tip(tip))
        self.folder.setText(folder)
