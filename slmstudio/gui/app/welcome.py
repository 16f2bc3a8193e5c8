"""The first thing a new user sees: what this machine has, where things are kept, and how to begin."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFontDatabase, QKeySequence
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QScrollArea, QWidget

from slmstudio.core import disk_space, home_folder, paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.units import format_bytes
from slmstudio.gui.app.frame import Logo
from slmstudio.gui.app.home_folder import PlaceRow
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.areas import Card, EmptyState, TakesFiles, rule
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import IconButton, PrimaryButton, SecondaryButton, keep_room
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import Chip, text_label
from slmstudio.gui.common.widgets.layouts import column_in, column_of, fill, grid_in, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip

if TYPE_CHECKING:
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.gui.model.work import ModelWork

# -- What the welcome page says about this machine: read off the UI thread, then put in words.

_System = QFontDatabase.WritingSystem
INDIAN_SCRIPTS = {
    noop("Devanagari"): _System.Devanagari, noop("Bengali"): _System.Bengali, noop("Tamil"): _System.Tamil,
    noop("Telugu"): _System.Telugu, noop("Kannada"): _System.Kannada, noop("Malayalam"): _System.Malayalam,
    noop("Gujarati"): _System.Gujarati, noop("Gurmukhi"): _System.Gurmukhi, noop("Odia"): _System.Oriya,
    noop("Urdu"): _System.Arabic}


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        free: bytes free where things are kept; None when the disk doesn't say.
        unshown: Indian scripts for which there is no font.
        notes: what a user should know of WSL and of the place.
    """

    machine: Machine
    free: int | None
    unshown: tuple[str, ...]
    notes: tuple[UserError, ...] = ()


@dataclass(frozen=True)
class Fact:
    """One line of the page.

    Attributes:
        kind: "ok", "plain" (neither good nor bad) or "warn".
        note: the reason or the remedy, in lower case; may be "".
    """

    name: str
    kind: str
    text: str
    note: str = ""


def read() -> Found:
    """Look at the machine. Takes about a tenth of a second; a driver that must wake its card first takes longer."""
    from slmstudio.core.hardware import wsl
    from slmstudio.core.hardware.machine import read_machine

    home = home_folder.absolute(paths.home())
    try:
        free: int | None = disk_space.free(home)
    except OSError:
        free = None
    return Found(read_machine(), free, unshown_scripts(), tuple(wsl.findings(home)))


def unshown_scripts() -> tuple[str, ...]:
    """Indian scripts that no font of this machine has."""
    known = set(QFontDatabase.writingSystems())
    # Qt doesn't count Noto's font for Odia, which shows it well.
    named = any("oriya" in family.lower() or "odia" in family.lower() for family in QFontDatabase.families())
    return tuple(name for name, system in INDIAN_SCRIPTS.items()
                 if system not in known and not (system == _System.Oriya and named))


def names() -> list[str]:
    """The lines that are always there, while they are being filled in."""
    return [tr("GPU"), tr("Memory"), tr("Disk"), tr("Fonts")]


def facts(found: Found) -> list[Fact]:
    """The lines of the page."""
    from slmstudio.core.hardware import guidance

    memory = Fact(tr("Memory"), "ok", guidance.memory_left(found.machine.ram_free, found.machine.ram_total))
    return [_gpu(found.machine), memory, _disk(found.free), _fonts(found.unshown),
            *(Fact(tr("WSL"), "warn", note.what, f"{note.why} {note.remedy}") for note in found.notes)]


def _gpu(machine: Machine) -> Fact:
    from slmstudio.core.hardware import guidance

    if not machine.gpus:
        return Fact(tr("GPU"), "plain", tr("No NVIDIA GPU. Small models can train on the processor, but slowly."),
                    " ".join(part for part in (f"{guidance.cpu_chip(machine)}.", machine.gpu_reason) if part))
    gpu = machine.gpus[0]
    left = "" if gpu.memory_free is None or gpu.memory_total is None else \
        guidance.memory_left(gpu.memory_free, gpu.memory_total)
    return Fact(tr("GPU"), "warn" if machine.gpu_reason else "ok",
                " · ".join(part for part in (guidance.gpu_chip(machine), left) if part), machine.gpu_reason)


def _disk(free: int | None) -> Fact:
    if free is None:
        return Fact(tr("Disk"), "warn", tr("The disk doesn't report its free space."))
    little = disk_space.little_room(free)
    if little is not None:
        return Fact(tr("Disk"), "warn", little.what, f"{little.why} {little.remedy}")
    return Fact(tr("Disk"), "ok", tr("{size} free where your work is kept", size=format_bytes(free)))


def _fonts(unshown: Sequence[str]) -> Fact:
    if not unshown:
        return Fact(tr("Fonts"), "ok", tr("Devanagari, Bengali, Tamil and all other Indian scripts can be shown"))
    if sys.platform == "linux":
        note = tr("Their letters appear as boxes. On Debian and Ubuntu: sudo apt install fonts-noto-core, then start "
                  "SLM Studio again.")
    else:
        note = tr("Their letters appear as boxes. Add the language with its fonts in the system's settings, then start "
                  "SLM Studio again.")
    return Fact(tr("Fonts"), "warn", tr("No font for {scripts}", scripts=", ".join(map(tr, unshown))), note)


CARD_WIDTH = 720
LOGO_SIZE = 28
MARK_WIDTH, MARK_PADDING = 32, 1
_MARKS = {"ok": "✓", "plain": "–", "warn": "!"}


