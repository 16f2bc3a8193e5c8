"""The plotting library is loaded on the thread that paints: it reads all of Qt's types, which no two threads may do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import evaluated_runs

SCRIPT = """
import sys, threading

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("numpy", "pyqtgraph"):
            print(name, "first" if threading.current_thread() is threading.main_thread() else "other")

from PySide6.QtWidgets import QApplication
from slmstudio.core.run.history import RunHistory
from slmstudio.core.settings import Settings
from slmstudio.gui.common.session import Session

app = QApplication([])
sys.meta_path.insert(0, Watch())
session = Session(Settings())
if "results" in sys.argv:
    from slmstudio.gui.results.tab import ResultsTab
    shown = ResultsTab(session)
    shown.show()
    there = lambda: shown.curves.plots
else:
    from slmstudio.gui.training.run_panel import RunPanel
    shown = RunPanel()
    shown.show_history(RunHistory())
    there = lambda: shown.plots
while not there():
    app.processEvents()
"""


@pytest.mark.parametrize("where", ["results", "training"])
def test_the_plotting_library_is_loaded_where_the_window_is_painted(studio_home, tiny_model, where):
    evaluated_runs.ended_run("helpdesk", model=tiny_model)
    package = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", SCRIPT, where], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": package})
    assert done.stdout.splitlines() == ["numpy other", "pyqtgraph first"], done.stderr
