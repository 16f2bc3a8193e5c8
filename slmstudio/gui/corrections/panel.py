"""Makes a row of an answer: what it should have been, for training; or what a test expects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QPlainTextEdit

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import open_dialog
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import IconButton, PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.labels import ElidedLabel, text_label
from slmstudio.gui.common.widgets.layouts import fill, grid_of, row_of

if TYPE_CHECKING:
    from slmstudio.core.chat.corrections import Learned
    from slmstudio.core.data.versions.appending import Added, NewRow

NAMED = 40
"""Letters of a question that tell it from others."""
EDITOR_HEIGHT = 92
_CHOOSE, _NEW = "choose", "new"
_SHOWN = 12


@dataclass(frozen=True)
class Answered:
    """An answer of a conversation.

    Attributes:
        messages: all before it, the system message too; the last is the question.
        text: the answer.
        models: the GGUF files that gave it, the adapter's too.
    """

    messages: tuple[dict[str, str], ...]
    text: str
    models: tuple[Path, ...]


def shortened(answered: Answered) -> str:
    """As much of its question as tells it from others."""
    line = " ".join(answered.messages[-1]["content"].split())
    return line if len(line) <= NAMED else line[:NAMED].rstrip() + "…"


def added_text(added: Added) -> str:
    """As in "corrections.jsonl now has 12 rows"."""
    return ntr("{file} now has {n:,} row", "{file} now has {n:,} rows", added.rows, file=added.path.name)


def not_added(answered: Answered) -> str:
    return tr("“{question}” wasn't added.", question=shortened(answered))


def learned_text(found: Learned) -> str:
    """Why a question can't test this model."""
    if found.same_answer:
        return tr("The model was trained on exactly this row (line {line:,} of {file}), so testing it says nothing "
                  "about new questions.", line=found.line, file=found.file.name)
    return tr("The model was trained on this question with another answer (line {line:,} of {file}).",
              line=found.line, file=found.file.name)


class RowTarget(ComboBox):
    """A list of dataset files: the one that was used last, those of the datasets folder, another, or a new one.

    Signals:
        chosen(Path): the user chose this file.

    Args:
        standard: the name of the file that is made where none was ever chosen.
    """

    chosen = Signal(object)

    def __init__(self, name: str, tooltip: str, standard: str):
        super().__init__()
        named(self, "", name, tooltip)
        self.keep_narrow(24)
        self._standard = standard
        self._current: Path | None = None
        self.activated.connect(self._activate)

    def path(self) -> Path:
        """The file that is chosen."""
        return self._current or paths.datasets_dir() / self._standard

    def offer(self, last: str, known: list[Path]) -> None:
        """Show what can be chosen: the file that was used last ("" for none), then these."""
        self._current = Path(last) if last else paths.datasets_dir() / self._standard
        others = [path for path in known if path != self._current][:_SHOWN]
        self.clear()
        for path in (self._current, *others):
            self.add_path(path.name if path.exists() else tr("{name} (new)", name=path.name), path)
        self.insertSeparator(self.count())
        self.addItem(tr("Choose a file…"), _CHOOSE)
        self.addItem(tr("New file…"), _NEW)
        self.setCurrentIndex(0)

    def set_path(self, path: Path) -> None:
        """Choose a file, and say so."""
        known = [Path(self.itemData(index)) for index in range(self.count())
                 if self.itemData(index) not in (None, _CHOOSE, _NEW)]
        self.offer(str(path), [each for each in known if each.exists()])
        self.chosen.emit(path)

    def _activate(self, index: int) -> None:
        data = self.itemData(index)
        if data in (_CHOOSE, _NEW):
            self.setCurrentIndex(self.findData(str(self._current)))
            self._ask(new=data == _NEW)
        else:
            self._current = Path(data)
            self.chosen.emit(self._current)

    def _ask(self, new: bool) -> None:
        title = tr("New dataset") if new else tr("Choose a dataset")
        dialog = QFileDialog(self, title, str(self.path().parent), tr("Datasets") + " (*.jsonl *.json *.ndjson)")
        dialog.setFileMode(QFileDialog.FileMode.AnyFile if new else QFileDialog.FileMode.ExistingFile)
        if new:
            dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
            dialog.setOption(QFileDialog.Option.DontConfirmOverwrite)  # rows are added to what is there
            dialog.setDefaultSuffix("jsonl")
        dialog.fileSelected.connect(lambda name: self.set_path(Path(name)))
        open_dialog(dialog)


