"""One window for each user and home folder: a second start hands its files to the window that is open, and ends.

Who holds the lock file is the first. A lock whose process is gone counts for nothing (`QLockFile` looks), and the
socket that such a process left is replaced. The first window listens only after its first paint; until then a second
start waits.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PySide6.QtCore import QLockFile, QObject

from slmstudio.core import files, paths
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task

if TYPE_CHECKING:
    from slmstudio.gui.app.main_window import MainWindow
    from slmstudio.gui.results.tab import ResultsTab

# -- Files that the program is started with, as by a double-click on one: each opens in the tab that it belongs to.


@dataclass
class Sorted:
    """Files by what they are.

    Attributes:
        run: the folder of a run, where Results finds it; the last one, as one is selected.
    """

    datasets: list[Path] = field(default_factory=list)
    run: Path | None = None
    models: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def open_files(files: Sequence[Path], session: Session, window: MainWindow) -> None:
    """Open files and run folders: rows in Data, a run in Results, GGUF files in Chat. A message names
    what can't be opened."""
    run_task(window, lambda task: sort(files), lambda found: _open(found, session, window))


def sort(files: Sequence[Path]) -> Sorted:
    """Look at files and say what they are."""
    from slmstudio.core import jobs  # with all that processes need: not before the window is there

    found = Sorted()
    for file in files:
        path = file.absolute()
        folder = path.parent if path.name == jobs.RUN else path
        if not path.exists():
            found.problems.append(Problem(tr("{path} doesn't exist. It may have been moved or deleted.", path=path)))
        elif (folder / jobs.RUN).is_file():
            _take_run(folder, found)
        elif path.is_dir():
            found.problems.append(Problem(tr("{path} is a folder without a {run}, so it isn't a run.", path=path,
                                             run=jobs.RUN)))
        elif path.suffix.lower() == ".gguf":
            found.models.append(path)
        else:
            found.datasets.append(path)
    return found


def _take_run(folder: Path, found: Sorted) -> None:
    runs = paths.runs_dir()
    if folder.resolve().parent == runs.resolve():
        found.run = runs / folder.name
    else:
        found.problems.append(Problem(tr("{folder} isn't among this machine's runs. Copy it into {runs}.",
                                         folder=folder, runs=runs)))


def _open(found: Sorted, session: Session, window: MainWindow) -> None:
    if found.problems:
        what = ntr("This couldn't be opened.", "{n:,} of the files couldn't be opened.", len(found.problems))
        window.show_error(UserError(what, problems=found.problems))
    if found.datasets:
        session.open_data(found.datasets)
    if found.run is not None:
        session.go_to("results")
        _select(cast("ResultsTab", window.page("results")), found.run)
    if found.models:
        session.open_chat(found.models)


def _select(page: ResultsTab, run: Path) -> None:
    """Select a run as soon as the runs are read."""
    table = page.table

    def look() -> None:
        if any(facts.folder == run for facts in table.runs.shown):
            table.runs.modelReset.disconnect(look)
            table.select({run})
            table.chosen.emit(table.selected())

    table.runs.modelReset.connect(look)
    look()


ANSWER_SECONDS = 10.0
"""How long an open window may take to answer before it counts as hung."""
MOST_BYTES = 1_000_000
TOKEN = "XDG_ACTIVATION_TOKEN"
"""With it, Wayland lets the first window come to the front on behalf of the program that the user has started."""
_LOCK_WAIT_MS = 50
_log = logging.getLogger(__name__)


class SingleInstance(QObject):
    """The claim to be the one window of this user and home folder, as long as it lives.

    Raises:
        OSError: there is no folder for its lock.
    """

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self._place = place()
        self._lock = self._make_lock()
        self._server: Any = None
        self._act: Callable[[list[Path]], object] = lambda files: None

    def _make_lock(self) -> QLockFile:
        lock = QLockFile(f"{self._place}.lock")
        lock.setStaleLockTime(0)  # however old it is: only the end of its process makes it stale
        return lock

    def _name(self) -> str:
        """Of the socket; Windows' pipes are in no folder."""
        return self._place.name if sys.platform == "win32" else str(self._place)

    def claim(self) -> bool:
        """Whether no other window is open. Where that can't be known, none is."""
        return self._lock.tryLock(0) or self._lock.error() != QLockFile.LockError.LockFailedError

    def hand_over(self, named: Sequence[Path], seconds: float = ANSWER_SECONDS) -> bool:
        """Let the open window come to the front and open these files. False if it doesn't answer in time.

        Where it has ended meanwhile, this is the first one, and `claim` says so.
        """
        from PySide6.QtNetwork import QLocalSocket

        message = {"files": [str(file.absolute()) for file in named], "token": os.environ.get(TOKEN, "")}
        self._let_come_forward()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            socket = QLocalSocket()
            socket.connectToServer(self._name())
            if socket.waitForConnected(_LOCK_WAIT_MS):
                socket.write(json.dumps(message).encode() + b"\n")
                left = int(1000 * max(0.0, until - time.monotonic()))
                return socket.waitForBytesWritten(left) and socket.waitForReadyRead(left)
            if self._lock.tryLock(_LOCK_WAIT_MS):
                return False
        return False

    def _let_come_forward(self) -> None:
        """Windows gives the foreground only to a process that the one in front allows it."""
        if sys.platform == "win32":
            import ctypes

            ctypes.windll.user32.AllowSetForegroundWindow(self._lock.getLockInfo()[0])

    def listen(self, act: Callable[[list[Path]], object]) -> None:
        """Hand over to `act` the files that each later start was given, from now on."""
        from PySide6.QtNetwork import QLocalServer

        self._act = act
        if not self._lock.isLocked():
            return
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._answer)
        QLocalServer.removeServer(self._name())  # of a process that was killed
        if not self._server.listen(self._name()):
            _log.warning("A second start can't reach this window: %s", self._server.errorString())

    def move(self) -> None:
        """The home folder is another one now."""
        if self._place == place():
            return
        if self._server is not None:
            self._server.close()
        self._lock.unlock()
        self._place = place()
        self._lock = self._make_lock()
        if self._lock.tryLock(0):
            self.listen(self._act)

    def _answer(self) -> None:
        while (socket := self._server.nextPendingConnection()) is not None:
            socket.disconnected.connect(socket.deleteLater)
            socket.readyRead.connect(lambda socket=socket: self._read(socket))
            self._read(socket)

    def _read(self, socket: Any) -> None:
        if not socket.canReadLine():
            if socket.bytesAvailable() > MOST_BYTES:
                socket.abort()
            return
        try:
            message = files.an_object(json.loads(socket.readLine(MOST_BYTES).data()))
        except ValueError:
            message = {}
        if message.get("token"):
            os.environ[TOKEN] = str(message["token"])
        self._act([Path(str(file)) for file in message.get("files") or ()])
        socket.write(b"opened\n")
        socket.disconnectFromServer()


def place() -> Path:
    """What the lock and the socket of this user's window over this home folder are named after."""
    name = hashlib.sha256(os.fsencode(paths.home().resolve())).hexdigest()[:16]
    return _folder() / f"slmstudio-{name}"


def _folder() -> Path:
    """A folder on this machine that only this user can write to.

    Raises:
        OSError: there is none.
    """
    if sys.platform == "win32":
        return Path(tempfile.gettempdir())
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and _is_private(Path(runtime)):
        return Path(runtime)
    folder = Path(tempfile.gettempdir()) / f"slmstudio-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(folder):
        raise PermissionError(f"{folder} isn't this user's alone.")
    return folder


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
