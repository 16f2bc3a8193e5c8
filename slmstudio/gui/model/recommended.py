"""The recommended model for the chosen rows, with the button that uses or fetches it; a quicker and a better one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QFrame, QPushButton, QSizePolicy

from slmstudio.core import units
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.buttons import PrimaryButton
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of

if TYPE_CHECKING:
    from slmstudio.core.run.recommend import Rows
    from slmstudio.gui.model.known import ModelEntry
    from slmstudio.gui.model.work import ModelWork

REASON_HEIGHT = 40
"""Pixels of two lines in any script."""


class RecommendedCard(Card):
    """As high before the recommendation is known as after.

    Signals:
        wanted(ModelEntry): use it, or prepare or fetch it.
        looked_at(ModelEntry): show it.
    """

    wanted = Signal(object)
    looked_at = Signal(object)

    def __init__(self, work: ModelWork):
        super().__init__(tr("Recommended for this machine"))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)  # never squeezed
        self._work = work
        self._entry: ModelEntry | None = None
        self.title.setObjectName("recommended_title")
        self.name = ElidedLabel("…", "heading", Qt.TextElideMode.ElideRight, name="recommended_name")
        self.time = Chip("…", name="recommended_time")
        self.take = PrimaryButton(tr("Use this model →"), name="recommended_take",
                                  clicked=lambda: self._entry and self.wanted.emit(self._entry))
        self.reason = text_label("", "body", wrap=True, name="recommended_reason")
        self.reason.setAlignment(Qt.AlignmentFlag.AlignTop)
        theme.grow(self.reason, "setMinimumHeight", REASON_HEIGHT)
        frame = QFrame()
        frame.setProperty("choice", "on")
        column_in(frame, row_of(self.name, self.time, STRETCH, self.take), self.reason, margins=theme.SPACE_M)
        self.quicker, self.better = OtherModel("recommended_quicker"), OtherModel("recommended_better")
        for other in (self.quicker, self.better):
            other.clicked.connect(lambda on=False, other=other: self.looked_at.emit(other.entry))
        fill(self.body, frame, row_of((self.quicker, 1), (self.better, 1), spacing=theme.SPACE_M))
        work.changed.connect(self._show_button)
        self._show_button()
        self.quicker.show_model(tr("A quicker model"), None, "…")
        self.better.show_model(tr("A better model"), None, "…")

    def show_choices(self, rows: Rows, best: ModelEntry | None, quicker: ModelEntry | None,
                     better: ModelEntry | None) -> None:
        """Show what is recommended for these rows."""
        from slmstudio.core.run.recommend import reason_text

        self._entry = best
        count = ntr("{n:,} row", "{n:,} rows", rows.count)
        self.title.setText(
            tr("For {rows} of usual length on this machine. Choose your data to see yours.", rows=count)
            if not rows.sample else
            tr("For your {rows} in {language} on this machine", rows=count, language=rows.language)
            if rows.language else tr("For your {rows} on this machine", rows=count))
        suits = best.suits if best is not None else None
        self.name.setText(best.name if best is not None else tr("No model is known"))
        self.time.set(suits.time.text() if suits else "–", "ok" if suits and suits.is_of_an_evening else "warn")
        self.reason.setText(reason_text(suits, rows) if suits else tr("The catalogue of models can't be read."))
        self._show_button()
        self.quicker.show_model(tr("Quicker: {model}", model=quicker.name) if quicker else tr("A quicker model"),
                                quicker, tr("None takes half as long here."))
        self.better.show_model(tr("Better: {model}", model=better.name) if better else tr("A better model"), better,
                               tr("None that fits is done within an evening."))

    def _show_button(self) -> None:
        entry = self._entry
        self.take.setEnabled(entry is not None and (entry.facts is not None or self._work.target is None))
        if entry is None or entry.facts is not None:
            text, tip = tr("Use this model →"), tr("Train on top of this model. The next step is to plan the run.")
        elif entry.gguf is not None:
            text, tip = tr("Prepare"), tr("Unpack the file into a folder that can be trained.")
        else:
            text = tr("Download {size}", size=units.format_bytes(entry.download_bytes))
            tip = tr("Download this model over the network. None of your data is sent.")
        self.take.setText(text)
        self.take.setToolTip(tip)


class OtherModel(QPushButton):
    """A model in two lines, which a click shows."""

    def __init__(self, name: str):
        super().__init__()
        self.setObjectName(name)
        self.setProperty("kind", "choice")
        self.entry: ModelEntry | None = None
        self.name = ElidedLabel("", "strong", Qt.TextElideMode.ElideRight)
        self.detail = ElidedLabel("", "small", Qt.TextElideMode.ElideRight)
        for label in (self.name, self.detail):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        column_in(self, self.name, self.detail, spacing=2, margins=theme.SPACE_S)

    def show_model(self, title: str, entry: ModelEntry | None, nothing: str) -> None:
        """Show a model; without one, this sentence."""
        self.entry = entry
        suits = entry.suits if entry is not None else None
        text = nothing
        if entry is not None and suits is not None:
            text = " · ".join((suits.time.text(), tr("on disk") if entry.on_disk else
                               tr("{size} to download", size=units.format_bytes(entry.download_bytes))))
        self.name.setText(title)
        self.detail.setText(text)
        self.setEnabled(entry is not None)
        self.setAccessibleName(title)
        self.setAccessibleDescription(text)
        self.setToolTip(plain_tip(tr("Show this model.") if entry is not None else text))

    def sizeHint(self) -> QSize:
        return self.layout().sizeHint()

    def minimumSizeHint(self) -> QSize:
        return self.layout().minimumSize()
