"""Asks before unsaved changes are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QMessageBox, QWidget

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.dialogs import question

if TYPE_CHECKING:
    from slmstudio.gui.data.entry import DataEntry


def may_drop(parent: QWidget, entries: Sequence[DataEntry]) -> bool:
    """Whether these may be closed: nothing in them is unsaved, or the user agrees to drop it."""
    unwritten = {entry.dataset.name: len(entry.changes) for entry in entries if entry.changes}
    if not unwritten:
        return True
    box = question(parent, tr("Unsaved changes"),
                   ntr("{n:,} change to {name} isn't saved.", "{n:,} changes to {name} aren't saved.",
                       sum(unwritten.values()), name=", ".join(unwritten)),
                   tr("To keep them, cancel and press “Save a new version”."))
    drop = box.addButton(tr("Discard changes"), QMessageBox.ButtonRole.DestructiveRole)
    drop.setObjectName("drop_changes")
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    box.exec()
    return box.clickedButton() is drop
