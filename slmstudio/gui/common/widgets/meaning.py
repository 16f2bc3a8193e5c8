"""A small question mark that tells what a figure means, in two sentences."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QWhatsThis

from slmstudio.core import terms
from slmstudio.core.i18n import tr
from slmstudio.gui.common.announce import announce
from slmstudio.gui.common.widgets.buttons import IconButton


class MeaningButton(IconButton):
    """Beside a figure. It shows the meaning until the user clicks anywhere or presses Esc.

    Args:
        keys: of `TERMS`; several for a table of figures.
    """

    def __init__(self, *keys: str):
        super().__init__("question", "", size=13, name=f"meaning_{keys[0] if keys else ''}", clicked=self._show)
        self.setProperty("kind", "meaning")
        self.set_terms(keys)

    def set_terms(self, keys: Sequence[str]) -> None:
        """Tell of other words."""
        self.keys = tuple(keys)
        words = ", ".join(map(terms.name, keys))
        self.setToolTip(tr("What does this mean? {words}", words=words))
        self.setAccessibleName(tr("What does this mean: {words}", words=words))
        if self.parent() is not None or not keys:  # else it would be shown as a window of its own
            self.setVisible(bool(keys))

    def text_shown(self) -> str:
        """What it tells."""
        told = ((terms.name(key), *terms.sentences(key)) for key in self.keys)
        return "\n\n".join(tr("{name}: {what} {so}", name=name, what=what, so=so)
                           for name, what, so in told)

    def _show(self) -> None:
        QWhatsThis.showText(self.mapToGlobal(self.rect().bottomLeft()), self.text_shown(), self)
        announce(self, self.text_shown())
