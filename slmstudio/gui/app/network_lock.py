"""The network chip: green only where the lock was tried at this start of the program, and held."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from slmstudio.core.i18n import tr
from slmstudio.gui.app.header import Header
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task

if TYPE_CHECKING:
    from slmstudio.core.lock.proof import Proof

_log = logging.getLogger(__name__)


class NetworkLock(QObject):
    """Tries the lock once, off the UI thread, and shows in the header what came of it."""

    def __init__(self, session: Session, header: Header, parent: QObject):
        super().__init__(parent)
        self._session, self._header = session, header
        if session.lock_proof is not None:  # of the window before; it is tried again for its sentences
            self.show_proof(session.lock_proof)
        run_task(self, lambda task: _prove(), self.show_proof, self._failed)

    def show_proof(self, proof: Proof) -> None:
        """Show what was tried."""
        self._session.lock_proof = proof
        if proof.enforced:
            self._header.network.set(tr("Locked"), "ok", self._locked(proof))
        else:
            self._header.network.set(tr("Not enforced"), "warn", self._open(proof.reason))

    def _failed(self, error: Exception) -> None:
        _log.warning("The network lock cannot be tried: %s", error)
        self._header.network.set(tr("Not enforced"), "warn", self._open(str(error)))

    def _locked(self, proof: Proof) -> str:
        tried = "\n".join(tr("• {what}: {answer}", what=each.what, answer=each.gave)
                          for each in proof.attempts if each.network)
        files = tr("It also can't read any files except its job's own.") if proof.files else \
            tr("It can read other files: this kernel has no Landlock.")
        return tr("No process that trains, exports, evaluates or chats can reach the network: the system blocks it. "
                  "This was tested when the program started, and nothing got through:\n{tried}\n{files}\nDownloads "
                  "that you ask for, and this window itself, aren't locked.", tried=tried, files=files)

    def _open(self, reason: str) -> str:
        return tr("Training, export and chat run with the model hub's offline switches on and its telemetry off, and "
                  "this window opens no connection. But the system doesn't stop a process from using the network: "
                  "{reason}\nTo be certain, unplug the cable or block the program in your firewall.", reason=reason)


def _prove() -> Proof:
    from slmstudio.core.lock.proof import prove

    return prove()
