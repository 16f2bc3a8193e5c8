"""A chat worker that nobody wants any more."""

from __future__ import annotations

import json
import sys

from slmstudio.gui.chat.chat_thread import ChatThread

LOADING = "import sys, time; sys.stdin.readline(); print('{\"type\": \"loading\"}', flush=True); time.sleep(120)"
"""A worker that reads nothing while it loads, and takes its time."""


def test_a_worker_that_loads_is_ended(qtbot, studio_home, monkeypatch):
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, "-c", LOADING]))
    monkeypatch.setattr("slmstudio.core.jobs.interactive.CLOSE_SECONDS", 0.2)
    thread = ChatThread("talk")
    with qtbot.waitSignal(thread.message):
        thread.send("load", path="a large model")
        thread.start()
    failures: list[Exception] = []
    thread.failed.connect(failures.append)
    thread.leave()
    assert thread.wait(60_000) and failures == []
