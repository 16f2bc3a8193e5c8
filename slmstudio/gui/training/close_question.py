"""What becomes of a run when the window closes."""

from __future__ import annotations

from PySide6.QtWidgets import QMessageBox, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common.dialogs import question


def ask(parent: QWidget, name: str, waiting: bool = False) -> str:
    """Ask, and wait for the answer.

    Args:
        name: of the current run.
        waiting: others wait in the queue.

    Returns:
        "keep" (it continues without the window), "pause" (save, and free the memory), "stop" or "cancel" (don't close).
    """
    sentences = [tr("It can continue without the window. Open SLM Studio again to see how far it has got."),
                 tr("If you pause it, it saves a checkpoint and frees its memory. Resume continues from there."),
                 tr("If you stop it, the run ends there, and what it has learned so far is kept.")]
    if waiting:
        sentences.append(tr("The runs in the queue wait until you open the window again."))
    box = question(parent, tr("A run is in progress"), tr("“{name}” is still training.", name=name),
                   " ".join(sentences))
    role = QMessageBox.ButtonRole
    keep = box.addButton(tr("Close and keep training"), role.AcceptRole)
    answers = {keep: "keep", box.addButton(tr("Pause and close"), role.AcceptRole): "pause",
               box.addButton(tr("Stop and close"), role.DestructiveRole): "stop",
               box.addButton(tr("Don't close"), role.RejectRole): "cancel"}
    for button, answer in answers.items():
        button.setObjectName(f"close_{answer}")
    box.setDefaultButton(keep)
    box.exec()
    return next((answer for button, answer in answers.items() if button is box.clickedButton()), "cancel")
