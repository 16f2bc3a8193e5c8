"""The review: what there is at the left, the pair in the middle, its place in the document at the right.

Single keys decide. They do nothing while a text is being written; Esc leaves it. Every decision is on the disk before
the next pair is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut, QShowEvent
from PySide6.QtWidgets import QApplication, QListView, QPlainTextEdit, QWidget

from slmstudio.core import paths
from slmstudio.core.documents import project as store
from slmstudio.core.documents.evidence import DOUBTS
from slmstudio.core.documents.project import ACCEPTED, EDITED, KINDS, REJECTED, RESTORED, Pair, Project
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.areas import EmptyState
from slmstudio.gui.common.widgets.banner import announce, report_error
from slmstudio.gui.common.widgets.fields import ComboBox
from slmstudio.gui.common.widgets.layouts import pages_of, row_in
from slmstudio.gui.documents.dataset_card import DatasetCard
from slmstudio.gui.documents.page_card import PageCard
from slmstudio.gui.documents.pair_card import PairCard
from slmstudio.gui.documents.review_list import WAITING, Filters, ReviewList
from slmstudio.gui.documents.side_card import SideCard

SIDES = ((0, 180, 210), (1000, 210, 300), (1200, 240, 380))
"""From each width on, the widths of the columns at the sides."""


class ReviewView(QWidget):
    """Reviews the pairs of one project at a time.

    Attributes:
        project: None before one is opened.

    Signals:
        made(Path, Path): a dataset was written, and its test set; None if there is none.
    """

    made = Signal(object, object)

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self.project: Project | None = None
        self.list: ReviewList | None = None
        self._done, self._making = "", False
        self._writing = TaskSlot()
        self.side, self.pair, self.page, self.dataset = SideCard(), PairCard(), PageCard(), DatasetCard()
        self.empty = EmptyState(" ", " ")
        self.empty.setAcceptDrops(False)
        self._nothing = EmptyState.centred(self.empty)
        self.middle = pages_of(self._nothing, self.pair, self.dataset)
        row_in(self, self.side, (self.middle, 1), self.page, spacing=theme.CARD_GAP)
        self.page.hide()
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        theme.THEME.changed.connect(self._fit)
        self._connect()

    def _connect(self) -> None:
        self.side.filtered.connect(self._filter)
        self.side.dataset_wanted.connect(self._show_dataset)
        self.pair.pressed.connect(lambda key: self.acts[key]())
        self.pair.left.connect(self.setFocus)
        self.pair.quotation_changed.connect(self._show_quotation)
        self.dataset.back.connect(self._show_pairs)
        self.dataset.wanted.connect(self._write)
        self.acts = {"A": self.accept, "X": lambda: self._decide(REJECTED), "R": self.take_back,
                     "Shift+A": self.accept_section, "E": self.edit, "U": self.undo, "Ctrl+Z": self.undo,
                     "Down": lambda: self.step(1), "Up": lambda: self.step(-1)}
        self._keys: dict[str, QShortcut] = {}
        for keys, act in self.acts.items():
            shortcut = self._keys[keys] = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.setAutoRepeat(keys in ("Down", "Up"))
            shortcut.activated.connect(act)
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        app.focusChanged.connect(self._choose_keys)

    def _choose_keys(self, _before: QWidget | None, now: QWidget | None) -> None:
        """Leave the keys to what is written in, and the arrows to lists too."""
        writes = isinstance(now, QPlainTextEdit)
        lists = isinstance(now, ComboBox | QListView)
        for keys, shortcut in self._keys.items():
            shortcut.setEnabled(not writes and not (lists and keys in ("Down", "Up")))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.setFocus()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        width = min(self.width(), self.window().width())
        _, left, right = max(each for each in SIDES if theme.scaled(each[0]) <= max(width, 0))
        self.side.setFixedWidth(theme.scaled(left))
        self.page.setFixedWidth(theme.scaled(right))

    # -- what is shown ----------------------------------------------------------------------------------------

    def open(self, found: ReviewList) -> None:
        """Review another project. Its pairs were read off the UI thread."""
        self.project, self.list, self._done = found.project, found, ""
        documents = found.project.documents()
        self.side.show_project(found.project, documents)
        self.page.set_project(found.project, {each.name: each.pages for each in documents})
        found.filter(found.filters)
        if not found.shown and found.project.counts().accepted:
            self._show_dataset()  # all of it is reviewed
        else:
            self._show_pairs()

    def refresh(self, making: bool) -> None:
        """Take in what was made since.

        Args:
            making: whether there is more to come.
        """
        if self.list is None or self.project is None:
            return
        if not self.project.refresh() and making == self._making:
            return
        self._making, empty = making, not self.list.shown
        self.list.take_in()
        self.side.show_list(self.list, self.project.counts())
        if self.middle.currentWidget() is not self.dataset and (empty or not self.list.shown):
            self._show_current()
        elif self.middle.currentWidget() is self.pair:
            self._show_title()

    def _show_middle(self, page: QWidget) -> None:
        """The page of the document belongs to a pair alone."""
        self.middle.setCurrentWidget(page)
        self.page.setVisible(page is self.pair)

    def _show_pairs(self) -> None:
        self._show_current()
        if self.isVisible():
            self.setFocus()

    def _show_current(self) -> None:
        """Show the current pair; where there is none, why."""
        assert self.list is not None and self.project is not None
        counts = self.project.counts()
        self.side.show_list(self.list, counts)
        pair = self.list.current
        if pair is None:
            self._say_why_empty()
            self._show_middle(self._nothing)
            return
        self._show_middle(self.pair)
        doubts = join_sentences(*(tr("{sentence}.", sentence=tr(DOUBTS[code])) for code in pair.doubts)
                                ) if pair.is_left_out else ""
        self.pair.show_pair(pair, tr(KINDS[pair.kind]), self._done or doubts)
        self._show_title()
        self.pair.show_found(self.page.show_passage(pair))

    def _show_title(self) -> None:
        assert self.list is not None
        title = tr("Question {place:,} of {count:,}", place=self.list.place, count=len(self.list.shown))
        self.pair.title.setText(title)
        pair = self.list.current
        self.setAccessibleName(tr("{title}: {question}", title=title, question=pair.question) if pair else "")

    def _say_why_empty(self) -> None:
        assert self.list is not None and self.project is not None
        if self.list.filters == Filters() and self.project.counts().left_out == len(self.list.pairs) > 0:
            title, text = tr("No question passed the checks"), ntr(
                "{n:,} question was left out. Its reason is under “Left out”. A larger model as the teacher does "
                "better.", "{n:,} questions were left out. Their reasons are under “Left out”. A larger model as the "
                "teacher does better.", len(self.list.pairs))
        elif self.list.pairs:
            title, text = tr("Nothing to show here"), tr("No question matches. Choose something else at the left.")
        elif self._making:
            title, text = tr("The first questions are on their way"), tr(
                "You can begin to review as soon as the first passage is finished.")
        else:
            title, text = tr("There are no questions yet"), tr("None were made of these documents. Press Continue at "
                                                               "the left to make them.")
        self.empty.title.setText(title)
        self.empty.text.setText(text)

    def _show_quotation(self) -> None:
        self.pair.show_found(self.page.show_quotation(self.pair.fields["quotation"].toPlainText()))

    def _filter(self, filters: Filters) -> None:
        if self.list is not None:
            self._keep_changes()
            self.list.filter(filters)
            self._done = ""
            self._show_current()

    # -- what is decided --------------------------------------------------------------------------------------

    def _pair(self) -> Pair | None:
        """The one that is looked at, unless something else is in its place."""
        return self.list.current if self.list is not None and self.middle.currentWidget() is self.pair else None

    def accept(self) -> None:
        """Accept the pair as it is in the fields."""
        changes = self.pair.changes()
        self._decide(EDITED if changes else ACCEPTED, **changes)

    def take_back(self) -> None:
        """Review a pair that was left out: it stays, to be decided on."""
        pair = self._pair()
        if pair is not None and pair.is_left_out:
            self._decide(RESTORED)

    def edit(self) -> None:
        """Write in the answer."""
        if self._pair() is not None:
            self.pair.fields["answer"].setFocus(Qt.FocusReason.ShortcutFocusReason)

    def accept_section(self) -> None:
        if self._pair() is not None and self.list is not None and self._keep_changes():
            count = self._try(self.list.decide_section)
            self._done = ntr("{n:,} question accepted. U undoes it.", "{n:,} questions accepted. U undoes it.",
                             count or 0)
            announce(self, self._done)
            self._go_on()

    def undo(self) -> None:
        if self.list is not None:
            undone = self._try(self.list.undo)
            self._done = tr("Undone.") if undone else tr("There is nothing to undo.")
            self._show_current()

    def step(self, by: int) -> None:
        """Look at the next pair (1) or the one before (-1). What was changed is kept."""
        if self._pair() is not None and self.list is not None and self._keep_changes():
            self.list.step(by)
            self._done = ""
            self._show_current()

    def _decide(self, decision: str, **texts: str) -> None:
        if self._pair() is not None and self.list is not None:
            decide = self.list.decide
            self._done = ""
            if self._try(lambda: decide(decision, **texts) or True):
                self._go_on()

    def _go_on(self) -> None:
        """Show the next pair; after the last one that waits, the way to a dataset."""
        assert self.list is not None and self.project is not None
        finished = self.list.filters == Filters(WAITING) and not self.list.waits and not self._making
        if finished and not self.project.counts().waiting:
            self._show_dataset()
        else:
            self._show_current()
        if not isinstance(QApplication.focusWidget(), ComboBox | QListView):
            self.setFocus()

    def _keep_changes(self) -> bool:
        """Keep what was written in a pair that is left without a decision: whoever corrects it wants it. False if that
        couldn't be done."""
        changes, pair = self.pair.changes(), self._pair()
        if not changes or pair is None or self.list is None:
            return True
        project = self.list.project
        kept = self._try(lambda: project.decide(pair.id, EDITED, **changes) or True)
        if kept:
            self.list.take_in()
        return bool(kept)

    def _try(self, act: Any) -> Any:
        """What `act` returns; None if it couldn't be written, and that is said."""
        try:
            return act()
        except UserError as error:
            report_error(self, error)
            return None

    # -- the dataset ------------------------------------------------------------------------------------------

    def _show_dataset(self) -> None:
        if self.project is None or self.list is None or not self._keep_changes():
            return
        rows = [each for each in self.list.pairs.values() if each.is_accepted or each.is_waiting]
        counts = self.project.counts()
        self.side.show_list(self.list, counts)
        self.dataset.show_counts(counts, sum(each.held_out for each in rows))
        self.dataset.banner.clear()
        self._show_middle(self.dataset)

    def _write(self, accepted_only: bool) -> None:
        project = self.project
        assert project is not None
        folder = project.folder

        def write(_task: object) -> tuple[Path, Path | None]:
            return store.write_dataset(store.open(folder), accepted_only, paths.datasets_dir())

        def failed(error: Exception) -> None:
            self.dataset.make.setEnabled(True)
            self.dataset.banner.show_error(error)

        def done(made: tuple[Path, Path | None]) -> None:
            self.dataset.make.setEnabled(True)
            self.made.emit(*made)

        self.dataset.make.setEnabled(False)  # a second one would be the same
        self._writing.run(self, write, done, failed)

    # -- another window in this one's place -------------------------------------------------------------------

    def save_state(self) -> dict[str, Any]:
        """What `restore_state` of another view shows again. What was written is kept first."""
        if self.list is None:
            return {}
        self._keep_changes()
        pair = self.list.current
        return {"filters": self.list.filters, "pair": pair.id if pair is not None else ""}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Once the same project is open."""
        if self.list is not None and state:
            self.list.filter(state["filters"])
            if state["pair"] in self.list.pairs:
                self.list.show(state["pair"])
            self._show_current()


