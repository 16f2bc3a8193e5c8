"""What people are told without asking: what went wrong, where it went wrong, and by a screen reader."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QAbstractListModel, QObject, Qt
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent, QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QFrame, QListView, QMainWindow, QWidget

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import breakable, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import column_in, row_of
from slmstudio.gui.common.widgets.table_cells import NO_PARENT, Index


def announce(widget: QWidget, text: str, *, urgent: bool = False) -> None:
    """Let a screen reader say something now, where one listens.

    Args:
        urgent: it interrupts what is being said.
    """
    event = QAccessibleAnnouncementEvent(widget, text)
    if urgent:
        event.setPoliteness(QAccessible.AnnouncementPoliteness.Assertive)
    QAccessible.updateAccessibility(event)


def banner_of(part: QObject) -> Any:
    """The ErrorBanner of the tab that an object is a part of, or of the window if it is in no tab; None without one."""
    with_banner: list[QObject] = []
    at: QObject | None = part
    while at is not None:
        if hasattr(at, "banner"):
            with_banner.append(at)
        at = at.parent()
    tabs = [each for each in with_banner if not isinstance(each, QMainWindow)]
    return (tabs or with_banner)[-1].banner if with_banner else None  # type: ignore[attr-defined]


def report_error(part: QObject, error: Exception) -> None:
    """Show an error where the user works with this part. Raises it where there is no banner."""
    banner = banner_of(part)
    if banner is None:
        raise error
    banner.show_error(error)


def clear_error(part: QObject) -> None:
    """What was shown by `report_error` is over."""
    if (banner := banner_of(part)) is not None:
        banner.clear()


OPEN_UP_TO, LIST_MOST = 5, 140
"""This many problems are shown at once; more on demand. Pixels that their list is high at most."""


class ProblemsModel(QAbstractListModel):
    """The problems of one input, one per line."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.problems: tuple[Problem, ...] = ()

    def set_problems(self, problems: tuple[Problem, ...]) -> None:
        self.beginResetModel()
        self.problems = problems
        self.endResetModel()

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.problems)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if role == Qt.ItemDataRole.DisplayRole:
            return str(self.problems[index.row()])
        return plain_tip(str(self.problems[index.row()])) if role == Qt.ItemDataRole.ToolTipRole else None


class ErrorBanner(QFrame):
    """One error: what happened, why, what to do, and every single problem on demand.

    A defect (anything but a UserError) gets "Copy details", with its traceback.
    """

    def __init__(self, parent: QWidget | None = None, *, closable: bool = True, name: str = ""):
        super().__init__(parent)
        self.setObjectName(name)
        self.setProperty("banner", "bad")
        self.error: Exception | None = None
        self._details = ""
        self._what = text_label("", "strong", wrap=True)
        self._why = text_label("", "body", wrap=True)
        self._what.setContentsMargins(0, 2, 0, 2)
        for label in (self._what, self._why):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._model = ProblemsModel(self)
        self._build(closable)
        self.hide()

    def _build(self, closable: bool) -> None:
        self._list = named(QListView(), "banner_list", tr("Problems"))
        self._list.setModel(self._model)
        self._list.setWordWrap(True)
        self._list.setResizeMode(QListView.ResizeMode.Adjust)
        self._toggle = SecondaryButton(tr("Problems"), tr("Show or hide the individual problems."), "small",
                                       name="banner_problems",
                                       clicked=lambda: self._list.setVisible(self._list.isHidden()))
        self._copy = SecondaryButton(tr("Copy details"),
                                     tr("Copy the message and where it came from, to paste into a bug report."),
                                     "small", name="banner_copy", clicked=self.copy_details)
        close = IconButton("close", tr("Hide this message"), name="banner_close", clicked=self.clear)
        top = row_of((self._what, 1), (self._toggle, 0, Qt.AlignmentFlag.AlignTop),
                     (self._copy, 0, Qt.AlignmentFlag.AlignTop), (close, 0, Qt.AlignmentFlag.AlignTop))
        column_in(self, top, self._why, self._list, spacing=theme.SPACE_XS,
                  margins=(theme.SPACE_M, theme.SPACE_S, theme.SPACE_S, theme.SPACE_S))
        close.setVisible(closable)

    def show_error(self, error: Exception, kind: str = "bad") -> None:
        """Show a UserError as it is; show anything else as a defect with details to copy.

        Args:
            kind: "warn" for what is worth knowing although nothing that the user did has failed.
        """
        if kind != self.property("banner"):
            self.setProperty("banner", kind)
            for widget in (self, self._what):
                theme.restyle(widget)
        self.error = error
        defect = not isinstance(error, UserError)
        if isinstance(error, UserError):
            what, why, problems = error.what, " ".join(p for p in (error.why, error.remedy) if p), error.listed
            self._details = str(error)
        else:
            what = tr("Something went wrong inside SLM Studio.")
            why = tr("Nothing was lost; you can keep working. The log has the details: {error}",
                     error=f"{type(error).__name__}: {error}")
            problems = []
            self._details = _with_traceback(error)
        self._what.setText(breakable(what))
        self._why.setText(breakable(why))
        self._why.setVisible(bool(why))
        self._copy.setVisible(defect)
        self._model.set_problems(tuple(problems))
        self._toggle.setText(ntr("{n:,} problem", "{n:,} problems", len(problems)))
        self._toggle.setVisible(len(problems) > 1)
        self._list.setVisible(0 < len(problems) <= OPEN_UP_TO)
        self._list.setUniformItemSizes(len(problems) > OPEN_UP_TO)  # there may be thousands
        self._fit_list()
        self.setAccessibleName(what)
        self.setAccessibleDescription(why)
        self.show()
        if self.isVisible():  # a failure on a page that isn't shown is reported by a notice, if at all
            announce(self, f"{what} {why}".strip(), urgent=kind == "bad")

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_list()

    def _fit_list(self) -> None:
        """As high as its lines, which wrap, up to a few of them."""
        self._list.doItemsLayout()
        last = self._list.visualRect(self._model.index(len(self._model.problems) - 1))
        high = last.bottom() + 1 + self._list.verticalOffset() + 2 * theme.FOCUS_RING
        self._list.setFixedHeight(min(LIST_MOST, high))

    def clear(self) -> None:
        self.error = None
        self.hide()

    def copy_details(self) -> None:
        QGuiApplication.clipboard().setText(self._details)


def _with_traceback(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))
