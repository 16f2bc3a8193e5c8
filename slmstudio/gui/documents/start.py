"""Before questions are made: of which documents, by which teacher, in which languages; and what there is already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QKeySequence, QResizeEvent
from PySide6.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QWidget

from slmstudio.core import i18n
from slmstudio.core.documents import teacher as teachers
from slmstudio.core.documents.project import ASKED, KINDS, USUAL, Settings
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import LastFolder, open_dialog, open_path
from slmstudio.gui.common.tasks import Task, TaskSlot
from slmstudio.gui.common.widgets.areas import Card, DropArea, scrolled
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton, keep_room
from slmstudio.gui.common.widgets.fields import ComboBox, SpinBox, keep_choice, named, number_field
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_widget, fill, grid_in, grid_of, row_in, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.common.widgets.table_cells import TwoLineList

if TYPE_CHECKING:
    from slmstudio.core.documents.teacher import Teacher, Trial

LANGUAGES = ("en", "hi", "as", "bn", "gu", "kn", "ml", "mr", "ne", "or", "pa", "ta", "te", "ur")
"""Those that questions can be asked in, beside a document's own."""
LIST_WIDTH, SOURCES_HEIGHT, FORM_WIDTH = 240, 84, 720
KINDS_A_LINE = 3
ON_SERVER, EXAMPLE = "server", "http://127.0.0.1:8080"
PER_PASSAGE = (1, 8)


def language_name(code: str) -> str:
    """A language in the user's language, as in "Hindi"."""
    from babel import Locale

    return (Locale.parse(code).get_language_name(i18n.language() if i18n.language() != i18n.PSEUDO else "en")
            or code).capitalize()


@dataclass(frozen=True)
class ListedProject:
    """A project as the list shows it."""

    folder: Path
    name: str
    detail: str
    is_working: bool


class ProjectsCard(Card):
    """The projects that are there.

    Signals:
        opened(Path): the user wants to continue with the one in this folder.
    """

    opened = Signal(object)

    def __init__(self) -> None:
        super().__init__(tr("Your projects"))
        self.list = TwoLineList(tr("Your projects"))
        self.list.setObjectName("documents_projects")
        self.list.itemActivated.connect(lambda item: self._open())
        self.open = SecondaryButton(tr("Open"), tr("Continue with this project: its questions, and what is still to be "
                                                   "made."), name="documents_open", clicked=self._open)
        fill(self.body, (self.list, 1), row_of(STRETCH, self.open))

    def show_projects(self, found: Sequence[ListedProject]) -> None:
        before = self.list.value()
        self.list.clear()
        for each in found:
            self.list.add(each.name, each.detail, each.folder, chip=tr("working") if each.is_working else "", kind="ok",
                          tooltip=str(each.folder))
        self.list.setCurrentRow(0)
        self.list.select_value(before)
        self.setVisible(bool(found))

    def _open(self) -> None:
        if isinstance(folder := self.list.value(), Path):
            self.opened.emit(folder)


class _SourcesList(TwoLineList):
    """Takes the room that the form leaves."""

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), self.minimumHeight())


