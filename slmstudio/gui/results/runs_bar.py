"""The line above the runs: the search, the columns that are shown, and saving the table as a file."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QPoint, QTimer
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QLineEdit, QMenu, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common.dialogs import choose_file, csv_kinds, write_csv
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import row_in
from slmstudio.gui.results import columns
from slmstudio.gui.results.runs_table import RunsTable

FILTER_AFTER_MS = 120


class RunsBar(QWidget):
    """Commands a runs table, and remembers what was chosen."""

    def __init__(self, session: Session, table: RunsTable, parent: QWidget | None = None):
        super().__init__(parent)
        self._session, self._table, self._of_all = session, table, ""
        self.search = named(QLineEdit(session.settings.runs_filter), "runs_filter", tr("Search the runs"),
                            tr("Words anywhere in a run's configuration, note or tags, and conditions on any field or "
                               "score:\nlora_rank>8   method=qlora   learning_rate<=1e-4   time<2h   tag=best   "
                               "chrf>50   outcome!=finished\nA run is shown when all of them hold. The end of a "
                               "field's name is enough, such as rank. Numbers may have a unit, such as 2k. (Ctrl+F)"))
        self.search.setClearButtonEnabled(True)
        self.search.setPlaceholderText(tr("Search: rank>8"))
        self.tags = SecondaryButton(tr("Tags"), tr("Show the runs with a tag."), "small", name="runs_tags")
        self.columns = IconButton("columns", tr("Choose the columns: any field of a run, and any score"),
                                  name="runs_columns")
        self.save = IconButton("save", tr("Save the table as CSV, as it is shown"), name="runs_csv")
        self.note = text_label("", "small", wrap=True, name="runs_filter_note")
        self.note.hide()
        self.chooser = columns.ColumnChooser(self)
        row_in(self, (self.search, 1), self.tags, self.columns, self.save)
        self.tags.hide()
        self._wait = QTimer(self, interval=FILTER_AFTER_MS, singleShot=True)
        self._connect()
        self._restore()

    def _connect(self) -> None:
        self._wait.timeout.connect(self.apply)
        self.search.textChanged.connect(lambda: self._wait.start())
        self.search.returnPressed.connect(self.apply)
        self.tags.clicked.connect(self._offer_tags)
        self.columns.clicked.connect(self._offer_columns)
        self.chooser.changed.connect(self._choose_columns)
        self.save.clicked.connect(self._save)
        self._table.sort_changed.connect(self._remember_sort)
        window = self.parentWidget() or self
        add_key(window, QKeySequence.StandardKey.Find, self._begin_search, inside=True)

    def _restore(self) -> None:
        settings = self._session.settings
        if settings.runs_columns:
            self._table.set_columns(settings.runs_columns)
        key = settings.runs_sort.removeprefix("-")
        if key:
            self._table.sort_by(key, settings.runs_sort.startswith("-"))
        if settings.runs_filter:
            self._table.set_filter(settings.runs_filter)

    def show_runs(self, note: str = "") -> None:
        """The runs in the table have changed.

        Args:
            note: what to say about them when there is no search.
        """
        self._of_all = note
        tags = self._known_tags()
        self.tags.setVisible(bool(tags))
        self.apply()

    def _begin_search(self) -> None:
        self.search.setFocus()
        self.search.selectAll()

    def apply(self) -> None:
        """Show the runs that match the line, and say so if none does."""
        self._wait.stop()
        line = self.search.text()
        unknown = self._table.set_filter(line) if self._table.runs.facts else []
        if unknown:
            text = tr("No run has a field called “{name}”. The list of columns shows all fields. To search for "
                      "words as text, put quotation marks around them.", name=unknown[0])
        elif line.strip() and not self._table.runs.shown:
            text = tr("No run matches this search.")
        elif line.strip():
            text = tr("{shown} of {all} runs", shown=len(self._table.runs.shown), all=len(self._table.runs.facts))
        else:
            text = self._of_all
        show_text(self.note, text)
        if line != self._session.settings.runs_filter:
            self._session.settings.runs_filter = line
            self._session.report_settings_changed()

    def _known_tags(self) -> list[str]:
        found = {tag.casefold(): tag for facts in self._table.runs.facts for tag in facts.notes.tags}
        return [found[key] for key in sorted(found)]

    def _offer_tags(self) -> None:
        menu = QMenu(self)
        for tag in self._known_tags():
            menu.addAction(tag.replace("&", "&&"), partial(self._show_tag, tag))  # one alone underlines what follows
        menu.addSeparator()
        menu.addAction(tr("All runs"), self.search.clear)
        menu.popup(self.tags.mapToGlobal(QPoint(0, self.tags.height())))

    def _show_tag(self, tag: str) -> None:
        self.search.setText(f'tag="{tag}"' if " " in tag else f"tag={tag}")
        self.apply()

    def _offer_columns(self) -> None:
        place = self.columns.mapToGlobal(QPoint(self.columns.width() - self.chooser.width(), self.columns.height()))
        self.chooser.open_at(place, self._table.runs.columns, columns.known_columns(self._table.runs.known_fields))

    def _choose_columns(self, names: list[str]) -> None:
        self._table.set_columns(names)
        standard = self._table.runs.columns == list(columns.STANDARD)
        self._session.settings.runs_columns = [] if standard else self._table.runs.columns
        self._session.report_settings_changed()

    def _remember_sort(self) -> None:
        key, falling = self._table.runs.sorted_by
        self._session.settings.runs_sort = ("-" if falling else "") + key
        self._session.report_settings_changed()

    def _save(self) -> None:
        rows = self._table.runs.as_table()
        choose_file(self, tr("Save the table"), "runs.csv", csv_kinds(), lambda path: run_task(
            self, lambda task: write_csv(path, rows), lambda _: None))
