"""What the planned run would lose of its rows, above Start, with the ways out: a longer sequence, or fewer rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame

from slmstudio.core.i18n import tr
from slmstudio.core.run.fields.choices import CUT, LEAVE_OUT
from slmstudio.gui.common import theme
from slmstudio.gui.common.announce import announce
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in

if TYPE_CHECKING:
    from slmstudio.core.run.planning.row_counts import LostRows


class LostRowsBanner(QFrame):
    """Signals:
        longer_wanted(int): train with this sequence length.
        overlong_wanted(str): do this with longer rows, in the words of the field `overlong_rows`.
    """

    longer_wanted = Signal(int)
    overlong_wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("lost_rows")
        self.setProperty("banner", "warn")
        self._lost: LostRows | None = None
        self.text = text_label("", "strong", wrap=True, name="lost_rows_text", selectable=True)
        self.ways = text_label("", "small", wrap=True, name="lost_rows_ways", selectable=True)
        self.keep = SecondaryButton(tr("Longer rows"), tr("Set the sequence length so that these rows keep their "
                                                          "answers. The plan then says what that needs."), "small",
                                    name="keep_rows", clicked=self._keep)
        self.leave_out = SecondaryButton(tr("Leave them out"),
                                         tr("Train without the rows that would be cut. The plan's steps become fewer."),
                                         "small", name="leave_out_rows",
                                         clicked=lambda: self.overlong_wanted.emit(LEAVE_OUT))
        self.cut = SecondaryButton(tr("Cut them"), tr("Train on the beginning of these rows, as far as it fits."),
                                   "small", name="cut_rows", clicked=lambda: self.overlong_wanted.emit(CUT))
        left = Qt.AlignmentFlag.AlignLeft
        column_in(self, self.text, self.ways, (self.keep, 0, left), (self.leave_out, 0, left), (self.cut, 0, left),
                  spacing=theme.SPACE_XS, margins=theme.SPACE_S)
        self.show_lost(None)

    def show_lost(self, lost: LostRows | None) -> None:
        """Show what would be lost; None hides the banner."""
        is_new, self._lost = lost is not None and lost != self._lost, lost
        self.setVisible(lost is not None)
        if lost is None:
            return
        self.text.setText(lost.what)
        self.ways.setText(lost.ways)
        self.setAccessibleName(lost.what)
        self.setAccessibleDescription(lost.ways)
        longer = lost.longer
        show_text(self.keep, "" if longer is None else tr("Use {tokens:,} tokens", tokens=longer))
        self.leave_out.setVisible(bool(lost.can_leave_out))
        self.cut.setVisible(lost.leaves_out)
        if is_new and self.isVisible():
            announce(self, f"{lost.what} {lost.ways}")

    def _keep(self) -> None:
        if self._lost is not None and self._lost.longer is not None:
            self.longer_wanted.emit(self._lost.longer)
