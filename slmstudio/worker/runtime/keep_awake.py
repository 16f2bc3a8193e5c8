"""Keeps the machine from sleeping while it trains or downloads, by wakepy; while paused it may sleep.

A locked worker can't use the system's message bus; the warden beside it does so instead.
"""

from __future__ import annotations

from typing import Any

from wakepy import keep

from slmstudio.core.i18n import tr
from slmstudio.core.lock import worker_lock
from slmstudio.worker.runtime.context import JobContext


class Awake:
    """Asks the system to stay awake between `on` and `off`. Where it can't, that is said once, and nothing fails."""

    def __init__(self, job: JobContext):
        self._job = job
        self._warden = worker_lock.warden()
        self._mode: Any = None
        self._told = False

    def on(self) -> None:
        if self._mode is not None:
            return
        if self._warden is not None:
            self._mode = self._warden
            return self._tell(self._warden.keep_awake())
        self._mode = keep.running(on_fail="pass")
        self._mode.__enter__()
        self._tell(bool(self._mode.active))

    def off(self) -> None:
        if self._mode is not None and self._warden is not None:
            self._warden.let_sleep()
        elif self._mode is not None:
            self._mode.__exit__(None, None, None)
        self._mode = None

    def _tell(self, works: bool) -> None:
        if self._told:
            return
        self._told = True
        reason = "" if works else tr("This system has no way to prevent sleep. Turn sleep off in the power settings.")
        self._job.emit("sleep_prevented", on=works, reason=reason)
