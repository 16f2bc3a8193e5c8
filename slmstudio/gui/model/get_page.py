"""A model that isn't on this machine yet: what it is, what its licence allows, and the button that fetches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QFrame, QHBoxLayout, QLineEdit, QWidget

from slmstudio.core import units
from slmstudio.core.i18n import tr
from slmstudio.core.run import time_estimate
from slmstudio.core.run.time_estimate import Timing, downloading
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import keep_choice, named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in, row_widget
from slmstudio.gui.common.widgets.progress import ProgressStrip

if TYPE_CHECKING:
    from pathlib import Path

    from slmstudio.gui.model.known import ModelEntry


@dataclass(frozen=True)
class Fetching:
    """What there is to know before a model is fetched.

    Attributes:
        host: it would come from there.
        arrived, total: bytes of an earlier download that are kept, and of how many; 0 and 0 without one.
        token_place: where the token for this hub is kept, in words; "" without one.
        known: how long downloads took on this machine.
    """

    host: str
    arrived: int
    total: int
    token_place: str
    known: list[Timing]


class GetPage(QWidget):
    """
    Attributes:
        actions: the button, or how far the download is. The card shows it at its lower edge, where it is always seen.

    Signals:
        get_wanted(ModelEntry): the user wants it, and where a token is needed, that is kept.
    """

    get_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._entry: ModelEntry | None = None
        self._state: Fetching | None = None
        self._working = self._can_start = False
        self.licence = text_label("", "body", wrap=True, name="model_licence_use")
        self.frame = QFrame()
        self.frame.setProperty("inset", True)
        inner = column_in(self.frame, self.licence, spacing=None, margins=theme.SPACE_M)
        self.accept = keep_choice(named(
            QCheckBox(tr("I accept these terms")), "model_accept",
            tip=tr("The model is downloaded only once you have accepted its terms.")))
        self.accept.toggled.connect(lambda on: self._show())
        inner.addWidget(self.accept)
        self.note = text_label("", "small", wrap=True, name="model_get_note")
        self.banner = ErrorBanner(name="model_get_banner")
        self.strip = ProgressStrip(name="model_get_progress", tip=tr("Stop the download and remove what has arrived."))
        self.pause = SecondaryButton(tr("Pause"),
                                     tr("Stop the download and keep what has arrived. You can resume it at any time."),
                                     "small", name="model_pause")
        line = self.strip.layout()
        assert isinstance(line, QHBoxLayout)
        line.insertWidget(line.indexOf(self.strip.cancel), self.pause)
        self.time = text_label("", "small", name="model_get_time")
        self.get = SecondaryButton(tr("Download"), tr("Download this model over the network. None of your data is "
                                                      "sent."), name="model_get", clicked=self._get)
        self._lay_out()

    def _lay_out(self) -> None:
        self.token = named(QLineEdit(placeholderText=tr("Access token of the hub")), "hub_token", tr("Access token"),
                           tr("From your account's page on the hub. It is kept in the system's keyring, or in a file "
                              "that only you can read, and is sent only to that hub."))
        self.token.setEchoMode(QLineEdit.EchoMode.Password)
        self.keep = SecondaryButton(tr("Save token"), tr("Save the token on this machine."), "small",
                                    name="hub_token_keep", clicked=self._keep_token)
        self.token.textChanged.connect(lambda text: self.keep.setEnabled(bool(text.strip())))
        self.keep.setEnabled(False)
        self.gated = row_widget((self.token, 1), self.keep)
        self.actions = row_widget((self.strip, 1), self.time, (self.get, 0, Qt.AlignmentFlag.AlignRight), spacing=None)
        column_in(self, self.frame, self.banner, self.gated, self.note, spacing=theme.SPACE_M)

    def show_entry(self, entry: ModelEntry) -> None:
        """Show a model that can be fetched."""
        if self._entry is not None and entry.folder != self._entry.folder:  # what is there at first was typed for it
            self.banner.clear()
            self.accept.setChecked(False)
            self.token.clear()
        self._entry, self._state = entry, None
        known, starter = entry.known, entry.starter
        self.frame.setVisible(known is not None or starter is not None)
        self.accept.setVisible(starter is not None)
        if starter is not None:
            self.licence.setText("\n".join((starter.about, "", f"{starter.licence}:", *starter.terms)))
        elif known is not None:
            self.licence.setText(tr("{name} licence. {use}", name=known.licence.name, use=known.licence.use)
                                 if known.licence.id else known.licence.use)
        self._show()
        run_task(self, lambda task: _state(entry), lambda state: self._know(entry, state), self.banner.show_error)

    def set_working(self, on: bool, can_start: bool) -> None:
        """Whether this model is being fetched, and if not whether it can be."""
        self._working, self._can_start = on, can_start
        self._show()

    def begin(self) -> bool:
        """Fetch the model, if nothing has to be accepted or typed first. Returns whether that is so."""
        if self._entry is None or self._entry.starter is not None or (self._entry.known and self._entry.known.gated):
            return False
        self._get()
        return True

    def ask(self) -> None:
        """Lead the user to what comes first."""
        (self.accept if self._entry is not None and self._entry.starter is not None else self.token).setFocus()

    def _know(self, entry: ModelEntry, state: Fetching) -> None:
        if entry is self._entry:
            self._state = state
            self._show()

    def _show(self) -> None:
        entry, state = self._entry, self._state
        if entry is None:
            return
        known, starter = entry.known, entry.starter
        self.strip.setVisible(self._working)
        self.pause.setVisible(starter is None)
        self.get.setVisible(not self._working)
        self.get.setEnabled(self._can_start and (starter is None or self.accept.isChecked()))
        size = units.format_bytes(entry.download_bytes) if entry.download_bytes else ""
        if state is not None and state.total:
            self.get.setText(tr("Resume ({done} of {total} downloaded)", done=units.format_bytes(state.arrived),
                                total=units.format_bytes(state.total)))
        else:
            self.get.setText(tr("Download {size}", size=size) if size else tr("Download"))
        left = state.total - state.arrived if state and state.total else entry.download_bytes
        self.time.setText(downloading(left, state.known).text() if state and left and not self._working else "")
        needs_token = starter is None and known is not None and bool(known.gated)
        self.gated.setVisible(not self._working and state is not None and needs_token and not state.token_place)
        self.note.setText(self._note(entry, needs_token))

    def _note(self, entry: ModelEntry, needs_token: bool) -> str:
        state = self._state
        if entry.starter is not None:
            return tr("It comes as Python packages from the package index that this program was installed from. None "
                      "of your data is sent. It is kept in {folder} and used offline from then on.",
                      folder=entry.folder)
        lines = []
        if needs_token:
            lines.append(tr("Its owner asks you to accept the licence first. Sign in at the hub, open the page of "
                            "{repo}, accept it, and create an access token.", repo=entry.repo))
        if state is not None and needs_token and state.token_place:
            lines.append(tr("Your access token is kept in {place}.", place=tr(state.token_place)))
        if state is not None:
            lines.append(tr("It comes from {host} over the network. None of your data is sent. It is kept in {folder} "
                            "and used offline from then on.", host=state.host, folder=entry.folder))
        if entry.known is None:
            lines.append(tr("The catalogue doesn't know this model. You'll see what it is, and whether it can be used, "
                            "once the download begins."))
        return "\n".join(lines)

    def _get(self) -> None:
        if self._entry is None:
            return
        self.banner.clear()
        if self.token.text().strip():
            self._keep_token(then_get=True)
        else:
            self.get_wanted.emit(self._entry)

    def _keep_token(self, then_get: bool = False) -> None:
        value, entry = self.token.text(), self._entry

        def kept(place: str) -> None:
            self.token.clear()
            if entry is not None and entry is self._entry:
                self.show_entry(entry)
                if then_get:
                    self.get_wanted.emit(entry)

        run_task(self, lambda task: _keep(value), kept, self.banner.show_error)


def _state(entry: ModelEntry) -> Fetching:
    """Runs in a thread, because a keyring may ask or wait."""
    from slmstudio.core.model.hub import place, token

    hub = place.current()
    found = token.find(hub)
    partial: Path = place.partial_of(entry.folder)
    wanted = place.files_of(place.read_record(partial)).values()
    return Fetching(urlsplit(hub).hostname or hub, sum(place.arrived(partial, file) for file in wanted),
                    sum(file.size for file in wanted), token.PLACES[found.where] if found is not None else "",
                    time_estimate.load())


def _keep(value: str) -> str:
    from slmstudio.core.model.hub import place, token

    return token.save(place.current(), value)