class SourcesArea(DropArea):
    """Files and folders, which can be dropped, chosen, and taken away.

    Signals:
        changed: there are others.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("")
        self.words = text_label(tr("Drop documents or a folder here: PDF, Word, HTML, Markdown, EPUB, text"), "small",
                                wrap=True, centred=True)
        self.list = _SourcesList(tr("Documents"))
        self.list.setObjectName("documents_sources")
        self.list.setToolTip(tr("Questions are made of these. Delete takes one off the list."))
        theme.grow(self.list, "setMinimumHeight", SOURCES_HEIGHT)
        self.files = SecondaryButton(tr("Choose files…"), tr("Choose documents (Ctrl+O)."), "small",
                                     name="documents_files", clicked=self.choose_files)
        self.folder = SecondaryButton(tr("Choose a folder…"), tr("All documents in a folder, and in those inside it."),
                                      "small", name="documents_folder", clicked=self.choose_folder)
        self.remove = SecondaryButton(tr("Remove"), tr("Take this one off the list. The file stays."), "small",
                                      name="documents_remove", clicked=self._remove)
        add_key(self.list, QKeySequence.StandardKey.Delete, self._remove, inside=True)
        self.dropped.connect(self.add)
        self.column.setSpacing(theme.SPACE_S)
        fill(self.column, self.words, (self.list, 1), row_of(STRETCH, self.files, self.folder, self.remove, STRETCH))
        self.paths: list[Path] = []
        self._show()

    def add(self, found: Sequence[Path]) -> None:
        self.paths += [path for each in found if (path := each.absolute()) not in self.paths]
        self._show()

    def choose_files(self) -> None:
        dialog = QFileDialog(self, tr("Choose documents"))
        dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)
        dialog.setNameFilters([tr("Documents") + " (*.pdf *.docx *.html *.htm *.md *.markdown *.epub *.txt *.text)",
                               tr("All files (*)")])
        LastFolder.begin_in(dialog)
        dialog.filesSelected.connect(lambda names: self.add([Path(name) for name in names]))
        open_dialog(dialog)

    def choose_folder(self) -> None:
        open_path(self, tr("Choose a folder with documents"), lambda path: self.add([path]), folder=True)

    def clear(self) -> None:
        self.paths = []
        self._show()

    def _remove(self) -> None:
        if isinstance(path := self.list.value(), Path):
            self.paths.remove(path)
            self._show()

    def _show(self) -> None:
        self.list.clear()
        for path in self.paths:
            self.list.add(path.name, str(path.parent), path, tooltip=str(path))
        self.list.setCurrentRow(self.list.count() - 1)
        self.list.setVisible(bool(self.paths))
        self.remove.setVisible(bool(self.paths))
        self.changed.emit()


class TeacherChoice(QWidget):
    """The models that can teach, and what a trial said of the chosen one.

    Signals:
        changed: another one is chosen, or they are known now.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._trials: dict[str, Trial] = {}
        self.teachers: list[Teacher] = []
        self._wanted = ""
        self._task, self._finding = TaskSlot(), TaskSlot()
        self.box = named(ComboBox(), "documents_teacher", tr("Teacher"),
                         tr("The model that writes questions and answers. A larger one writes better ones and takes "
                            "longer."))
        self.box.keep_narrow(22)
        self.words = text_label("", "small", wrap=True, name="documents_teacher_words")
        self.server = named(QLineEdit(), "documents_server", tr("Address of the server"), tr(
            "A server on this machine that answers as OpenAI's does: llama-server, Ollama, vLLM. A model of it can be "
            "named behind a #."))
        self.server.setPlaceholderText(EXAMPLE)
        self.server.editingFinished.connect(self._find_server)
        self._served: Teacher | UserError | None = None
        row_in(self, (self.box, 1), (self.server, 1))
        self.box.currentIndexChanged.connect(self._show)
        self._show()

    def look(self) -> None:
        """Look for them, off the UI thread."""
        self._task.run(self, lambda task: (teachers.installed(), teachers.trials()), self._show_found,
                       lambda error: report_error(self, error))

    def current(self) -> Teacher | None:
        if self.box.currentData() == ON_SERVER:
            return self._served if isinstance(self._served, teachers.Teacher) else None
        at = self.box.currentIndex()
        return self.teachers[at] if 0 <= at < len(self.teachers) else None

    def _find_server(self) -> None:
        """Look, off the UI thread, whether the address is on this machine: its name may have to be looked up."""
        text = self.server.text().strip()

        def found(teacher: Teacher | UserError | None) -> None:
            self._served = teacher
            self._show()

        self._finding.run(self, lambda task: _server_at(text), found)

    def choose(self, place: str) -> None:
        """Choose one by its place, now or when they are known."""
        self._wanted = place
        self.box.setCurrentIndex(max(0, self.box.findData(place)))

    def _show_found(self, found: tuple[list[Teacher], dict[str, Trial]]) -> None:
        wanted = self.box.currentData() or self._wanted
        self.teachers, self._trials = found
        self.box.blockSignals(True)
        self.box.clear()
        for each in self.teachers:
            self.box.addItem(each.name, each.place)
        self.box.addItem(tr("A server on this machine…"), ON_SERVER)
        known = [each.place for each in self.teachers if each.place in self._trials]
        best = max(known, key=lambda place: self._trials[place].share, default="")
        self.box.setCurrentIndex(max(0, self.box.findData(wanted or best)))
        self.box.blockSignals(False)
        self._show()

    def _show(self) -> None:
        teacher = self.current()
        is_server = self.box.currentData() == ON_SERVER
        self.server.setVisible(is_server)
        self.box.setEnabled(self.box.count() > 0)
        if is_server and teacher is None:
            words = (join_sentences(self._served.what, self._served.why) if isinstance(self._served, UserError) else
                     tr("Type the server's address, as in {example}.", example=EXAMPLE) if self.teachers else
                     tr("There is no model on this machine yet that could write questions. Get one on the Model tab, "
                        "or type the address of a server, as in {example}.", example=EXAMPLE))
        elif teacher is None:
            words = tr("Looking for models on this machine…")
        elif (trial := self._trials.get(teacher.place)) is not None:
            words = trial.sentence()
        else:
            words = tr("It hasn't written questions on this machine yet. How good it is shows in the first ones.")
        self.words.setText(words)
        self.changed.emit()