class Welcome(TakesFiles, QWidget):
    """A page over the tabs. It reads the machine when `look` is called.

    Signals:
        found(Found): the machine was read.
    """

    found = Signal(object)

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self._facts = FactsGrid()
        self.banner = ErrorBanner(closable=False, name="welcome_banner")
        self.place = PlaceRow(session)
        self.place.changed.connect(self.look)
        page = EmptyState.centred(self._card())
        page.setProperty("plain", True)
        self.area = QScrollArea()
        self.area.setWidgetResizable(True)
        self.area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.area.setWidget(page)
        column_in(self, self.area, spacing=None)
        add_key(self, QKeySequence.StandardKey.Cancel, lambda: session.go_to(""), inside=True)

    def _card(self) -> Card:
        card = Card()
        theme.grow(card, "setFixedWidth", CARD_WIDTH)
        card.layout().setContentsMargins(*[2 * theme.CARD_PADDING] * 4)
        fill(card.body, self._head(),
             text_label(tr("Train a small language model on your own data, then talk to it, all on this machine."),
                        "muted", wrap=True), theme.SPACE_XS, text_label(tr("What was found"), "section"), self._facts,
             self._trouble(), rule(), text_label(tr("Where things are kept: runs, models and chats"), "section"),
             self.place, rule())
        self.starter = ProgressStrip(name="welcome_starter")
        keep_room(self.starter)  # so that the page stays where it is when the model is ready
        self.starter.hide()
        fill(card.body, self.starter, self._buttons())
        return card

    def _head(self) -> QHBoxLayout:
        close = IconButton("close", tr("Close this page (Esc). The help (F1) opens it again."), name="welcome_close",
                           clicked=lambda: self._session.go_to(""))
        return row_of(Logo(LOGO_SIZE), (text_label(tr("Welcome to SLM Studio"), "title"), 1),
                      (close, 0, Qt.AlignmentFlag.AlignTop), spacing=theme.SPACE_M)

    def _trouble(self) -> QHBoxLayout:
        self.again = SecondaryButton(tr("Check again"), tr("Read this machine again."), "small", name="welcome_again",
                                     clicked=self.look)
        self.again.hide()
        return row_of((self.banner, 1), (self.again, 0, Qt.AlignmentFlag.AlignTop), spacing=None)

    def _buttons(self) -> QHBoxLayout:
        self.sample = PrimaryButton(tr("Try the sample"),
                                    tr("Opens questions and answers from a city's help desk, in English and Hindi. "
                                       "They come with the program."),
                                    name="welcome_sample", clicked=self._session.open_sample)
        own = SecondaryButton(tr("Use my own data"), tr("Goes to the Data tab, where you choose your files."),
                              name="welcome_own", clicked=lambda: self._session.go_to("data"))
        return row_of(self.sample, own, theme.SPACE_XS,
                      (text_label(tr("The sample and a small model are included; nothing is downloaded."), "small",
                                  wrap=True), 1))

    def show_preparation(self, work: ModelWork) -> None:
        """Show how far the preparation of the starter model is, and let the user cancel it."""
        from slmstudio.core.model import library

        def progressed(text: str, done: int, total: int) -> None:
            if work.target == library.starter_folder():
                if self.starter.isHidden():
                    self.starter.start(tr("Preparing the starter model"))
                    self.starter.show()
                self.starter.set_progress(done, total)

        work.progressed.connect(progressed)
        work.changed.connect(lambda: None if work.target else self.starter.end())
        self.starter.cancelled.connect(work.cancel)

    def look(self) -> None:
        """Read the machine, off the UI thread, and show what was found."""
        self.banner.clear()
        self.again.hide()
        self._facts.show_working()
        run_task(self, lambda task: read(), self._show, self._failed)

    def _show(self, found: Found) -> None:
        self._facts.show_facts(facts(found))
        self.found.emit(found)

    def _failed(self, error: Exception) -> None:
        self._facts.show_facts([])
        self.banner.show_error(error)
        self.again.show()

    def take_files(self, files: list[Path]) -> None:
        self._session.open_data(files)


class FactsGrid(QWidget):
    """Lines of a mark, a name, and what was found, with a note below where there is something to do."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = QWidget()
        self._outer = column_in(self, self._lines, spacing=None)
        self.show_working()

    def show_working(self) -> None:
        """The usual lines, still empty."""
        self.show_facts([Fact(name, "", tr("Checking…")) for name in names()])

    def show_facts(self, lines: list[Fact]) -> None:
        """Show these lines in place of the earlier ones."""
        self.setVisible(bool(lines))
        before, self._lines = self._lines, QWidget(self)
        grid = grid_in(self._lines, theme.SPACE_M, theme.SPACE_S, stretch=2)
        for row, fact in enumerate(lines):
            self._add(grid, row, fact)
        self._outer.replaceWidget(before, self._lines)
        self._lines.show()
        before.hide()
        before.deleteLater()

    def _add(self, grid: QGridLayout, row: int, fact: Fact) -> None:
        top = Qt.AlignmentFlag.AlignTop
        meaning = {"ok": tr("fine"), "warn": tr("needs attention")}.get(fact.kind, "")
        mark = Chip(_MARKS.get(fact.kind, "…"), fact.kind or "plain")
        mark.setAccessibleName(f"{fact.name}: {meaning}")
        mark.setAlignment(Qt.AlignmentFlag.AlignCenter)
        theme.grow(mark, "setFixedWidth", MARK_WIDTH)
        name = text_label(fact.name, "muted")
        found = text_label(fact.text, "body" if fact.kind else "muted", wrap=True)
        for label in (name, found):
            label.setContentsMargins(0, MARK_PADDING, 0, 0)  # so that the first line is beside the mark's
        text = column_of(found, spacing=0)
        if fact.note:
            note = text_label(fact.note, "small", wrap=True, selectable=True)
            text.addWidget(note)
        text.addStretch(1)
        grid.addWidget(mark, row, 0, top)
        grid.addWidget(name, row, 1, top)
        grid.addLayout(text, row, 2)
