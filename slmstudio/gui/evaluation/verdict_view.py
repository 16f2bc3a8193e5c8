"""Is it better? In a plain sentence, the figures behind it in a smaller one, and what to try next."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.figures import MeaningButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in, column_of, grid_in, row_in
from slmstudio.gui.evaluation.jobs import Evaluation
from slmstudio.gui.evaluation.tables import main_comparisons, sentence
from slmstudio.gui.evaluation.texts import model_label, verdict_kind

if TYPE_CHECKING:
    from slmstudio.core.evaluation.advice import Advice


class VerdictView(QWidget):
    """The main comparison of the tuned model, on the ground of its colour, and proposals below.

    Attributes:
        others: sentences on the other models, such as exports.

    Signals:
        wanted(Proposal): the user wants to do this.
    """

    wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.others: list[str] = []
        self.frame = QFrame()
        self.frame.setObjectName("verdict")
        self.headline = text_label("", "strong", wrap=True, name="verdict_headline")
        self.caveat = text_label("", "body", wrap=True, name="verdict_caveat")
        self.sentence = text_label("", "small", wrap=True, name="verdict_sentence")
        row_in(self.frame, (column_of(self.headline, self.caveat, self.sentence, spacing=None), 1),
               (MeaningButton("verdict", "p_value", "interval"), 0, Qt.AlignmentFlag.AlignTop), spacing=None,
               margins=(theme.SPACE_M, theme.SPACE_S, theme.SPACE_M, theme.SPACE_S))
        self.title = text_label(tr("What to try next"), "section")
        self._proposals = QWidget()
        self._grid = grid_in(self._proposals, theme.SPACE_M, theme.SPACE_S, stretch=1)
        column_in(self, self.frame, self.title, self._proposals)
        self.show_comparisons([])

    def show_comparisons(self, comparisons: list[dict[str, Any]]) -> None:
        """Show the figures of an evaluation; what they come to follows by `show_advice`."""
        found = main_comparisons(comparisons)
        self.others = [f"{model_label(str(each.get('of')))}: {sentence(each)}" for each in found[1:]]
        self.sentence.setText(sentence(found[0]) if found else "")
        self._kind = verdict_kind(found[0].get("verdict")) if found else ""
        self.show_advice(None)

    def show_advice(self, advice: Advice | None) -> None:
        """Show what the figures come to, and what to try next; None shows the figures alone."""
        self.headline.setText(advice.headline if advice else "")
        self.caveat.setText(advice.caveat if advice else "")
        self.frame.setProperty("banner", advice.tone if advice else self._kind)
        for widget in (self.frame, self.headline, self.caveat, self.sentence):
            theme.restyle(widget)
        for label in (self.headline, self.caveat, self.sentence):
            label.setVisible(bool(label.text()))
        self.frame.setVisible(bool(self.headline.text() or self.sentence.text()))
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        for row, each in enumerate(advice.proposals if advice else ()):
            button = SecondaryButton(each.text, each.reason, "small", name=f"proposal_{row}",
                                     clicked=partial(self._want, each))
            self._grid.addWidget(button, row, 0)
            self._grid.addWidget(text_label(each.reason, "small", wrap=True), row, 1)
        for widget in (self.title, self._proposals):
            widget.setVisible(advice is not None and bool(advice.proposals))

    def _want(self, proposal: object, _checked: bool = False) -> None:
        self.wanted.emit(proposal)


def read_advice(run: Path, evaluation: Evaluation | None) -> Advice | None:
    """What a run and an evaluation of it, if there is one, come to; None if it isn't a run. Not for the UI thread.

    Raises:
        UserError: the run's files are a newer program's.
    """
    from slmstudio.core.evaluation import advice

    scores, request = (evaluation.scores, evaluation.request) if evaluation is not None else (None, None)
    return advice.of_run(run, scores, request)
