"""The list of base models: those for an evening, those that fit, those on disk, or all; searched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QLineEdit, QSizePolicy

from slmstudio.core import units
from slmstudio.core.i18n import ntr, number_text, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.buttons import SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.fields import folded, keep_choice, named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import fill, row_widget
from slmstudio.gui.common.widgets.table_cells import VALUE, TwoLineList
from slmstudio.gui.model.known import ModelEntry

if TYPE_CHECKING:
    from slmstudio.core.run.recommend import Rows, Suitability

EVENING, FITS, ON_DISK, ALL = range(4)
LIST_HEIGHT = 96
"""About two models at least; where there is no room for them, the page scrolls."""
_KINDS = {"tight": "warn", "no": "bad"}
"""The colour of what a model needs, by the level of its memory."""


class ModelListCard(Card):
    """The list, and what narrows it.

    Signals:
        chosen(ModelEntry or None): another entry is looked at.
        folder_wanted, gguf_wanted: the user pressed the button.
        repo_typed(str): a name of the hub that isn't on the list was typed, "" when it is gone again.
        forget_wanted(ModelEntry): take it off the list.
    """

    chosen = Signal(object)
    folder_wanted = Signal()
    gguf_wanted = Signal()
    repo_typed = Signal(str)
    forget_wanted = Signal(object)

    def __init__(self, session: Session):
        super().__init__(tr("All models"))
        self.view = SegmentedControl((tr("An evening"), tr("Fits"), tr("On disk"), tr("All")),
                                     tooltips=(tr("Models that suit your rows and are trained within four hours, and "
                                                  "those on disk."),
                                               tr("Models that can be trained on this machine, and those on disk."),
                                               tr("Models that are already on this machine."),
                                               tr("Every model of the catalogue, and those on disk.")),
                                     name="model_view")
        keep_choice(self.view)
        self.header.addWidget(self.view)
        self._session = session
        self._entries: list[ModelEntry] = []
        self._languages: dict[str, tuple[str, str]] = {}
        self._rows: Rows | None = None
        self._current: ModelEntry | None = None
        self._by_person = False
        self._told: object = self  # what was last said to be looked at; at first nothing was
        self.view.changed.connect(self._fill)
        self.list = TwoLineList(tr("Models"))
        self.list.setObjectName("model_list")
        self.list.currentItemChanged.connect(self._choose_row)
        add_key(self.list, QKeySequence.StandardKey.Delete, self._forget, inside=True)
        self.nothing = text_label("", "small", wrap=True, name="model_nothing", centred=True)
        theme.grow(self.list, "setMinimumHeight", LIST_HEIGHT)
        line = row_widget((self._search_line(), 1), *self._buttons())
        line.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)  # its buttons' letters aren't cut
        fill(self.body, line, (self.list, 1), (self.nothing, 1))
        session.model_changed.connect(self._show_chips)

    def _search_line(self) -> QLineEdit:
        self.search = named(QLineEdit(placeholderText=tr("Search, or paste a hub name"), clearButtonEnabled=True),
                            "model_search", tr("Search models"),
                            tr("Type words of a name, a family, a language or a licence. Or paste the name of any "
                               "model on the hub, such as Qwen/Qwen2.5-1.5B-Instruct, to download it."))
        self.search.textChanged.connect(self._fill)
        return self.search

    def _buttons(self) -> tuple[SecondaryButton, SecondaryButton]:
        folder = SecondaryButton(tr("Open folder…"),
                                 tr("Choose the folder of a model: config.json, safetensors weights and tokenizer "
                                    "(Ctrl+O)."), name="model_open", clicked=self.folder_wanted)
        gguf = SecondaryButton(tr("GGUF…"), tr("Choose a GGUF file and unpack it, so that it can be trained."),
                               name="model_gguf", clicked=self.gguf_wanted)
        return folder, gguf

    def entries(self) -> list[ModelEntry]:
        """All entries, shown or not."""
        return list(self._entries)

    def current(self) -> ModelEntry | None:
        """The entry that is looked at."""
        return self._current

    def is_default(self) -> bool:
        """Whether what is looked at is the first of the list, and nobody has chosen it."""
        return not self._by_person

    def set_languages(self, names: dict[str, tuple[str, str]]) -> None:
        """Let these languages be searched: by code, what they are called in the window and in English."""
        self._languages = names
        self._fill()

    def show_suitability(self, rows: Rows) -> None:
        """Show what each entry's `suits` says, for these rows."""
        self._rows = rows
        self._fill()

    def put(self, entries: list[ModelEntry], select: ModelEntry | None = None) -> None:
        """Add entries, each in place of an older one of the same folder; look at `select`."""
        for entry in entries:
            for row, known in enumerate(self._entries):
                if known.folder == entry.folder:
                    entry.suits = entry.suits or known.suits  # until it is worked out again: a filter asks for it
                    self._entries[row] = entry
                    if known is self._current:
                        self._current = entry
                    break
            else:
                self._entries.append(entry)
        if select is not None:
            self._current, self._by_person = select, True
            if not self._is_shown(select):
                self._show_all()
        self._fill()

    def save_state(self) -> tuple[list[ModelEntry], ModelEntry | None, bool]:
        """The entries, the one that is looked at, and whether a person chose it."""
        return self._entries, self._current, self._by_person

    def restore_state(self, entries: list[ModelEntry], current: ModelEntry | None, by_person: bool) -> None:
        """Look at what `save_state` found, until the entries are read again."""
        self._entries, self._current, self._by_person = entries, current, by_person
        self._fill()

    def remove(self, entry: ModelEntry) -> None:
        """Take an entry off the list."""
        self._entries.remove(entry)
        if entry is self._current:
            self._current, self._by_person = None, False
        self._fill()

    def _show_all(self) -> None:
        """Nothing is filtered: what was just opened must be seen."""
        with QSignalBlocker(self.search), QSignalBlocker(self.view):
            self.search.clear()
            self.view.set_current(ALL)

    def _fill(self) -> None:
        """Show the entries that the filters let through. What is looked at stays so as long as it is among them."""
        shown = sorted(filter(self._is_shown, self._entries), key=_order)
        row = shown.index(self._current) if self._current in shown else 0
        with QSignalBlocker(self.list):
            self.list.clear()
            for entry in shown:
                self.list.add(entry.name, self._detail(entry), entry, tooltip=entry.repo or str(entry.folder))
            self.list.setCurrentRow(row if shown else -1)
        self._show_chips()
        self.list.setVisible(bool(shown))
        self.nothing.setVisible(not shown)
        self.nothing.setText(self._why_nothing())
        self._choose()
        self.repo_typed.emit("" if shown or not self._entries else self.search.text().strip())

    def _choose_row(self) -> None:
        self._by_person = True
        self._choose()

    def _choose(self) -> None:
        value = self.list.value()
        entry = value if isinstance(value, ModelEntry) else None
        if entry is not None or not self._entries:
            self._current = entry
        if entry is not self._told:
            self._told = entry
            self.chosen.emit(entry)

    def _forget(self) -> None:
        if self._current is not None:
            self.forget_wanted.emit(self._current)

    def _is_shown(self, entry: ModelEntry) -> bool:
        known, view, suits, facts = entry.known, self.view.current(), entry.suits, entry.facts
        if not entry.on_disk and (
                view == ON_DISK or (view == FITS and (suits is None or not suits.judgement.fits))
                or (view == EVENING and (suits is None or not suits.is_of_an_evening))):
            return False
        said = [entry.name, entry.repo, entry.source, facts.family if facts else "", facts.name if facts else "",
                (facts.licence if facts else None) or ""]
        if known is not None:
            codes = self._languages if known.has_most_languages else known.languages
            said += [known.family, known.licence.name]
            said += [name for code in codes for name in self._languages.get(code, ())]
        hay = folded(" ".join(said))
        return all(word in hay for word in folded(self.search.text()).split())

    def _why_nothing(self) -> str:
        if not self._entries:
            return ""
        if self.search.text().strip():
            return tr("No model on the list matches. Paste the full name of a model on the hub, such as "
                      "Qwen/Qwen2.5-1.5B-Instruct, to download it.")
        if self.view.current() == ON_DISK:
            return tr("No matching model is on this machine. Choose All to see those you can download.")
        return tr("No model matches. Choose All to see the others.")

    def _show_chips(self) -> None:
        chosen = self._session.model
        for row in range(self.list.count()):
            item = self.list.item(row)
            chip, kind = self._chip(item.data(VALUE), chosen.path if chosen is not None else None)
            self.list.change(item, chip=chip, kind=kind)

    def _chip(self, entry: ModelEntry, used: object) -> tuple[str, str]:
        if entry.facts is not None and entry.folder == used:
            return tr("in use"), "ok"
        if entry.error is not None:
            return tr("damaged"), "bad"
        if entry.gguf is not None:
            return tr("prepare"), "accent"
        return self._suitability(entry.suits) if entry.suits is not None else ("", "plain")

    def _suitability(self, suits: Suitability) -> tuple[str, str]:
        """The time that training takes, or what speaks against the model."""
        if suits.problem == "other_language":
            return tr("other language"), "warn"
        if suits.problem == "memory":
            return tr("needs {size}", size=units.format_bytes(suits.need.high)), _KINDS[suits.judgement.level]
        if suits.problem == "short_context":
            return tr("rows too long"), "warn"
        return suits.time.text(), "ok" if suits.is_of_an_evening else "warn"

    def _detail(self, entry: ModelEntry) -> str:
        """As in "1.5 B · Hindi: 4.9 tokens per word · on disk · Apache-2.0"."""
        facts, known = entry.facts, entry.known
        if facts is None and known is None:
            if entry.gguf is not None:
                size = units.format_bytes(entry.file_bytes)
                return " · ".join(filter(None, (tr("GGUF file"), size, entry.source and tr(entry.source))))
            return entry.repo or str(entry.folder)
        parts = [units.format_count(facts.parameters if facts else known.parameters)]  # type: ignore[union-attr]
        suits, rows = entry.suits, self._rows
        if suits is not None and rows is not None and rows.language and suits.language in ("known", "likely"):
            parts.append(tr("{language}: {number} tokens per word", language=rows.language,
                            number=number_text(round(suits.tokens_per_word, 1))))
        elif suits is not None and rows is not None and rows.language and suits.language == "unstated":
            parts.append(tr("{language} not stated", language=rows.language))
        elif known is not None and known.language_count:
            name, _ = self._languages.get(known.languages[0], ("", "")) if len(known.languages) == 1 else ("", "")
            parts.append(name or ntr("{n:,} language", "{n:,} languages", known.language_count))
        elif facts is not None:
            parts.append(facts.family)
        if entry.on_disk:
            parts.append(tr(entry.source) if entry.source else tr("on disk"))
        licence = (facts.licence if facts else None) or (known.licence.name if known and known.licence.id else None)
        return " · ".join([*parts, licence or tr("licence not stated")])


def _order(entry: ModelEntry) -> tuple[bool, int, str]:
    """Those on disk first, then the smallest."""
    facts, known = entry.facts, entry.known
    size = facts.parameters if facts is not None else known.parameters if known is not None else 0
    return not entry.on_disk, size or 0, folded(entry.name)