def _server_at(text: str) -> Teacher | UserError | None:
    """Runs in a thread."""
    try:
        return teachers.find(text) if text.startswith(("http://", "https://")) else None
    except UserError as error:
        return error


class StartCard(Card):
    """What is to be made, and the button that begins with reading the documents.

    Signals:
        closed: back to the datasets.
        wanted(list[Path], Settings): read these, for that.
    """

    closed = Signal()
    wanted = Signal(object, object)

    def __init__(self) -> None:
        super().__init__(tr("Questions and answers from documents"))
        self.header.addWidget(SecondaryButton(tr("← Datasets"), tr("Back to the datasets (Esc)."), "small",
                                              name="documents_close", clicked=self.closed))
        words = text_label(tr("A model on this machine reads your documents and writes questions and answers, each "
                              "with the words that support it. What doesn't hold is left out, and you decide on the "
                              "rest. Nothing leaves this machine."), "muted", wrap=True)
        self.sources, self.teacher = SourcesArea(), TeacherChoice()
        self.languages = [self._language("documents_language", tr("Language of the questions"), tr("As the document")),
                          self._language("documents_second", tr("Second language"), tr("None"))]
        self.languages[0].currentIndexChanged.connect(self._show_state)
        self.kinds = {kind: self._kind(kind) for kind in ASKED}
        self.count = keep_choice(named(number_field(SpinBox()), "documents_count", tr("Questions for each passage"), tr(
            "At most so many, in each language. A passage is about half a page.")))
        self.count.setRange(*PER_PASSAGE)
        self.count.setValue(Settings(()).per_passage)
        self.strip = ProgressStrip(name="documents_reading", tip=tr("Stop reading. Nothing is made."))
        keep_room(self.strip)
        self.strip.hide()
        self.read = PrimaryButton(tr("Read the documents →"), tr("Read them, and say how long the questions take. They "
                                                                 "aren't made yet."), name="documents_read",
                                  clicked=self._want)
        self._page = column_widget(words, (self.sources, 1), self._form(), spacing=theme.SPACE_M)
        self._area = scrolled(self._page)
        fill(self.body, (self._area, 1), row_of((self.strip, 1), self.read))
        self.sources.changed.connect(self._show_state)
        self.teacher.changed.connect(self._show_state)
        add_key(self, "Escape", self.closed.emit, inside=True)
        self._show_state()

    def _language(self, name: str, accessible: str, none: str) -> ComboBox:
        box = keep_choice(named(ComboBox(), name, accessible, tr("Questions and answers are written in it, whatever "
                                                                 "the document is written in.")))
        box.addItem(none, "")
        for code in LANGUAGES:
            box.addItem(language_name(code), code)
        return box

    def _kind(self, kind: str) -> QCheckBox:
        tips = {"fact": tr("Asks for a fact, as in how much or until when."),
                "how_to": tr("Asks how something is done."),
                "condition": tr("Asks when something holds, and for whom."),
                "comparison": tr("Asks how two things differ."),
                "unanswerable": tr("Asks for what the document doesn't say. The model learns to say so.")}
        box = keep_choice(named(QCheckBox(tr(KINDS[kind])), f"documents_kind_{kind}", tip=tips[kind]))
        box.setChecked(kind in USUAL)
        box.toggled.connect(self._show_state)
        return box

    def _form(self) -> QWidget:
        form = QWidget()
        grid = grid_in(form, theme.SPACE_L, theme.SPACE_S, 1)
        languages = row_of((self.languages[0], 1), text_label(tr("and"), "small"), (self.languages[1], 1))
        kinds = grid_of(theme.SPACE_L, theme.SPACE_S, KINDS_A_LINE)
        for place, box in enumerate(self.kinds.values()):
            kinds.addWidget(box, *divmod(place, KINDS_A_LINE))
        for row, (label, field) in enumerate(((tr("Teacher"), self.teacher), ("", self.teacher.words),
                                              (tr("Language"), languages), (tr("Kinds"), kinds),
                                              (tr("For each passage"), row_of(self.count, STRETCH)))):
            grid.addWidget(text_label(label), row, 0)
            grid.addWidget(field, row, 1) if isinstance(field, QWidget) else grid.addLayout(field, row, 1)
        theme.grow(form, "setMaximumWidth", FORM_WIDTH)
        return form

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._area.setMinimumWidth(self._page.minimumSizeHint().width() + theme.scaled(theme.SCROLL_BAR))

    def settings(self) -> Settings:
        """What is chosen."""
        teacher = self.teacher.current()
        languages = dict.fromkeys(code for box in self.languages if (code := box.currentData()))
        return Settings((), teacher.to_dict() if teacher is not None else {},
                        tuple(languages) if self.languages[0].currentData() else (),
                        tuple(kind for kind, box in self.kinds.items() if box.isChecked()), self.count.value())

    def show_reading(self, text: str) -> None:
        """The documents are being read; "" if no longer."""
        self.strip.start(text) if text else self.strip.end()
        self.strip.setVisible(bool(text))
        self._show_state()

    def _show_state(self) -> None:
        self.languages[1].setEnabled(bool(self.languages[0].currentData()))
        self.read.setEnabled(bool(self.sources.paths) and self.teacher.current() is not None
                             and any(box.isChecked() for box in self.kinds.values()) and self.strip.isHidden())

    def _want(self) -> None:
        self.wanted.emit(list(self.sources.paths), self.settings())


class StartView(QWidget):
    """The projects that are there, and a new one.

    Attributes:
        card: what is to be made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.projects, self.card = ProjectsCard(), StartCard()
        theme.grow(self.projects, "setFixedWidth", LIST_WIDTH)
        self.projects.hide()
        row_in(self, self.projects, (self.card, 1), spacing=theme.CARD_GAP)
        self._task = TaskSlot()

    def look(self) -> None:
        """Look, off the UI thread, for projects and teachers."""
        self.card.teacher.look()
        self._task.run(self, list_projects, self.projects.show_projects)


def list_projects(task: Task) -> list[ListedProject]:
    """Runs in a thread: the newest first."""
    from slmstudio.core.documents import project as store

    found = []
    for each in store.list_projects():
        if task.cancelled():
            break
        each.refresh()
        counts = each.counts()
        done = counts.accepted + counts.rejected
        detail = (tr("{done:,} of {all:,} reviewed", done=done, all=done + counts.waiting) if done + counts.waiting else
                  ntr("{n:,} question, left out", "{n:,} questions, all left out", counts.all) if counts.all else
                  tr("no questions yet"))
        found.append(ListedProject(each.folder, each.name, detail, each.job.is_alive()))
    return found