def known_files() -> list[Path]:
    """Datasets of the user's own folder, the one that was changed last first."""
    folder = paths.datasets_dir()
    found = [path for path in folder.glob("*.*") if path.suffix in (".jsonl", ".json", ".ndjson")
             and not path.name.startswith(".")]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


class CorrectPanel(Card):
    """Shown below the conversation while an answer is corrected, or made a test.

    Signals:
        closed: it is no longer needed.
        stored: rows were added, or taken back.
        failed(Exception): something wasn't added, or not taken back, and the panel that would say so is closed.
    """

    closed = Signal()
    stored = Signal()
    failed = Signal(object)

    def __init__(self, session: Session):
        super().__init__(tr("Correct this answer"))
        self.header.addWidget(IconButton("close", tr("Close without adding anything (Esc)"), name="correct_close",
                                         clicked=self.close_panel))
        self._session = session
        self._answered = Answered((), "", ())
        self._test = self._confirmed = self._at_work = False
        self._added: list[Added] = []
        self._make()
        self._lay_out()
        self._connect()
        self.hide()

    def _make(self) -> None:
        self.question = ElidedLabel("", "muted", Qt.TextElideMode.ElideRight)
        self.answer = named(QPlainTextEdit(), "correct_answer", tr("Corrected answer"),
                            tr("Write the answer as it should have been."))
        theme.grow(self.answer, "setFixedHeight", EDITOR_HEIGHT)
        self.answer.setTabChangesFocus(True)
        self.as_row = named(QCheckBox(tr("Add a training row to")), "correct_row",
                            tip=tr("The conversation up to here with your answer, for the next training."))
        self.as_pair = named(QCheckBox(tr("Add a preference pair to")), "correct_pair",
                             tip=tr("Your answer as the better one and the model's as the worse one, for training on "
                                    "preferences."))
        self.row_file = RowTarget(tr("Dataset for rows"), tr("The dataset to add the row to."), "corrections.jsonl")
        self.pair_file = RowTarget(tr("Dataset for pairs"), tr("The dataset to add the pair to."),
                                   "preferences.jsonl")
        self.test_file = RowTarget(tr("Test set"),
                                   tr("The test set to add the question to, with your answer as the expected one."),
                                   "tests.jsonl")
        self._targets = {"correction_file": self.row_file, "preference_file": self.pair_file,
                         "test_file": self.test_file}
        self.category, self.language = QLineEdit(), QLineEdit()
        for field, name in ((self.category, tr("Category")), (self.language, tr("Language"))):
            named(field, "", name, tr("Saved with the row, so that results can be grouped by it. It may be empty."))
            field.setPlaceholderText(name)
        self.note = text_label("", "small", wrap=True, name="correct_note")
        self.banner = ErrorBanner(name="correct_banner")
        self.add = PrimaryButton(tr("Add"), tr("Add it to the chosen files."), name="correct_add", clicked=self.store)
        self.undo = SecondaryButton(tr("Undo"), tr("Remove the added rows from the files."), name="correct_undo",
                                    clicked=self.take_back)
        self.open_data = SecondaryButton(tr("Open in Data"), tr("Show the new row in the Data tab."),
                                         name="correct_open", clicked=self._show_in_data)

    def _lay_out(self) -> None:
        self._grid = grid_of(theme.SPACE_S, theme.SPACE_XS)
        self._test_label = text_label(tr("Test set"))
        for row, (name, target) in enumerate(((self.as_row, self.row_file), (self.as_pair, self.pair_file),
                                              (self._test_label, self.test_file))):
            self._grid.addWidget(name, row, 0)
            self._grid.addWidget(target, row, 1)
        self._grid.addWidget(self.category, 2, 2)
        self._grid.addWidget(self.language, 2, 3)
        self._grid.setColumnStretch(4, 1)
        self.body.setSpacing(theme.SPACE_S)
        fill(self.body, self.question, self.answer, self._grid, self.banner,
             row_of((self.note, 1), self.open_data, self.undo, self.add))

    def _connect(self) -> None:
        self.answer.textChanged.connect(self._show_state)
        for box in (self.as_row, self.as_pair):
            box.toggled.connect(self._show_state)
        for name, target in self._targets.items():
            target.chosen.connect(lambda path, name=name: self._remember(name, path))

    # -- opening and closing ---------------------------------------------------------------------------------

    def open(self, answered: Answered, *, test: bool) -> None:
        """Let the user correct an answer, or put its question into a test set."""
        self.title.setText(tr("Add to a test set") if test else tr("Correct this answer"))
        self._answered, self._test, self._confirmed, self._added = answered, test, False, []
        for widget in (self.as_row, self.row_file, self.as_pair, self.pair_file):
            widget.setVisible(not test)
        for widget in (self._test_label, self.test_file, self.category, self.language):
            widget.setVisible(test)
        before = sum(message["role"] == "user" for message in answered.messages) - 1
        text = " ".join(answered.messages[-1]["content"].split())
        earlier = ntr("after {n:,} earlier question", "after {n:,} earlier questions", before)
        self.question.setText(f"{text} · {earlier}" if before > 0 else text)
        self.answer.setPlainText(answered.text)
        self.as_row.setChecked(True)
        self.as_pair.setChecked(False)
        self.banner.clear()
        self.note.setText("")
        known = known_files()
        for name, target in self._targets.items():
            target.offer(getattr(self._session.settings, name), known)
        self._show_state()
        self.show()
        self.answer.setFocus()

    def is_editing(self) -> bool:
        """Whether it is open with something that isn't added, or is being added."""
        return self._at_work or (not self.isHidden() and not self._added)

    def close_panel(self) -> None:
        self.hide()
        self.closed.emit()

    def keyPressEvent(self, event: Any) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close_panel()
        else:
            super().keyPressEvent(event)

    def _remember(self, name: str, path: Path) -> None:
        setattr(self._session.settings, name, str(path))
        self._confirmed = False
        self._session.report_settings_changed()

    def _show_state(self) -> None:
        """What can be pressed now."""
        text = self.answer.toPlainText().strip()
        changed = text != self._answered.text.strip()
        self.as_pair.setEnabled(changed)
        if not changed:
            self.as_pair.setChecked(False)
        wanted = self._test or self.as_row.isChecked() or self.as_pair.isChecked()
        self.add.setVisible(not self._added)
        self.add.setEnabled(bool(text) and wanted and not self._at_work)
        self.add.setText(tr("Add anyway") if self._confirmed else tr("Add"))
        for button in (self.undo, self.open_data):
            button.setVisible(bool(self._added))
        self.undo.setEnabled(not self._at_work)
        self.answer.setReadOnly(bool(self._added))

    # -- adding and taking back ------------------------------------------------------------------------------

    def rows(self) -> list[tuple[Path, NewRow]]:
        """What will be added, and where."""
        from slmstudio.core.data.versions.appending import NewRow

        better = {"role": "assistant", "content": self.answer.toPlainText().strip()}
        messages = (*self._answered.messages, better)
        if self._test:
            tags = {"category": self.category.text().strip(), "language": self.language.text().strip()}
            return [(self.test_file.path(), NewRow(messages, tags=tags))]
        wanted = [(self.row_file.path(), NewRow(messages))] if self.as_row.isChecked() else []
        if self.as_pair.isChecked():
            wanted.append((self.pair_file.path(), NewRow(messages, rejected=self._answered.text.strip())))
        return wanted

    def store(self) -> None:
        """Add the rows, all or none. A test that was learned already must be asked for twice."""
        from slmstudio.core.chat import corrections
        from slmstudio.core.data import remembered

        wanted, answered = self.rows(), self._answered
        said = {each.path: each.said for each in remembered.read_all(self._session.settings.datasets)}
        learned = self._answered.models if self._test and not self._confirmed else ()
        self.banner.clear()
        self.note.setText(tr("Adding…"))
        self._set_at_work(True)

        def work(task: Task) -> tuple[Learned | None, str, list[Added]]:
            found, hindered = corrections.learned_by(learned, wanted[0][1], task.cancelled)
            return found, hindered, [] if found else corrections.add_all(wanted, task.cancelled, said)

        run_task(self, work, lambda result: self._stored(answered, result), lambda error: self._failed(answered, error))

    def _set_at_work(self, on: bool) -> None:
        """One thing at a time, whatever answer is shown meanwhile."""
        self._at_work = on
        self._show_state()

    def _stored(self, answered: Answered, result: tuple[Learned | None, str, list[Added]]) -> None:
        """What became of an answer; by now another may be shown."""
        found, hindered, added = result
        if answered is self._answered:
            self._confirmed, self._added = found is not None, added
        self._set_at_work(False)
        names = [added_text(each) for each in added]
        if hindered:
            names.append(tr("It wasn't compared with the model's training rows: {why}", why=hindered))
        if found and self.isHidden():
            self.failed.emit(UserError(not_added(answered), learned_text(found)))
        else:
            self._say(answered, learned_text(found) if found else " · ".join(names), added=not found)
        used = {each.path for each in added}
        self.note.setToolTip("\n".join(map(str, sorted(used))))
        for name, target in self._targets.items():
            if target.path().resolve() in used:
                self._remember(name, target.path())
                target.offer(str(target.path()), known_files())
        for each in added:
            self._session.report_written(each.path)
        if used:
            self.stored.emit()

    def _say(self, answered: Answered, said: str, *, added: bool) -> None:
        """Say what became of an answer, and of which one where another is shown now."""
        if answered is not self._answered:
            named = f"“{shortened(answered)}”: {said}"
            said = named if added else " ".join(filter(None, (not_added(answered), said)))
        self.note.setText(said)

    def _show_in_data(self) -> None:
        """The files that rows were added to, and the row in the first."""
        files = [each.path for each in reversed(self._added)]
        self._session.open_data(files, self._added[0].line)

    def take_back(self) -> None:
        """Undo."""
        from slmstudio.core.chat import corrections

        added, answered = self._added, self._answered
        self._set_at_work(True)
        run_task(self, lambda task: corrections.undo_all(added), lambda _: self._taken_back(answered, added),
                 self._not_taken_back)

    def _taken_back(self, answered: Answered, added: list[Added]) -> None:
        if answered is self._answered:
            self._added = []
        self._set_at_work(False)
        self._say(answered, tr("Undone."), added=True)
        for each in added:
            self._session.report_written(each.path, gone=each.created)
        self.stored.emit()

    def _not_taken_back(self, error: Exception) -> None:
        self._set_at_work(False)
        self._show_error(error)

    def _failed(self, answered: Answered, error: Exception) -> None:
        self._set_at_work(False)
        self._say(answered, "", added=False)
        if self.isHidden() and isinstance(error, UserError):
            error = UserError(not_added(answered), " ".join(filter(None, (error.what, error.why))), error.remedy,
                              error.problems)
        self._show_error(error)

    def _show_error(self, error: Exception) -> None:
        """Here, or by the page where the panel was closed meanwhile: it has given the place to something else."""
        if self.isHidden():
            self.failed.emit(error)
        else:
            self.banner.show_error(error)
