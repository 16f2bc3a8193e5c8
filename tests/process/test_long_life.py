"""A window makes thousands of calls into Qt a minute, for hours; the interpreter must live through it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from slmstudio.core.jobs import processes

PROGRAM = """
import slmstudio.gui
from PySide6.QtCore import QObject, Signal

class Source(QObject):
    changed = Signal(object)

source = Source()
for number in range(100_000):
    source.changed.emit(number)
    source.setObjectName("a")
    source.parent()
    source.signalsBlocked()
"""


@pytest.mark.full
def test_four_hundred_thousand_calls():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60,
                          env=processes.worker_environment())
    assert done.returncode == 0, done.stderr
