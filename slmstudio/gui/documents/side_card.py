"""Beside the review: what is shown of the project, how far its making and its review are, and the way to a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core import units
from slmstudio.core.documents.evidence import DOUBTS
from slmstudio.core.documents.project import KINDS, Counts, DocumentInfo, Project
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Card, scrolled
from slmstudio.gui.common.widgets.buttons import ButtonRow, IconButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_widget, fill
from slmstudio.gui.common.widgets.progress import ProgressBar
from slmstudio.gui.documents.parts import Counted, CountList
from slmstudio.gui.documents.review_list import ALL, DROPPED, LEFT_OUT, SCOPES, TAKEN, WAITING, Filters, ReviewList

TWO_LINES = 34
"""Pixels: what a worker does is said in one line or two, and nothing moves then."""


def scope_names() -> dict[str, str]:
    return {WAITING: tr("To review"), TAKEN: tr("Accepted"), DROPPED: tr("Rejected"), LEFT_OUT: tr("Left out"),
            ALL: tr("All")}


def size_text(documents: Sequence[DocumentInfo]) -> str:
    """As in "38 documents, 412 pages"."""
    count = ntr("{n:,} document", "{n:,} documents", len(documents))
    pages = sum(each.pages or 0 for each in documents)
    if not pages:
        return count
    return tr("{documents}, {pages}", documents=count, pages=ntr("{n:,} page", "{n:,} pages", pages))


class WorkStrip(QWidget):
    """How far the making of questions is, with Pause, Stop and Continue.

    Signals:
        pause_wanted, stop_wanted, resume_wanted: what the user pressed; the first one pauses and resumes.
    """

    pause_wanted = Signal()
    stop_wanted = Signal()
    resume_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.words = text_label("", "small", wrap=True, name="documents_work")
        theme.grow(self.words, "setMinimumHeight", TWO_LINES)
        self.bar = ProgressBar()
        self.bar.setAccessibleName(tr("Passages that are finished"))
        self.pause = SecondaryButton("", "", "small", name="documents_pause", clicked=self.pause_wanted)
        self.stop = SecondaryButton(tr("Stop"), tr("Stop making questions. Those that are finished stay, and you can "
                                                   "continue later."), "small", name="documents_stop",
                                    clicked=self.stop_wanted)
        self.resume = SecondaryButton(tr("Continue"), tr("Make the questions of the passages that are left."), "small",
                                      name="documents_resume", clicked=self.resume_wanted)
        row = ButtonRow()
        fill(row.box, self.pause, self.stop, self.resume, STRETCH)
        column_in(self, self.words, self.bar, row, spacing=theme.SPACE_XS)
        self.show_work(0, 0, working=False)

    def show_work(self, done: int, total: int, *, working: bool, paused: bool = False,
                  seconds_left: float | None = None, words: str = "") -> None:
        """
        Args:
            done, total: passages; nothing is shown where all are finished.
            words: what is done instead of asking, as in "Loading the model".
        """
        self.setVisible(working or done < total)
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        count = tr("{done:,} of {total:,} passages", done=done, total=total)
        left = tr("{time} left", time=units.format_about(seconds_left)) if seconds_left is not None else ""
        self.words.setText(" · ".join(filter(None, (
            count if total else "", tr("paused") if paused else words or left if working else ""))))
        self.pause.setText(tr("Resume") if paused else tr("Pause"))
        self.pause.setToolTip(tr("Continue with the next passage.") if paused else
                              tr("Pause after the passages that are being worked on."))
        for button, shown in ((self.pause, working), (self.stop, working), (self.resume, not working)):
            button.setVisible(shown)
            button.setEnabled(True)


class SideCard(Card):
    """Signals:
        back: the user wants to see the other projects.
        filtered(Filters): the user wants to see other pairs.
        dataset_wanted: the user wants to make a dataset of what is there.
    """

    back = Signal()
    filtered = Signal(object)
    dataset_wanted = Signal()

    def __init__(self) -> None:
        super().__init__(tr("From documents"))
        self.header.insertWidget(0, IconButton("chevron-left", tr("Back to your documents. Everything is saved."),
                                               name="review_back", clicked=self.back))
        self._filters = Filters()
        self._offered: dict[str, Sequence[tuple[str, str]]] = {}
        self.name = ElidedLabel("", "strong", name="review_name")
        self.size = text_label("", "small", wrap=True, name="review_size")
        self.scopes = CountList(tr("Show"), tr("Which questions are shown."), "review_scopes")
        self.scopes.chosen.connect(lambda scope: self._tell(scope=scope, doubt=""))
        self.because = text_label(tr("Left out because"), "section")
        self.doubts = CountList(tr("Left out because"), tr("Show what was left out for one reason."), "review_doubts")
        self.doubts.chosen.connect(lambda doubt: self._tell(scope=LEFT_OUT, doubt=doubt))
        self.boxes = {"document": self._box("document", tr("Document"), tr("Show the questions of one document.")),
                      "section": self._box("section", tr("Section"), tr("Show the questions of one section.")),
                      "kind": self._box("kind", tr("Kind"), tr("Show the questions of one kind."))}
        self.work = WorkStrip()
        self.bar = ProgressBar()
        self.bar.setAccessibleName(tr("Reviewed"))
        self.pace = text_label("", "small", wrap=True, name="review_pace")
        self.dataset = SecondaryButton(tr("Make a dataset…"), tr("Make a dataset of what is accepted so far. You can "
                                                                 "continue the review afterwards."),
                                       name="review_dataset", clicked=self.dataset_wanted)
        inner = column_widget(self.scopes, *self.boxes.values(), self.because, self.doubts, STRETCH,
                              spacing=theme.SPACE_S)
        fill(self.body, self.name, self.size, (scrolled(inner), 1), self.work, self.bar, self.pace,
             self.dataset)
        self.body.setSpacing(theme.SPACE_S)

    def _box(self, name: str, accessible: str, tip: str) -> ComboBox:
        box = named(ComboBox(), f"review_{name}", accessible, tip)
        box.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        box.keep_narrow(8)
        box.activated.connect(lambda: self._choose(name))
        return box

    # -- what is shown ----------------------------------------------------------------------------------------

    def show_project(self, project: Project, documents: Sequence[DocumentInfo]) -> None:
        self.name.setText(project.name)
        teacher = str(project.settings.teacher.get("name") or "")
        self.size.setText(" · ".join(filter(None, (size_text(documents), teacher))))

    def show_list(self, reviewed: ReviewList, counts: Counts) -> None:
        """Show the filters, with what there is to choose from, and how far the review is."""
        self._filters = reviewed.filters
        names = scope_names()
        self.scopes.show_lines([Counted(names[scope], scope, getattr(counts, scope),
                                        "warn" if scope == LEFT_OUT and counts.left_out else "plain")
                                for scope in SCOPES], self._filters.scope)
        self.doubts.show_lines([Counted(tr(DOUBTS[code]), code, count, small=True)
                                for code, count in counts.by_doubt.items()], self._filters.doubt)
        for each in (self.because, self.doubts):
            each.setVisible(bool(counts.by_doubt))
        documents = dict.fromkeys(document for document, _ in reviewed.sections.values())
        self._offer("document", tr("All documents"), [(each, each) for each in documents])
        wanted = self._filters.document
        self._offer("section", tr("All sections"), [
            (key, heading or document) for key, (document, heading) in reviewed.sections.items()
            if wanted in ("", document)])
        self._offer("kind", tr("All kinds"), [(kind, tr(KINDS[kind])) for kind in reviewed.kinds])
        decided = counts.accepted + counts.rejected
        self.bar.setRange(0, max(1, decided + counts.waiting))
        self.bar.setValue(decided)
        left = reviewed.seconds_left(counts.waiting)
        self.pace.setText(
            tr("Everything is reviewed.") if decided and not counts.waiting else
            tr("{done:,} of {all:,} reviewed · {time} at your pace", done=decided, all=decided + counts.waiting,
               time=units.format_about(left)) if left is not None else
            tr("{done:,} of {all:,} reviewed", done=decided, all=decided + counts.waiting))
        self.dataset.setEnabled(bool(counts.accepted or counts.waiting))

    def _offer(self, name: str, everything: str, choices: Sequence[tuple[str, str]]) -> None:
        box, wanted = self.boxes[name], getattr(self._filters, name)
        if choices != self._offered.get(name):
            self._offered[name] = choices
            with QSignalBlocker(box):
                box.clear()
                box.addItem(everything, "")
                for value, text in choices:
                    box.addItem(text, value)
        box.setCurrentIndex(max(0, box.findData(wanted)))
        box.setEnabled(len(choices) > 1)

    # -- what is chosen ---------------------------------------------------------------------------------------

    def _choose(self, name: str) -> None:
        chosen = {name: self.boxes[name].currentData()}
        if name == "document":
            chosen["section"] = ""
        self._tell(**chosen)

    def _tell(self, **chosen: str) -> None:
        self.filtered.emit(replace(self._filters, **chosen))
