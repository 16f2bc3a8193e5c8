"""The program as it starts, in a process of its own: what it loads, what it opens, how it collects garbage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.tiers import first_fast

from slmstudio.core import settings
from slmstudio.gui.common.session import TABS

LOADED = """
import json, pkgutil, sys, importlib
import slmstudio.gui
for module in pkgutil.walk_packages(slmstudio.gui.__path__, "slmstudio.gui."):
    importlib.import_module(module.name)
heavy = {"torch", "transformers", "trl", "peft", "datasets", "llama_cpp", "bitsandbytes", "slmstudio.worker"}
print(json.dumps(sorted(heavy & set(sys.modules))))
"""
STARTED = """
import gc, json, sys
from slmstudio.gui.app import application
from slmstudio.gui.app.main_window import MainWindow
opened = []
show = MainWindow.open_welcome
MainWindow.open_welcome = lambda self: (opened.append(1), show(self))
status = application.main(quit_after_paint=True)
slow = {"torch", "transformers", "numpy", "pandas", "pyqtgraph", "tokenizers", "psutil", "pynvml", "jinja2",
        "jmespath", "pyarrow"}  # the last two also because the Debian package opens the window before they are there
print(json.dumps({"status": status, "slow": sorted(slow & set(sys.modules)), "welcome": bool(opened),
                  "collects": gc.isenabled(), "kept": gc.get_freeze_count() > 10_000}))
"""


def run(program: str, **env: str) -> Any:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=110,
                          env={**os.environ, **env})
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)


def test_no_module_of_the_window_loads_a_heavy_library():
    assert run(LOADED) == []


@pytest.mark.parametrize("before", first_fast(["nothing", "runs", *TABS[::-1]], 3))
def test_the_window_paints_and_quits_without_loading_anything_slow(studio_home: Path, before: str):
    """Only the first start opens the welcome page. Garbage is the window's own to collect."""
    if before in TABS:
        settings.Settings(last_tab=before, welcomed=True).save()
    elif before == "runs":
        (studio_home / "runs" / "a-run").mkdir(parents=True)
    assert run(STARTED) == {"status": 0, "slow": [], "welcome": before == "nothing", "collects": False, "kept": True}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at Linux's own way")
@pytest.mark.parametrize("home", ["/sys/home", "/etc/hostname"])
def test_the_window_opens_where_nothing_can_be_written(home: str):
    assert run(STARTED, SLMSTUDIO_HOME=home, QT_QPA_PLATFORM="offscreen")["status"] == 0
