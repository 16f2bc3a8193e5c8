"""A thread that lives until its work is done, even if nothing refers to it any more."""

from __future__ import annotations

import logging
from abc import abstractmethod

from PySide6.QtCore import QCoreApplication, QThread, Signal, Slot

from slmstudio.core.errors import UserError

_living: set[LivingThread] = set()
"""A QThread that is destroyed while it runs takes the program along."""


class LivingThread(QThread):
    """Does its `work` off the UI thread. When the program quits, it is asked to `leave`, and waited for.

    Signals:
        failed(Exception): the work ended with this error; what isn't for people to read is in the log too.
    """

    failed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.finished.connect(self._forget)
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.leave_and_wait)

    @abstractmethod
    def work(self) -> None:
        """What the thread is for."""

    @abstractmethod
    def leave(self) -> None:
        """Let `work` end soon."""

    @Slot()
    def leave_and_wait(self) -> None:
        """A signal that is on its way may still come."""
        self.leave()
        self.wait()

    @Slot()
    def _forget(self) -> None:
        _living.discard(self)

    def run(self) -> None:
        _living.add(self)
        try:
            self.work()
        except UserError as error:
            self.failed.emit(error)
        except Exception as error:
            logging.getLogger(__name__).exception("%s failed.", type(self).__name__)
            self.failed.emit(error)
